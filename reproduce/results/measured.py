"""Our measurements: the complete logs of a run, and nothing else, turned into numbers with their n and spread.

A log counts only if it is complete and was made with the recipe that is in the config file now. Everything else in
the run's folder is listed with the reason it was left out, so that a hole in a table can be explained.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reproduce.errors import LogError, shown
from reproduce.events import RunLog, log_path, read_log
from reproduce.recipe import load as configs
from reproduce.recipe.load import Config

GENERATED = "generated"  # the data set of `engine.data.generated`


@dataclass(frozen=True)
class LeftOut:
    """A file that gives no number: its path relative to the results folder, and why."""

    log: str
    reason: str


@dataclass(frozen=True)
class Spread:
    """One quantity over the seeds of a run, in the order of the logs."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float | None:
        """Sample standard deviation; None for a single value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)


@dataclass(frozen=True)
class Measurement:
    """What the logs of one run say. With n = 0 every quantity is None and `missing` says why."""

    run: str  # path of the config below paper_configs, without .toml, and its variant, see `recipe.runs`
    config: Config
    results: Path
    logs: tuple[RunLog, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def n(self) -> int:
        return len(self.logs)

    @property
    def name(self) -> str:
        return Path(self.run).name

    @property
    def missing(self) -> str:
        """``missing`` or ``missing (reason)``; empty when there is a measurement."""
        if self.logs:
            return ""
        return f"missing ({self.left_out[0].reason})" if self.left_out else "missing"

    @property
    def has_accuracy(self) -> bool:
        """Of runs for their speed a network's answers mean nothing, least of all on synthetic data."""
        return self.config.data.dataset != "synthetic" and self.config.run.purpose != "speed"

    @property
    def is_rehearsal(self) -> bool:
        """Whether it is of generated images in ImageNet's place: no evidence for anything."""
        return self.config.data.dataset == GENERATED

    @property
    def top1(self) -> Spread | None:
        """Final top-1 accuracy in percent."""
        values = tuple(100 * log.top1 for log in self.logs if log.top1 is not None)
        return Spread(values) if values and self.has_accuracy else None

    @property
    def top1_by_seed(self) -> dict[int, float]:
        """Final top-1 accuracy in percent of each seed; a log is of the seed in its name, so none is there twice."""
        by_seed = {log.seed: 100 * log.top1 for log in self.logs if log.top1 is not None and log.seed is not None}
        return by_seed if self.has_accuracy else {}

    @property
    def seconds(self) -> Spread | None:
        """run_start to run_stop. None if a run was interrupted, for what lay between is in it, and over different
        hardware: an average of two machines times neither."""
        timed = len(self.hardware) == 1 and not self.interrupted
        return Spread(tuple(log.run_seconds for log in self.logs)) if timed else None

    @property
    def images_per_second(self) -> Spread | None:
        """Steady training rate (`RunLog.images_per_second`); None over different hardware."""
        rates = tuple(log.images_per_second for log in self.logs if log.images_per_second)
        return Spread(rates) if rates and len(self.hardware) == 1 else None

    @property
    def hardware(self) -> tuple[str, ...]:
        """The distinct descriptions of the machines the logs were made on."""
        return tuple(sorted({str(log.environment.get("hardware", "unknown hardware")) for log in self.logs}))

    @property
    def devices(self) -> tuple[int, ...]:
        return tuple(sorted({int(log.environment.get("devices", 0)) for log in self.logs}))

    @property
    def interrupted(self) -> bool:
        """Whether a run was stopped and resumed on the way: its accuracy counts, its elapsed time does not."""
        return any(log.interruptions for log in self.logs)

    @property
    def emulated(self) -> bool:
        """Whether devices stood in for more workers than they are: then accuracy is tested, elapsed time is not."""
        return bool(self.logs) and self.devices != (self.config.batch.workers,)

    def environment(self, key: str) -> str:
        """A fact of the environment, such as "precision", as the logs give it; several are joined."""
        return " / ".join(sorted({str(log.environment[key]) for log in self.logs if log.environment.get(key)}))

    def relative(self, log: RunLog) -> str:
        return log.path.relative_to(self.results).as_posix()

    def provenance(self) -> dict:
        """Where the numbers come from, for the side-car files."""
        facts = {
            "run": self.run, "config_hash": self.config.hash, "n": self.n, "data_set": self.config.data.dataset,
            "hardware": list(self.hardware), "logs": [self.relative(log) for log in self.logs],
            "seeds": [log.seed for log in self.logs],
        }  # fmt: skip
        if self.logs:
            facts |= {key: self.environment(key) for key in ("precision", "backend", "bn_eval", "torch", "revision")}
            facts |= {"workers": self.config.batch.workers, "devices": list(self.devices), "emulated": self.emulated}
        else:
            facts["missing"] = self.missing
        if self.left_out:
            facts["left_out"] = [{"log": item.log, "reason": item.reason} for item in self.left_out]
        return facts


def collect(results: Path, run: str, folder: Path | None = None, changes: Sequence[str] = ()) -> Measurement:
    """The measurement of `run` from the logs under a results folder.

    `folder` holds the config files, None: those in use, see `load.file_of`; `changes` are overrides of a variant of the
    run. Raises `ConfigError` if the run's file cannot be read, `LogError` if the folder of its logs cannot be.
    """
    results = Path(results)
    config = configs.load_run(run, folder, changes)
    logs: list[RunLog] = []
    left_out: list[LeftOut] = []
    try:
        paths = sorted(log_path(results, config.run.name, 0).parent.glob("result_*.txt"), key=_numerically)
    except OSError as error:
        raise LogError(f"{results}/logs: not readable: {error.strerror}: check its permissions") from None
    for path in paths:
        log = read_log(path)
        objection = _objection(log, config) or _copied(log, logs)
        if objection:
            left_out.append(LeftOut(path.relative_to(results).as_posix(), objection))
        else:
            logs.append(log)
    return Measurement(run, config, results, tuple(logs), tuple(left_out))


def _numerically(path: Path) -> tuple[int, str]:
    return len(path.name), path.name


def _copied(log: RunLog, others: Sequence[RunLog]) -> str:
    """Whether it is one of the others under another name, in words: no two seeds end with the same weights."""
    digest = log.result.get("weights_sha256")
    same = [other.path.name for other in others if digest and other.result.get("weights_sha256") == digest]
    return f"copy of {same[0]}: it ends with the same weights" if same else ""


def _objection(log: RunLog, config: Config) -> str:
    """Why a log must not count as a measurement of `config`; empty if it may."""
    if log.status in ("foreign", "aborted"):
        return f"{log.status} log: {log.reason}"
    if log.config and log.config.get("name") != config.run.name:
        return f"foreign log: of config {shown(str(log.config.get('name')))}"
    if log.config and log.config.get("hash") != config.hash:
        return f"stale log: of recipe {shown(str(log.config.get('hash')))}, the config file is now {config.hash}"
    if not log.complete:
        return f"{log.status} log: {log.reason}"
    if log.path.name != f"result_{log.seed}.txt":
        return f"foreign log: of seed {log.seed}, which its file name does not say"
    if "devices" not in log.environment:
        return "foreign log: does not say on how many devices it ran"
    return ""

