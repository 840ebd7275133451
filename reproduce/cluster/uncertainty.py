"""How far the model's answers depend on what was assumed: random draws over all ranges, and one constant at a time.

Each change of a constant solves the calibration again (`calibrate.recalibrated`): a guess about the GPU then moves the
split between a step's parts, not the public single-node rate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from reproduce.cluster.calibrate import recalibrated
from reproduce.cluster.machine import Cluster
from reproduce.cluster.step import Step, Work, step

T = TypeVar("T")
DRAWS, SEED = 51, 1903
LOW, HIGH = 5.0, 95.0  # percentiles of a band
SHARE = 0.2  # of a constant, up and down


def draws(cluster: Cluster, count: int = DRAWS) -> tuple[Cluster, ...]:
    """`count` machines with every assumed constant drawn from its range; the same ones each time.

    What is assumed is the median: half of the draws lie below it, half above, evenly on either side.
    """
    random = np.random.default_rng(SEED)
    assumed = [(name, cluster.get(name), *cluster.span(name)) for name in cluster.assumed]

    def one() -> dict[str, float]:
        return {name: float(np.interp(random.uniform(), [0, 0.5, 1], [low, value, high]))
                for name, value, low, high in assumed}  # fmt: skip

    return tuple(recalibrated(cluster, one()) for _ in range(count))


@dataclass(frozen=True)
class Spread:
    """An answer over drawn machines: the median, and the 5th and the 95th percentile, the band."""

    low: float
    median: float
    high: float


def spread(values: Sequence[float] | np.ndarray) -> Spread:
    """Of an answer by draw: point and band come from the same ones."""
    low, median, high = np.percentile(values, [LOW, 50, HIGH])
    return Spread(float(low), float(median), float(high))


@dataclass(frozen=True)
class Drawn:
    """A step over drawn machines: that of the one with the median time, and both spreads."""

    machine: Cluster
    step: Step
    seconds: Spread
    rate: Spread  # images/s


def drawn(job: Work, gpus: int, machines: Sequence[Cluster]) -> Drawn:
    """Raises `ConfigError` as `step` does."""
    steps = [step(job, gpus, machine) for machine in machines]
    typical, machine = middle(list(zip(steps, machines)), lambda one: one[0].total)
    rates = spread([one.images_per_second for one in steps])
    return Drawn(machine, typical, spread([one.total for one in steps]), rates)


def middle(found: Sequence[T], size: Callable[[T], float]) -> T:
    """The one of median size: of an even number the lower of two."""
    return sorted(found, key=size)[(len(found) - 1) // 2]


def band(answer: Callable[[Cluster], float], machines: tuple[Cluster, ...]) -> tuple[float, float]:
    """The 5th and the 95th percentile of an answer over drawn machines."""
    found = spread([answer(machine) for machine in machines])
    return found.low, found.high


@dataclass(frozen=True)
class Sensitivity:
    """An answer with one assumed constant lower and higher, in percent of the answer as it stands.

    By `SHARE` of its value, and at the ends of its range.
    """

    name: str
    value: float
    unit: str
    span: tuple[float, float]
    less: float
    more: float
    at_low: float
    at_high: float


def sensitivities(answer: Callable[[Cluster], float], cluster: Cluster) -> list[Sensitivity]:
    """Of every assumed constant, the most telling first."""
    base, found = answer(cluster), []
    for name in cluster.assumed:
        constant, value = cluster.constants[name], cluster.get(name)

        def at(changed: float, name: str = name) -> float:
            return 100 * (answer(recalibrated(cluster, {name: changed})) / base - 1)

        low, high = cluster.span(name)
        found.append(Sensitivity(name, value, constant.unit, (low, high), at((1 - SHARE) * value),
                                 at((1 + SHARE) * value), at(low), at(high)))  # fmt: skip
    return sorted(found, key=lambda one: -max(abs(one.at_low), abs(one.at_high), abs(one.less), abs(one.more)))
