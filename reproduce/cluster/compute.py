"""Seconds a GPU computes: each layer forward and backward, by its tensor peak or its memory, and the update.

A roofline (Williams et al. 2009) per layer: a convolution takes the longer of its arithmetic, on the multiprocessors
its tiles fill, and of its memory traffic; batch norm takes passes over the activations. Every kernel adds a gap. One
factor, `Software.slowdown`, is what the calibration solves for: it scales all of it but the gaps.
"""

import functools
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


@dataclass(frozen=True)
class _Rates:
    """All of a machine that the roofline of a layer depends on."""

    peak: float  # FLOP/s of a product that fills the device
    memory: float  # B/s
    units: int
    element_bytes: float
    norm_forward: float  # passes over the activations
    norm_backward: float

    @classmethod
    def of(cls, cluster: Cluster) -> "_Rates":
        gpu, software = cluster.gpu, cluster.software
        return cls(gpu.tensor_peak * gpu.tensor_efficiency, gpu.memory_bandwidth * gpu.memory_efficiency,
                   int(gpu.multiprocessors), software.element_bytes, software.norm_passes_forward,
                   software.norm_passes_backward)  # fmt: skip

    def traffic(self, elements: float) -> float:
        """Seconds to move activations through memory once."""
        return self.element_bytes * elements / self.memory


def compute(layers: tuple[Layer, ...], batch: int, cluster: Cluster) -> Compute:
    """What a step of `batch` images per GPU takes, if nobody else is there."""
    work = _work(layers, batch, _Rates.of(cluster))
    slowdown = _slowdown(cluster)
    forward, backward = (
        tuple(slowdown * seconds + kernels * cluster.gpu.kernel_gap for seconds, kernels in side) for side in zip(*work)
    )
    return Compute(forward, backward, update(layers, cluster))


def inference(layers: tuple[Layer, ...], batch: int, cluster: Cluster) -> float:
    """Seconds to classify `batch` images: the forward pass, batch norm in one pass in and one out."""
    rates, seconds = _Rates.of(cluster), 0.0
    for layer, (forward, _) in zip(layers, _work(layers, batch, rates)):
        work, kernels = (2 * rates.traffic(layer.outputs * batch), 1) if layer.kind == "norm" else forward
        seconds += _slowdown(cluster) * work + kernels * cluster.gpu.kernel_gap
    return seconds


def update(layers: tuple[Layer, ...], cluster: Cluster) -> float:
    """Seconds of the optimizer's step: memory traffic and kernels."""
    software, gpu = cluster.software, cluster.gpu
    parameters = sum(layer.weights for layer in layers)
    traffic = software.update_bytes * parameters / (gpu.memory_bandwidth * gpu.memory_efficiency)
    return traffic + software.update_kernels * gpu.kernel_gap


@functools.lru_cache(maxsize=1024)  # a calibration tries many slowdowns, on which this does not depend
def _work(layers: tuple[Layer, ...], batch: int, rates: _Rates) -> tuple[tuple[tuple[float, int], ...], ...]:
    return tuple(_layer(layer, batch, rates) for layer in layers)


def _layer(layer: Layer, batch: int, rates: _Rates) -> tuple[tuple[float, int], tuple[float, int]]:
    """(seconds, kernels) forward and backward, before slowdown and gaps."""
    if layer.kind == "norm":
        once = rates.traffic(layer.outputs * batch)
        return (rates.norm_forward * once, 1), (rates.norm_backward * once, 2)
    traffic = rates.traffic((layer.inputs + layer.outputs) * batch + layer.weights)
    flops, units = 2.0 * layer.macs * batch, rates.units

    def product(filled: float) -> float:
        return max(flops / (rates.peak * filled), traffic)

    forward = product(_filled(layer.rows * batch, layer.columns, units))
    tiles = _tiles(layer.columns, layer.depth)
    weight_gradient = product(SPLIT if tiles < units else _filled(layer.columns, layer.depth, units))
    if layer.name == "conv1":  # nobody asks for the gradient of the images
        return (forward, 1), (weight_gradient, 1)
    input_gradient = product(_filled(layer.input_rows * batch, layer.channels, units))
    return (forward, 1), (weight_gradient + input_gradient, 2)


def _slowdown(cluster: Cluster) -> float:
    return cluster.software.slowdown * cluster.software.unlike_stack


def _tiles(rows: int, columns: int) -> int:
    return math.ceil(rows / TILE) * math.ceil(columns / TILE)


def _filled(rows: int, columns: int, units: int) -> float:
    """The share of the multiprocessors that has work: tiles come in waves, and the last one is not full."""
    tiles = _tiles(rows, columns)
    return tiles / (math.ceil(tiles / units) * units)
