"""One training step of all GPUs: compute beside communication, event by event.

Backward goes through the layers from the last; once a group of gradients is whole it queues for the one communication
stream, in the fixed order of `recipe/grouping.py`. Meanwhile compute goes on, slowed while a sum is on the way. The
slowest rank sets the pace: its compute is longer by the expected maximum of as many normal draws as there are ranks.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from reproduce.cluster import layers as work
from reproduce.cluster.compute import compute
from reproduce.cluster.machine import Cluster
from reproduce.cluster.network import Shape, allreduce, shape
from reproduce.errors import ConfigError
from reproduce.recipe.grouping import Group, divide

SLOWDOWN = "software.slowdown"


@dataclass(frozen=True)
class Work:
    """What every GPU does in a step: images, the rule that groups the gradients, whether they are sent in backward."""

    local_batch: int
    rule: str = "cubic:3"
    overlap: bool = True
    image_size: int = 224
    channels: int = 3

    def __post_init__(self):
        if self.local_batch < 1:
            raise ConfigError(f"--local-batch {self.local_batch}: must be at least 1")

    @property
    def layers(self) -> tuple[work.Layer, ...]:
        return work.resnet50(self.image_size, self.channels)

    @property
    def groups(self) -> tuple[Group, ...]:
        """Raises `ConfigError` for an unknown rule."""
        return divide(work.tensors(self.layers), self.rule)


@dataclass(frozen=True)
class Sum:
    """One group's allreduce, in seconds since the step began: its last gradient, and the sum from start to end."""

    size: float  # bytes
    ready: float
    start: float
    end: float


@dataclass(frozen=True)
class Step:
    """Seconds of a step, in parts that add up to `total`; `exposed` is communication that compute did not hide."""

    gpus: int
    local_batch: int
    forward: float
    backward: float
    contention: float
    jitter: float
    exposed: float
    update: float
    host: float
    sums: tuple[Sum, ...]
    forward_end: float
    backward_end: float
    across: float = 0.0

    @property
    def total(self) -> float:
        return self.backward_end + self.exposed + self.update + self.host + self.across

    @property
    def communication(self) -> float:
        """Seconds the communication stream is busy."""
        return sum(one.end - one.start for one in self.sums)

    @property
    def images_per_second(self) -> float:
        return self.gpus * self.local_batch / self.total


def step(job: Work, gpus: int, cluster: Cluster) -> Step:
    """The step of `gpus` GPUs. Raises `ConfigError` for an unknown rule or an impossible number of GPUs."""
    where, layers = shape(gpus, cluster), job.layers
    alone = compute(layers, job.local_batch, cluster)
    slow = 1 + cluster.software.jitter * expected_maximum(gpus)
    forward, backward = math.fsum(alone.forward), math.fsum(alone.backward)  # the same digits everywhere
    now = forward_end = slow * forward
    queue = _Stream(where, cluster)
    waiting = _waiting(job, int(cluster.software.element_bytes)) if gpus > 1 else []
    for place in reversed(range(len(layers))):
        now = queue.advance(now, slow * alone.backward[place])
        while job.overlap and waiting and waiting[0][0] >= place:
            queue.send(waiting.pop(0)[1], now)
    for _, size in waiting:
        queue.send(size, now)
    return Step(
        gpus, job.local_batch, forward, backward,
        contention=queue.lost, jitter=(slow - 1) * (forward + backward),
        exposed=max(0.0, queue.free - now), update=alone.update, host=cluster.software.host, sums=tuple(queue.sums),
        forward_end=forward_end, backward_end=now,
        across=cluster.software.across if where.nodes > 1 else 0.0,
    )  # fmt: skip


def as_slow_as(seconds: float, job: Work, cluster: Cluster) -> Cluster:
    """The cluster with the slowdown at which a step of one GPU alone takes so long; without a network it is linear."""
    once, twice = (step(job, 1, cluster.with_values({SLOWDOWN: factor})).total for factor in (1, 2))
    return cluster.with_values({SLOWDOWN: 1 + (seconds - once) / (twice - once)})


def as_fast_as(rate: float, job: Work, gpus: int, cluster: Cluster) -> Cluster:
    """The cluster with the slowdown at which `gpus` GPUs reach a rate in images/s, by secants.

    Raises `ConfigError` for a rate that no slowdown gives.
    """
    target = gpus * job.local_batch / rate

    def seconds(factor: float) -> float:
        return step(job, gpus, cluster.with_values({SLOWDOWN: factor})).total

    low, high = 1.0, 1.2
    at_low, at_high = seconds(low), seconds(high)
    while high > 0 and abs(at_high / target - 1) > 1e-6:
        low, at_low, high = high, at_high, high + (target - at_high) * (high - low) / (at_high - at_low)
        at_high = seconds(max(high, 0.0))
    if high <= 0:
        raise ConfigError(
            f"{rate:,.0f} images/s of {gpus} GPUs with {job.local_batch} images each: more than {cluster.about.gpu} "
            f"reaches, by {cluster.path}: give the rate of one node in images/s, with its --local-batch"
        )
    return cluster.with_values({SLOWDOWN: high})


def expected_maximum(ranks: int) -> float:
    """Of so many draws from a normal distribution, in standard deviations (Blom 1958, within 1 %)."""
    return 0.0 if ranks < 2 else NormalDist().inv_cdf((ranks - 0.375) / (ranks + 0.25))


def _waiting(job: Work, wire: int) -> list[tuple[int, float]]:
    """(place of the layer whose gradients complete it, bytes) of the groups in the order in which they are sent.

    `wire` bytes per element, of which batch norm has four.
    """
    places = work.places(job.layers)
    return [(min(places[i] for i in group.ids), 1e6 * group.megabytes(wire)) for group in job.groups]


class _Stream:
    """The communication stream: one sum at a time, in the order sent."""

    def __init__(self, where: Shape, cluster: Cluster):
        self.where, self.cluster = where, cluster
        self.sums: list[Sum] = []
        self.free = 0.0  # when the last sum ends
        self.lost = 0.0  # seconds by which sums have slowed compute

    def send(self, size: float, now: float) -> None:
        gpu, software = self.cluster.gpu, self.cluster.software
        packing = software.pack_passes * size / (gpu.memory_bandwidth * gpu.memory_efficiency)
        start = max(now + software.group_wait, self.free)
        self.free = start + allreduce(size, self.where, self.cluster) + packing
        self.sums.append(Sum(size, now, start, self.free))

    def advance(self, now: float, seconds: float) -> float:
        """When `seconds` of compute from `now` on are done."""
        slow = 1 + self.cluster.software.contention
        for one in self.sums:
            if one.end <= now:
                continue
            undisturbed = min(seconds, max(0.0, one.start - now))
            now, seconds = now + undisturbed, seconds - undisturbed
            disturbed = min(slow * seconds, one.end - now)
            now, seconds = now + disturbed, seconds - disturbed / slow
            self.lost += disturbed - disturbed / slow
        return now + seconds
