"""What a public MLPerf log of ResNet-50 says: who ran what, how it was tuned, how far it came and in what time."""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from reproduce.errors import LogError
from reproduce.events import CONFIG, ENVIRONMENT, RESUMED
from reproduce.mlperf.formats import Lines, Record, read_lines

NOT_LOGGED = "not logged"
NO_STOP = "no run_stop"
ROUNDS = {"MLPv0.5.0": "v0.5", "MLL": "v0.6", "MLLOG": "v0.7 or later"}  # the later rounds share one format
TARGETS = {"v0.5": 0.749}  # top-1, fraction of 1; of the closed division
TARGET = 0.759  # from v0.6 on
SETTINGS = ("opt_", "lars_", "sgd_", "model_bn_span", "gradient_accumulation_steps", "input_batch_size")


@dataclass(frozen=True)
class Evaluation:
    """Top-1 (fraction of 1) after `epoch`, both as logged: some count epochs from 0. `seconds` is since run_start."""

    epoch: float
    top1: float
    seconds: float | None


@dataclass(frozen=True)
class PublicLog:
    """One run. A string is empty and a number None where the log does not say; nothing is filled in."""

    path: Path
    round: str
    benchmark: str
    division: str
    submitter: str
    system: str
    started: float | None  # seconds since 1970
    global_batch: int | None
    optimizer: str
    settings: dict = field(default_factory=dict)  # key as logged: the different values in order
    evaluations: tuple[Evaluation, ...] = ()
    run_seconds: float | None = None
    status: str = ""  # as logged; "" for a run_stop that says nothing; NO_STOP if there is none
    dataset: str = ""  # our own logs name theirs
    records: int = 0
    not_understood: int = 0
    other_lines: int = 0
    notes: tuple[str, ...] = ()

    @property
    def top1(self) -> float | None:
        """The last accuracy, fraction of 1, reached target or not."""
        return self.evaluations[-1].top1 if self.evaluations else None

    @property
    def target(self) -> float | None:
        """The benchmark's, fraction of 1; None unless the log is one of ResNet-50 on ImageNet, and says so."""
        if not self.benchmark.startswith("resnet") or self.dataset not in ("", "imagenet"):
            return None
        return TARGETS.get(self.round, TARGET)

    @property
    def reached(self) -> bool | None:
        """Whether the last accuracy is at or above the target; None where there is no accuracy or no target."""
        return None if self.target is None or self.top1 is None else self.top1 >= self.target

    @property
    def date(self) -> str:
        try:
            return datetime.fromtimestamp(self.started, UTC).strftime("%Y-%m-%d")
        except (TypeError, ValueError, OverflowError, OSError):  # none, or a number that is no time
            return NOT_LOGGED


def read(path: Path) -> PublicLog:
    """Read a log of any round. Raises `LogError` if it is not readable or holds no MLPerf event."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise LogError(f"{path}: not readable: {error.strerror}: name a log file") from None
    return interpret(Path(path), read_lines(content.decode("utf-8", errors="replace")))


def interpret(path: Path, lines: Lines) -> PublicLog:
    """Say what the records mean. Raises `LogError` if there are none, or none of a training run."""
    if not lines.records:
        what = f"{lines.not_understood} damaged lines only" if lines.not_understood else "no line with :::MLP, :::MLL"
        raise LogError(f"{path}: holds no MLPerf event ({what}): name the result_N.txt of a training run")
    notes: list[str] = []
    records = _last_run(lines.records, notes)
    start = min((r.at for r in records if r.key == "run_start"), default=None)
    stops = [r for r in records if r.key == "run_stop"]
    if start is None and not stops and not any(r.key == "eval_accuracy" for r in records):
        raise LogError(f"{path}: holds MLPerf events, but none of a training run: name the result_N.txt of one")
    if start is None:
        notes.append("no run_start: no times")
    if resumed := sum(r.key == RESUMED for r in records):
        notes.append(f"stopped and resumed {resumed} times: its run time measures nothing")
    stop = max(stops, key=lambda r: r.at, default=None)
    styles = list(dict.fromkeys(r.style for r in records))
    config, environment = _first(records, CONFIG), _first(records, ENVIRONMENT)
    settings = _settings(records)
    return PublicLog(
        path=path,
        round=ROUNDS.get(styles[0], styles[0].removeprefix("MLP")),
        benchmark=_text(_first(records, "submission_benchmark")) or next((r.benchmark for r in records), ""),
        division=_text(_first(records, "submission_division")),
        submitter=_text(_first(records, "submission_org")),
        system=_text(_inside(environment, "hardware") or _first(records, "submission_platform")),
        started=start,
        global_batch=_batch(_first(records, "global_batch_size")),
        optimizer=_text(_first(records, "opt_name")),
        settings=settings,
        evaluations=_evaluations(records, start, notes),
        run_seconds=stop.at - start if stop is not None and start is not None else None,
        status=_status(stops),
        dataset=_text(_inside(config, "recipe", "data", "dataset")),
        records=len(lines.records), not_understood=lines.not_understood, other_lines=lines.other, notes=tuple(notes),
    )  # fmt: skip


def _last_run(records: tuple[Record, ...], notes: list[str]) -> list[Record]:
    """The records of the last run in the file.

    Every process may log its own run_start, so a second one begins another run only if an evaluation or a run_stop
    lies between the two. Times decide, as the processes' output may be in any order.
    """
    ended = sorted(r.at for r in records if r.key in ("eval_accuracy", "run_stop"))
    starts = sorted(r.at for r in records if r.key == "run_start")
    begins = [now for before, now in zip(starts, starts[1:]) if any(before < at < now for at in ended)]
    if not begins:
        return list(records)
    notes.append(f"holds {len(begins) + 1} runs: this is the last")
    of_a_run = ("run_start", "run_stop", "eval_accuracy")
    return [r for r in records if r.key not in of_a_run or r.at >= begins[-1]]


def _evaluations(records: list[Record], start: float | None, notes: list[str]) -> tuple[Evaluation, ...]:
    """In the order of epochs, each once however many processes log it.

    By epoch and not by time: in some v0.5 logs the clock of an evaluation is off by a day.
    """
    found: dict[float, Evaluation] = {}
    differing, odd = set(), 0
    for record in records:
        if record.key != "eval_accuracy":
            continue
        inner = record.value if isinstance(record.value, dict) else {"value": record.value}
        epoch = _number(record.metadata.get("epoch_num", record.metadata.get("epoch", inner.get("epoch"))))
        top1 = _number(inner.get("value"))
        if epoch is None or top1 is None or not 0 <= top1 <= 1:
            odd += 1
            continue
        seconds = None if start is None or not record.at else record.at - start
        if epoch in found and found[epoch].top1 == top1:
            continue
        if epoch in found:
            differing.add(epoch)
        found[epoch] = Evaluation(epoch, top1, seconds)
    if differing:
        notes.append(f"several accuracies at {len(differing)} epochs: the last written counts")
    if odd:
        notes.append(f"{odd} evaluations without an epoch or a fraction of 1: left out")
    return tuple(found[epoch] for epoch in sorted(found))


def _status(stops: list[Record]) -> str:
    """As logged: in the metadata from v0.6 on, as ``{"success": true}`` by some in v0.5, by others not at all.

    If processes disagree, the one that did not succeed counts.
    """
    if not stops:
        return NO_STOP
    said = [word for word in map(_said, stops) if word]
    return next((word for word in said if word != "success"), said[0] if said else "")


def _said(stop: Record) -> str:
    if "status" in stop.metadata:
        return _text(stop.metadata["status"])
    success = _inside(stop.value, "success")
    return "" if success is None else "success" if str(success).lower() == "true" else "not a success"


def _settings(records: list[Record]) -> dict:
    found: dict[str, list] = {}
    for record in records:
        if record.key.startswith(SETTINGS) and record.key != "opt_name" and record.value is not None:
            values = found.setdefault(record.key, [])
            if record.value not in values[-1:]:  # a v0.5 log repeats the learning rate at every step
                values.append(record.value)
    return found


def _first(records: list[Record], key: str):
    return next((r.value for r in records if r.key == key and r.value is not None), None)


def _inside(value, *keys):
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value) -> str:
    return "" if value is None else str(value)


def _batch(value) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _number(value) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
