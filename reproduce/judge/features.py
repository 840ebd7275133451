"""Single numbers of an accuracy curve: those of its shape, and when it reaches a target."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reproduce.judge.bands import Curve

STALL = (0.5, 1.45)  # of the epoch of the peak rate: above half the peak before it, about as much after it


@dataclass(frozen=True)
class Feature:
    """A number taken from a curve. `floor`: the least standard deviation it can have between runs."""

    name: str
    of: Callable[[Curve], float]
    floor: float = 0.0


def shape(epochs: Sequence[int], peak_epoch: float) -> list[Feature]:
    """What makes the shape of a very large batch's curve; empty where the evaluations are too few to see it.

    With the stall those evaluations between `STALL` times the epoch of the peak rate:

    rise        mean of the stall minus mean of what comes before it
    climb       final value minus mean of the stall
    unrest      ln of the root mean square second difference within the stall. A curve that grows smoothly has little;
                one value of it, from m differences, spreads by at least 1 / sqrt(2 m), that of a logarithm of a
                standard deviation
    """
    low, high = (share * peak_epoch for share in STALL)
    before = [epoch for epoch in epochs if epoch <= low]
    stall = [epoch for epoch in epochs if low < epoch <= high]
    if len(before) < 2 or len(stall) < 5 or epochs[-1] <= high:
        return []

    def mean(curve: Curve, over: Sequence[int]) -> float:
        return statistics.fmean(curve[epoch] for epoch in over)

    def unrest(curve: Curve) -> float:
        y = [curve[epoch] for epoch in stall]
        squares = [(a - 2 * b + c) ** 2 for a, b, c in zip(y, y[1:], y[2:])]
        return math.log(max(statistics.fmean(squares), 1e-12)) / 2

    return [
        Feature("rise to the stall", lambda curve: mean(curve, stall) - mean(curve, before)),
        Feature("climb from the stall to the end", lambda curve: curve[epochs[-1]] - mean(curve, stall)),
        Feature("unrest in the stall", unrest, 1 / math.sqrt(2 * (len(stall) - 2))),
    ]


def reached(accuracy: Curve, target: float, clock: Curve | None = None) -> float | None:
    """When the accuracy first is `target`, by straight lines between evaluations: epochs, or seconds by `clock`."""
    before = None
    for epoch in sorted(accuracy):
        at = clock[epoch] if clock else float(epoch)
        if accuracy[epoch] >= target:
            if before is None:
                return at
            share = (target - before[1]) / (accuracy[epoch] - before[1])
            return before[0] + share * (at - before[0])
        before = at, accuracy[epoch]
    return None
