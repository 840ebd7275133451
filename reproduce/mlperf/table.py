"""The 1,834 public ResNet-50 runs of MLPerf Training v0.5 to v4.0, carried in ``figures/public``."""

import csv
import gzip
import statistics
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from reproduce.errors import DataError
from reproduce.mlperf.summary import TARGET, TARGETS, Evaluation, PublicLog
from reproduce.paths import FIGURES

FOLDER = FIGURES / "public"

RUNS, CURVES = "mlperf_resnet_runs.csv.gz", "mlperf_resnet_eval_curves.csv.gz"
ABOUT = ("round", "dir", "run", "run_seconds", "status", "last_epoch", "last_top1", "submission_division", "opt_name",
         "global_batch_size")  # fmt: skip


@dataclass(frozen=True)
class TableRun:
    """One run. An empty string or None is a hole: the log does not say."""

    round: str
    folder: str  # in the round's repository
    file: str
    run_seconds: float | None  # run_start to run_stop
    status: str  # as logged; v0.5 logs say none
    last_epoch: float | None
    top1: float | None  # last accuracy, fraction of 1
    division: str
    optimizer: str
    global_batch: int | None
    settings: dict = field(default_factory=dict)  # the other columns, those with a value

    @property
    def key(self) -> tuple[str, str, str]:
        return self.round, self.folder, self.file

    @property
    def submitter(self) -> str:
        return self.folder.split("/")[1 if self.round == "v0.5" else 0]

    @property
    def system(self) -> str:
        """The folder named after it; v0.5 calls every TPU "tpu", and names it one level up."""
        parts = self.folder.split("/")
        return parts[2] if parts[-2] == "tpu" else parts[-2]

    @property
    def target(self) -> float:
        return TARGETS.get(self.round, TARGET)

    @property
    def reached(self) -> bool:
        """Whether the last accuracy is at the target and the log does not say that the run failed."""
        return self.top1 is not None and self.top1 >= self.target and self.status in ("", "success")

    @property
    def peak_rate(self) -> float | None:
        """The base learning rate as logged."""
        return self._setting("lars_opt_base_learning_rate", "opt_base_learning_rate")

    @property
    def warmup_epochs(self) -> float | None:
        return self._setting("lars_opt_learning_rate_warmup_epochs", "opt_learning_rate_warmup_epochs")

    def _setting(self, *keys: str) -> float | None:
        return next((float(self.settings[key]) for key in keys if key in self.settings), None)


def runs(folder: Path = FOLDER) -> list[TableRun]:
    """All public runs, in the order of rounds. Raises `DataError` if the table is missing or malformed."""
    try:
        return [_run(row) for row in _rows(folder / RUNS)]
    except (OSError, EOFError, zlib.error, ValueError, KeyError, IndexError) as error:
        raise DataError(f"{folder / RUNS}: the public runs are not readable: {error}: restore it from git") from None


def curves(folder: Path = FOLDER) -> dict[tuple[str, str, str], tuple[Evaluation, ...]]:
    """The evaluations of each run, by `TableRun.key`. Raises `DataError` as `runs` does."""
    found: dict[tuple[str, str, str], list[Evaluation]] = {}
    try:
        for row in _rows(folder / CURVES):
            one = Evaluation(float(row["epoch"]), float(row["top1"]), _number(row["seconds_since_run_start"]))
            found.setdefault((row["round"], row["dir"], row["run"]), []).append(one)
    except (OSError, EOFError, zlib.error, ValueError, KeyError) as error:
        raise DataError(f"{folder / CURVES}: the public curves are not readable: {error}: restore from git") from None
    return {key: tuple(of_run) for key, of_run in found.items()}


def different(found: Iterable[TableRun]) -> list[TableRun]:
    """Each run once: some were submitted again, in a later round or by a partner, with the same log."""
    once: dict[tuple, TableRun] = {}
    for run in found:
        same = (run.run_seconds, run.top1, run.global_batch)  # to the millisecond and the image: no two runs share it
        once.setdefault(same if run.run_seconds is not None else run.key, run)
    return list(once.values())


def same(log: PublicLog, found: Iterable[TableRun]) -> list[TableRun]:
    """The public runs that a log is of, by time, accuracy and mini-batch; several if it was submitted again."""
    if log.run_seconds is None or log.top1 is None:
        return []
    return [run for run in found
            if run.run_seconds is not None and abs(run.run_seconds - log.run_seconds) < 0.0015
            and run.top1 is not None and abs(run.top1 - log.top1) < 1e-6
            and log.global_batch in (None, run.global_batch)]  # fmt: skip


def median(values: Iterable[float | None]) -> float | None:
    """Of those that are known; None if none is."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _run(row: dict[str, str]) -> TableRun:
    return TableRun(
        round=row["round"], folder=row["dir"], file=row["run"], run_seconds=_number(row["run_seconds"]),
        status=row["status"], last_epoch=_number(row["last_epoch"]), top1=_number(row["last_top1"]),
        division=row["submission_division"], optimizer=row["opt_name"],
        global_batch=int(row["global_batch_size"]) if row["global_batch_size"] else None,
        settings={key: value for key, value in row.items() if key not in ABOUT and value},
    )  # fmt: skip


def _number(text: str) -> float | None:
    return float(text) if text else None


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
