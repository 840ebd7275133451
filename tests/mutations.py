"""Ways to break the mathematics of training, each applied for the length of a ``with``.

Every one is a mistake that a public implementation or its users have made. A mutation changes code, never the recipe:
the config and its hash stay, so that only what the run does can give it away.
"""

from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from unittest import mock

import torch
import torch.nn.functional as F

from reproduce.engine.data.plan import Plan
from reproduce.engine.optim import formulas
from reproduce.engine.optim.foreach import Lars
from reproduce.engine.optim.native import NativeLars
from reproduce.engine.trainer import Trainer
from reproduce.engine.workers import WorkerBatchNorm2d, WorkerStatistics
from reproduce.recipe.schedule import Schedule
from reproduce.trials.faulty import constants, wrapped

PRESET = "fujitsu_mlperf06"


@dataclass(frozen=True)
class Mutation:
    """`patches` makes the patches, each a context manager.

    `trained`: whether the tests train with it, for it cannot show in the first updates, or as an example of those that
    can. Not all of the others show in a curve: an epsilon of 1e-3 is lost in the gradient norms of a whole run.
    """

    name: str
    patches: Callable[[], list]
    trained: bool = True

    @contextmanager
    def applied(self):
        with ExitStack() as stack:
            for patch in self.patches():
                stack.enter_context(patch)
            yield


def preset(**changes) -> list:
    return [mock.patch.dict(formulas.PRESETS, {PRESET: replace(formulas.PRESETS[PRESET], **changes)})]


def schedule(name: str, around: Callable) -> list:
    return [wrapped(Schedule, name, around)]


def smoothing(of: Callable[[Trainer], float]) -> list:
    def around(init, trainer, *args, **kwargs):
        init(trainer, *args, **kwargs)
        trainer.smoothing = of(trainer)

    return [wrapped(Trainer, "__init__", around)]


def gradients_times(factor: float) -> list:
    def around(set_, optimizer, lr, weight_decay, momentum, gradient_scale):
        set_(optimizer, lr, weight_decay, momentum, gradient_scale * factor)

    return [wrapped(Lars, "set", around)]


def global_statistics() -> list:
    """One mean and variance over the images of all workers of a pass, which every worker takes for its own."""

    def around(each, layer, parts, table):
        if not layer.training:
            return each(layer, parts, table)
        x, rows = torch.cat(tuple(parts)), layer.rows
        mean, var = torch.zeros_like(layer.running_mean), torch.ones_like(layer.running_var)
        y = F.batch_norm(x, mean, var, layer.weight, layer.bias, True, 1.0, layer.eps)
        table[0, rows], table[1, rows] = mean, var
        return y

    return [wrapped(WorkerBatchNorm2d, "_each", around)]


def no_momentum_in_warmup(momentum, schedule, i):
    return 0.0 if i < schedule.warmup else momentum(schedule, i)


def forgotten_momentum() -> list:
    def around(update, optimizer):
        update(optimizer)
        for v in optimizer.momenta:
            v.zero_()

    return [wrapped(NativeLars, "update", around), wrapped(Lars, "update", around)]


def stale_statistics() -> list:
    return [wrapped(WorkerStatistics, "evaluate_with", lambda evaluate_with, statistics, table: None)]


MUTATIONS = (
    Mutation("sign of decay", lambda: schedule("weight_decay_at", lambda decay, s, i: -decay(s, i))),
    Mutation("epsilon 1e-3", lambda: [constants(eps=1e-3)], False),
    Mutation("LARS on batch norm", lambda: preset(skips_bn_and_bias=False), False),
    Mutation("convention B instead of A", lambda: preset(convention="B"), False),
    Mutation("label smoothing off", lambda: smoothing(lambda trainer: 0.0), False),
    Mutation("smoothing of PyTorch's form", lambda: smoothing(lambda t: t.config.optimizer.label_smoothing), False),
    Mutation("trust coefficient 0.001", lambda: [constants(eta=0.001)], False),
    Mutation("decay in the ratio left out", lambda: [constants(ratio_decay=0.0)], False),
    Mutation("no warm-up", lambda: schedule("_warmup_at", lambda warmup, s, i: 1.0), False),
    Mutation("no momentum in warm-up", lambda: schedule("momentum", no_momentum_in_warmup), False),
    Mutation("momentum forgotten after each update", forgotten_momentum, False),
    Mutation("rate decays linearly", lambda: schedule("decay_at", linear), False),
    Mutation("global batch-norm statistics", global_statistics, False),
    Mutation("gradient summed, not averaged", lambda: gradients_times(800.0), False),
    Mutation("gradient averaged twice over the workers", lambda: gradients_times(1 / 20), False),
    Mutation("augmentation left out", lambda: [mock.patch.object(Plan, "augmented", lambda plan, epoch: False)]),
    Mutation("evaluated with fresh batch-norm statistics", stale_statistics),
)


def linear(decay_at, schedule, i):
    return decay_at(replace(schedule, power=1.0), i)


def named(name: str) -> Mutation:
    return next(mutation for mutation in MUTATIONS if mutation.name == name)
