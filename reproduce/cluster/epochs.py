"""Epochs to 75.9 % against the mini-batch, by the public runs of `figures/public`.

Runs from v0.6 on that reached the target, whatever their machine, for epochs do not depend on it; of systems all of
whose runs are in the closed division.
"""

import bisect
import functools
import math
from dataclasses import dataclass

import numpy as np

from reproduce.cluster.systems import RUNS, read
from reproduce.errors import ConfigError

TARGET = 75.9  # percent of the validation images
FIRST_ROUND = "v0.6"  # the target was lower before
FEWEST = 10  # runs an answer rests on


@dataclass(frozen=True)
class Epochs:
    """Of the public runs at the next mini-batches: the median, and the 5th and the 95th percentile."""

    median: float
    low: float
    high: float
    runs: int
    batches: tuple[int, int]  # the smallest and the largest mini-batch among them


@functools.lru_cache
def reached() -> tuple[tuple[int, float], ...]:
    """(mini-batch, epochs) of every run, by mini-batch."""
    rows = [row for row in read(RUNS) if row["round"] >= FIRST_ROUND]
    elsewhere = {(row["round"], row["dir"]) for row in rows if row["submission_division"] != "closed"}
    return tuple(sorted(
        (int(row["global_batch_size"]), float(row["last_epoch"])) for row in rows
        if row["status"] == "success" and (row["round"], row["dir"]) not in elsewhere
        and row["global_batch_size"] and row["last_epoch"] and float(row["last_top1"] or 0) >= TARGET / 100
    ))  # fmt: skip


def largest() -> int:
    """Mini-batch that a public run reached the target with."""
    return reached()[-1][0]


def needed(batch: int) -> Epochs:
    """By the runs at the smallest mini-batches that are no smaller: larger ones take more epochs, so none too few.

    Raises `ConfigError` beyond the largest mini-batch of a public run.
    """
    if batch > largest():
        raise ConfigError(f"mini-batch {batch:,}: no public run of the closed division reached {TARGET} % beyond "
                          f"{largest():,}: take fewer GPUs or a smaller --local-batch")  # fmt: skip
    runs = reached()[bisect.bisect_left(reached(), (batch, 0.0)):]
    last = runs[min(FEWEST, len(runs)) - 1][0]
    near = runs[:bisect.bisect_right(runs, (last, math.inf))]
    low, median, high = np.percentile([epochs for _, epochs in near], [5, 50, 95])
    return Epochs(float(median), float(low), float(high), len(near), (near[0][0], last))
