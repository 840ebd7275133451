"""Workers, not devices: one process stands for many of the paper's GPUs, with the mathematics of each.

A worker has its own shard, its own local batch and its own batch-norm statistics over that batch, and contributes a
gradient *sum*. A process runs several of its workers in one pass; everything in the network treats images one by one
except batch norm, so `WorkerBatchNorm2d` alone keeps them apart. The result does not depend on how workers are spread
over passes and processes beyond the order of summation.
"""

import torch
import torch.nn.functional as F
from torch import nn


class WorkerBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over each worker's local batch when training, which evaluates by `bn_eval`.

    Every worker's running statistics are an exponential average r <- m r + (1 - m) b of its own batch statistics b.
    An exponential average is linear, so the mean over workers of their running statistics is the running average of
    the mean over workers of b: one buffer suffices for ``bn_eval = "mean"``, however many workers there are.

    `batch_mean` and `batch_var` collect this update's (weighted) mean of b over the workers run so far;
    `end_update` folds them into the running statistics. The variance is the biased one (divided by N), as in the
    team's fused kernel (facts c), while PyTorch's own running variance is unbiased.
    """

    def __init__(self, features: int, eps: float, ema_momentum: float):
        super().__init__(features, eps=eps)
        self.ema_momentum = ema_momentum
        self.collect_weights: tuple[float, ...] = (0.0,)  # one per worker of the coming pass; see `next_chunk`
        self.biased_factor = 1.0
        self.register_buffer("batch_mean", torch.zeros(features), persistent=False)
        self.register_buffer("batch_var", torch.zeros(features), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [workers * local batch, C, H, W] when training, any batch when not. Returns the same shape."""
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        parts = x.split(len(x) // len(self.collect_weights))
        count = parts[0].numel() // x.shape[1]
        self.biased_factor = (count - 1) / count
        normed = [
            F.batch_norm(part, self.batch_mean, self.batch_var, self.weight, self.bias, True, weight, self.eps)
            for part, weight in zip(parts, self.collect_weights, strict=True)
        ]
        return normed[0] if len(normed) == 1 else torch.cat(normed)

    @torch.no_grad()
    def end_update(self) -> None:
        self.running_mean.lerp_(self.batch_mean, 1 - self.ema_momentum)
        self.running_var.lerp_(self.batch_var * self.biased_factor, 1 - self.ema_momentum)


class WorkerStatistics:
    """Drives the batch-norm layers of a network through the workers of one process.

    `workers` is the range of worker ids this process stands for. `bn_eval` "mean" averages all workers; "rank0" keeps
    worker 0's statistics alone, which only the process that runs it knows until `synchronise`.
    """

    def __init__(self, model: nn.Module, workers: range, bn_eval: str):
        self.layers = [module for module in model.modules() if isinstance(module, WorkerBatchNorm2d)]
        self.workers = workers
        self.bn_eval = bn_eval

    def next_chunk(self, workers: range) -> None:
        """Call before the forward pass, in training, of these workers' local batches, one after the other."""
        if self.bn_eval == "mean":  # a running mean over the workers so far
            weights = tuple(1.0 / (worker - self.workers.start + 1) for worker in workers)
        else:
            weights = tuple(1.0 if worker == 0 else 0.0 for worker in workers)
        for layer in self.layers:
            layer.collect_weights = weights

    def end_update(self) -> None:
        """Call once after the last worker of an update."""
        for layer in self.layers:
            layer.end_update()

    @torch.no_grad()
    def synchronise(self, comm) -> None:
        """Make every process hold the statistics that evaluate: the mean over processes, or worker 0's.

        Processes hold equally many workers, so the mean over processes is the mean over workers. A process's own part
        of the average is overwritten, which is harmless: the average of averages stays linear. One collective in all.
        """
        buffers = [buffer for layer in self.layers for buffer in (layer.running_mean, layer.running_var)]
        flat = torch.cat(buffers)
        if self.bn_eval == "mean":
            comm.sum_(flat).div_(comm.world_size)
        else:
            comm.broadcast_(flat, root=0)
        for buffer, part in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
            buffer.copy_(part)


def worker_range(workers: int, rank: int, world_size: int) -> range:
    """The contiguous workers of a process; `workers` must be divisible by `world_size`."""
    share = workers // world_size
    return range(rank * share, (rank + 1) * share)
