"""The sections of the report page that say what holds: claims, Table 1, stored curves."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from reproduce.artefact import Artefact, named
from reproduce.judge import claims, compare
from reproduce.judge.public_evidence import Finding
from reproduce.judge.verdict import Verdict
from reproduce.page import html
from reproduce.page.html import Content, Markup, Number, Section, element
from reproduce.results import measured, paper
from reproduce.results.measured import Measurement
from reproduce.results.output import ROOT

PAPER_FILE = "paper_configs/paper.toml"


@dataclass(frozen=True)
class Given:
    """What a page is made of: the results folder of one tier; and where the page will lie, for its links."""

    tier: str
    results: Path
    out: Path
    artefacts: tuple[Artefact, ...]

    def link(self, path: Path, text: Content) -> Markup:
        """A relative link to a file from the page."""
        return html.link(text, quote(Path(os.path.relpath(path, self.out)).as_posix()))

    @property
    def folder(self) -> str:
        """The results folder as commands name it: from the root of the checkout, if it is in it."""
        whole = self.results.resolve()
        return (whole.relative_to(ROOT) if whole.is_relative_to(ROOT) else self.results).as_posix()

    def measure(self, runs: Iterable[str]) -> list[Measurement]:
        return [measured.collect(self.results, run) for run in runs]


@dataclass(frozen=True)
class StoredCurve:
    """A run held against stored curves: its log, the verdict, and which stored curves, with their number."""

    run: str
    log: Path
    verdict: Verdict
    source: str


def numbered(text: str, kind: str, source: str) -> Content:
    """`text` as a `Number` if it holds a figure, else as it is: a word has neither kind nor source.

    What says that something is missing is no number of that kind, whatever figures its reason holds.
    """
    if not re.search(r"\d", text):
        return text
    if html.is_hole(text):
        return element("span", text, class_="gap", data_kind="setting", data_source=source)
    return Number(text, kind, source)


def logs_of(found: Iterable[Measurement]) -> str:
    """The source of a measured number: the folders of its logs, with the hash of the recipe."""
    return "; ".join(f"logs/{m.name}, n = {m.n}, config {m.config.hash}" for m in found if m.n)


def verdict(one: Verdict, source: str) -> Markup:
    word = element("strong", one.word, class_="verdict", data_verdict=one.word)
    return element("span", word, ": ", numbered(one.reason, "setting", source))


def claims_section(given: Given) -> Section:
    known, rows = paper.load(), []
    for one in claims.judged({given.tier: given.results}):
        value = known.values.get(one.claim.value)
        place = f"{known.about.reference}: {value.place if value else 'text'}, {known.claim_status(one.claim)}"
        reason = value.tolerance_reason if value and one.shown else "what the measurement needs"
        rows.append([
            numbered(one.claim.text, "paper", place), numbered(one.paper, "paper", place),
            numbered(one.evidence, "measured", logs_of(one.shown) or "no log"),
            verdict(one.verdict, f"{PAPER_FILE}: {reason}"),
            html.join(_run_links(one.shown)) if one.shown else "none",
            html.join(part for finding in one.public for part in (_finding(finding), " ")),
        ])  # fmt: skip
    header = ["claim", "paper (status)", "measured here (tier, n)", "verdict", "logs of", "public evidence (not ours)"]
    caption = f"Each claim of the paper against the logs of tier {given.tier}, and no others."
    return Section("claims", "Claims", html.table(caption, header, rows, "claims-table"))


def _finding(one: Finding) -> Content:
    return numbered(f"{one}.", "public", one.source or "figures/public")


def _run_links(found: Iterable[Measurement]) -> list[Content]:
    links = [html.link(m.name, f"#run-{m.name}") for m in found]
    return [part for link in links for part in (link, " ")][:-1]


def table1_section(given: Given) -> Section:
    known = paper.load()
    rows = [_paper_row(row, known.about.reference) for row in known.table1]
    rows += [_measured_row(m, given.tier) for m in given.measure(named(given.artefacts, "table1").runs[given.tier])]
    note = (
        "Time is run_start to run_stop of the MLPerf log, mean over the n runs; top-1 is the mean over them with the "
        "sample standard deviation. Emulated: fewer devices than workers, so the time is that of the emulation and no "
        "claim about the paper's. Recalled: known from memory of the paper, not read again; the wording of all paper "
        "rows is recalled."
    )
    title = named(given.artefacts, "table1").title
    caption = f"The paper's rows, then those measured in tier {given.tier}."
    return Section("table1", title, [html.table(caption, compare.HEADER, rows, "table1-table"), element("p", note)])


def _paper_row(row: paper.Row, reference: str) -> list[Content]:
    source = f"{reference}, Table 1: {row.status_text}; {row.check}; {row.cites}"
    return [numbered(cell, "paper", source) for cell in compare.paper_row(row)]


def _measured_row(m: Measurement, tier: str) -> list[Content]:
    logs, config = logs_of([m]) or "no log", f"paper_configs/{m.run}.toml, config {m.config.hash}"
    cells = []
    for name, cell in zip(compare.HEADER, compare.measured_row(m, tier)):
        kind = "measured" if name in ("time", "top-1", "n") else "setting"
        cells.append(html.code(cell) if name == "library" else numbered(cell, kind, logs if m.n else config))
    return cells if m.n else ["none" if name == "n" else cell for name, cell in zip(compare.HEADER, cells)]


def stored_section(given: Given, stored: Iterable[StoredCurve]) -> Section:
    rows = [[given.link(one.log, html.code(one.run)), verdict(one.verdict, one.source),
             numbered(one.source, "measured", one.source)] for one in stored]  # fmt: skip
    command = f"python -m reproduce.report.check {given.folder}"
    body = html.hole(command, "no run was held against stored curves") if not rows else html.table(
        "Each run of this tier against the stored curves of its recipe.", ["run", "verdict", "held against"], rows,
        "stored-table",
    )  # fmt: skip
    return Section("stored", "Stored curves", body)
