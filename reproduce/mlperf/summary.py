"""What a public MLPerf log of ResNet-50 says: who ran what, how it was tuned, how far it came and in what time."""

import math
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from reproduce import files, log_rules
from reproduce.errors import LogError
from reproduce.logged import CONFIG, ENVIRONMENT, RESUMED, Event
from reproduce.mlperf.formats import Lines, Record, read_lines
from reproduce.mlperf.packed import unpacked

NOT_LOGGED = "not logged"
NO_STOP = "no run_stop"
DAMAGED = "damaged"
OF_A_RUN = ("init_start", "run_start", "run_stop", "eval_accuracy")
APART = 1.0  # s: what the clocks of the processes of one run may differ by
# The later rounds share one format.
ROUNDS = {"MLPv0.5.0": "v0.5", "MLL": "v0.6", "MLPerf": "v0.6", "MLLOG": "v0.7 or later"}
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
        if not is_resnet(self.benchmark) or self.dataset not in ("", "imagenet"):
            return None
        return TARGETS.get(self.round, TARGET)

    @property
    def reached(self) -> bool | None:
        """Whether the last accuracy is at or above the target; None where there is no accuracy or no target."""
        return None if self.target is None or self.top1 is None else self.top1 >= self.target

    @property
    def date(self) -> str:
        if self.started is None:
            return NOT_LOGGED
        try:
            return datetime.fromtimestamp(self.started, UTC).strftime("%Y-%m-%d")
        except (ValueError, OverflowError, OSError):  # a number that is no time
            return NOT_LOGGED


def read(path: Path) -> PublicLog:
    """Read a log of any round, packed or not. Raises `LogError` if it is not readable or holds no MLPerf event."""
    try:
        content, _ = unpacked(files.read_bytes(path, files.LOG), files.LOG)
    except OSError as error:
        raise LogError(f"{path}: not readable: {files.why(error)}: name a log file") from None
    except ValueError as error:
        raise LogError(f"{path}: not readable: {files.why(error)}") from None
    return interpret(Path(path), read_lines(content.decode("utf-8-sig", errors="replace")))


def interpret(path: Path, lines: Lines) -> PublicLog:
    """Say what the records mean. Raises `LogError` if there are none, or none of a training run."""
    if not lines.records:
        what = f"{lines.not_understood} damaged lines only" if lines.not_understood else "no line with :::MLP, :::MLL"
        raise LogError(f"{path}: holds no MLPerf event ({what}): name the result_N.txt of a training run")
    if not any(r.key in ("run_start", "run_stop", "eval_accuracy") for r in lines.records):
        raise LogError(f"{path}: holds MLPerf events, but none of a training run: name the result_N.txt of one")
    parts = runs(lines.records)
    found = [_one_run(path, part, lines) for part in parts]
    if len(found) == 1:
        return found[0]
    complete = [one for one in found if one.run_seconds is not None and one.status in ("", "success")]
    chosen = (complete or found)[-1]
    each = "; ".join(f"{i}: {outline(one)}" for i, one in enumerate(found, 1))
    which = f"run {found.index(chosen) + 1} counts" + (", the last complete one" if complete else ": none is complete")
    return replace(chosen, notes=(f"holds {len(found)} runs: {which} ({each})", *chosen.notes))


def outline(log: PublicLog) -> str:
    """A run in a few words, for the note on a file with several."""
    time = "no time" if log.run_seconds is None else f"{log.run_seconds:,.1f} s"
    top1 = "no accuracy" if log.top1 is None else f"{100 * log.top1:.2f} %"
    return f"{time}, {top1}, {log.status or 'status not logged'}"


def runs(records: tuple[Record, ...]) -> list[list[Record]]:
    """The records of each run in a file, in the order of time; records without a time belong to all of them."""
    cuts = boundaries(records)
    parts: list[list[Record]] = []
    for low, high in zip([-math.inf, *cuts], [*cuts, math.inf]):
        part = [r for r in records if not r.at or low < r.at <= high]
        begun_alone = not any(r.key == "init_start" for r in part)  # went on in the same program: its head is above
        parts.append(part if not parts or not begun_alone else _with_head(part, parts[-1]))
    return parts


def _with_head(part: list[Record], before: list[Record]) -> list[Record]:
    """`part` with the settings that it does not state itself, but the run before it does."""
    stated = {r.key for r in part}
    of_a_run = ("run_start", "run_stop", "eval_accuracy")
    return [r for r in before if r.key not in stated and r.key not in of_a_run] + part


def boundaries(records: tuple[Record, ...]) -> list[float]:
    """The times after which another run begins: seconds since 1970, the last of the run before.

    Every process may log its own init_start and run_start, so a run_start begins another run only after an evaluation
    or a run_stop, and an init_start only after a run_start. Times decide, as the output of processes is in any order.
    """
    cuts, begun, ended, last = [], False, False, 0.0
    for record in sorted((r for r in records if r.at and r.key in OF_A_RUN), key=lambda r: r.at):
        again = record.key == "run_start" and ended or record.key == "init_start" and record.at > last + APART
        if begun and again:
            cuts.append(last)
            begun = ended = False
        begun = begun or record.key == "run_start"
        ended = begun and (ended or record.key in ("run_stop", "eval_accuracy"))
        last = record.at
    return cuts


def _one_run(path: Path, records: list[Record], lines: Lines) -> PublicLog:
    notes: list[str] = []
    start = min((r.at for r in records if r.key == "run_start"), default=None)
    stops = [r for r in records if r.key == "run_stop"]
    if start is None:
        notes.append("no run_start: no times")
    if resumed := sum(r.key == RESUMED for r in records):
        notes.append(f"stopped and resumed {resumed} times: its run time measures nothing")
    stop = max(stops, key=lambda r: r.at, default=None)
    seconds = stop.at - start if stop is not None and start is not None else None
    if seconds is not None and seconds <= 0:
        notes.append(f"times run backwards: run_stop comes {-seconds:,.3f} s before run_start")
        seconds = None
    styles = list(dict.fromkeys(r.style for r in records))
    config, environment = _first(records, CONFIG), _first(records, ENVIRONMENT)
    benchmark = _text(_first(records, "submission_benchmark")) or next((r.benchmark for r in records), "")
    status = _status(stops)
    if config is not None and status == "success" and (reason := log_rules.objection(_events(records))):
        notes.append(f"this log of ours contradicts itself: {reason}")
        status = DAMAGED
    evaluations = _evaluations(records, start, notes)
    if evaluations and benchmark and not is_resnet(benchmark):
        notes.append(f"a log of {benchmark}, not of ResNet: its {len(evaluations)} accuracies are no top-1")
        evaluations = ()
    return PublicLog(
        path=path,
        round=ROUNDS.get(styles[0], styles[0].removeprefix("MLP")),
        benchmark=benchmark,
        division=_text(_first(records, "submission_division")),
        submitter=_text(_first(records, "submission_org")),
        system=_text(_inside(environment, "hardware") or _first(records, "submission_platform")),
        started=start,
        global_batch=_batch(_first(records, "global_batch_size")),
        optimizer=_text(_first(records, "opt_name")),
        settings=_settings(records),
        evaluations=evaluations,
        run_seconds=seconds,
        status=status,
        dataset=_text(_inside(config, "recipe", "data", "dataset")),
        records=len(lines.records), not_understood=lines.not_understood, other_lines=lines.other, notes=tuple(notes),
    )  # fmt: skip


def is_resnet(benchmark: str) -> bool:
    return benchmark.lower().startswith("resnet")


def _events(records: list[Record]) -> list[tuple[float, Event]]:
    return [(r.at, Event(r.key, r.value, r.metadata)) for r in records]


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
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
