"""How far two recipes are apart: the difference of their means with an interval, from a few runs of each."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reproduce.judge.student import quantile

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
    half = quantile(1 - level / 2, freedom) * math.sqrt(a + b)
    return Difference(mean, (mean - half, mean + half), n)


def paired(first: Mapping[int, float], second: Mapping[int, float], level: float = LEVEL) -> Difference:
    """Of runs by seed: those of one seed begin with the same weights and see the same images, so each pair counts once.

    Seeds that only one side has are left out; Student's t over the differences. Raises `ValueError` without a pair.
    """
    apart = [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]
    if not apart:
        raise ValueError("no seed is on both sides")
    mean, n = statistics.fmean(apart), (len(apart), len(apart))
    if len(apart) < 2:
        return Difference(mean, None, n)
    half = half_width(apart, level)
    return Difference(mean, (mean - half, mean + half), n)


def half_width(values: Sequence[float], level: float = LEVEL) -> float:
    """Of Student's interval of the mean of two values or more."""
    return quantile(1 - level / 2, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))


def effect(one: Difference) -> str:
    """What a difference of accuracies shows, in one of three sentences; with a single pair, that it shows nothing."""
    if one.interval is None:
        return "one pair of seeds has no interval"
    low, high = one.interval
    if low > 0 or high < 0:
        return "helps" if low > 0 else "hurts"
    return f"no effect seen at this scale (less than {max(-low, high):.2f} points)"


def said(one: Difference, unit: str = "") -> str:
    """``+0.31 points (-0.20 to +0.82; n = 5)``."""
    interval = "no interval" if one.interval is None else "{:+.2f} to {:+.2f}".format(*one.interval)
    n = " and ".join(dict.fromkeys(map(str, one.n)))
    return f"{one.mean:+.2f}{unit and f' {unit}'} ({interval}; n = {n})"
