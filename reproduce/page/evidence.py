"""The sections of the report page that say what holds: claims, Table 1, stored curves."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from reproduce.artefact import Artefact, named
from reproduce.errors import UserError
from reproduce.judge import claims, compare, rows_here
from reproduce.judge.claims import Judged
from reproduce.judge.rows_here import RowHere
from reproduce.judge.verdict import Verdict
from reproduce.page.view import (
    Cell,
    Code,
    Link,
    Missing,
    Section,
    SectionData,
    Table,
    judgement,
    numbered,
    spaced,
)  # fmt: skip
from reproduce.paths import real
from reproduce.recipe.runs import ROW_MACHINES
from reproduce.results import measured, paper
from reproduce.results.measured import Measurement
from reproduce.results.output import ROOT

PAPER_FILE = "paper_configs/paper.toml"
ROWS_NOTE = "Scaled down, on another data set: not the rows' own experiments, and images/s of none of their machines."


@dataclass(frozen=True)
class Given:
    """What a page is made of: the results folder of one tier; and where the page will be, for its links.

    `sections`: by name of the artefact, what turns its side-car file into the numbers and notes of its section.
    """

    tier: str
    results: Path
    out: Path
    artefacts: tuple[Artefact, ...]
    sections: "Mapping[str, Callable[[Given, dict], SectionData]]" = field(default_factory=dict)

    def link(self, path: Path, text: Cell, kind: str = "", source: str = "") -> Link:
        """A relative link to a file from the page."""
        return Link(text, quote(Path(os.path.relpath(path, self.out)).as_posix()), kind, source)

    def section(self, piece: Artefact) -> "Callable[[Given, dict], SectionData]":
        """Raises `UserError` if the artefact has none: it must not vanish from the page without a word."""
        if piece.name not in self.sections:
            raise UserError(f"{piece.script}: has no section on the page: write its section(given, facts)")
        return self.sections[piece.name]

    @property
    def folder(self) -> str:
        """The results folder as commands name it: from the root of the checkout, if it is in it."""
        whole = real(self.results)
        return (whole.relative_to(ROOT) if whole.is_relative_to(ROOT) else self.results).as_posix()

    def measure(self, runs: Iterable[str]) -> list[Measurement]:
        return [measured.collect(self.results, run) for run in runs]


@dataclass(frozen=True)
class StoredCurve:
    """A run compared with stored curves: its log, the verdict, and which stored curves, with their number."""

    run: str
    log: Path
    verdict: Verdict
    source: str


def logs_of(found: Iterable[Measurement]) -> str:
    """The source of a measured number: the folders of its logs, with the hash of the recipe."""
    return "; ".join(f"logs/{m.name}, n = {m.n}, config {m.config.hash}" for m in found if m.n)


# ---- claims ---------------------------------------------------------------------------------------------------------

CLAIM_COLUMNS: dict[str, Callable[[Judged], Cell]] = {
    "ID": lambda one: one.claim.id,
    "claim": lambda one: numbered(one.claim.text, "paper", _place(one)),
    "paper (status)": lambda one: numbered(one.paper, "paper", _place(one)),
    "measured here (tier, n)": lambda one: numbered(one.evidence, "measured", logs_of(one.shown) or "no log"),
    "verdict": lambda one: judgement(one.verdict, f"{PAPER_FILE}: {_reason(one)}"),
    "logs of": lambda one: spaced([Link(m.name, f"#run-{m.name}") for m in one.shown]) if one.shown else "none",
    "public evidence (not ours)": lambda one: spaced([
        numbered(f"{finding}.", "public", finding.source or "figures/public") for finding in one.public
    ]),
}  # fmt: skip


def _place(one: Judged) -> str:
    known = paper.load()
    value = known.values.get(one.claim.value)
    return f"{known.about.reference}: {value.place if value else 'text'}, {known.claim_status(one.claim)}"


def _reason(one: Judged) -> str:
    value = paper.load().values.get(one.claim.value)
    return value.tolerance_reason if value and one.shown else "what the measurement needs"


def claims_section(given: Given, found: Iterable[Judged]) -> Section:
    rows = [[column(one) for column in CLAIM_COLUMNS.values()] for one in found]
    caption = f"Each claim of the paper against the logs of tier {given.tier}, and no others."
    return Section("claims", "Claims", Table("claims-table", caption, list(CLAIM_COLUMNS), rows, stacked=True))


def judged(given: Given) -> list[Judged]:
    return claims.judged({given.tier: given.results})


# ---- table 1 --------------------------------------------------------------------------------------------------------


def table1_section(given: Given) -> Section:
    known, piece = paper.load(), named(given.artefacts, "table1")
    rows = [_paper_row(row, known.about.reference) for row in known.table1]
    rows += [_measured_row(m, given.tier) for m in given.measure(piece.runs[given.tier])]
    caption = f"The paper's rows, then those measured in tier {given.tier}."
    first = Table("table1-table", caption, compare.HEADER, rows, stacked=True)
    here = rows_here.rows(known.table1, given.results) if given.tier == "quick" else []
    if not here:
        return Section("table1", piece.title, SectionData((first,)))
    body = [_row_here(one, known.about.reference) for one in here]
    second = Table("rows-table", "Each row's recipe, scaled down and run here", rows_here.HEADER, body, stacked=True)
    return Section("table1", piece.title, SectionData((first, second), (ROWS_NOTE,)))


def _row_here(one: RowHere, reference: str) -> list[Cell]:
    logs = (logs_of([one.found]) if one.found else "") or "no log"
    model = f"reproduce.cluster, {ROW_MACHINES.get(one.row.work, 'no file')}"
    kinds = ["paper", "paper", "setting", "measured", "measured", "setting", "modelled"]
    sources = [reference, reference, "reproduce/recipe/runs.py", logs, logs, logs, model]
    return [numbered(cell, kind, source) for cell, kind, source in zip(one.cells(), kinds, sources)]


def _paper_row(row: paper.Row, reference: str) -> list[Cell]:
    source = f"{reference}, Table 1: {row.status_text}; {row.check}; {row.cites}"
    return [numbered(cell, "paper", source) for cell in compare.paper_row(row)]


def _measured_row(m: Measurement, tier: str) -> list[Cell]:
    logs, config = logs_of([m]) or "no log", f"paper_configs/{m.run}.toml, config {m.config.hash}"
    cells: list[Cell] = []
    for name, cell in zip(compare.HEADER, compare.measured_row(m, tier)):
        kind = "measured" if name in ("time", "top-1", "n") else "setting"
        cells.append(Code(cell) if name == "library" else numbered(cell, kind, logs if m.n else config))
    return cells if m.n else ["none" if name == "n" else cell for name, cell in zip(compare.HEADER, cells)]


# ---- stored curves --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StoredData:
    table: Table | None = None
    missing: Missing | None = None


def stored_section(given: Given, stored: Iterable[StoredCurve]) -> Section:
    rows = [[given.link(one.log, Code(one.run)), judgement(one.verdict, one.source),
             numbered(one.source, "measured", one.source)] for one in stored]  # fmt: skip
    if not rows:
        command = f"python -m reproduce.report.check {given.folder}"
        return Section("stored", "Stored curves", StoredData(missing=Missing("there is no run to compare", command)))
    caption = "Each run of this tier against the stored curves of its recipe; all are judged together."
    return Section("stored", "Stored curves", StoredData(
        Table("stored-table", caption, ["run", "verdict", "compared with"], rows)))  # fmt: skip
