"""The interval a prediction comes with: how far public systems were from what the model said of them.

It is not the band. The band is what the assumed constants leave open; the interval is what the model gets wrong, from
the errors on the systems of the table's second part (`systems`), and is at least the band. The error's size depends on
how far a system is from the one its stack was calibrated on: another's machine, more nodes, another batch, an early
framework, another board. `choose` fits it; ``chosen.toml`` keeps it with how many systems of the third part lie inside.
"""

import functools
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from reproduce.cluster import evidence, files
from reproduce.cluster.machine import Cluster
from reproduce.cluster.step import Work
from reproduce.cluster.uncertainty import Spread
from reproduce.errors import ConfigError
from reproduce.files import read_toml

SHARE = 90  # percent of systems that shall lie inside
GRAPHS = 2021  # from this year on the framework sends a step to the GPU at once, as a graph
KINDS = ("one", "many", "board")
FEATURES = ("base", "vendor", "nodes", "batch", "early", "board")


@dataclass(frozen=True)
class Distance:
    """How far from what was calibrated; `nodes` and `batch` in doublings."""

    vendor: bool = False  # another's machine than the one that the stack was calibrated on
    nodes: float = 0.0
    batch: float = 0.0
    early: bool = False  # many nodes, with the framework of a year before CUDA graphs
    board: bool = False  # another GPU, or one whose constants were changed

    @property
    def kind(self) -> str:
        """One of `KINDS`: of one node, of many, or another board than the calibration's."""
        return "board" if self.board else "many" if self.nodes else "one"

    def values(self) -> tuple[float, ...]:
        """In the order of `FEATURES`."""
        return 1.0, *map(float, asdict(self).values())


@dataclass(frozen=True)
class Interval:
    """`scale` by feature, logarithmic; `quantiles` of errors in scales by kind, over `n` systems of the second part."""

    scale: dict[str, float]
    quantiles: dict[str, float]
    n: int
    tested: dict[str, float]  # on the third part

    def half_width(self, distance: Distance) -> float:
        """Of the logarithm of images/s."""
        return self.quantiles[distance.kind] * scale(tuple(self.scale[name] for name in FEATURES), distance)

    def around(self, rate: Spread, distance: Distance) -> tuple[float, float]:
        """Around the median; at least the band."""
        factor = math.exp(self.half_width(distance))
        return min(rate.median / factor, rate.low), max(rate.median * factor, rate.high)

    @property
    def coverage(self) -> str:
        """For every answer."""
        found = self.tested
        inside = f"{found['inside']:.0f} of {found['n']:.0f}"
        share = 100 * found["inside"] / found["n"]
        return (f"{inside} public systems that nothing was chosen on lie inside theirs ({share:.0f} %); median error "
                f"there {found['median_error']:.1f} %, worst {found['worst_error']:+.1f} %")  # fmt: skip


def scale(weights: tuple[float, ...], distance: Distance) -> float:
    """Size of the error, as a share of one."""
    return math.exp(sum(weight * value for weight, value in zip(weights, distance.values())))


@functools.lru_cache
def chosen(path: Path = files.CHOSEN) -> Interval:
    """Raises `ConfigError` if ``chosen.toml`` is missing or damaged."""
    try:
        raw = read_toml(path)
        entry = raw["interval"]
        scales = {name: float(entry["scale"][name]) for name in FEATURES}
        quantiles = {kind: float(entry["quantiles"][kind]) for kind in KINDS}
        return Interval(scales, quantiles, int(entry["n"]), dict(raw["tested"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: no interval: {error}: run 'python -m reproduce.cluster calibrate'") from None


def distance(job: Work, gpus: int, cluster: Cluster) -> Distance:
    """Of an answer. A node that its owner measured is as near as the calibration's own."""
    row = _calibrated_on(cluster.stack)
    nodes = math.log2(max(1.0, gpus / cluster.node.gpus))
    early = nodes > 0 and cluster.year < GRAPHS
    if cluster.measured:
        return Distance(True, nodes, _doublings(job.local_batch, cluster.measured.local_batch), early, False)
    if row is None:
        return Distance(True, nodes, 0.0, early, True)
    board = bool(new_constants(cluster)) or not same_board(cluster)
    return Distance(not same_node(cluster), nodes, _doublings(job.local_batch, row.local_batch), early, board)


def new_constants(cluster: Cluster) -> dict[str, tuple[float, float]]:
    """(value, calibrated with) of each constant in which a file of the user's is not the machine of its calibration."""
    other = _calibrated_machine(cluster.stack)
    if other is None or not cluster.own:
        return {}
    solved = {name for name, one in cluster.constants.items() if one.status in ("calibrated", "chosen")}
    solved.add("software.slowdown")
    return {name: (cluster.get(name), other.get(name)) for name in cluster.constants
            if name not in solved and cluster.get(name) != other.get(name)}  # fmt: skip


def calibrated_batch(cluster: Cluster) -> int:
    """Images of a GPU in the runs it is calibrated on: so many fit; 0 where there are none."""
    row = _calibrated_on(cluster.stack)
    return cluster.measured.local_batch if cluster.measured else row.local_batch if row else 0


def same_node(cluster: Cluster) -> bool:
    """Whether its nodes are, and are linked, as in the machine that its stack was calibrated on."""
    other = _calibrated_machine(cluster.stack)
    return other is not None and (cluster.node, cluster.network) == (other.node, other.network)


def same_board(cluster: Cluster) -> bool:
    other = _calibrated_machine(cluster.stack)
    names = ("tensor_peak", "tensor_efficiency", "memory_bandwidth", "memory_efficiency", "multiprocessors")
    return other is not None and all(getattr(cluster.gpu, name) == getattr(other.gpu, name) for name in names)


def _doublings(batch: float, calibrated: float) -> float:
    return abs(math.log2(batch / calibrated))


@functools.lru_cache
def _calibrated_machine(stack: str) -> Cluster | None:
    row = _calibrated_on(stack)
    return files.bare(row.cluster) if row else None


@functools.lru_cache
def _calibrated_on(stack: str) -> evidence.Single | None:
    rows = (row for row in evidence.single_node() if row.kind == "training" and row.stack == stack)
    return next(rows, None)
