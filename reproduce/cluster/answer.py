"""What a step consists of, how far it is from ideal, and which single change would help most."""

import dataclasses

from reproduce.cluster.machine import Cluster
from reproduce.cluster.step import Step, Work, step
from reproduce.errors import ConfigError

RULES = ("layer", "size:2MB", "size:4MB", "size:8MB", "cubic:3", "single")
MAX_SWEPT = 4096
PARTS = {
    "forward": "compute, forward", "backward": "compute, backward",
    "contention": "compute slowed by the sums", "jitter": "waiting for the slowest rank's compute",
    "exposed": "communication not hidden", "update": "LARS update", "host": "host: input hand-off, loss",
    "across": "framework, across nodes",
}  # fmt: skip


def parts(one: Step) -> dict[str, float]:
    """Seconds by part, in words; they add up to the step."""
    return {words: getattr(one, name) for name, words in PARTS.items()}


def efficiency(job: Work, gpus: int, cluster: Cluster) -> float:
    """Images/s against as many times what one GPU alone does at the same local batch."""
    return step(job, gpus, cluster).images_per_second / (gpus * step(job, 1, cluster).images_per_second)


def limit(one: Step) -> tuple[str, float]:
    """What takes the largest share of a step, and the share."""
    seconds = {"the GPUs' compute": one.forward + one.backward, "communication": one.exposed + one.contention,
               "waiting for the slowest rank": one.jitter, "the update": one.update, "the host": one.host,
               "the framework": one.across}  # fmt: skip
    name = max(seconds, key=lambda part: seconds[part])
    return name, seconds[name] / one.total


def changes(job: Work, gpus: int, cluster: Cluster) -> list[tuple[float, str]]:
    """(gain in percent of images/s, what to change), the best first; each alone, the rest as it is."""

    def scaled(factor: float, *names: str) -> Cluster:
        return cluster.with_values({name: factor * cluster.get(name) for name in names})

    def rate(job: Work, machine: Cluster) -> float:
        return step(job, gpus, machine).images_per_second

    best = max(RULES, key=lambda rule: rate(dataclasses.replace(job, rule=rule), cluster))
    options = [
        ("compute 20 % quicker on one GPU", job, scaled(1 / 1.2, "software.slowdown")),
        ("no gaps between kernels, no waiting for the host (as with CUDA graphs)", job,
         scaled(0, "gpu.kernel_gap", "software.host")),
        ("a framework that costs nothing across nodes", job, scaled(0, "software.across")),
        ("no spread between the ranks' compute", job, scaled(0, "software.jitter")),
        ("sums that leave compute alone", job, scaled(0, "software.contention")),
        ("twice the bandwidth between nodes", job, scaled(2, "network.adapter_bandwidth")),
        ("half the latency between nodes", job,
         scaled(0.5, "network.ring_latency", "network.tree_latency", "network.launch")),
        ("twice the bandwidth inside the node", job, scaled(2, "node.link_bandwidth")),
        ("groups that start without waiting", job, scaled(0, "software.group_wait")),
        (f"gradients grouped by {best}", dataclasses.replace(job, rule=best), cluster),
        ("sums overlapped with backward", dataclasses.replace(job, overlap=True), cluster),
    ]  # fmt: skip
    now = rate(job, cluster)
    return sorted(((100 * (rate(other, machine) / now - 1), what) for what, other, machine in options), reverse=True)


def sweep(cluster: Cluster, local_batch: int, rules: tuple[str, ...] = RULES) -> dict[int, list[Step]]:
    """A step for each of `rules`, by number of GPUs: the powers of two that fill nodes, from 2 up."""
    found, gpus = {}, 2
    while gpus <= min(MAX_SWEPT, cluster.about.most_gpus):
        try:
            found[gpus] = [step(Work(local_batch, rule), gpus, cluster) for rule in rules]
        except ConfigError:
            if gpus < cluster.node.gpus or gpus % cluster.node.gpus == 0:
                raise
        gpus *= 2
    return found
