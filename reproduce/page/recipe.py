"""The sections of the report page that say what was run, on what, and where it departs from the paper."""

import dataclasses
import re
from dataclasses import dataclass

from reproduce.artefact import named
from reproduce.errors import UserError
from reproduce.page.evidence import Given
from reproduce.page.view import (
    Anchor,
    Cell,
    Code,
    Number,
    Section,
    Strong,
    Table,
    numbered,
    spaced,
)  # fmt: skip
from reproduce.paths import DOCUMENT
from reproduce.recipe.load import Config
from reproduce.recipe.schema import RECIPE, SOURCES, Source
from reproduce.results import runs, steptimes
from reproduce.results.measured import Measurement

# The kind of a hyper-parameter by its source; any other is put in here.
KIND_OF = {"abstract": "paper", "secondary": "paper", "recalled": "paper", "mlperf06": "public", "public": "public"}
DEVIATIONS = "## Deviations from the paper\n"


# ---- hyper-parameters -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RecipeData:
    about: Cell
    complete: Table
    differing: Table
    legend: Table


def recipe_section(given: Given) -> Section:
    main = given.measure(named(given.artefacts, "table1").runs[given.tier][:1])[0].config
    header: list[Cell] = ["hyper-parameter", "value", "source", "where, or why"]
    complete = [_value_row(main, name) for name in values(main)]
    legend: list[list[Cell]] = [
        [Code(kind), numbered(words, "setting", "reproduce.config")] for kind, words in SOURCES.items()
    ]
    return Section("recipe", "Hyper-parameters and where each comes from", RecipeData(
        (Code(main.run.name), ": ", numbered(main.run.title, "setting", f"config {main.hash}"), ". Config ",
         Code(main.hash), "."),
        Table("recipe-table", f"The recipe {main.run.name}, complete.", header, complete),
        Table("differing-table", f"Values that are not those of {main.run.name}.", ["run", *header],
              _differing(given, main)),
        Table("sources-table", "Sources.", ["source", "meaning"], legend),
    ))  # fmt: skip


def _differing(given: Given, main: Config) -> list[list[Cell]]:
    """A row for each value of the tier's other runs that is not the one of `main`."""
    return [
        [Code(m.name), *_value_row(m.config, name)]
        for m in runs.collect(given.results, given.tier, given.artefacts)
        for name, value in values(m.config).items()
        if values(main)[name] != value
    ]


def values(config: Config) -> dict[str, object]:
    """Every value of a recipe by ``section.key``."""
    parts = ((section, dataclasses.asdict(getattr(config, section))) for section in RECIPE)
    return {f"{section}.{key}": value for section, entries in parts for key, value in entries.items()}


def _value_row(config: Config, name: str) -> list[Cell]:
    source = config.sources.get(name, Source("default", "not stated; the field's default"))
    kind, where = KIND_OF.get(source.kind, "setting"), f"{source.kind}: {source.ref}"
    phases = name == "batch.local_batch"
    value = Number(_phases(config) if phases else _plain(values(config)[name]), kind, where)
    return [Code(name), value, Code(source.kind), numbered(source.ref, kind, f"config {config.hash}, {name}")]


def _phases(config: Config) -> str:
    """The local batch, with the epochs at which it changes."""
    (_, first), *others = config.batch.local_batch
    return ", ".join([str(first), *(f"{size} after epoch {epoch}" for epoch, size in others)])


def _plain(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(_plain, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)


# ---- deviations -----------------------------------------------------------------------------------------------------


def deviations() -> list[tuple[str, str]]:
    """(title, text) of each item of REPRODUCE.md's section. Raises `UserError` if the section is not there."""
    _, found, rest = DOCUMENT.read_text(encoding="utf-8").partition(DEVIATIONS)
    items = re.findall(r"^- \*\*(D\d+ .*?)\*\*\s+(.*?)(?=^- |\Z)", rest.partition("\n## ")[0], re.M | re.S)
    if not (found and items):
        raise UserError(f"{DOCUMENT}: has no items under '{DEVIATIONS.strip()}': write them as - **D1 Title.**")
    return [(title, " ".join(text.split())) for title, text in items]


def deviations_section(_: Given) -> Section:
    items = [(title, inline(text)) for title, text in deviations()]
    return Section("deviations", "Deviations from the paper", items)


def inline(text: str) -> Cell:
    """Markdown's `code` and **bold** as cells; everything else is text."""
    parts = re.split(r"(`[^`]+`|\*\*.+?\*\*)", text)
    return tuple(_inline(part) for part in parts if part)


def _inline(part: str) -> Cell:
    if part.startswith("**") and part.endswith("**"):
        return Strong(part[2:-2])
    return Code(part[1:-1]) if part.startswith("`") and part.endswith("`") else part


# ---- environment ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EnvironmentData:
    """`left_out`: (run, log, reason) of each log that gives no number."""

    table: Table
    left_out: list[tuple[str, str, str]]


def environment_section(given: Given) -> Section:
    found = runs.collect(given.results, given.tier, given.artefacts)
    rows = [_environment_row(given, m) for m in found]
    benchmark = steptimes.read(given.results)
    if benchmark:
        rows.append(_benchmark_row(given, benchmark))
    header = ["run", "title", "config", "n", "hardware", "devices", "precision", "loader", "torch", "revision", "logs"]
    caption = f"What made the measurements of tier {given.tier}, as their logs say."
    left = [(m.run, item.log, item.reason) for m in found for item in m.left_out]
    data = EnvironmentData(Table("runs-table", caption, header, rows), left)
    return Section("environment", "Environment and logs", data)


def _environment_row(given: Given, m: Measurement) -> list[Cell]:
    source = f"logs/{m.name}"
    name = Anchor(Code(m.name), f"run-{m.name}")
    title, digest = numbered(m.config.run.title, "setting", f"paper_configs/{m.run}.toml"), Code(m.config.hash)
    if not m.n:
        gaps: list[Cell] = [numbered(m.missing, "setting", source), *["missing"] * 6, "none"]
        return [name, title, digest, *gaps]
    return [
        name, title, digest, Number(str(m.n), "measured", source),
        numbered(" / ".join(m.hardware), "setting", source),
        numbered(", ".join(f"{n:,}" for n in m.devices), "setting", source),
        Code(m.environment("precision")), Code(m.environment("backend")), Code(m.environment("torch")),
        Code(m.environment("revision") or "unknown"),
        spaced([given.link(log.path, f"seed {log.seed}", "measured", source) for log in m.logs]),
    ]  # fmt: skip


def _benchmark_row(given: Given, result: steptimes.Result) -> list[Cell]:
    about, path = result.about, given.results / steptimes.FILE
    steps = {len(timing.seconds) for network in result.networks for timing in network.timings}
    return [
        Code(steptimes.COMMAND), "benchmark of group rules", "none",
        Number(" or ".join(map(str, sorted(steps))), "measured", steptimes.FILE),
        *(numbered(str(about.get(key)), "setting", steptimes.FILE) for key in ("hardware", "hosts")),
        Code(str(about.get("precision"))), "none", Code(str(about.get("torch"))),
        Code(str(about.get("revision") or "unknown")), given.link(path, path.name),
    ]  # fmt: skip
