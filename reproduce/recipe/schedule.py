"""Learning rate, weight decay and momentum as pure functions of the global update index. No torch.

Nothing is remembered between updates, so a resumed run, or one on another number of processes, cannot drift.
Index `i` is zero-based. Formulas: the team's MLPerf v0.6 code, explorer.py and MXNet's lr_scheduler.py (facts b).
"""

import math
from dataclasses import dataclass

from reproduce.recipe.config import Config


@dataclass(frozen=True)
class Schedule:
    """The schedules of one run, all counted in updates."""

    peak_lr: float
    warmup: int
    decay: str  # "polynomial" | "linear" | "step"
    decay_updates: int
    power: float
    end_ratio: float
    milestones: tuple[int, ...]
    factor: float
    weight_decay: float
    weight_decay_follows_warmup: bool
    momentum_start: float
    momentum_end: float
    total: int
    ratios: tuple[float, ...] = ()
    warmup_start_lr: float | None = None
    rmsprop_center: int | None = None
    rmsprop_period: int = 1

    @classmethod
    def of(cls, config: Config) -> "Schedule":
        s, o = config.schedule, config.optimizer
        warmup = config.updates_at(s.warmup_epochs)
        return cls(
            peak_lr=s.peak_lr, warmup=warmup, decay=s.decay,
            decay_updates=config.updates_at(s.warmup_epochs + (s.decay_epochs or 0)) - warmup,
            power=s.decay_power if s.decay == "polynomial" and s.decay_power else 1.0,
            end_ratio=s.end_lr_ratio or 0.0,
            milestones=tuple(config.updates_at(epoch) for epoch in s.decay_milestones), factor=s.decay_factor,
            weight_decay=o.weight_decay, weight_decay_follows_warmup=s.weight_decay_follows_warmup,
            momentum_start=o.momentum, momentum_end=o.momentum if o.momentum_end is None else o.momentum_end,
            total=config.total_updates, ratios=s.decay_ratios, warmup_start_lr=s.warmup_start_lr,
            rmsprop_center=None if s.rmsprop_center is None else config.updates_at(s.rmsprop_center),
            rmsprop_period=max(1, config.updates_at(s.rmsprop_period or 0)),
        )  # fmt: skip

    def decay_at(self, i: int) -> float:
        """The decay coefficient D(i): 1 up to the end of warm-up, then falling to `end_ratio`.

        Polynomial: D = (1 - r) (1 - k / K)^p + r with k = min(max(0, i - warmup), K). Linear is p = 1.
        """
        if self.decay == "step":
            passed = sum(i >= milestone for milestone in self.milestones)
            return (1.0, *self.ratios)[passed] if self.ratios else self.factor**passed
        k = min(max(0, i - self.warmup), self.decay_updates)
        return (1 - self.end_ratio) * (1 - k / self.decay_updates) ** self.power + self.end_ratio

    def lr(self, i: int) -> float:
        """Learning rate of update `i`: peak * min(1, (i + 1) / warmup) * D(i).

        The warm-up counts the update after its increment, so the first update already has peak / warmup. With a
        `warmup_start_lr` the first update has that rate, and equal steps lead to the peak at update `warmup` (Goyal et
        al., arXiv:1706.02677, section 2.2).
        """
        return self.peak_lr * self._warmup_at(i) * self.decay_at(i)

    @property
    def end_lr(self) -> float:
        """Where the decay ends."""
        return self.peak_lr * self.decay_at(self.total)

    def weight_decay_at(self, i: int) -> float:
        """Weight decay of update `i`, multiplied by the learning rate in the update itself.

        The team scheduled the product lr * decay on its own, as wd * peak * omega(i) * D(i), where omega counts the
        update before its increment: i / warmup during warm-up and (warmup - 1) / warmup ever after, because no branch
        sets it to 1. Divided by the learning rate that is wd * omega(i) / min(1, (i + 1) / warmup): zero at the first
        update. Without `weight_decay_follows_warmup` it is constant.
        """
        if not self.weight_decay_follows_warmup or self.warmup == 0:
            return self.weight_decay
        omega = min(i, self.warmup - 1) / self.warmup
        return self.weight_decay * omega / self._warmup_at(i)

    def momentum(self, i: int) -> float:
        """Momentum of update `i`: linear from the first to the last update."""
        return self.momentum_start + (self.momentum_end - self.momentum_start) * i / max(1, self.total - 1)

    def sgd_share(self, i: int) -> float:
        """SGD's share of update `i` in preset rmsprop_warmup, from about 0 to 1; 1 in any other.

        With x = (epoch - center) / period: exp(2 x) / 2 up to x = 0, then 1/2 + x up to x = 1/2, then 1. Source: Akiba
        et al., arXiv:1711.04325, recalled; we have not read its text. Another group's code (crest-deep/dlframeworks,
        rmsprop_warmup.py, public) has the same exponential, its center 10, period 5 and end at x = 1/2. In between it
        has 1/2 + 2 x, by whole epochs, and so 1.3 in epoch 12, while the GPU path of an early version of it has 1/2 +
        x: the only line on which value and slope join at 0, as in an exponential linear unit, and the value at 1/2.
        """
        if self.rmsprop_center is None:
            return 1.0
        x = (i - self.rmsprop_center) / self.rmsprop_period
        return math.exp(2 * x) / 2 if x < 0 else min(1.0, 0.5 + x)

    def _warmup_at(self, i: int) -> float:
        if self.warmup_start_lr is not None and i < self.warmup:
            start = self.warmup_start_lr / self.peak_lr
            return start + (1 - start) * i / self.warmup
        return min(1.0, (i + 1) / self.warmup) if self.warmup else 1.0
