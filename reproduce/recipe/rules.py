"""The rules on and between a recipe's values: a value that breaks one never reaches a training run."""

import re
from collections.abc import Callable
from pathlib import Path

from reproduce.errors import ConfigError
from reproduce.recipe.config import Config
from reproduce.recipe.grouping import RULES, is_rule
from reproduce.recipe.schema import LARS_PRESETS

Rule = Callable[[bool, str, str], None]
MOST_EPOCHS = 10_000  # there are lists of that length
NEEDED = {
    "polynomial": ("decay_epochs", "decay_power", "end_lr_ratio"),
    "linear": ("decay_epochs", "end_lr_ratio"),
    "step": ("decay_milestones",),
}


def check(c: Config) -> None:
    """Raises `ConfigError`, one line: where, what, and the rule, which is also the remedy."""

    def rule(ok: bool, key: str, must: str) -> None:
        if not ok:
            section, _, name = key.partition(".")
            raise ConfigError(f"{c.path}: {key} = {getattr(getattr(c, section), name)!r}: must be {must}")

    rule(c.run.name == Path(c.path).stem or c.path == "", "run.name", f"the file's name, {Path(c.path).stem!r}")
    rule(bool(re.fullmatch("[a-z][a-z0-9_-]*", c.data.dataset)), "data.dataset",
         "the name of a folder: small letters, digits, _ and -")  # fmt: skip
    for key in ("train_images", "val_images", "classes", "image_size"):
        rule(getattr(c.data, key) >= 1, f"data.{key}", "at least 1")
    rule(c.data.eval_resize >= c.data.image_size, "data.eval_resize", f"at least image_size = {c.data.image_size}")
    low, high = c.data.crop_area
    rule(0 < low <= high <= 1, "data.crop_area", "[low, high] with 0 < low <= high <= 1")
    low, high = c.data.crop_aspect
    rule(0 < low <= high, "data.crop_aspect", "[low, high] with 0 < low <= high")
    rule(0 <= c.data.flip_probability <= 1, "data.flip_probability", "in [0, 1]")
    rule(len(c.data.mean) in (1, 3), "data.mean", "one number per channel: 1 or 3")
    rule(len(c.data.std) == len(c.data.mean), "data.std", f"as long as data.mean: {len(c.data.mean)}")
    rule(min(c.data.std) > 0, "data.std", "positive")
    rule(0 <= c.data.unaugmented_epochs <= c.schedule.epochs, "data.unaugmented_epochs", "in [0, schedule.epochs]")
    channels = len(c.data.mean)
    rule(c.model.input_channels in (channels, 4), "model.input_channels", f"{channels}, or 4 to append a zero plane")
    rule(0 <= c.model.bn_momentum < 1, "model.bn_momentum", "in [0, 1)")
    rule(c.model.bn_epsilon > 0, "model.bn_epsilon", "positive")
    rule(c.batch.workers >= 1, "batch.workers", "at least 1")
    rule(c.batch.workers <= c.data.train_images, "batch.workers", f"at most train_images = {c.data.train_images}")
    firsts = [first for first, _ in c.batch.local_batch]
    rule(bool(firsts) and firsts[0] == 0 and firsts == sorted(set(firsts)), "batch.local_batch",
         "a number, or phases [[first_epoch, images], ...] that begin at epoch 0 and rise")  # fmt: skip
    rule(all(batch >= 2 for _, batch in c.batch.local_batch), "batch.local_batch",
         "at least 2: batch norm needs more than one image per worker")  # fmt: skip
    rule(c.batch.epoch_rule == "ceil" or max(batch for _, batch in c.batch.local_batch) <= c.shard_size,
         "batch.local_batch", f"at most {c.shard_size}, a worker's images, with epoch_rule = 'carry'")  # fmt: skip
    rule(c.batch.bn_workers >= 1 and c.batch.workers % c.batch.bn_workers == 0, "batch.bn_workers",
         f"a divisor of batch.workers = {c.batch.workers}")  # fmt: skip
    rule(c.batch.recalibration_updates >= 1, "batch.recalibration_updates", "at least 1")
    rule(0 <= c.optimizer.momentum < 1, "optimizer.momentum", "in [0, 1)")
    rule(0 <= (c.optimizer.momentum_end or 0) < 1, "optimizer.momentum_end", "in [0, 1)")
    rule(c.optimizer.weight_decay >= 0, "optimizer.weight_decay", "at least 0")
    rule(0 <= c.optimizer.label_smoothing < 1, "optimizer.label_smoothing", "in [0, 1)")
    if c.optimizer.preset in LARS_PRESETS:
        rule((c.optimizer.trust_coefficient or 0) > 0, "optimizer.trust_coefficient", "given and positive for LARS")
        rule((c.optimizer.epsilon or 0) >= 0, "optimizer.epsilon", "at least 0")
    else:
        rule(c.optimizer.trust_coefficient is None, "optimizer.trust_coefficient", "absent: momentum SGD has none")
    _check_rmsprop(c, rule)
    rule(1 <= c.schedule.epochs <= MOST_EPOCHS, "schedule.epochs", f"from 1 to {MOST_EPOCHS:,}")
    rule(firsts[-1] < c.schedule.epochs, "batch.local_batch", f"phases that begin before epoch {c.schedule.epochs}")
    rule(c.schedule.peak_lr > 0, "schedule.peak_lr", "positive")
    rule(0 <= c.schedule.warmup_epochs < c.schedule.epochs, "schedule.warmup_epochs",
         f"in [0, {c.schedule.epochs}): warm-up may not be longer than the run")  # fmt: skip
    start = c.schedule.warmup_start_lr
    rule(start is None or 0 <= start <= c.schedule.peak_lr, "schedule.warmup_start_lr",
         f"in [0, {c.schedule.peak_lr:g}], the peak")  # fmt: skip
    rule(start is None or not c.schedule.weight_decay_follows_warmup, "schedule.weight_decay_follows_warmup",
         "false with a warmup_start_lr: the two are of different recipes")  # fmt: skip
    _check_decay(c, rule)
    rule(1e-9 <= c.precision.loss_scale <= 1e9, "precision.loss_scale", "from 1e-9 to 1e9")
    rule(c.evaluation.every >= 1, "evaluation.every", "at least 1")
    rule(c.evaluation.offset >= 1, "evaluation.offset", "at least 1")
    rule(is_rule(c.communication.groups), "communication.groups", RULES)
    rule(c.communication.overlap or c.communication.groups != "ddp", "communication.overlap",
         "true with groups = 'ddp': PyTorch's reducer always overlaps")  # fmt: skip
    rule(c.communication.allreduce == "flat" or c.communication.groups != "ddp", "communication.allreduce",
         "'flat' with groups = 'ddp': PyTorch's reducer has no stages")  # fmt: skip


def _check_decay(c: Config, rule: Rule) -> None:
    """What the decay pattern uses must be there; what it does not use is checked only if given."""
    s = c.schedule
    for key in NEEDED[s.decay]:
        rule(getattr(s, key) not in (None, ()), f"schedule.{key}", f"given for {s.decay} decay")
    if s.decay_epochs is not None:
        rule(s.decay_epochs > 0, "schedule.decay_epochs", "positive")
        rule(s.warmup_epochs + s.decay_epochs <= s.epochs, "schedule.decay_epochs",
             f"at most {s.epochs} - warmup_epochs = {s.epochs - s.warmup_epochs:g}")  # fmt: skip
        rule(c.updates_at(s.warmup_epochs + s.decay_epochs) > c.updates_at(s.warmup_epochs), "schedule.decay_epochs",
             "long enough for an update")  # fmt: skip
    rule(s.decay_power is None or s.decay_power > 0, "schedule.decay_power", "positive")
    rule(s.end_lr_ratio is None or 0 <= s.end_lr_ratio <= 1, "schedule.end_lr_ratio", "in [0, 1]")
    rule(list(s.decay_milestones) == sorted(set(s.decay_milestones)), "schedule.decay_milestones", "in rising order")
    rule(all(0 < epoch < s.epochs for epoch in s.decay_milestones), "schedule.decay_milestones",
         f"between 0 and {s.epochs}, the length of the run")  # fmt: skip
    rule(len(s.decay_ratios) in (0, len(s.decay_milestones)) and all(0 < ratio <= 1 for ratio in s.decay_ratios),
         "schedule.decay_ratios", f"as many as decay_milestones, {len(s.decay_milestones)}, in (0, 1]")  # fmt: skip
    rule(0 < s.decay_factor <= 1, "schedule.decay_factor", "in (0, 1]")


def _check_rmsprop(c: Config, rule: Rule) -> None:
    if c.optimizer.preset != "rmsprop_warmup":
        for section in ("optimizer", "schedule"):
            for key, value in vars(getattr(c, section)).items():
                absent = value is None or not key.startswith("rmsprop")
                rule(absent, f"{section}.{key}", "absent: it is of optimizer.preset rmsprop_warmup")
        return
    o, s = c.optimizer, c.schedule
    rule((o.rmsprop_lr or 0) > 0, "optimizer.rmsprop_lr", "given and positive for rmsprop_warmup")
    rule(o.rmsprop_decay is not None and 0 <= o.rmsprop_decay < 1, "optimizer.rmsprop_decay", "given and in [0, 1)")
    rule((o.epsilon or 0) > 0, "optimizer.epsilon", "given and positive for rmsprop_warmup")
    rule(not o.nesterov, "optimizer.nesterov", "false with rmsprop_warmup")
    rule((s.rmsprop_center or 0) > 0, "schedule.rmsprop_center", "given and positive for rmsprop_warmup")
    rule((s.rmsprop_period or 0) > 0, "schedule.rmsprop_period", "given and positive for rmsprop_warmup")
    rule(len(c.batch.local_batch) == 1, "batch.local_batch", "one number with rmsprop_warmup")
