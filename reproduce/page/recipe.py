"""The sections of the report page that say what was run, on what, and where it departs from the paper."""

import dataclasses
import re

from reproduce.artefact import named
from reproduce.errors import UserError
from reproduce.page import html
from reproduce.page.evidence import Given, numbered
from reproduce.page.html import Content, Markup, Number, Section, element
from reproduce.paths import DOCUMENT
from reproduce.recipe.load import Config
from reproduce.recipe.schema import RECIPE, SOURCES, Source
from reproduce.results import runs, steptimes
from reproduce.results.measured import Measurement

# The kind of a hyper-parameter by its source; any other is put in here.
KIND_OF = {"abstract": "paper", "secondary": "paper", "recalled": "paper", "mlperf06": "public", "public": "public"}
DEVIATIONS = "## Deviations from the paper\n"


# ---- hyper-parameters -----------------------------------------------------------------------------------------------


def recipe_section(given: Given) -> Section:
    main = given.measure(named(given.artefacts, "table1").runs[given.tier][:1])[0].config
    rows = [_value_row(main, name) for name in values(main)]
    legend = [[html.code(kind), numbered(words, "setting", "reproduce.config")] for kind, words in SOURCES.items()]
    differing = [
        [html.code(m.name), *_value_row(m.config, name)]
        for m in runs.collect(given.results, given.tier, given.artefacts)
        for name, value in values(m.config).items()
        if values(main)[name] != value
    ]
    title = numbered(main.run.title, "setting", f"config {main.hash}")
    about = element("p", html.code(main.run.name), ": ", title, ". Config ", html.code(main.hash), ".")
    header = ["hyper-parameter", "value", "source", "where, or why"]
    return Section("recipe", "Hyper-parameters and where each comes from", [
        about,
        html.table(f"The recipe {main.run.name}, complete.", header, rows, "recipe-table"),
        html.details("The other runs of this tier: what differs",
                     html.table(f"Values that are not those of {main.run.name}.", ["run", *header], differing,
                                "differing-table")),
        html.details("What the sources mean", html.table("Sources.", ["source", "meaning"], legend, "sources-table")),
    ])  # fmt: skip


def values(config: Config) -> dict[str, object]:
    """Every value of a recipe by ``section.key``."""
    parts = ((section, dataclasses.asdict(getattr(config, section))) for section in RECIPE)
    return {f"{section}.{key}": value for section, entries in parts for key, value in entries.items()}


def _value_row(config: Config, name: str) -> list[Content]:
    source = config.sources.get(name, Source("default", "not stated; the field's default"))
    kind, where = KIND_OF.get(source.kind, "setting"), f"{source.kind}: {source.ref}"
    phases = name == "batch.local_batch"
    value = Number(_phases(config) if phases else _plain(values(config)[name]), kind, where)
    return [html.code(name), value, html.code(source.kind), numbered(source.ref, kind, f"config {config.hash}, {name}")]


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
    source = "REPRODUCE.md, Deviations from the paper"
    items = [
        element("li", element("strong", title), " ", inline(text), data_kind="setting", data_source=source)
        for title, text in deviations()
    ]
    return Section("deviations", "Deviations from the paper", element("ul", *items, class_="deviations"))


def inline(text: str) -> Markup:
    """Markdown's `code` and **bold** as HTML; everything else is text."""
    parts = re.split(r"`([^`]+)`", text)
    return html.join(html.code(part) if i % 2 else _bold(part) for i, part in enumerate(parts))


def _bold(text: str) -> Markup:
    return html.join(element("strong", part) if i % 2 else part for i, part in enumerate(text.split("**")))


# ---- environment ----------------------------------------------------------------------------------------------------


def environment_section(given: Given) -> Section:
    found = runs.collect(given.results, given.tier, given.artefacts)
    rows = [_environment_row(given, m) for m in found]
    benchmark = steptimes.read(given.results)
    if benchmark:
        rows.append(_benchmark_row(given, benchmark))
    header = ["run", "title", "config", "n", "hardware", "devices", "precision", "loader", "torch", "revision", "logs"]
    caption = f"What made the measurements of tier {given.tier}, as their logs say."
    left = [
        element("li", html.code(m.run), ": ", html.code(item.log), ": ", html.code(item.reason))
        for m in found for item in m.left_out
    ]  # fmt: skip
    out = html.join([element("p", "Logs that give no number:"), element("ul", *left)]) if left else ""
    table = html.table(caption, header, rows, "runs-table")
    return Section("environment", "Environment and logs", [table, out])


def _environment_row(given: Given, m: Measurement) -> list[Content]:
    source = f"logs/{m.name}"
    name = element("span", html.code(m.name), id=f"run-{m.name}")
    title, digest = numbered(m.config.run.title, "setting", f"paper_configs/{m.run}.toml"), html.code(m.config.hash)
    if not m.n:
        return [name, title, digest, numbered(m.missing, "setting", source), *["missing"] * 6, "none"]
    links = [given.link(log.path, f"seed {log.seed}") for log in m.logs]
    return [
        name, title, digest, Number(str(m.n), "measured", source),
        numbered(" / ".join(m.hardware), "setting", source),
        numbered(", ".join(f"{n:,}" for n in m.devices), "setting", source),
        html.code(m.environment("precision")), html.code(m.environment("backend")), html.code(m.environment("torch")),
        html.code(m.environment("revision") or "unknown"),
        element("span", html.join(f for link in links for f in (link, " ")), data_kind="measured", data_source=source),
    ]  # fmt: skip


def _benchmark_row(given: Given, result: steptimes.Result) -> list[Content]:
    about, path = result.about, given.results / steptimes.FILE
    steps = {len(timing.seconds) for network in result.networks for timing in network.timings}
    return [
        html.code(steptimes.COMMAND), "benchmark of group rules", "none",
        Number(" or ".join(map(str, sorted(steps))), "measured", steptimes.FILE),
        *(numbered(str(about.get(key)), "setting", steptimes.FILE) for key in ("hardware", "hosts")),
        html.code(str(about.get("precision"))), "none", html.code(str(about.get("torch"))),
        html.code(str(about.get("revision") or "unknown")), given.link(path, path.name),
    ]  # fmt: skip
