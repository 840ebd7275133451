"""What the model says of a public system: point and band, from the same draws of the assumed constants."""

import dataclasses
import functools

import numpy as np

from reproduce.cluster import files, systems
from reproduce.cluster.machine import Cluster
from reproduce.cluster.run import TRAIN_IMAGES, evaluation_seconds
from reproduce.cluster.step import Work, step
from reproduce.cluster.systems import System
from reproduce.cluster.uncertainty import Spread, draws, spread

NO_LIMIT = 10**6  # the most GPUs of a cluster file are the model's own limit, not that of a system that exists


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds by draw: a step without the framework's share across nodes, and an evaluation besides whole steps.

    `steps`: of `epochs` epochs and one evaluation; `epochs`: between two evaluations.
    """

    epochs: float
    step: np.ndarray
    evaluation: np.ndarray
    steps: np.ndarray

    def images_per_second(self, across: float) -> np.ndarray:
        """By draw, with so many seconds of the framework in every step."""
        return self.epochs * TRAIN_IMAGES / (self.steps * (self.step + across) + self.evaluation)


def across(system: System) -> float:
    """The framework's seconds in a step of a system, as the model has them."""
    return machine(system.cluster, system.stack, ()).software.across if system.nodes > 1 else 0.0


def modelled(system: System) -> Spread:
    """Images/s of a system, evaluations included: point and band."""
    return spread(timing(system).images_per_second(across(system)))


def timing(system: System, stack: str | None = None) -> Timing:
    """`stack` None: the system's own."""
    values = tuple(system.values.items())
    epochs = systems.measured(system).epochs
    return _timing(system.cluster, stack or system.stack, values, system.work, system.gpus, epochs)


@functools.cache
def machine(cluster: str, stack: str, values: tuple[tuple[str, float], ...]) -> Cluster:
    found = files.load(cluster, stack).with_values(dict(values))
    return dataclasses.replace(found, about=dataclasses.replace(found.about, most_gpus=NO_LIMIT))


@functools.cache
def _draws(cluster: str, stack: str) -> tuple[Cluster, ...]:
    return draws(machine(cluster, stack, ()))


@functools.cache
def _timing(cluster: str, stack: str, values: tuple, job: Work, gpus: int, epochs: float) -> Timing:
    found = []
    for drawn in _draws(cluster, stack):
        here = drawn.with_values(dict(values))
        one, refill = step(job, gpus, here), here.software.refill
        evaluation = evaluation_seconds(job, one, here) - refill * one.total
        found.append((one.total - one.across, evaluation, epochs * TRAIN_IMAGES / (gpus * job.local_batch) + refill))
    seconds, evaluation, steps = np.array(found).T
    return Timing(epochs, seconds, evaluation, steps)
