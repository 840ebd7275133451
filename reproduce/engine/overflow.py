"""What a run whose numbers are no longer finite is told: what was seen, and what may help."""

import math
from collections.abc import Sequence

from reproduce.engine.dist.gradients import CONTROLS, LOSS
from reproduce.recipe.load import Config
from reproduce.recipe.schedule import Schedule


def complaint(
    config: Config, schedule: Schedule, precision: str, first: int, outcomes: Sequence[Sequence[float]]
) -> str | None:
    """One line about the first update whose loss or gradients are not finite; None if there is none.

    `outcomes` are those of the updates from `first` on, as `Trainer.finish` returns them. With a finite loss it is the
    gradients that overflowed, in half precision, on their way back or on the wire.
    """
    for update, outcome in enumerate(outcomes, first):
        where = f"at update {update} of {schedule.total} (learning rate {schedule.lr(update):.4g}"
        if not math.isfinite(outcome[LOSS]):
            return (f"{config.path}: loss is {outcome[LOSS]} {where}{half(config, precision)}): lower schedule.peak_lr "
                    "or lengthen the warm-up")  # fmt: skip
        groups = [str(group) for group, most in enumerate(outcome[CONTROLS:]) if not math.isfinite(most)]
        if groups:
            return (f"{config.path}: the gradients of group {', '.join(groups)} overflowed {where}"
                    f"{half(config, precision)}), with a finite loss: lower precision.loss_scale, or take bf16 or fp32 "
                    "for precision.compute and communication.wire")  # fmt: skip
    return None


def half(config: Config, precision: str) -> str:
    """The settings an overflow of fp16 depends on; empty where nothing is fp16."""
    if "fp16" not in (precision, config.communication.wire):
        return ""
    return f", compute {precision}, wire {config.communication.wire}, loss scale {config.precision.loss_scale:g}"
