"""Student's t and Fisher's F distributions without SciPy.

P(T <= t) with `df` degrees of freedom is 1 - I_x(df / 2, 1 / 2) / 2 for t >= 0 and x = df / (df + t^2), where I is the
regularised incomplete beta function, here by its continued fraction (Numerical Recipes, 6.4). `df` need not be whole.
F with d1 and d2: P(F <= f) = I_x(d1 / 2, d2 / 2) at x = d1 f / (d1 f + d2).
"""

import functools
import math
from collections.abc import Callable

TINY = 1e-300


def probability(t: float, df: float) -> float:
    """P(T <= t)."""
    tail = incomplete_beta(df / 2, 0.5, df / (df + t * t)) / 2
    return 1 - tail if t >= 0 else tail


@functools.cache
def quantile(p: float, df: float) -> float:
    """The t with P(T <= t) = p, to a relative 1e-12. Raises `ValueError` unless 0 < p < 1 and df > 0."""
    if not (0 < p < 1 and df > 0):
        raise ValueError(f"no quantile at p = {p}, df = {df}: needs 0 < p < 1 and df > 0")
    if p < 0.5:
        return -quantile(1 - p, df)
    return _inverse(lambda t: probability(t, df), p)


@functools.cache
def f_quantile(p: float, d1: float, d2: float) -> float:
    """The f with P(F <= f) = p, for 0 < p < 1."""
    return _inverse(lambda f: incomplete_beta(d1 / 2, d2 / 2, d1 * f / (d1 * f + d2)), p)


def _inverse(rising: Callable[[float], float], p: float) -> float:
    """The x >= 0 where `rising` is p, by bisection."""
    low, high = 0.0, 1.0
    while rising(high) < p:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < p else (low, middle)
    return (low + high) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b) for 0 <= x <= 1."""
    if x in (0.0, 1.0):
        return x
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):  # the fraction converges quickly on this side, the mirrored one on the other
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of I_x(a, b), by Lentz's method."""
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 1000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _not_zero(1 + term * d)
            c = _not_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
