"""What LARS is: five public forms of it, momentum SGD and RMSprop warm-up beside them, and plain references.

Notation: w weight, g *mean* gradient over the global batch, v momentum buffer, m momentum, lam weight decay, eta trust
coefficient, eps epsilon, s trust ratio. d = g + lam w is the direction. Public implementations differ in where the
learning rate and the trust ratio meet the momentum:

    A   v <- m v + lr s d     w <- w - v           old steps keep the rate they were taken with
    B   v <- m v + s d        w <- w - lr v        the rate applies to the whole buffer (PyTorch's SGD)
    C   v <- m v + d          w <- w - lr s v      both outside

With Nesterov's momentum (as in torch.optim.SGD) the step is taken with what the buffer would become by the same
direction once more: v is replaced by m v + lr s d in A's second column, m v + s d in B's, m v + d in C's.

They agree only while lr and s are constant; on the team's schedule the effective rate differs by up to 1.9x.
`reference_step` is written from the formulas, one tensor at a time; a test holds every fast back-end equal to it.
"""

from dataclasses import dataclass

import torch
from torch import nn

from reproduce.engine.workers import WorkerBatchNorm2d
from reproduce.recipe.load import Config


@dataclass(frozen=True)
class Preset:
    """What one public implementation does where others do otherwise."""

    convention: str  # "A" | "B" | "C", above
    adapts: bool = True  # False: s = 1 everywhere
    ratio_decay: str = "wd"  # lam in the ratio: "wd" as in the direction | "wd_times_peak_lr", constant
    skips_bn_and_bias: bool = True  # they take the full rate and no decay
    needs_gradient: bool = True  # s = 1 also where |g| = 0
    clips: bool = False  # LARC: s = min(s / lr, 1)
    clamp: float | None = None  # upper bound of s
    decays_unadapted: bool = True  # a tensor with a zero norm still decays
    rmsprop: bool = False  # d is reshaped by RMSprop: `reference_rmsprop`
    direction_clamp: float | None = None  # every element of d stays within +- this


PRESETS = {
    # mlcommons/training_results_v0.6, Fujitsu, mxnet_op.h and optimizer.py (facts a). The decay in the ratio is
    # wd * peak lr = 6.5e-4 for the whole run, while the decay in the step follows the schedule.
    "fujitsu_mlperf06": Preset("A", ratio_decay="wd_times_peak_lr", needs_gradient=False),
    # mlcommons/training, retired resnet-tf2 reference, lars_optimizer.py (runs with epsilon 1e-7).
    "mlperf_tf2": Preset("A"),
    # NVIDIA/apex tag 25.04, apex/parallel/LARC.py with clip=True over SGD: nobody is skipped, a tensor with a zero
    # norm is left as it is.
    "apex_larc": Preset("B", skips_bn_and_bias=False, clips=True, decays_unadapted=False),
    # timm, optim/lars.py with weight decay off for one-dimensional parameters.
    "timm": Preset("B"),
    # NUS-HPC-AI-Lab/LARS-ImageNet-PyTorch, lars.py at 4a528682 (runs with epsilon 1e-5): s clamped at 50, and the
    # direction of every tensor, batch norm and biases too, clamped elementwise.
    "nus": Preset("C", clamp=50.0, direction_clamp=10.0),
    # torch.optim.SGD with weight decay off for batch norm and biases.
    "sgd": Preset("B", adapts=False),
    # Akiba et al., arXiv:1711.04325, as in crest-deep/dlframeworks, rmsprop_warmup.py; no decay for batch norm and
    # biases, as in all others here.
    "rmsprop_warmup": Preset("B", adapts=False, rmsprop=True),
}


@dataclass(frozen=True)
class Constants:
    """What does not change during a run. `ratio_decay` is lam in the trust ratio for "wd_times_peak_lr"."""

    preset: Preset
    eta: float = 0.0
    eps: float = 0.0
    ratio_decay: float = 0.0
    nesterov: bool = False
    rmsprop_lr: float = 0.0
    rmsprop_decay: float = 0.0

    @property
    def ceiling(self) -> float:
        """Upper bound of the (clipped) trust ratio."""
        return 1.0 if self.preset.clips else self.preset.clamp or float("inf")

    def decay_in_ratio(self, weight_decay: float) -> float:
        return self.ratio_decay if self.preset.ratio_decay == "wd_times_peak_lr" else weight_decay

    @property
    def only_foreach(self) -> bool:
        """Whether the faster back-ends lack this form."""
        return self.preset.rmsprop or self.preset.direction_clamp is not None

    @classmethod
    def of(cls, config: Config) -> "Constants":
        o = config.optimizer
        return cls(
            PRESETS[o.preset], o.trust_coefficient or 0.0, o.epsilon or 0.0, o.weight_decay * config.schedule.peak_lr,
            o.nesterov, o.rmsprop_lr or 0.0, o.rmsprop_decay or 0.0,
        )  # fmt: skip


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(weights of convolutions and linear layers, batch-norm parameters and biases), by module type, never by name.

    ResNet-50: 54 and 107. Raises `TypeError` for a module with parameters of a type not known here, rather than guess.
    """
    weights: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if isinstance(module, nn.Conv2d | nn.Linear):
            weights.append(own.pop("weight"))
        elif own and not isinstance(module, WorkerBatchNorm2d):
            raise TypeError(f"{name}: no rule for the parameters of a {type(module).__name__}")
        others.extend(own.values())
    return weights, others


@torch.no_grad()
def reference_step(
    w: torch.Tensor, g: torch.Tensor, v: torch.Tensor, adapted: bool, c: Constants,
    lr: float, weight_decay: float, momentum: float,
) -> None:  # fmt: skip
    """One update of one tensor, in place on `w` and `v`, straight from the formulas. `g` is the mean gradient.

    `adapted` is False for batch norm and biases. Slow and plain on purpose: it is what the fast one is tested against.
    """
    p = c.preset
    adapted = adapted or not p.skips_bn_and_bias
    s, decay = 1.0, weight_decay if adapted else 0.0
    if p.adapts and adapted:
        w_norm, g_norm = w.double().norm().item(), g.double().norm().item()
        ratio_decay = c.ratio_decay if p.ratio_decay == "wd_times_peak_lr" else weight_decay
        below = g_norm + ratio_decay * w_norm + c.eps  # 0 only for a zero gradient without decay and epsilon: s = 1
        if w_norm > 0 and below > 0 and (g_norm > 0 or not p.needs_gradient):
            s = c.eta * w_norm / below
            if p.clips:
                s = min(s / lr, 1.0)
            if p.clamp is not None:
                s = min(s, p.clamp)
        elif not p.decays_unadapted:
            decay = 0.0
    d = g + decay * w
    if p.direction_clamp is not None:
        d = d.clamp(-p.direction_clamp, p.direction_clamp)
    if p.convention == "A":
        v.mul_(momentum).add_(lr * s * d)
        w.sub_(momentum * v + lr * s * d if c.nesterov else v)
    elif p.convention == "B":
        v.mul_(momentum).add_(s * d)
        w.sub_(lr * (momentum * v + s * d if c.nesterov else v))
    else:
        v.mul_(momentum).add_(d)
        w.sub_(lr * s * (momentum * v + d if c.nesterov else v))


@torch.no_grad()
def reference_rmsprop_step(
    w: torch.Tensor, g: torch.Tensor, v: torch.Tensor, q: torch.Tensor, adapted: bool, c: Constants,
    lr: float, weight_decay: float, momentum: float, sgd_share: float,
) -> None:  # fmt: skip
    """One update of preset rmsprop_warmup, in place on `w`, `v` and the average of squares `q`.

        q <- b q + (1 - b) d^2
        v <- m v + (a + (1 - a) (rmsprop_lr / lr) / (sqrt(q) + eps)) d     with a = `sgd_share`
        w <- w - lr v
    """
    d = g + (weight_decay if adapted else 0.0) * w
    q.mul_(c.rmsprop_decay).add_((1 - c.rmsprop_decay) * d * d)
    rmsprop = (1 - sgd_share) * c.rmsprop_lr / lr
    v.mul_(momentum).add_((sgd_share + rmsprop / (q.sqrt() + c.eps)) * d)
    w.sub_(lr * v)
