"""Contract 2: the MLPerf log, the one record of a run. A writer for our runs and a strict reader of what it wrote.

The format is the field's own (``:::MLLOG {json}``, mlcommons/logging), so any MLPerf tool reads our logs; a test runs
the public compliance checker on one. The line is written here rather than by the ``mlperf-logging`` package so that
the engine runs on a machine that has torch and nothing else.

Success is an event written last: a log without ``run_stop`` with status "success" is incomplete, whatever it holds,
and gives no number to anyone. Imports neither torch nor NumPy.
"""

import itertools
import json
import math
import os
import re
import statistics
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reproduce import files, log_rules
from reproduce.errors import LogError, shown
from reproduce.logged import CONFIG, ENVIRONMENT, PREFIX, RESULT, RESUMED, Event, is_count, read_events

__all__ = ["CONFIG", "ENVIRONMENT", "PREFIX", "RESULT", "RESUMED", "Event", "read_events"]
DIVERGED = re.compile(r"\bloss is (nan|-?inf)|gradients of group .* overflowed")  # `engine.overflow` says it


def start(key: str, value=None, **metadata) -> Event:
    return Event(key, value, metadata, "INTERVAL_START")


def end(key: str, value=None, **metadata) -> Event:
    return Event(key, value, metadata, "INTERVAL_END")


def point(key: str, value=None, **metadata) -> Event:
    return Event(key, value, metadata)


class LogWriter:
    """Writes events to `path`, flushed one by one, after the text `before` of a run that goes on.

    An earlier attempt at the same path is kept beside it with the suffix ``.incomplete``, the next ``.incomplete.2``
    and so on, unless `before` begins with all of it: nothing already written is lost. Raises `LogError` when the folder
    cannot be written or the disk is full.
    """

    def __init__(self, path: Path, before: str = ""):
        self.path = Path(path)
        try:
            if os.path.lexists(self.path) and not self._begins(before):
                os.replace(self.path, _free(self.path.with_suffix(".incomplete")))
            files.write_whole(self.path, before)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
            self._file = open(descriptor, "w", encoding="utf-8")
        except OSError as error:
            raise LogError(f"{self.path}: cannot write the log: {error.strerror}: choose another --out") from None

    def __call__(self, event: Event) -> None:
        line = {
            "namespace": "",
            "time_ms": (event.at or time.time_ns()) // 1_000_000,
            "event_type": event.kind,
            "key": event.key,
            "value": event.value,
            "metadata": {"file": "reproduce/engine/train.py", "lineno": 0, **event.metadata},
        }
        try:
            self._file.write(PREFIX + json.dumps(files.finite(line), allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise LogError(f"{self.path}: cannot write the log: {error.strerror}: free some space, run again") from None

    def text(self) -> str:
        """All that has been written so far. Raises `OSError`."""
        return files.read_text(self.path, files.LOG, "replace")

    def _begins(self, before: str) -> bool:
        """Whether all that the file holds is the beginning of `before`."""
        try:
            return before.startswith(self.text())
        except OSError:  # a folder, a pipe, one of another user's
            return False

    def close(self) -> None:
        self._file.close()


def _free(path: Path) -> Path:
    """`path`, or with the first number that makes it a name nobody has taken."""
    numbered = (path.with_name(f"{path.name}.{number}") for number in itertools.count(2))
    return next(candidate for candidate in itertools.chain([path], numbered) if not os.path.lexists(candidate))


@dataclass(frozen=True)
class Accuracy:
    """One evaluation: `epoch` one-based as logged, `top1` a fraction of 1, `seconds` since run_start."""

    epoch: int
    top1: float
    seconds: float


@dataclass(frozen=True)
class RunLog:
    """What a log says. Only a log whose `status` is "complete" has numbers; the others have a `reason`."""

    path: Path
    status: str  # "complete" | "aborted" | "incomplete" | "foreign"
    reason: str = ""
    config: dict = field(default_factory=dict)  # name, title, tier, scales_down, hash, recipe, sources
    environment: dict = field(default_factory=dict)  # hardware, versions, world size, precision, revision
    seed: int | None = None
    global_batch: int | None = None
    accuracies: tuple[Accuracy, ...] = ()
    epoch_seconds: tuple[float, ...] = ()
    epoch_images: tuple[int, ...] = ()
    eval_seconds: float = 0.0
    init_seconds: float = 0.0
    run_seconds: float = 0.0  # run_start to run_stop, what MLPerf and the paper's "training time" count
    interruptions: int = 0  # how often it was stopped and resumed; its elapsed times then measure nothing
    result: dict = field(default_factory=dict)  # total updates, weights hash

    @property
    def complete(self) -> bool:
        return self.status == "complete"

    def is_of(self, config_hash: str, seed: int) -> bool:
        """Whether it is a log of that recipe and seed, ended or not."""
        return (self.config.get("hash"), self.seed) == (config_hash, seed)

    @property
    def diverged(self) -> bool:
        """Whether its numbers were no longer finite: a result too, where another aborted run may have lacked data."""
        return self.status == "aborted" and bool(DIVERGED.search(self.reason))

    @property
    def moved(self) -> bool:
        """Whether it was resumed on other hardware or another number of processes."""
        return ", then " in str(self.environment.get("hardware"))

    @property
    def top1(self) -> float | None:
        """Final accuracy, a fraction of 1; None unless complete, and for data that has no accuracy (synthetic)."""
        return self.accuracies[-1].top1 if self.complete and self.accuracies else None

    @property
    def images_per_second(self) -> float | None:
        """Steady training rate: the median over epochs of images / epoch time, the first epoch left out.

        Evaluation and start-up are not in it. This is the sense in which the paper's 1.73 M images/s is consistent
        with its 74.7 s (90 epochs / 74.7 s would be 1.54 M).
        """
        rates = [n / s for n, s in zip(self.epoch_images, self.epoch_seconds) if s > 0]
        return statistics.median(rates[1:] or rates) if self.complete and rates and not self.moved else None


def log_path(out: Path, name: str, seed: int) -> Path:
    """Where the log of config `name` with `seed` lies under a results folder."""
    return Path(out) / "logs" / name / f"result_{seed}.txt"


def checkpoint_folder(out: Path, name: str, seed: int) -> Path:
    """Where that run's checkpoints lie."""
    return Path(out) / "checkpoints" / name / f"seed_{seed}"


def newest_update(checkpoints: Path) -> int | None:
    """Updates taken in the newest checkpoint of such a folder, by the name of the file; None if there is none."""
    names = (path.stem.removeprefix("update_") for path in checkpoints.glob("update_*.ckpt"))
    return max((int(name) for name in names if name.isascii() and name.isdigit() and len(name) < 19), default=None)


def read_log(path: Path) -> RunLog:
    """Read one of our logs, strictly.

    Never raises for what a file contains: a missing, truncated, aborted or foreign log, and one that contradicts itself
    (`log_rules`), comes back with a status other than "complete", a reason in words and no numbers.
    """
    path = Path(path)
    try:
        events = read_events(path)
    except (OSError, ValueError) as error:
        return RunLog(path, "incomplete", f"not readable: {files.why(error)}")
    try:
        log = _interpret(path, events)
    except log_rules.NUMBERS as error:
        return RunLog(path, "incomplete", f"an event is malformed: {error!r}"[:200])
    return replace(log, reason=shown(log.reason))


def _interpret(path: Path, events: list[tuple[float, Event]]) -> RunLog:
    first: dict[str, Any] = {}
    for _, event in events:
        first.setdefault(event.key, event.value)
    if not events:
        return RunLog(path, "foreign", "holds no MLPerf event as this package writes them")
    if not isinstance(first.get(CONFIG), dict):
        return RunLog(path, "foreign", "was not written by this package: it names no config")
    parts = [event.value for _, event in events if event.key in (ENVIRONMENT, RESUMED)]
    about: dict[str, Any] = {
        "config": first[CONFIG], "environment": _environment([part for part in parts if isinstance(part, dict)]),
        "seed": first["seed"] if is_count(first.get("seed"), most=2**63) else None,
        "global_batch": first["global_batch_size"] if is_count(first.get("global_batch_size"), 1) else None,
    }  # fmt: skip
    last = events[-1][1]
    if last.key != "run_stop":
        return RunLog(path, "incomplete", f"ends at {last.key}, before run_stop", **about)
    if last.metadata.get("status") != "success":
        return RunLog(path, "aborted", str(last.metadata.get("reason", "no reason logged")), **about)
    objection = log_rules.objection(events)
    if objection:
        return RunLog(path, "incomplete", objection, **about)
    return _complete(path, events, about, first[RESULT])


def _complete(path: Path, events: list[tuple[float, Event]], about: dict, result: dict) -> RunLog:
    """The numbers of a log that `log_rules` has found to agree with itself."""
    begin = next(stamp for stamp, event in events if event.key == "run_start")
    accuracies, epoch_seconds, epoch_images = [], [], []
    opened: dict[str, float] = {}
    totals, interruptions, interrupted = {"eval": 0.0, "init": 0.0}, 0, False
    for stamp, event in events:
        name = event.key.removesuffix("_start").removesuffix("_stop")
        if event.kind == "INTERVAL_START":
            opened[name] = stamp
        elif event.key == RESUMED:
            interruptions, interrupted = interruptions + 1, True
        elif event.key == "epoch_stop":
            epoch_seconds.append(math.nan if interrupted else stamp - opened[name])
            epoch_images.append(event.metadata["images"])
            del opened[name]
            interrupted = False
        elif event.kind == "INTERVAL_END" and name in totals:
            totals[name] += stamp - opened.pop(name)
        elif event.key == "eval_accuracy":
            accuracies.append(Accuracy(event.metadata["epoch_num"], float(event.value), stamp - begin))
    return RunLog(
        path, "complete", **about, accuracies=tuple(accuracies), epoch_seconds=tuple(epoch_seconds),
        epoch_images=tuple(epoch_images), eval_seconds=totals["eval"], init_seconds=totals["init"],
        run_seconds=events[-1][0] - begin, interruptions=interruptions, result=result,
    )  # fmt: skip


def _environment(parts: list[dict]) -> dict:
    """What the run began in. If it went on elsewhere, its hardware names all places in turn."""
    if not parts:
        return {}
    machines = list(dict.fromkeys(str(part["hardware"]) for part in parts if "hardware" in part))
    return parts[0] | ({"hardware": ", then ".join(machines)} if len(machines) > 1 else {})
