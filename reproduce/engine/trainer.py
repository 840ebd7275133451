"""One process's share of a run: its workers, its copy of the weights, and the update all processes take together."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from reproduce.engine.data.loader import AnyLoader, Chunk
from reproduce.engine.dist.comm import Comm
from reproduce.engine.dist.gradients import CONTROLS, LOSS, SAVE, STOP, make_gradients
from reproduce.engine.dist.start import check_equal, start_equal
from reproduce.engine.dist.stop_requests import StopRequests
from reproduce.engine.evaluation import evaluate
from reproduce.engine.execution import Execution
from reproduce.engine.graph import GraphedUpdate
from reproduce.engine.model import build_model
from reproduce.engine.optim import Constants, make_lars, split_parameters
from reproduce.engine.overflow import complaint
from reproduce.engine.progress import Tick
from reproduce.engine.state import check
from reproduce.engine.workers import WorkerStatistics, worker_range
from reproduce.errors import CheckpointError, ConfigError, TrainingError
from reproduce.recipe.load import Config
from reproduce.recipe.schedule import Schedule

AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Trainer:
    """Weights, workers, schedules and optimizer of one process.

    `update` counts the updates taken so far, `epoch` is the zero-based one under way, and `losses` holds the mean loss
    of each of its updates so far. `save_due` and `stop_due` say that some process wished for it; see `stop_requests`.
    """

    def __init__(
        self, config: Config, seed: int, comm: Comm, precision: str, stop_requests: StopRequests | None = None,
        execution: Execution | None = None,
    ):  # fmt: skip
        """Raises `ConfigError` if the workers do not divide evenly over the processes, `TrainingError` if the
        processes do not start from equal weights."""
        if config.batch.workers % comm.world_size:
            raise ConfigError(
                f"{config.path}: batch.workers = {config.batch.workers} is not divisible by "
                f"{comm.world_size} processes: choose a number of processes that divides it"
            )
        self.execution = execution = execution or Execution()
        self.config, self.seed, self.comm, self.stop_requests = config, seed, comm, stop_requests or StopRequests()
        share, span = config.batch.workers // comm.world_size, config.batch.bn_workers
        if share % span:
            raise ConfigError(
                f"{config.path}: batch.bn_workers = {span} does not divide the {share} workers of a process: batch "
                "norm's statistics do not cross processes here: choose fewer processes"
            )
        self.workers = worker_range(config.batch.workers, comm.rank, comm.world_size)
        self.model = build_model(config)
        self.startup = start_equal(self.model, seed, comm, config.communication.initialisation)
        self.schedule = Schedule.of(config)
        self.gradients = make_gradients(self.model, comm, config.communication)
        self.optimizer = make_lars(execution.lars, *split_parameters(self.model), Constants.of(config), self.gradients,
                                   warns=comm.rank == 0)  # fmt: skip
        self.statistics = WorkerStatistics(self.model, self.workers, execution.batch_norm == "vectorised", span)
        self.precision = precision
        on_wire = config.communication.wire if comm.world_size > 1 else "fp32"
        self._may_overflow = "fp16" in (precision, on_wire)
        self.autocast = torch.autocast(comm.device.type, AUTOCAST[precision], enabled=precision != "fp32")
        classes = config.data.classes
        # MXNet gives alpha / (K - 1) to each other class, PyTorch eps / K to every class: eps = alpha K / (K - 1).
        self.smoothing = config.optimizer.label_smoothing * classes / (classes - 1) if classes > 1 else 0.0
        self.update, self.epoch = 0, 0
        self.losses: list[torch.Tensor] = []
        self.save_due = self.stop_due = False
        self._asked = (False, False)
        self._wishes_here = torch.zeros(CONTROLS, device=comm.device)
        self.take = GraphedUpdate(self) if execution.cuda_graph else self.take_update

    # ---- an update ------------------------------------------------------------------------------------------------

    def take_update(self, chunks: list[Chunk] | Iterator[Chunk], global_batch: int) -> torch.Tensor:
        """All of an update, from its chunks on; returns what `finish` does."""
        with self.autocast:
            for chunk in chunks:
                if chunk.last:  # not before: the requests of now are to travel
                    self.prepare(global_batch)
                self.accumulate(chunk)
                if chunk.last:
                    break
        return self.finish(global_batch)

    def changing(self) -> list[torch.Tensor]:
        """What an update changes for the next: weights, momenta and statistics. Gradients are zero between updates."""
        weights = [p.data for p in self.model.parameters()]
        return [*weights, *self.optimizer.momenta, self.statistics.running, self.statistics.batch]

    def prepare(self, global_batch: int) -> None:
        """What differs from update to update, written to where the device reads it; before the last chunk."""
        asked = bool(self.stop_requests.save), bool(self.stop_requests.stop)
        if asked != self._asked:  # seldom
            self._asked = asked
            self._wishes_here[SAVE], self._wishes_here[STOP] = map(float, asked)
        i, s = self.update, self.schedule
        scale = self.gradients.scale / (global_batch * self.config.precision.loss_scale)
        self.optimizer.sgd_share = s.sgd_share(i)
        self.optimizer.set(s.lr(i), s.weight_decay_at(i), s.momentum(i), scale)

    def accumulate(self, chunk: Chunk) -> None:
        """Add the gradient sums of a chunk's workers: one pass, batch norm over each local batch by itself."""
        self.statistics.next_chunk(chunk.workers)
        self.gradients.begin_pass(chunk.last)
        logits = self.gradients.network(chunk.images).float()
        loss = F.cross_entropy(logits, chunk.labels, label_smoothing=self.smoothing, reduction="sum")
        controls = self.gradients.controls  # complete before backward, which may send them
        controls[LOSS] += loss.detach()
        if chunk.last:
            controls += self._wishes_here
        (loss * self.config.precision.loss_scale).backward()

    def finish(self, global_batch: int) -> torch.Tensor:
        """Finish the sum over processes and take the update.

        Returns float32 [CONTROLS]: the mean loss over the global batch, and how many processes wish to save, to stop;
        where something is fp16 also each group's largest gradient, as another may overflow than the loss shows.
        """
        self.statistics.end_update()
        self.gradients.wait()
        outcome = self.gradients.controls.clone()
        outcome[LOSS] /= global_batch
        if self._may_overflow:
            outcome = torch.cat([outcome, self.gradients.largest()])
        self.optimizer.update()
        self.gradients.zero()
        self.update += 1
        return outcome

    # ---- an epoch -------------------------------------------------------------------------------------------------

    def train_epoch(self, loader: AnyLoader) -> Iterator[Tick]:
        """The updates that the epoch under way still needs; raises `TrainingError` on a non-finite loss."""
        self.model.train()
        epoch, updates = self.epoch, self.config.epoch_updates()[self.epoch]
        global_batch, check_every = self.config.global_batch(epoch), self._check_every()
        first, outcomes = len(self.losses), []
        chunks = loader.train_epoch(epoch, first)
        for done in range(first + 1, updates + 1):
            self.comm.watch.doing(f"update {self.update} of {self.schedule.total}")
            lr = self.schedule.lr(self.update)
            outcomes.append(self.take(chunks, global_batch))
            self.losses.append(outcomes[-1][LOSS])
            if len(outcomes) == check_every or done == updates:
                self._check(outcomes)
                outcomes.clear()
            yield Tick(epoch + 1, self.update, self.schedule.total, global_batch, lr)

    def end_epoch(self) -> float:
        """Close the epoch under way; returns its mean loss."""
        loss = torch.stack(self.losses).mean().item()
        self.epoch, self.losses = self.epoch + 1, []
        return loss

    def _check_every(self) -> int:
        """Updates between looks at the outcomes, the same in all processes.

        Looking makes the host wait for a GPU. With the paper's one worker per GPU that is every 16 updates, under a
        second; a process of 16 workers or more works long enough on an update to look each time.
        """
        if self.comm.device.type == "cpu":
            return 1
        return max(1, 16 // len(self.workers))

    def _check(self, outcomes: list[torch.Tensor]) -> None:
        with self.comm.others("the outcome of an update"):  # on a GPU the host learns here that somebody is missing
            recent = torch.stack(outcomes).tolist()
        seen = complaint(self.config, self.schedule, self.precision, self.update - len(recent), recent)
        if seen:
            raise TrainingError(seen)
        self.save_due = any(outcome[SAVE] for outcome in recent)
        self.stop_due = any(outcome[STOP] for outcome in recent)

    def evaluate(self, loader: AnyLoader) -> tuple[int, int]:
        """(correct, images) over the whole validation set, by the statistics `batch.bn_eval` names."""
        self.comm.watch.doing(f"the evaluation after epoch {self.epoch}")
        return evaluate(self, loader, self.config.batch.bn_eval)

    def close(self) -> None:
        """End the exchange of gradients and let go of what holds it; before `Comm.close`."""
        if isinstance(self.take, GraphedUpdate):
            self.take.release()
        self.gradients.close()

    # ---- checkpoints ----------------------------------------------------------------------------------------------

    def state(self) -> dict | None:
        """Everything a run needs to go on from here, on rank 0; None elsewhere. All processes call it together.

        No state of any random generator is in it, of any worker: shuffles, crops, flips and initial weights are pure
        functions of the seed and of where in the run they are needed. The place in the data is (epoch, updates of it).
        """
        self.save_due = False
        self.stop_requests.saved()
        statistics = self.statistics.rows(self.comm)
        if self.comm.rank:
            return None
        sign = self.optimizer.momentum_sign
        return {
            "config_hash": self.config.hash, "seed": self.seed, "update": self.update, "epoch": self.epoch,
            "losses": torch.stack(self.losses).cpu() if self.losses else torch.empty(0),
            "weights": {name: p.detach().cpu() for name, p in self.model.named_parameters()},
            "momenta": {name: (v * sign).cpu() for name, v in self._named(self.optimizer.momenta).items()},
            "squares": {name: q.cpu() for name, q in self._named(self.optimizer.squares).items()},
            "statistics": statistics,
        }  # fmt: skip

    @torch.no_grad()
    def load_state(self, state: dict) -> None:
        """Go on from a `state`, of any number of processes. Raises `CheckpointError` if it is of another run."""
        theirs, ours = (state.get("config_hash"), state.get("seed")), (self.config.hash, self.seed)
        if theirs != ours:
            raise CheckpointError(
                f"{self.config.path}: the checkpoint is of recipe {theirs[0]} with seed {theirs[1]}, not of {ours[0]} "
                f"with seed {ours[1]}: give the config and seed it was made with, or start afresh with --restart"
            )
        own: dict[str, dict[str, torch.Tensor]] = {
            "weights": dict(self.model.named_parameters()), "momenta": self._named(self.optimizer.momenta),
            "squares": self._named(self.optimizer.squares),
        }  # fmt: skip
        check(state, self.config, own | {"statistics": self.statistics.due(self.config.batch.workers)})
        for part, tensors in own.items():
            for name, tensor in tensors.items():
                tensor.copy_(state[part][name] * (self.optimizer.momentum_sign if part == "momenta" else 1.0))
        self.statistics.load_rows(state["statistics"])
        self.update, self.epoch = state["update"], state["epoch"]
        self.losses = list(state["losses"].to(self.comm.device))
        check_equal(self.model, self.comm)

    def _named(self, tensors: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        """The optimizer's tensors, of all parameters or of none, by the names of their parameters."""
        names = {id(p): name for name, p in self.model.named_parameters()}
        return {names[id(p)]: tensor for p, tensor in zip(self.optimizer.parameters, tensors)}
