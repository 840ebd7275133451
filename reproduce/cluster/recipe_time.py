"""How long a whole recipe takes on a machine: start-up, updates and evaluations, phases of the mini-batch included."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from reproduce.cluster import interval
from reproduce.cluster.machine import Cluster
from reproduce.cluster.run import run
from reproduce.cluster.step import Work
from reproduce.cluster.uncertainty import draws, spread
from reproduce.recipe.config import Config


@dataclass(frozen=True)
class Modelled:
    """Seconds from run_start to run_stop, a GPU per worker: the median over draws, and the interval around it."""

    seconds: float
    low: float
    high: float


def modelled(config: Config, cluster: Cluster) -> Modelled:
    """Of a recipe of ResNet-50 on ImageNet. Raises `ConfigError` where the machine has no room for it."""
    found = spread([seconds(config, machine) for machine in draws(cluster)])
    away = interval.distance(work(config, config.local_batch(0)), config.batch.workers, cluster)
    factor = math.exp(interval.chosen().half_width(away))
    return Modelled(found.median, min(found.low, found.median / factor), max(found.high, found.median * factor))


def seconds(config: Config, cluster: Cluster) -> float:
    """On one machine as it is given: what is once is counted once, the rest phase by phase."""
    total = cluster.software.start_up
    for local, updates, evaluations in phases(config):
        one = run(work(config, local), config.batch.workers, cluster, 1, evaluations, updates)
        total += one.training + one.evaluation
    return total


def phases(config: Config) -> Iterator[tuple[int, int, int]]:
    """(images per worker, updates, evaluations) of each phase of the local batch."""
    starts = [first for first, _ in config.batch.local_batch]
    updates = config.epoch_updates()
    for (first, local), end in zip(config.batch.local_batch, [*starts[1:], config.schedule.epochs]):
        yield local, sum(updates[first:end]), sum(map(config.evaluates_after, range(first + 1, end + 1)))


def work(config: Config, local_batch: int) -> Work:
    return Work(local_batch, config.communication.groups, config.communication.overlap)
