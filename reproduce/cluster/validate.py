"""The model against the public systems, each part of the table apart (`systems`), and against the paper's own run."""

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from reproduce.cluster import choose, evidence, files, interval, predict, systems
from reproduce.cluster.evidence import Team
from reproduce.cluster.machine import Cluster
from reproduce.cluster.run import Run, run
from reproduce.cluster.step import Work
from reproduce.cluster.systems import CALIBRATION, CHOOSING, TESTING, System
from reproduce.cluster.uncertainty import Spread, drawn, draws, middle

PARTS = (CALIBRATION, CHOOSING, TESTING)


@dataclass(frozen=True)
class Check:
    """A public system beside what the model says of it; images/s with evaluations in them."""

    row: System
    measured: float
    n: int
    modelled: Spread
    interval: tuple[float, float]

    @property
    def rate_error(self) -> float:
        """Percent of the measured value."""
        return 100 * (self.modelled.median / self.measured - 1)

    @property
    def in_band(self) -> bool:
        return self.modelled.low <= self.measured <= self.modelled.high

    @property
    def in_interval(self) -> bool:
        return self.interval[0] <= self.measured <= self.interval[1]


def check(row: System) -> Check:
    found, modelled = systems.measured(row), predict.modelled(row)
    around = interval.chosen().around(modelled, choose.distance(row))
    return Check(row, found.images_per_second, found.n, modelled, around)


@functools.lru_cache
def checks() -> tuple[Check, ...]:
    return tuple(check(row) for row in systems.systems())


@dataclass(frozen=True)
class Summary:
    """Of a part, or of some of it: errors in percent, and how many lie inside of band and interval."""

    n: int
    median_error: float
    worst: Check
    in_band: int
    in_interval: int


def summary(found: Sequence[Check]) -> Summary:
    """Raises `statistics.StatisticsError` for none."""
    return Summary(
        len(found), statistics.median(abs(one.rate_error) for one in found), max(found, key=_size),
        sum(one.in_band for one in found), sum(one.in_interval for one in found),
    )  # fmt: skip


def _size(one: Check) -> float:
    return abs(math.log(one.modelled.median / one.measured))


@dataclass(frozen=True)
class TeamCheck:
    """A run of the paper's team beside the model's, by the steady rate, with the interval of its prediction."""

    row: Team
    cluster: Cluster
    modelled: Run
    rate: Spread
    interval: tuple[float, float]

    @property
    def rate_error(self) -> float:
        return 100 * (self.rate.median / self.row.images_per_second - 1)


def work(row: Team) -> Work:
    return Work(row.local_batch, row.rule)


def team(row: Team) -> TeamCheck:
    cluster = files.load(row.cluster)
    machines = draws(cluster)
    found = drawn(work(row), row.gpus, machines)
    runs = [run(work(row), row.gpus, machine, row.epochs, row.evaluations, row.updates) for machine in machines]
    modelled = middle(runs, lambda one: one.total)
    away = interval.distance(work(row), row.gpus, cluster)
    return TeamCheck(row, found.machine, modelled, found.rate, interval.chosen().around(found.rate, away))


def teams() -> list[TeamCheck]:
    return [team(row) for row in evidence.team()]
