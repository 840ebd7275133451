"""One thing changed at a time: the variants of a recipe, as overrides, and a recipe with its schedule shortened.

A variant is logged under its recipe's own hash, like any run, in a folder of its name. No torch.
"""

import functools
from dataclasses import dataclass

from reproduce.recipe import load as configs
from reproduce.recipe.config import Config

REFERENCE = "reference"
REGIMES = {"scarce": "quick/scarce_b1600_w40", "headline": "quick/headline_b800_w20"}


@dataclass(frozen=True)
class Variant:
    """A recipe with one thing changed; `techniques` are the names of the paper's that it tests (paper.toml)."""

    name: str
    text: str
    changes: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    first_rate: float | None = None  # the first of the rates to try; None: the reference's
    trains_as: str = ""  # it only evaluates otherwise than this variant, whose rate it takes


def variants(config: Config) -> tuple[Variant, ...]:
    """The reference and everything that is changed about it, in the order of tables."""
    peak = config.schedule.peak_lr
    sgd = ('optimizer.preset="sgd"', 'optimizer.trust_coefficient="none"', 'optimizer.epsilon="none"')
    return (
        Variant(REFERENCE, "the recipe itself"),
        Variant("lars_off", "momentum SGD, not LARS", sgd, ("lars",), 0.4),
        Variant("nesterov_sgd", "Nesterov SGD with momentum 0.9, not LARS",
                (*sgd, "optimizer.nesterov=true", "optimizer.momentum=0.9"), ("lars",), 1.0),
        *_warmups(config),
        *_decays(config),
        Variant("smoothing_off", "no label smoothing", ("optimizer.label_smoothing=0.0",), ("label_smoothing",)),
        Variant("momentum_09", "momentum 0.9, not 0.96", ("optimizer.momentum=0.9",), first_rate=2.5 * peak),
        *_evaluations(config),
        Variant("ratio_decay", "decay in the trust ratio without the peak rate", ('optimizer.preset="mlperf_tf2"',)),
        Variant("convention_b", "momentum convention B (timm)", ('optimizer.preset="timm"',)),
        Variant("convention_c", "momentum convention C (NUS)", ('optimizer.preset="nus"',)),
        Variant("tail_off", "no un-augmented epochs at the end", ("data.unaugmented_epochs=0",)),
        Variant("decay_constant", "weight decay that does not follow the warm-up",
                ("schedule.weight_decay_follows_warmup=false",)),
    )  # fmt: skip


def _warmups(config: Config) -> list[Variant]:
    """The end of the decay stays where it is."""
    s = config.schedule
    end = s.warmup_epochs + (s.decay_epochs or 0)
    lengths = {"none": 0.0, "short": s.epochs / 18, "long": 0.6 * s.epochs}
    usual = f"not {s.warmup_epochs / s.epochs:.0%}"
    return [
        Variant(f"warmup_{name}", f"warm-up of {epochs / s.epochs:.0%} of the run, {usual}",
                (f"schedule.warmup_epochs={epochs!r}", f"schedule.decay_epochs={end - epochs!r}"), ("warmup",))
        for name, epochs in lengths.items()
    ]  # fmt: skip


def _decays(config: Config) -> list[Variant]:
    s = config.schedule
    steps = [s.warmup_epochs + share * (s.decay_epochs or 0) for share in (0.5, 0.75)]
    decay = ("decay",)
    return [
        Variant("decay_step", "step decay: a tenth at 1/2 and at 3/4 of the decay",
                ('schedule.decay="step"', f"schedule.decay_milestones={steps!r}"), decay),
        Variant("decay_linear", "linear decay (a polynomial of power 1)", ('schedule.decay="linear"',), decay),
        Variant("decay_power_2", "polynomial decay of power 2, not 2.2", ("schedule.decay_power=2.0",), decay),
    ]  # fmt: skip


def _evaluations(config: Config) -> list[Variant]:
    """Other statistics of batch norm at evaluation: training is the same to the last bit."""
    texts = {"local": "of each shard's own worker", "rank0": "of one worker", "recalibrated": "made after training"}
    eval_modes = [
        Variant(f"bn_{mode}", f"batch-norm statistics {text}, not the workers' mean", (f'batch.bn_eval="{mode}"',),
                ("bn_averages",), trains_as=REFERENCE)
        for mode, text in texts.items()
    ]  # fmt: skip
    usual = config.model.bn_momentum
    name, other = ("bn_momentum_05", 0.5) if usual == 0.9 else ("bn_momentum_09", 0.9)
    text = f"batch-norm averages of momentum {other:g}, not {usual:g}"
    momentum = Variant(name, text, (f"model.bn_momentum={other}",), ("bn_averages",), trains_as=REFERENCE)
    return [*eval_modes, momentum]


def at_rate(config: Config, rate: float) -> tuple[str, ...]:
    """Overrides for another peak rate. A warm-up from a small rate begins as far below the peak as before."""
    start = config.schedule.warmup_start_lr
    low = () if start is None else (f"schedule.warmup_start_lr={start / config.schedule.peak_lr * rate!r}",)
    return (f"schedule.peak_lr={rate!r}", *low)


def shortened(config: Config, parts: int) -> tuple[str, ...]:
    """Overrides for the same schedule in 1 / `parts` of the epochs: everything counted in epochs shrinks with them."""
    s, tail = config.schedule, config.data.unaugmented_epochs
    found = [f"schedule.epochs={s.epochs // parts}", f"data.unaugmented_epochs={tail // parts}"]
    for key in ("warmup_epochs", "decay_epochs", "rmsprop_center", "rmsprop_period"):
        if getattr(s, key) is not None:
            found.append(f"schedule.{key}={getattr(s, key) / parts!r}")
    if s.decay_milestones:
        found.append(f"schedule.decay_milestones={[epoch / parts for epoch in s.decay_milestones]!r}")
    phases = [[first // parts, batch] for first, batch in config.batch.local_batch]
    return (*found, f"batch.local_batch={phases!r}")


@functools.cache
def with_changes(run: str, changes: tuple[str, ...] = ()) -> Config:
    """A run's config with a variant's overrides."""
    return configs.load_run(run, overrides=changes)
