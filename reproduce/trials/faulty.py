"""A training run with a mistake in the engine, under the unchanged recipe: its config, hash and header hide it.

    python -m reproduce.trials.faulty FAULT EPOCHS CONFIG [options of reproduce.engine.train]

Ends after EPOCHS epochs. What is trained with is what an engine would do by mistake, so that only the curves can tell.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from unittest import mock

from reproduce.engine import train
from reproduce.engine.data import plan
from reproduce.engine.optim import formulas
from reproduce.engine.trainer import Trainer
from reproduce.errors import UserError, command
from reproduce.judge.power import UNCHANGED
from reproduce.recipe.schedule import Schedule

RATES = (0.7, 0.85, 0.95, 1.05, 1.15, 1.3, 2.0)


def wrapped(owner: type, name: str, around: Callable):
    """A patch of method `owner.name`: around(original, self, *arguments) is called instead."""
    original = getattr(owner, name)
    return mock.patch.object(owner, name, lambda self, *args, **kwargs: around(original, self, *args, **kwargs))


def rate(factor: float):
    return wrapped(Schedule, "lr", lambda lr, s, i: factor * lr(s, i))


def decay(factor: float):
    return wrapped(Schedule, "weight_decay_at", lambda decay, s, i: factor * decay(s, i))


def momentum(change: float):
    return wrapped(Schedule, "momentum", lambda momentum, s, i: momentum(s, i) + change)


def unsmoothed():
    def around(init, trainer, *args, **kwargs):
        init(trainer, *args, **kwargs)
        trainer.smoothing = 0.0

    return wrapped(Trainer, "__init__", around)


def constants(**changes):
    of = formulas.Constants.of
    return mock.patch.object(formulas.Constants, "of", staticmethod(lambda config: replace(of(config), **changes)))


FAULTS: dict[str, Callable[[], AbstractContextManager]] = {
    **{f"rate x {factor:g}": partial(rate, factor) for factor in RATES},
    "sign of weight decay": lambda: decay(-1.0),
    "no weight decay": lambda: decay(0.0),
    "weight decay x 2": lambda: decay(2.0),
    "no label smoothing": unsmoothed,
    "momentum - 0.02": lambda: momentum(-0.02),
    "no warm-up": lambda: wrapped(Schedule, "_warmup_at", lambda warmup, s, i: 1.0),
    "weight decay left out of the LARS ratio": lambda: constants(ratio_decay=0.0),
    "no augmentation": lambda: wrapped(plan.Plan, "augmented", lambda augmented, p, epoch: False),
    "every epoch in the order of the first": lambda: mock.patch.object(plan, "epoch_order", same_order),
}


def same_order(seed: int, epoch: int, n: int, order=plan.epoch_order):
    return order(seed, 0, n)


def until(epochs: int, events: Callable = train.train) -> Callable:
    """`train.train`, but no epoch begins after so many; with as many as the recipe's, the run comes to its end."""

    def shortened(*args, **kwargs):
        for event in events(*args, **kwargs):
            if getattr(event, "key", None) == "epoch_start" and event.metadata["epoch_num"] > epochs:
                return
            yield event

    return shortened


def run(fault: str, epochs: int, argv: list[str]) -> None:
    """One process that trains with `fault`. Raises `UserError`."""
    with ExitStack() as stack:
        if fault != UNCHANGED:
            stack.enter_context(FAULTS[fault]())
        stack.enter_context(mock.patch.object(train, "train", until(epochs)))
        train.main(argv)


@command
def main(argv=None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    if len(argv) < 3 or not argv[1].isdecimal() or argv[0] not in (UNCHANGED, *FAULTS):
        raise UserError(f"usage: python -m reproduce.trials.faulty FAULT EPOCHS CONFIG [OPTIONS]; FAULT: {UNCHANGED}, "
                        f"{', '.join(FAULTS)}")  # fmt: skip
    run(argv[0], int(argv[1]), argv[2:])


if __name__ == "__main__":
    sys.exit(main())
