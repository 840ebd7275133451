"""The planner's question: what reaches 75.9 % in so many seconds, or the soonest for so many node-hours.

Over numbers of GPUs that fill nodes, local batches and group rules: time is start-up, updates and evaluations of the
epochs that the mini-batch takes by the public runs. The cheapest in node-hours that is in time; or the quickest that is
within the budget.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from reproduce.cluster import epochs, interval
from reproduce.cluster.answer import RULES
from reproduce.cluster.epochs import Epochs
from reproduce.cluster.machine import Cluster
from reproduce.cluster.run import Run, run
from reproduce.cluster.step import Work, step
from reproduce.cluster.uncertainty import draws, middle, spread

BATCHES = (16, 24, 32, 40, 48, 64, 96, 128, 192, 256, 384)
BETWEEN = 4  # epochs from one evaluation to the next, in nearly all public runs
LARGEST = 256  # images of a GPU where nothing calibrated says that more fit


@dataclass(frozen=True)
class Plan:
    """A way to train: images/s, and seconds to `epochs.TARGET` with the ends of their interval."""

    job: Work
    gpus: int
    nodes: int
    epochs: Epochs
    run: Run
    rate: float
    low: float
    high: float

    @property
    def seconds(self) -> float:
        return self.run.total

    @property
    def node_hours(self) -> float:
        return self.nodes * self.seconds / 3600


class Planner:
    """The ways to train on a cluster. All are compared as the cluster stands; an answer is the median of its draws."""

    def __init__(self, cluster: Cluster):
        self.cluster, self.machines = cluster, draws(cluster)
        self.plans = [self._plan(Work(batch, "size:4MB"), gpus, (cluster,)) for gpus in _gpus(cluster)
                      for batch in _batches(cluster) if gpus * batch <= epochs.largest()]  # fmt: skip

    def in_time(self, seconds: float, surely: bool = False) -> Plan | None:
        """The fewest node-hours; `surely`: the interval's upper end is in time too. None: nothing modelled is."""
        return self._first(lambda one: one.node_hours, lambda one: (one.high if surely else one.seconds) <= seconds)

    def within(self, node_hours: float) -> Plan | None:
        """The soonest. None: too little for anything."""
        return self._first(lambda one: one.seconds, lambda one: one.node_hours <= node_hours)

    def soonest(self) -> Plan:
        return self._settled(min(self.plans, key=lambda one: one.seconds))

    def cheapest(self) -> Plan:
        return self._settled(min(self.plans, key=lambda one: one.node_hours))

    def _first(self, price: Callable[[Plan], float], fits: Callable[[Plan], bool]) -> Plan | None:
        """The first by price that still fits as the median of its draws."""
        settled = (self._settled(one) for one in sorted(filter(fits, self.plans), key=price))
        return next(filter(fits, settled), None)

    def _settled(self, found: Plan) -> Plan:
        """With the best group rule, and the median of the draws."""
        jobs = [dataclasses.replace(found.job, rule=rule) for rule in RULES]
        best = min(jobs, key=lambda job: step(job, found.gpus, self.cluster).total)
        return self._plan(best, found.gpus, self.machines)

    def _plan(self, job: Work, gpus: int, machines: Sequence[Cluster]) -> Plan:
        needed = epochs.needed(gpus * job.local_batch)
        runs = [_run(job, gpus, machine, needed.median) for machine in machines]
        times = spread([one.total for one in runs])
        rates = spread([one.step.images_per_second for one in runs])
        least, most = interval.chosen().around(rates, interval.distance(job, gpus, self.cluster))
        fewer, more = needed.low / needed.median, needed.high / needed.median
        low = fewer * min(times.low, times.median * rates.median / most)
        high = more * max(times.high, times.median * rates.median / least)
        typical, nodes = middle(runs, lambda one: one.total), max(1, gpus // int(self.cluster.node.gpus))
        return Plan(job, gpus, nodes, needed, typical, rates.median, low, high)


def _run(job: Work, gpus: int, machine: Cluster, count: float) -> Run:
    return run(job, gpus, machine, count, max(1, round(count / BETWEEN)))


def _batches(cluster: Cluster) -> list[int]:
    """Images of a GPU that fit, as far as its calibration's runs show."""
    fits = interval.calibrated_batch(cluster) or LARGEST
    return [batch for batch in BATCHES if batch <= max(fits, BATCHES[0])]


def _gpus(cluster: Cluster) -> Iterator[int]:
    """Powers of two up to a node; then nodes, by doublings and halfway between."""
    node, most, count = int(cluster.node.gpus), cluster.about.most_gpus, 1
    while count < min(node, most):
        yield count
        count *= 2
    nodes = 1
    while nodes * node <= most:
        yield nodes * node
        if nodes > 1 and 3 * nodes // 2 * node <= most:
            yield 3 * nodes // 2 * node
        nodes *= 2
