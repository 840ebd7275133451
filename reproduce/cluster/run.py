"""A whole training run: start-up, updates, evaluations; and the two rates that both get called images per second.

The steady rate counts updates only, as REPRODUCE.md defines images per second and as the paper's 1.73 million is read;
whole epochs over the whole time is less, for start-up and evaluation are in it.
"""

import math
from dataclasses import dataclass

from reproduce.cluster.compute import inference
from reproduce.cluster.machine import Cluster
from reproduce.cluster.step import Step, Work, step

TRAIN_IMAGES, VALIDATION_IMAGES = 1_281_167, 50_000
EPOCHS = 90  # recalled of the paper; logged by the team's public run
EVALUATIONS = 23  # after epochs 2, 6, ..., 90: the team's public run (facts f)


@dataclass(frozen=True)
class Run:
    """Seconds from run_start to run_stop, in parts."""

    step: Step
    epochs: float
    updates: int
    evaluations: int
    start_up: float
    evaluation: float  # of all evaluations together

    @property
    def training(self) -> float:
        return self.updates * self.step.total

    @property
    def total(self) -> float:
        return self.start_up + self.training + self.evaluation

    @property
    def overall_rate(self) -> float:
        """Images/s of whole epochs over the whole time."""
        return self.epochs * TRAIN_IMAGES / self.total


def run(
    job: Work, gpus: int, cluster: Cluster, epochs: float = EPOCHS, evaluations: int = EVALUATIONS,
    updates: int | None = None,
) -> Run:  # fmt: skip
    """`updates` None: each epoch is rounded up to whole updates. Raises `ConfigError` as `step` does."""
    one = step(job, gpus, cluster)
    batch = gpus * job.local_batch
    if updates is None:
        updates = round(epochs * math.ceil(TRAIN_IMAGES / batch))
    evaluation = evaluation_seconds(job, one, cluster)
    return Run(one, epochs, updates, evaluations, cluster.software.start_up, evaluations * evaluation)


def evaluation_seconds(job: Work, one: Step, cluster: Cluster) -> float:
    """Of one evaluation: each GPU classifies its share, and the input pipelines drain and fill again."""
    batches = math.ceil(VALIDATION_IMAGES / (one.gpus * one.local_batch))
    return batches * inference(job.layers, job.local_batch, cluster) + cluster.software.refill * one.total
