"""Table 1 row by row: the paper's figures, the row's recipe scaled down and run here, and its time as modelled."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reproduce.cluster import files, recipe_time
from reproduce.cluster.recipe_time import Modelled
from reproduce.judge.compare import batches, duration, facts
from reproduce.judge.difference import LEVEL, half_width
from reproduce.recipe import load as configs
from reproduce.recipe.runs import ROW_MACHINES, TABLE1_ROWS
from reproduce.results import measured
from reproduce.results.measured import Measurement
from reproduce.results.paper import Row

HEADER = [
    "work", "paper: time, top-1 (status)", "recipe here, mini-batch", "measured top-1 (n, interval)",
    "measured images/s, median", "measured on", "modelled time on the row's machine",
]  # fmt: skip
LATEX_COLUMNS = "p{2cm}p{3.4cm}p{3cm}p{3.4cm}p{2cm}p{3.4cm}p{3cm}"
NOT_RUN = "not run: 256 / 102.4 would be 2.5 images; the small-batch baseline stands beside it, not for it"
COMMAND = "bash reproduce/run_all.sh --only table1 --with-optional"


@dataclass(frozen=True)
class RowHere:
    """A row of the paper, the run that stands for it (None: He et al.), and its recipe's time on its own machine."""

    row: Row
    found: Measurement | None
    modelled: Modelled | None

    def cells(self) -> list[str]:
        paper = f"{self.row.time}, {self.row.top1:.2f} % (paper: {self.row.status_text})"
        return [self.row.work, paper, self.recipe, *self._measured(), modelled_cell(self.row.work, self.modelled)]

    @property
    def recipe(self) -> str:
        if self.found is None:
            return NOT_RUN
        return f"{self.found.name}: {batches(self.found)}"

    def _measured(self) -> list[str]:
        if self.found is None:
            return ["none", "none", "none"]
        if self.found.top1 is None:
            return [f"{self.found.missing}: {COMMAND}", "missing", "missing"]
        speed = self.found.images_per_second
        rate = f"{speed.median:,.0f}" if speed else "missing (on several kinds of hardware)"
        return [top1(self.found), rate, "; ".join([*self.found.hardware, self.found.environment("precision")])]

    def facts(self) -> dict:
        time = self.modelled and vars(self.modelled) | {"kind": "modelled", "cluster": ROW_MACHINES[self.row.work]}
        if self.found is None:
            return {"work": self.row.work, "not_run": NOT_RUN, "modelled_seconds": time}
        return {"work": self.row.work, "kind": "measured", "top1_percent": facts(self.found.top1),
                "images_per_second": facts(self.found.images_per_second), **self.found.provenance(),
                "modelled_seconds": time}  # fmt: skip


def top1(m: Measurement) -> str:
    """The mean with Student's interval; a single run has none."""
    assert m.top1 is not None, "there is a measurement"
    values = m.top1.values
    if len(values) < 2:
        return f"{m.top1.mean:.2f} % (n = 1, no interval)"
    half = half_width(values)
    low, high = m.top1.mean - half, m.top1.mean + half
    return f"{m.top1.mean:.2f} % ({low:.2f} to {high:.2f} at {100 * (1 - LEVEL):g} %; n = {len(values)})"


def modelled_cell(work: str, one: Modelled | None) -> str:
    if one is None:
        return "none: no cluster file of this machine"
    return f"{duration(one.seconds)} ({one.low:.0f} to {one.high:.0f} s; modelled, {ROW_MACHINES[work]})"


def rows(known: Iterable[Row], results: Path) -> list[RowHere]:
    """Every row of the paper's table, in its order. Raises `KeyError` for one that nobody has placed."""
    return [_row(row, TABLE1_ROWS[row.work], results) for row in known]


def _row(row: Row, run: str | None, results: Path) -> RowHere:
    found = measured.collect(results, run) if run else None
    return RowHere(row, found, _modelled(row.work, found))


def _modelled(work: str, found: Measurement | None) -> Modelled | None:
    """Of the recipe on ImageNet that the run scales down."""
    if work not in ROW_MACHINES or found is None or not found.config.run.scales_down:
        return None
    return _time(found.config.run.scales_down, ROW_MACHINES[work])


@functools.cache
def _time(run: str, machine: str) -> Modelled:
    return recipe_time.modelled(configs.load_run(run), files.load(machine))
