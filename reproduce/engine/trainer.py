"""One process's share of a run: its workers, its copy of the weights, and the update all processes take together."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from reproduce.config import Config
from reproduce.engine.comm import Comm
from reproduce.engine.data.loader import Chunk, Loader
from reproduce.engine.evaluation import evaluate
from reproduce.engine.gradients import LOSS, make_gradients
from reproduce.engine.lars import Constants, Lars, split_parameters
from reproduce.engine.model import build_model
from reproduce.engine.progress import Tick
from reproduce.engine.schedule import Schedule
from reproduce.engine.start import start_equal
from reproduce.engine.workers import WorkerStatistics, worker_range
from reproduce.errors import ConfigError, TrainingError

AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
LOSS_CHECK_EVERY = {"cpu": 1, "cuda": 16}  # updates; reading a loss makes the host wait for a GPU


class Trainer:
    """Weights, workers, schedules and optimizer of one process. `update` counts the updates taken so far."""

    def __init__(self, config: Config, seed: int, comm: Comm, precision: str):
        """Raises `ConfigError` if the workers do not divide evenly over the processes."""
        if config.batch.workers % comm.world_size:
            raise ConfigError(
                f"{config.path}: batch.workers = {config.batch.workers} is not divisible by "
                f"{comm.world_size} processes: choose a number of processes that divides it"
            )
        self.config, self.comm = config, comm
        self.workers = worker_range(config.batch.workers, comm.rank, comm.world_size)
        self.model = build_model(config)
        self.startup = start_equal(self.model, seed, comm, config.communication.initialisation)
        self.schedule = Schedule.of(config)
        self.gradients = make_gradients(self.model, comm, config.communication)
        self.optimizer = Lars(*split_parameters(self.model), Constants.of(config))
        self.statistics = WorkerStatistics(self.model, self.workers)
        self.autocast = torch.autocast(comm.device.type, AUTOCAST[precision], enabled=precision != "fp32")
        classes = config.data.classes
        # MXNet gives alpha / (K - 1) to each other class, PyTorch eps / K to every class: eps = alpha K / (K - 1).
        self.smoothing = config.optimizer.label_smoothing * classes / (classes - 1) if classes > 1 else 0.0
        self.update = 0

    def accumulate(self, chunk: Chunk) -> None:
        """Add the gradient sums of a chunk's workers: one pass, batch norm over each local batch by itself."""
        self.statistics.next_chunk(chunk.workers)
        self.gradients.begin_pass(chunk.last)
        logits = self.gradients.network(chunk.images).float()
        loss = F.cross_entropy(logits, chunk.labels, label_smoothing=self.smoothing, reduction="sum")
        self.gradients.controls[LOSS] += loss.detach()  # before backward, which may send it
        (loss * self.config.precision.loss_scale).backward()

    def apply(self, global_batch: int) -> torch.Tensor:
        """Finish the sum over processes and take the update. Returns the mean loss over the global batch, 0-d."""
        self.statistics.end_update()
        self.gradients.wait()
        loss = self.gradients.controls[LOSS] / global_batch
        i, s = self.update, self.schedule
        scale = self.gradients.scale / (global_batch * self.config.precision.loss_scale)
        self.optimizer.step(s.lr(i), s.weight_decay_at(i), s.momentum(i), scale)
        self.gradients.zero()
        self.update += 1
        return loss

    def train_epoch(self, loader: Loader, epoch: int) -> Iterator[Tick]:
        """The updates of a zero-based epoch. Returns its mean loss; raises `TrainingError` on a non-finite one."""
        self.model.train()
        global_batch = self.config.global_batch(epoch)
        check_every, losses = LOSS_CHECK_EVERY[self.comm.device.type], []
        chunks, updates = loader.train_epoch(epoch), self.config.epoch_updates()[epoch]
        for update in range(updates):
            with self.autocast:
                for chunk in chunks:
                    self.accumulate(chunk)
                    if chunk.last:
                        break
            lr = self.schedule.lr(self.update)
            losses.append(self.apply(global_batch))
            if len(losses) % check_every == 0 or update + 1 == updates:
                self._check_finite(losses, check_every)
            yield Tick(epoch + 1, self.update, self.schedule.total, global_batch, lr)
        return torch.stack(losses).mean().item()

    def _check_finite(self, losses: list[torch.Tensor], window: int) -> None:
        recent = torch.stack(losses[-window:]).tolist()
        for i, loss in enumerate(recent, self.update - len(recent)):
            if not math.isfinite(loss):
                raise TrainingError(
                    f"{self.config.path}: loss is {loss} at update {i} of {self.schedule.total} "
                    f"(learning rate {self.schedule.lr(i):.4g}): lower schedule.peak_lr or lengthen the warm-up"
                )

    def evaluate(self, loader: Loader) -> tuple[int, int]:
        """(correct, images) over the whole validation set, by the statistics `batch.bn_eval` names."""
        return evaluate(self, loader, self.config.batch.bn_eval)
