"""Quantiles of Student's t and of Fisher's F: SciPy's, checked and kept."""

import functools


@functools.cache
def quantile(p: float, df: float) -> float:
    """The t with P(T <= t) = p. Raises `ValueError` unless 0 < p < 1 and df > 0."""
    if not (0 < p < 1 and df > 0):
        raise ValueError(f"no quantile at p = {p}, df = {df}: needs 0 < p < 1 and df > 0")
    from scipy import special  # here, since `run_all.sh --list` computes no quantile and should not wait for it

    return float(special.stdtrit(df, p))


@functools.cache
def f_quantile(p: float, d1: float, d2: float) -> float:
    """The f with P(F <= f) = p, for 0 < p < 1."""
    from scipy import special  # as above

    return float(special.fdtri(d1, d2, p))
