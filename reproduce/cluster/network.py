"""Seconds of one allreduce: latency and bandwidth, inside the nodes and between them.

In two stages, as the team's code did it (facts e): a reduce-scatter inside the node, an allreduce of the slices across
the nodes, each GPU on its share of the adapters, an all-gather inside the node. Across nodes the quicker of ring and
tree, as NCCL chooses. A ring moves 2 (n - 1) / n of the bytes in 2 (n - 1) steps (Patarasuk and Yuan 2009).
"""

import math
from dataclasses import dataclass

from reproduce.cluster.machine import Cluster
from reproduce.errors import ConfigError


@dataclass(frozen=True)
class Shape:
    """How many GPUs of how many nodes take part."""

    local: int
    nodes: int


def shape(gpus: int, cluster: Cluster) -> Shape:
    """Raises `ConfigError` for a number of GPUs that does not fill its nodes, or that the cluster does not have."""
    per_node = int(cluster.node.gpus)
    if not 1 <= gpus <= cluster.about.most_gpus:
        raise ConfigError(f"{gpus:,} GPUs: {cluster.about.name} is modelled for 1 to {cluster.about.most_gpus:,}")
    if gpus > per_node and gpus % per_node:
        raise ConfigError(f"{gpus:,} GPUs: must fill nodes of {per_node}: take a multiple of {per_node}")
    return Shape(min(gpus, per_node), max(1, gpus // per_node))


def allreduce(size: float, where: Shape, cluster: Cluster) -> float:
    """Seconds to sum `size` bytes over all GPUs of `where`."""
    local, nodes = where.local, where.nodes
    seconds = 0.0
    if local > 1:
        steps = 2 * (local - 1)  # of reduce-scatter and all-gather together
        seconds += 2 * cluster.network.launch + steps * (cluster.node.link_latency + size / local / cluster.bus)
    if nodes > 1:
        slice_bytes = size / local
        seconds += cluster.network.launch + min(ring(slice_bytes, nodes, cluster), tree(slice_bytes, nodes, cluster))
    return seconds


def ring(size: float, nodes: int, cluster: Cluster) -> float:
    return 2 * (nodes - 1) * (cluster.network.ring_latency + size / nodes / cluster.wire)


def tree(size: float, nodes: int, cluster: Cluster) -> float:
    """Up and down a double binary tree, in chunks: a hop costs no more than the whole message would."""
    network = cluster.network
    hop = min(network.tree_latency, network.ring_latency + size / cluster.wire)
    return 2 * math.ceil(math.log2(nodes)) * hop + 2 * size / (cluster.wire * network.tree_efficiency)
