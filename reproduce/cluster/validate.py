"""The model against public runs on many nodes, none of which any constant was fitted to, with the errors."""

from dataclasses import dataclass

from reproduce.cluster import evidence, files
from reproduce.cluster.evidence import Multi
from reproduce.cluster.machine import Cluster
from reproduce.cluster.run import TRAIN_IMAGES, Run, run
from reproduce.cluster.step import Work

TOLERANCE = 10.0  # percent
INTERVAL = 4  # epochs between two evaluations, in every one of these runs


@dataclass(frozen=True)
class Check:
    """A public run beside the model's; errors in percent of the measured value."""

    row: Multi
    cluster: Cluster
    modelled: Run

    @property
    def images_per_second(self) -> float:
        """By the row's own definition of the rate."""
        if self.row.rate == "steady":
            return self.modelled.step.images_per_second
        one, evaluations = self.modelled.step, self.modelled.evaluations
        updates = INTERVAL * TRAIN_IMAGES / (one.gpus * one.local_batch)
        return INTERVAL * TRAIN_IMAGES / (updates * one.total + self.modelled.evaluation / evaluations)

    @property
    def rate_error(self) -> float:
        return 100 * (self.images_per_second / self.row.images_per_second - 1)

    @property
    def time_error(self) -> float:
        return 100 * (self.modelled.total / self.row.run_seconds - 1)

    @property
    def within(self) -> bool:
        """In images/s or in run time."""
        return min(abs(self.rate_error), abs(self.time_error)) <= TOLERANCE


def work(row: Multi) -> Work:
    return Work(row.local_batch, row.rule, row.overlap)


def check(row: Multi, cluster: Cluster | None = None) -> Check:
    """`cluster` None: the one the row names, calibrated on the row's stack."""
    cluster = cluster or files.load(row.cluster, row.stack)
    updates = row.updates or round(row.epochs * TRAIN_IMAGES / (row.gpus * row.local_batch))
    return Check(row, cluster, run(work(row), row.gpus, cluster, row.epochs, row.evaluations, updates))


def checks() -> list[Check]:
    return [check(row) for row in evidence.multi_node()]
