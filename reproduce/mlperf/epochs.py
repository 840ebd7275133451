"""How many epochs public runs needed to 75.9 % top-1, by mini-batch and division."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reproduce.mlperf import table
from reproduce.mlperf.summary import TARGET, Evaluation

DIVISIONS = ("closed", "open")


@dataclass(frozen=True)
class Needed:
    """A run: its mini-batch in images, and the epoch of its first evaluation at 75.9 % or more, None if there is none.

    An upper bound, by at most the epochs between two evaluations (four, for most).
    """

    batch: int
    epochs: float | None
    division: str  # one of DIVISIONS
    optimizer: str  # as logged


@functools.lru_cache
def needed(folder: Path = table.FOLDER) -> tuple[Needed, ...]:
    """Every different run that logs its mini-batch and division, which none of v0.5 does. Raises `DataError`."""
    curves = table.curves(folder)
    return tuple(
        Needed(run.global_batch, _first(curves.get(run.key, ())), run.division, run.optimizer)
        for run in table.different(table.runs(folder))
        if run.global_batch and run.division in DIVISIONS
    )


def _first(evaluations: Iterable[Evaluation]) -> float | None:
    return next((one.epoch for one in evaluations if one.top1 >= TARGET), None)
