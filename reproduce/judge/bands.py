"""Bands: where one further run of the same recipe is expected, epoch by epoch, from a few runs that are known.

Model. At epoch e, run i of n has x_ie = mu_e + sigma_e z_ie, with z normal, independent between runs, and between
epochs correlated as c + (1 - c) rho^distance: a share c of its variance a run keeps from the first epoch to the last,
and the rest fades (AR(1)). Losses need the c: 0.4 to 0.7 in our runs, at any distance. sigma depends on the epoch: very
large batches spread by several points while the rate is near its peak and by a tenth of one at the end. x is the
quantity on its `Scale`: of an accuracy the logarithm of the error, because accuracies fall farther than they rise. In
percent, 11 of 841 values of our own runs lay below the 0.25 % quantile of the others of their recipe, where 2 should,
and none above; so, 7 do.

Spread. A standard deviation of 4 or 5 values is itself off by a third. s_e^2 is therefore the mean of the sample
variances of epoch e and of its `WINDOW` neighbours on either side, or the epoch's own where that is larger, so that a
calm neighbourhood does not narrow a rough epoch. A neighbour whose variance differs by far more than chance (Fisher's F
at `ALIKE`) is not pooled: the loss of a first epoch can spread by a tenth of the next one's. Pooling m epochs gives, by
Bartlett's formula for correlated squares, df_e = (n - 1) m^2 / sum over their pairs (a, b) of the squared correlation
degrees of freedom: (n - 1) m where epochs are independent, n - 1 where they move as one. c is the mean correlation of
the standardised residuals of epochs that are `FAR` or more apart, rho follows from that of neighbours.

Band. A prediction interval for one further run: mean_e +- t(1 - level / 2K, df_e) s_e sqrt(1 + 1/n). Dividing the level
by the number K of epochs (Bonferroni) makes the band simultaneous: a run of the same recipe leaves it anywhere with a
probability of at most `level`, whatever the dependence between epochs. The 1/n is the uncertainty of the mean.
"""

import functools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reproduce.judge import student

FAR = 3  # evaluations, or epochs of the loss
ONE_SIDED = 1.645  # the 95 % quantile of the normal distribution
WINDOW = 1  # neighbours on either side whose variances are pooled
ALIKE = 0.999  # two-sided; at 0.95 chance would often isolate an epoch with a small variance, and its band fail
FLOOR = 1e-4  # of the mean's size: the spread is never taken for less, since machines round differently
MANY = 10  # epochs from which on a run cannot lie on the mean by chance
FEWEST = 3  # runs below which no spread is estimated
DRAWS, DRAWS_SEED = 4000, 1903

Curve = Mapping[int, float]  # epoch, one-based -> value


@dataclass(frozen=True)
class Interval:
    """A prediction interval for one further value."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high  # False for NaN

    def __str__(self) -> str:
        return f"{self.low:.5g} to {self.high:.5g}"


@dataclass(frozen=True)
class Scale:
    """A rising function of a quantity, on which runs spread alike to both sides, and the way back."""

    of: Callable[[float], float]
    back: Callable[[float], float]


AS_IT_IS = Scale(float, float)
LEAST_ERROR = 0.5  # points, added to every error: none is zero
ERROR = Scale(lambda top1: -math.log(max(100 - top1, 0) + LEAST_ERROR), lambda x: 100 + LEAST_ERROR - math.exp(-x))


@dataclass(frozen=True)
class Band:
    """Per epoch [epochs], on `scale`: mean, pooled standard deviation and its degrees of freedom. `common` (c) and
    `rho`: see above."""

    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    freedom: tuple[float, ...]
    n: int
    common: float
    rho: float
    scale: Scale = AS_IT_IS

    def interval(self, epoch: int, level: float, simultaneous: bool = True) -> Interval:
        """Where one further run is at `epoch`, but for a probability `level`; for all epochs at once or this one."""
        i = self.epochs.index(epoch)
        tail = level / (2 * (len(self.epochs) if simultaneous else 1))
        half = student.quantile(1 - tail, self.freedom[i]) * self.sd[i] * math.sqrt(1 + 1 / self.n)
        return Interval(self.scale.back(self.mean[i] - half), self.scale.back(self.mean[i] + half))

    def scores(self, curve: Curve) -> list[float]:
        """Per epoch, (x - mean) / (s sqrt(1 + 1/n)): Student's t under the model."""
        wider = math.sqrt(1 + 1 / self.n)
        values = [self.scale.of(curve[epoch]) for epoch in self.epochs]
        return [(x - m) / (s * wider) for x, m, s in zip(values, self.mean, self.sd, strict=True)]


def band(curves: Sequence[Curve], scale: Scale = AS_IT_IS) -> Band:
    """The band of `curves`, over the epochs all of them have.

    Raises `ValueError` for fewer than `FEWEST` curves, and where they share no epoch.
    """
    epochs = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    if len(curves) < FEWEST or not epochs:
        raise ValueError(f"{len(curves)} curves with {len(epochs)} epochs in common: needs {FEWEST}, and 1")
    values = np.array([[scale.of(curve[epoch]) for epoch in epochs] for curve in curves], float)
    mean = values.mean(0)
    pooled, members = pooled_sd(values)
    sd = np.maximum(pooled, FLOOR * np.abs(mean) + 1e-12)
    common, rho = correlations((values - mean) / sd)
    freedom = degrees_of_freedom(len(curves), members, common, rho)
    rows = {"mean": tuple(mean.tolist()), "sd": tuple(sd.tolist()), "freedom": tuple(freedom.tolist())}
    return Band(tuple(epochs), **rows, n=len(curves), common=common, rho=rho, scale=scale)


def pooled_sd(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The spread [..., epochs] of [..., runs, epochs], and which neighbours it is from, bool [..., epochs, neighbours].

    The neighbours are the epochs from -WINDOW to +WINDOW, with the epoch itself in the middle.
    """
    n, epochs = values.shape[-2:]
    own = values.var(-2, ddof=1)
    beyond = np.full((*own.shape[:-1], WINDOW), np.nan)
    padded = np.concatenate([beyond, own, beyond], -1)
    near = np.stack([padded[..., i : i + epochs] for i in range(2 * WINDOW + 1)], -1)
    limit = student.f_quantile((1 + ALIKE) / 2, n - 1, n - 1)
    alike = (near <= limit * own[..., None]) & (own[..., None] <= limit * near)  # False where there is no neighbour
    mean = np.where(alike, near, 0.0).sum(-1) / alike.sum(-1)
    return np.sqrt(np.maximum(own, mean)), alike


def correlations(residuals: np.ndarray) -> tuple[float, float]:
    """c and rho of the model, from all runs [runs, epochs] together; below 0 they would only narrow what follows."""
    products = residuals.T @ residuals  # [epochs, epochs]
    epochs, variance = len(products), float(np.trace(products)) / len(products)
    if variance == 0:
        return 0.0, 0.0
    far = products[np.triu_indices(epochs, FAR)]
    common = float(np.clip(far.mean() / variance, 0, 0.95)) if far.size else 0.0
    near = float(np.diagonal(products, 1).mean()) / variance if epochs > 1 else 0.0
    return common, float(np.clip((near - common) / (1 - common), 0, 0.99))


def degrees_of_freedom(n: int, members: np.ndarray, common: float, rho: float) -> np.ndarray:
    """[epochs]: of the variances pooled over `members` bool [epochs, neighbours]."""
    found = []
    for places in map(np.flatnonzero, members):
        pairs = (common + (1 - common) * rho ** np.abs(places[:, None] - places)) ** 2
        found.append((n - 1) * len(places) ** 2 / pairs.sum())
    return np.array(found)


def misfit(band: Band, curve: Curve) -> float:
    """The mean over the epochs of the squared scores: about 1 for a run of the same recipe.

    Catches a curve that is a little off almost everywhere and leaves the band nowhere.
    """
    return statistics.fmean(score**2 for score in band.scores(curve))


def misfit_range(band: Band, level: float, cautious: bool = False) -> Interval:
    """Between which `misfit` of one further run lies, but for a probability `level`.

    By simulation: its distribution has no closed form, the scores being correlated and their scales estimated.
    `DRAWS` times, n + 1 curves are drawn from the model (`draws`) and the last is compared with the band of the others.
    `cautious`: with c at its upper 95 % limit (Fisher's z), for a quantity that has it, since n runs tell it badly.
    The lower end catches what lies on the mean of the runs, as no run does; it is 0 for fewer than `MANY` epochs, at
    which one may.
    """
    common = math.tanh(math.atanh(band.common) + cautious * ONE_SIDED / math.sqrt(band.n - 1))
    common, rho = (min(math.ceil(10 * one) / 10, 0.99) for one in (common, band.rho))  # in steps: few are drawn
    return _misfit_range(band.n, len(band.epochs), common, rho, level)


@functools.cache
def _misfit_range(n: int, epochs: int, common: float, rho: float, level: float) -> Interval:
    z = draws(n + 1, epochs, rho, DRAWS, common=common)
    known, further = z[:, :-1], z[:, -1]
    scores = (further - known.mean(1)) / (pooled_sd(known)[0] * math.sqrt(1 + 1 / n))
    low, high = np.quantile((scores**2).mean(-1), [level / 2, 1 - level / 2])
    return Interval(float(low) if epochs >= MANY else 0.0, float(high))


def draws(runs: int, epochs: int, rho: float, count: int, seed: int = DRAWS_SEED, common: float = 0.0) -> np.ndarray:
    """z of the model, float64 [count, runs, epochs], always the same; `common` is c."""
    rng = np.random.Generator(np.random.Philox(seed))
    z = rng.standard_normal((count, runs, epochs))
    for e in range(1, epochs):
        z[..., e] = rho * z[..., e - 1] + math.sqrt(1 - rho**2) * z[..., e]
    return math.sqrt(common) * rng.standard_normal((count, runs, 1)) + math.sqrt(1 - common) * z if common else z


def predicted(values: Sequence[float], level: float, floor: float = 0.0) -> Interval:
    """A prediction interval for one further value of a quantity with one value per run: t with n - 1 df."""
    n, mean = len(values), statistics.fmean(values)
    sd = max(statistics.stdev(values), floor)
    half = student.quantile(1 - level / 2, n - 1) * sd * math.sqrt(1 + 1 / n)
    return Interval(mean - half, mean + half)
