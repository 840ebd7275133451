"""The public MLPerf v0.6 curves of the paper's team, carried in ``figures/public``: a third party's measurement.

Neither the paper's run (eleven weeks later, another mini-batch) nor ours. They give a figure its reference shape.
"""

import csv
import statistics
from dataclasses import dataclass
from pathlib import Path

from reproduce.errors import DataError
from reproduce.paths import FIGURES

FOLDER = FIGURES / "public"
LABEL = "public MLPerf v0.6 log, Fujitsu, ImageNet, 2,048 V100"
GPUS = 2048
HARDWARE = "512 nodes x 4 Tesla V100-SXM2-16GB (ABCI)"
FILES = ("mlperf_v06_eval_accuracy.csv", "mlperf_v06_epoch_times.csv", "mlperf_v06_runs.csv")


@dataclass(frozen=True)
class PublicRun:
    """One public run: `top1` in percent, `seconds` since run_start, both after each of `epochs` (one-based)."""

    run: int
    epochs: tuple[int, ...]
    seconds: tuple[float, ...]
    top1: tuple[float, ...]
    run_seconds: float  # run_start to run_stop
    global_batch: int
    warmup_epochs: float
    epoch_stops: tuple[float, ...]  # seconds since run_start at the end of epoch 1, 2, ...


def runs(folder: Path = FOLDER) -> list[PublicRun]:
    """The five runs, from the three tables. Raises `DataError` if a table is missing or malformed."""
    try:
        accuracy, times, facts = (_rows(folder / name) for name in FILES)
        found = []
        for fact in facts:
            mine = [row for row in accuracy if row["run"] == fact["run"]]
            found.append(PublicRun(
                run=int(fact["run"]),
                epochs=tuple(int(row["epoch"]) for row in mine),
                seconds=tuple(float(row["seconds_since_run_start"]) for row in mine),
                top1=tuple(100 * float(row["top1"]) for row in mine),
                run_seconds=float(fact["run_seconds"]),
                global_batch=int(fact["global_batch"]),
                warmup_epochs=float(fact["opt_learning_rate_warmup_epochs"]),
                epoch_stops=tuple(float(row["stop_s"]) for row in times if row["run"] == fact["run"]),
            ))  # fmt: skip
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder}: the public curves are not readable: {error}: restore it from git") from None
    return found


def steady_rates(folder: Path = FOLDER) -> tuple[float, ...]:
    """Images/s of each run: the median over its augmented epochs without an evaluation beside them, the first left out.

    By executed updates, 14 or 15 per epoch. Raises `DataError` as `runs` does.
    """
    rates: dict[str, list[float]] = {}
    try:
        for row in _rows(folder / FILES[1]):
            beside = (row["eval_follows"], row["eval_precedes"], row["no_augment_phase"])
            if beside == ("0", "0", "0") and row["epoch"] != "1":
                rates.setdefault(row["run"], []).append(float(row["images_per_s_inferred"]))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder}: the public curves are not readable: {error}: restore it from git") from None
    return tuple(statistics.median(of_run) for of_run in rates.values())


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
