"""How far the model's answers depend on what was assumed: random draws over all ranges, and one constant at a time.

Each change of a constant solves the calibration again (`calibrate.recalibrated`): a guess about the GPU then moves the
split between a step's parts, not the public single-node rate.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reproduce.cluster.calibrate import recalibrated
from reproduce.cluster.machine import Cluster

DRAWS, SEED = 200, 1903
LOW, HIGH = 5.0, 95.0  # percentiles of a band
SHARE = 0.2  # of a constant, up and down


def draws(cluster: Cluster, count: int = DRAWS) -> tuple[Cluster, ...]:
    """`count` machines with every assumed constant drawn evenly from its range; the same ones each time."""
    random = np.random.default_rng(SEED)
    spans = {name: cluster.constants[name].range for name in cluster.assumed}
    return tuple(
        recalibrated(cluster, {name: random.uniform(*span) for name, span in spans.items()}) for _ in range(count)
    )


def band(answer: Callable[[Cluster], float], machines: tuple[Cluster, ...]) -> tuple[float, float]:
    """The 5th and the 95th percentile of an answer over drawn machines."""
    low, high = np.percentile([answer(machine) for machine in machines], [LOW, HIGH])
    return float(low), float(high)


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

        low, high = constant.range
        found.append(Sensitivity(name, value, constant.unit, constant.range, at((1 - SHARE) * value),
                                 at((1 + SHARE) * value), at(low), at(high)))  # fmt: skip
    return sorted(found, key=lambda one: -max(abs(one.at_low), abs(one.at_high), abs(one.less), abs(one.more)))
