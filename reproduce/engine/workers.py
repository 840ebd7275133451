"""Workers, not devices: one process stands for many of the paper's GPUs, with the mathematics of each.

A worker has its own shard, its own local batch and its own batch-norm statistics over that batch, and contributes a
gradient *sum*. A process runs several of its workers in one pass; everything in the network treats images one by one
except batch norm, so `WorkerBatchNorm2d` alone keeps them apart. The result does not depend on how workers are spread
over passes and processes beyond the order of summation.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from reproduce.engine import vectorised
from reproduce.errors import CheckpointError


class WorkerBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over each worker's local batch when training; evaluates with shared statistics or a worker's own.

    `batch` and `running` [2, workers, C] hold a row of means and a row of variances for each worker of this process:
    those of its last local batch b, and their running average r <- m r + (1 - m) b. The running variance is that of
    the biased one (divided by N), as in the team's fused kernel (facts c), while PyTorch's own is unbiased.
    `running_mean` and `running_var` [C] are what all images are evaluated with, unless `sizes` gives each worker its
    own; nothing in training reads or writes them.

    Built for one worker; `WorkerStatistics` makes room for more, in tables of all layers.
    """

    def __init__(self, features: int, eps: float, ema_momentum: float):
        super().__init__(features, eps=eps)
        self.ema_momentum = ema_momentum
        self.first_gamma = 1.0  # what training begins with
        self.rows = slice(0, 1)  # whose images the coming pass holds, one worker's after the other's
        self.sizes: list[int] | None = None  # evaluating, images of each of `rows`; None: shared statistics
        self.vectorised = False  # training, all workers of a pass at once: engine/vectorised.py
        self.biased_factor = 1.0  # (N - 1) / N, with N the values of a channel in one local batch
        self.register_buffer("batch", torch.empty(0), persistent=False)
        self.register_buffer("running", torch.empty(0), persistent=False)
        assert self.running_mean is not None, "a layer that tracks statistics"
        self.share(*fresh_tables(1, features, self.running_mean.device))

    def share(self, batch: torch.Tensor, running: torch.Tensor) -> None:
        """Keep this layer's statistics [2, workers, C] there."""
        self.batch, self.running = batch, running

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [workers * local batch, C, H, W] when training, any batch when not. Returns the same shape."""
        if self.training:
            workers = self.rows.stop - self.rows.start
            count = x.numel() // (workers * x.shape[1])
            self.biased_factor = (count - 1) / count
            if self.vectorised:
                return vectorised.normalise(x, self.weight, self.bias, self.batch[:, self.rows], self.eps)
            # split and joined, one worker's images would be copied on the way back
            return self._each([x] if workers == 1 else x.split(len(x) // workers), self.batch)
        if self.sizes is not None:
            return self._each(x.split(self.sizes), self.running)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)

    def _each(self, parts: Sequence[torch.Tensor], table: torch.Tensor) -> torch.Tensor:
        """Normalise each worker's images with its row of `table`, which training fills: momentum 1 keeps only b."""
        means, variances = table[:, self.rows]
        normed = [
            F.batch_norm(part, mean, var, self.weight, self.bias, self.training, 1.0, self.eps)
            for part, mean, var in zip(parts, means, variances, strict=True)
            if len(part)
        ]
        return normed[0] if len(normed) == 1 else torch.cat(normed)


def fresh_tables(workers: int, channels: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """`batch` and `running` of so many workers: mean 0, variance 1 to average from."""
    batch, running = torch.zeros(2, 2, workers, channels, device=device)
    running[1] = 1
    return batch, running


class WorkerStatistics:
    """Drives the batch-norm layers of a network through the workers of one process, and sums their statistics up.

    `workers` is the range of worker ids this process stands for; build it when the model is on its device. A worker
    takes four numbers per channel: 425 kB with the 26,560 channels of ResNet-50, 0.87 GB for 2,048 workers on one
    device. `batch` and `running` [2, workers, channels] hold those of all layers, whose channels follow each other, so
    that an update's averages take a few operations and not a few for each layer.

    With a `span` above 1 so many neighbouring workers share a batch's statistics (Ying et al., arXiv:1811.06992), and
    one row of the tables: `self.workers` then counts these groups. A pass holds whole groups.
    """

    def __init__(self, model: nn.Module, workers: range, vectorised: bool = False, span: int = 1):
        self.layers = [module for module in model.modules() if isinstance(module, WorkerBatchNorm2d)]
        self.channels = [layer.num_features for layer in self.layers]
        self.span = span
        self.workers = workers = self._shared(workers)
        device = self.layers[0].weight.device
        self.batch, self.running = fresh_tables(len(workers), sum(self.channels), device)
        tables = (table.split(self.channels, dim=2) for table in (self.batch, self.running))
        for layer, *own in zip(self.layers, *tables):
            layer.share(*own)
            layer.vectorised = vectorised
        self._step = 1 - self.layers[0].ema_momentum
        self._factors: list[float] = []
        self._to_biased = torch.ones(2, 1, sum(self.channels), device=device)

    # ---- a pass ---------------------------------------------------------------------------------------------------

    def next_chunk(self, workers: range) -> None:
        """Call before the forward pass, in training, of these workers' local batches, one after the other."""
        self._next(workers, None)

    def next_shards(self, workers: range, sizes: list[int]) -> None:
        """Call before evaluating `sizes[i]` images (may be 0) of each of these workers, each by its own statistics."""
        together = [0] * len(self._shared(workers))
        for worker, size in zip(workers, sizes):
            together[worker // self.span - workers.start // self.span] += size
        self._next(workers, together)

    def end_shards(self) -> None:
        """Evaluate with shared statistics again."""
        self._next(range(self.workers.start * self.span, self.workers.stop * self.span), None)

    def _shared(self, workers: range) -> range:
        """The groups these workers are in."""
        return range(workers.start // self.span, -(-workers.stop // self.span))

    def _next(self, workers: range, sizes: list[int] | None) -> None:
        groups, first = self._shared(workers), self.workers.start
        rows = slice(groups.start - first, groups.stop - first)
        for layer in self.layers:
            layer.rows, layer.sizes = rows, sizes

    @torch.no_grad()
    def end_update(self) -> None:
        """Call once after the last worker of an update."""
        self.running.lerp_(self.biased_batch(), self._step)

    def biased_batch(self) -> torch.Tensor:
        """[2, workers, channels]: `batch` with the variances divided by N instead of N - 1."""
        factors = [layer.biased_factor for layer in self.layers]
        if factors != self._factors:  # a new size of the local batch
            self._factors = factors
            for part, factor in zip(self._to_biased[1, 0].split(self.channels), factors):
                part.fill_(factor)
        return self.batch * self._to_biased

    # ---- one set of statistics for all images ---------------------------------------------------------------------

    def mean(self, comm) -> torch.Tensor:
        """float32 [2, channels]: means and variances, averaged over all workers of all processes. One collective.

        Summed in double precision, so that the number of processes does not show after rounding.
        """
        return comm.sum_(self.running.sum(1, dtype=torch.float64)).div_(len(self.workers) * comm.world_size).float()

    def rank0(self, comm) -> torch.Tensor:
        """float32 [2, channels]: the running statistics of worker 0, on every process. One collective."""
        return comm.broadcast_(self.running[:, 0].clone(), root=0)

    def batch_sums(self) -> torch.Tensor:
        """float64 [3, channels]: this process's sums over its workers of mean, mean^2 and biased variance.

        Of the local batches last run through the network in training mode.
        """
        mean, var = self.biased_batch().double()
        return torch.stack([mean.sum(0), mean.square().sum(0), var.sum(0)])

    @torch.no_grad()
    def evaluate_with(self, table: torch.Tensor) -> None:
        """Make `table` [2, channels] the statistics that evaluate."""
        for layer, (mean, var) in zip(self.layers, table.split(self.channels, dim=1), strict=True):
            assert layer.running_mean is not None and layer.running_var is not None, "it tracks statistics"
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(var)

    # ---- checkpoints ----------------------------------------------------------------------------------------------

    def rows(self, comm) -> dict[str, torch.Tensor]:
        """All workers' running statistics: "running_mean" and "running_var", float32 [all workers, channels] on CPU.

        In the order of worker ids, whatever the number of processes. One collective, an allreduce of both tables.
        """
        own = self.running
        shape = (2, len(self.workers) * comm.world_size, own.shape[2])
        # Bit patterns: adding the zeros of the other processes is exact for integers; floats would lose -0.0.
        table = torch.zeros(shape, dtype=torch.int32, device=own.device)
        table[:, self.workers.start : self.workers.stop] = own.view(torch.int32)
        mean, var = comm.sum_(table).view(torch.float32).cpu()
        return {"running_mean": mean, "running_var": var}

    def due(self, workers: int) -> dict[str, torch.Tensor]:
        """Tensors of the shapes and types that `rows` gives of so many workers, without content."""
        shape = workers // self.span, sum(self.channels)
        return {name: torch.empty(shape, device="meta") for name in ("running_mean", "running_var")}

    @torch.no_grad()
    def load_rows(self, rows: dict[str, torch.Tensor]) -> None:
        """Take this process's workers' own rows out of what `rows` gave, under any number of processes.

        Raises `CheckpointError` if the tables are not of this network or lack one of these workers.
        """
        tables = rows["running_mean"], rows["running_var"]
        if any(len(table) < self.workers.stop or table.shape[1] != sum(self.channels) for table in tables):
            shapes = " and ".join(str(list(table.shape)) for table in tables)
            raise CheckpointError(
                f"checkpoint: batch-norm statistics {shapes}: must be [workers, channels] with at least "
                f"{self.workers.stop} workers and exactly {sum(self.channels)} channels: take the run's own config"
            )
        for own, table in zip(self.running, tables):
            own.copy_(table[self.workers.start : self.workers.stop])


def worker_range(workers: int, rank: int, world_size: int) -> range:
    """The contiguous workers of a process; `workers` must be divisible by `world_size`."""
    share = workers // world_size
    return range(rank * share, (rank + 1) * share)
