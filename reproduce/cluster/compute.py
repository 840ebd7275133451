"""Seconds a GPU computes: each layer forward and backward, by its tensor peak or its memory, and the update.

A roofline (Williams et al. 2009) per layer: a convolution takes the longer of its arithmetic, on the multiprocessors
its tiles fill, and of its memory traffic; batch norm takes passes over the activations. Every kernel adds a gap. One
factor, `Software.slowdown`, is what the calibration solves for: it scales all of it but the gaps.
"""

import math
from dataclasses import dataclass

from reproduce.cluster.layers import Layer
from reproduce.cluster.machine import Cluster

TILE = 128  # rows and columns of a matrix product that one multiprocessor works on at a time
SPLIT = 0.8  # what a weight gradient of few tiles reaches when its depth is shared out and summed again


@dataclass(frozen=True)
class Compute:
    """Seconds of one GPU: `forward` and `backward` by layer, in the order of the layers, and the update."""

    forward: tuple[float, ...]
    backward: tuple[float, ...]
    update: float


def compute(layers: tuple[Layer, ...], batch: int, cluster: Cluster) -> Compute:
    """What a step of `batch` images per GPU takes, if nobody else is there."""
    work = [_layer(layer, batch, cluster) for layer in layers]
    slowdown = _slowdown(cluster)
    forward, backward = (
        tuple(slowdown * seconds + kernels * cluster.gpu.kernel_gap for seconds, kernels in side) for side in zip(*work)
    )
    return Compute(forward, backward, update(layers, cluster))


def inference(layers: tuple[Layer, ...], batch: int, cluster: Cluster) -> float:
    """Seconds to classify `batch` images: the forward pass, batch norm in one pass in and one out."""
    seconds = 0.0
    for layer in layers:
        if layer.kind == "norm":
            work, kernels = 2 * _traffic(layer.outputs * batch, cluster), 1
        else:
            (work, kernels), _ = _layer(layer, batch, cluster)
        seconds += _slowdown(cluster) * work + kernels * cluster.gpu.kernel_gap
    return seconds


def update(layers: tuple[Layer, ...], cluster: Cluster) -> float:
    """Seconds of the optimizer's step: memory traffic and kernels."""
    software, gpu = cluster.software, cluster.gpu
    parameters = sum(layer.weights for layer in layers)
    traffic = software.update_bytes * parameters / (gpu.memory_bandwidth * gpu.memory_efficiency)
    return traffic + software.update_kernels * gpu.kernel_gap


def _layer(layer: Layer, batch: int, cluster: Cluster) -> tuple[tuple[float, int], tuple[float, int]]:
    """(seconds, kernels) forward and backward, before slowdown and gaps."""
    software = cluster.software
    if layer.kind == "norm":
        once = _traffic(layer.outputs * batch, cluster)
        return (software.norm_passes_forward * once, 1), (software.norm_passes_backward * once, 2)
    traffic = _traffic((layer.inputs + layer.outputs) * batch + layer.weights, cluster)
    flops = 2.0 * layer.macs * batch
    peak, units = cluster.gpu.tensor_peak * cluster.gpu.tensor_efficiency, int(cluster.gpu.multiprocessors)

    def product(filled: float) -> float:
        return max(flops / (peak * filled), traffic)

    forward = product(_filled(layer.rows * batch, layer.columns, units))
    tiles = _tiles(layer.columns, layer.depth)
    weight_gradient = product(SPLIT if tiles < units else _filled(layer.columns, layer.depth, units))
    if layer.name == "conv1":  # nobody asks for the gradient of the images
        return (forward, 1), (weight_gradient, 1)
    input_gradient = product(_filled(layer.input_rows * batch, layer.channels, units))
    return (forward, 1), (weight_gradient + input_gradient, 2)


def _slowdown(cluster: Cluster) -> float:
    return cluster.software.slowdown * cluster.software.unlike_stack


def _traffic(elements: float, cluster: Cluster) -> float:
    """Seconds to move activations through memory once."""
    return cluster.software.element_bytes * elements / (cluster.gpu.memory_bandwidth * cluster.gpu.memory_efficiency)


def _tiles(rows: int, columns: int) -> int:
    return math.ceil(rows / TILE) * math.ceil(columns / TILE)


def _filled(rows: int, columns: int, units: int) -> float:
    """The share of the multiprocessors that has work: tiles come in waves, and the last one is not full."""
    tiles = _tiles(rows, columns)
    return tiles / (math.ceil(tiles / units) * units)
