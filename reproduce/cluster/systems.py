"""Every public system the model can be asked about: what it was, which part of the table it is in, what it reached.

The rule: every system of the rounds v0.5 to v4.0 in `figures/public` that ran MXNet on V100, A100, H100 or H200 boards
with NVLink, its number of GPUs in its description; once, where the same logs were submitted again. Rates come from the
logs' evaluations: whole epochs over the time from one evaluation to the next, evaluations included.

Three parts. "calibration": for each board and software release one system of one node, the maker's where there is one.
The others, by year and by whether they are of many nodes, half each by the seed: from "choosing" the model's terms and
its interval are chosen; "testing" is only ever tested on.
"""

import collections
import csv
import functools
import gzip
import hashlib
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproduce.cluster.run import TRAIN_IMAGES
from reproduce.cluster.step import Work
from reproduce.errors import DataError
from reproduce.paths import FIGURES

TABLE = Path(__file__).resolve().parent / "data" / "public_systems.csv"
PUBLIC = FIGURES / "public"
RUNS, CURVES = "mlperf_resnet_runs.csv.gz", "mlperf_resnet_eval_curves.csv.gz"
SEED = 1903
CALIBRATION, CHOOSING, TESTING = "calibration", "choosing", "testing"


@dataclass(frozen=True)
class System:
    """A system as submitted. `adapters` and `adapter_gbit` 0: as the cluster file has them; `local_batch`: of a GPU.

    `year` is that of the framework, `submitter` whose machine it is; `board` names the GPU more closely than `cluster`.
    """

    round: str
    folder: str
    part: str
    board: str
    cluster: str
    stack: str
    year: int
    submitter: str
    nodes: int
    gpus_per_node: int
    adapters: int
    adapter_gbit: int
    local_batch: int
    rule: str
    overlap: bool

    @property
    def gpus(self) -> int:
        return self.nodes * self.gpus_per_node

    @property
    def work(self) -> Work:
        return Work(self.local_batch, self.rule, self.overlap)

    @property
    def name(self) -> str:
        """The submitter's folder, as in the results of its round."""
        return f"{self.submitter}, {self.round}, {self.folder.removesuffix('/resnet').rpartition('/')[2]}"

    @property
    def values(self) -> dict[str, float]:
        """In which it differs from its cluster file, by "section.key"."""
        found: dict[str, float] = {"node.gpus": self.gpus_per_node}
        if self.adapters:
            found |= {"network.adapters": self.adapters, "network.adapter_bandwidth": self.adapter_gbit * 1e9 / 8}
        return found


@dataclass(frozen=True)
class Measured:
    """From one evaluation to the next: `seconds` for `epochs`, the median of `n` runs' medians."""

    epochs: float
    seconds: float
    n: int

    @property
    def images_per_second(self) -> float:
        return self.epochs * TRAIN_IMAGES / self.seconds


@functools.lru_cache
def systems(path: Path = TABLE) -> tuple[System, ...]:
    """Raises `DataError` for an unreadable table."""
    batches = _batches()
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return tuple(_system(row, batches) for row in csv.DictReader(file))
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a table of public systems: {error}: restore it from git") from None


def _system(row: dict[str, str], batches: dict[tuple[str, str], int]) -> System:
    count = {key: int(row[key] or 0) for key in ("year", "nodes", "gpus_per_node", "adapters", "adapter_gbit")}
    batch = int(row["local_batch"] or 0)
    batch = batch or batches[row["round"], row["folder"]] // (count["nodes"] * count["gpus_per_node"])
    fields: dict[str, Any] = row | count | {"local_batch": batch, "overlap": row["overlap"] == "yes"}
    return System(**fields)


def split(rows: tuple[System, ...], seed: int = SEED) -> dict[tuple[str, str], str]:
    """The part of every system but those of the calibration: by year and by one or many nodes, half each."""
    strata: dict[tuple, list[System]] = collections.defaultdict(list)
    for row in rows:
        if row.part != CALIBRATION:
            strata[row.year, row.nodes > 1].append(row)
    found = {}
    for stratum, members in sorted(strata.items()):
        first = _drawn(seed, str(stratum)) % 2
        members.sort(key=lambda row: _drawn(seed, row.round + row.folder))
        for place, row in enumerate(members, first):
            found[row.round, row.folder] = (CHOOSING, TESTING)[place % 2]
    return found


def _drawn(seed: int, text: str) -> int:
    """The same everywhere and in every version of Python, and of the text's own: other rows change nothing."""
    return int.from_bytes(hashlib.sha256(f"{seed} {text}".encode()).digest()[:8])


def measured(system: System) -> Measured:
    """What its logs say. Raises `DataError` if they are not in the public table."""
    runs = _intervals().get((system.round, system.folder))
    if not runs:
        raise DataError(f"{PUBLIC / CURVES}: no evaluations of {system.round} {system.folder}: restore it from git")
    return Measured(statistics.median(epochs for epochs, _ in runs), statistics.median(s for _, s in runs), len(runs))


@functools.lru_cache
def _intervals() -> dict[tuple[str, str], list[tuple[float, float]]]:
    """(epochs, seconds) between two evaluations, each run's median, by round and folder."""
    curves: dict[tuple[str, str, str], list[tuple[float, float]]] = collections.defaultdict(list)
    for row in read(CURVES):
        if row["seconds_since_run_start"]:
            at = float(row["epoch"]), float(row["seconds_since_run_start"])
            curves[row["round"], row["dir"], row["run"]].append(at)
    found = collections.defaultdict(list)
    for (number, folder, _), curve in curves.items():
        between = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(curve, curve[1:]) if b[0] > a[0]]
        if between:
            epochs = statistics.median(one[0] for one in between)
            found[number, folder].append((epochs, epochs * statistics.median(s / e for e, s in between)))
    return dict(found)


def _batches() -> dict[tuple[str, str], int]:
    """The mini-batch by round and folder, where the log names it."""
    return {(row["round"], row["dir"]): int(row["global_batch_size"]) for row in read(RUNS) if row["global_batch_size"]}


def read(name: str) -> list[dict[str, str]]:
    """A packed table of `figures/public`. Raises `DataError` if it is not readable."""
    try:
        with gzip.open(PUBLIC / name, "rt", encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, EOFError) as error:
        raise DataError(f"{PUBLIC / name}: not readable: {error}: restore it from git") from None
