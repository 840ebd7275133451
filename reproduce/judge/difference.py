"""How far two recipes are apart: the difference of their means with an interval, from a few runs of each."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

LEVEL = 0.05  # the interval misses the true difference in this share of cases


@dataclass(frozen=True)
class Difference:
    """Mean of the first minus mean of the second, in their unit; `n` runs of each; no interval for a single run."""

    mean: float
    interval: tuple[float, float] | None
    n: tuple[int, int]


def difference(first: Sequence[float], second: Sequence[float], level: float = LEVEL) -> Difference:
    """Welch's: the runs are independent, and the two spreads need not be equal."""
    mean, n = statistics.fmean(first) - statistics.fmean(second), (len(first), len(second))
    if min(n) < 2:
        return Difference(mean, None, n)
    a, b = (statistics.variance(values) / len(values) for values in (first, second))
    if a + b == 0:
        return Difference(mean, (mean, mean), n)
    freedom = (a + b) ** 2 / (a**2 / (n[0] - 1) + b**2 / (n[1] - 1))
    half = float(stats.t.ppf(1 - level / 2, freedom)) * math.sqrt(a + b)
    return Difference(mean, (mean - half, mean + half), n)
