"""LARS in batched operations over lists of tensors, PyTorch's own multi-tensor kernels: runs wherever torch does."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from reproduce.engine.optim.formulas import Constants

Tensors = list[torch.Tensor] | tuple[torch.Tensor, ...]


def gradients_of(parameters: Sequence[nn.Parameter]) -> list[torch.Tensor]:
    """Their gradients, all of which are there when an update is made."""
    found = [p.grad for p in parameters if p.grad is not None]
    assert len(found) == len(parameters), "backward has left a gradient for every parameter"
    return found


class Lars:
    """The update of all tensors of a network at once (paper, technique 7: the norms of all layers in one go).

    `weights` and `others` come from `split_parameters`; every parameter is fp32 and has its `.grad` set when `step` is
    called. Gradients are consumed: `step` may use them as scratch. `momenta` [tensors] are in the order of
    `parameters`, whose first `adapted` ones take a trust ratio.
    """

    name = "foreach"
    sgd_share = 1.0  # of the coming update; read by `RmspropWarmup` alone
    momentum_sign = 1.0  # of what `momenta` holds, where w <- w - lr v or w <- w - v

    def __init__(self, weights: Sequence[nn.Parameter], others: Sequence[nn.Parameter], constants: Constants):
        self.c = constants
        adapted, plain = (weights, others) if constants.preset.skips_bn_and_bias else ([*weights, *others], [])
        self.parameters = [*adapted, *plain]
        self.adapted = len(adapted)  # the first so many of `parameters`
        self.momenta = [torch.zeros_like(p) for p in self.parameters]
        self.squares: list[torch.Tensor] = []  # as `momenta`, where a preset keeps averages of squares
        self.hyper: Any = (0.0, 0.0, 0.0, 0.0)

    def step(self, lr: float, weight_decay: float, momentum: float, gradient_scale: float) -> None:
        """One update. `gradient_scale` turns the gradients as they are (sums, perhaps loss-scaled) into means."""
        self.set(lr, weight_decay, momentum, gradient_scale)
        self.update()

    def set(self, lr: float, weight_decay: float, momentum: float, gradient_scale: float) -> None:
        """What the coming `update` reads."""
        self.hyper = lr, weight_decay, momentum, gradient_scale

    @torch.no_grad()
    def update(self) -> None:
        lr, weight_decay, momentum, gradient_scale = self.hyper
        w, v, d = [p.data for p in self.parameters], self.momenta, gradients_of(self.parameters)
        torch._foreach_mul_(d, gradient_scale)
        s, decays = self._trust_ratios(w[: self.adapted], d[: self.adapted], lr, weight_decay)
        if decays is None:
            torch._foreach_add_(d[: self.adapted], w[: self.adapted], alpha=weight_decay)
        else:
            torch._foreach_add_(d[: self.adapted], list(torch._foreach_mul(w[: self.adapted], decays)))
        self.reshape_directions(d, lr)
        inside, outside = (s, None) if self.c.preset.convention != "C" else (None, s)
        inner, outer = (lr, 1.0) if self.c.preset.convention == "A" else (1.0, lr)
        if inside is not None:
            torch._foreach_mul_(d, inside)
        torch._foreach_mul_(v, momentum)
        torch._foreach_add_(v, d, alpha=inner)
        move: Any = v
        if self.c.nesterov:
            move = torch._foreach_mul(v, momentum)
            torch._foreach_add_(move, d, alpha=inner)
        if outside is not None:
            move = torch._foreach_mul(move, outside)
        torch._foreach_add_(w, move, alpha=-outer)

    def reshape_directions(self, d: list, lr: float) -> None:
        """What a preset does to the directions, decay included, before they enter the momentum; in place."""
        limit = self.c.preset.direction_clamp
        if limit is not None:
            torch._foreach_clamp_max_(d, limit)
            torch._foreach_clamp_min_(d, -limit)

    def _trust_ratios(self, w: list, g: list, lr: float, weight_decay: float) -> tuple[Tensors | None, Tensors | None]:
        """(s of every parameter, decay of every adapted one), as 0-d tensors; None where it is one number for all."""
        if not self.c.preset.adapts:
            return None, None
        w_norm, g_norm = self._norms(w), self._norms(g)
        s, usable = trust_ratios(self.c, w_norm, g_norm, lr, weight_decay)
        decays = None if self.c.preset.decays_unadapted else (usable.float() * weight_decay).unbind()
        return torch.cat([s, s.new_ones(len(self.parameters) - self.adapted)]).unbind(), decays

    def _norms(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        # summed in double precision: in single, a norm of 2.4 million elements was off by 4e-5 on a CPU
        return torch.stack(torch._foreach_norm(tensors, 2, dtype=torch.float64))


class RmspropWarmup(Lars):
    """Preset rmsprop_warmup, from RMSprop to momentum SGD by `sgd_share`: `formulas.reference_rmsprop_step`."""

    def __init__(self, weights, others, constants):
        super().__init__(weights, others, constants)
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        # on the device, so that a recorded update reads what is written there before each replay; in double precision,
        # as a number of Python's is
        self._share = torch.ones((), dtype=torch.float64, device=self.parameters[0].device)

    @property  # type: ignore[override]
    def sgd_share(self) -> torch.Tensor:
        """Float64 []: of the coming update; may be set to a number."""
        return self._share

    @sgd_share.setter
    def sgd_share(self, share: float) -> None:
        self._share.fill_(share)  # unlike a copy from the host, never makes a GPU's host wait

    def reshape_directions(self, d: list, lr: float) -> None:
        q, b, share = self.squares, self.c.rmsprop_decay, self.sgd_share
        torch._foreach_mul_(q, b)
        torch._foreach_addcmul_(q, d, d, 1 - b)
        scale = torch._foreach_sqrt(q)
        torch._foreach_add_(scale, self.c.eps)
        torch._foreach_reciprocal_(scale)
        # as lists: a tensor by itself is taken for a number, which the host would wait for
        torch._foreach_mul_(scale, [(1 - share) * self.c.rmsprop_lr / lr] * len(scale))
        torch._foreach_add_(scale, [share] * len(scale))
        torch._foreach_mul_(d, scale)


def trust_ratios(c: Constants, w_norm: torch.Tensor, g_norm: torch.Tensor, lr, weight_decay):
    """(s in fp32, whether the norms allow one), both [tensors], from norms [tensors]; numbers may be 0-d tensors."""
    below = g_norm + c.decay_in_ratio(weight_decay) * w_norm + c.eps
    s = c.eta * w_norm / below
    if c.preset.clips:
        s = s / lr
    s = s.clamp(max=c.ceiling)
    usable = (w_norm > 0) & (below > 0)
    if c.preset.needs_gradient:
        usable = usable & (g_norm > 0)
    return torch.where(usable, s, 1.0).float(), usable
