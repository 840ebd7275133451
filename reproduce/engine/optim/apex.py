"""LARS by the multi-tensor kernels of apex: the nearest public thing to the paper's batched-norm kernel.

The norms come from `amp_C.multi_tensor_l2norm`, which NVIDIA's apex and AMD's both have. AMD's (ROCm/apex, pull
request 109) also has `multi_tensor_lars`, which applies the update in one kernel; where it is missing the update goes
as in foreach. Not yet run on a GPU: the tests run it over stand-ins that follow the kernels' sources. environment.yml
says how apex is built for it.
"""

import importlib

import torch

from reproduce.engine.optim.foreach import Lars, gradients_of, trust_ratios
from reproduce.errors import ConfigError

CHUNK = 2048 * 32  # elements that one block of threads works on, as in apex's own optimizers
LARGE = 2.0**20


class ApexLars(Lars):
    """As `Lars`. Raises `ConfigError` where apex is missing or was built without its extensions."""

    name = "apex"

    def __init__(self, weights, others, constants):
        super().__init__(weights, others, constants)
        try:
            kernels = importlib.import_module("amp_C")
            self._norm = kernels.multi_tensor_l2norm
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"LARS back-end apex: {error}: build apex with its extensions as environment.yml says, or use foreach"
            ) from None
        self._lars = getattr(kernels, "multi_tensor_lars", None)
        if constants.preset.convention != "A" or not constants.preset.adapts or constants.nesterov:
            self._lars = None  # the kernel knows one convention
        if self._lars is not None:
            self.momentum_sign = -1.0  # v <- m v - lr s d, w <- w + v
        self._no_overflow = torch.zeros(1, dtype=torch.int32, device=self.parameters[0].device)

    def update(self) -> None:
        if self._lars is None:
            super().update()
        else:
            self._fused()

    @torch.no_grad()
    def _fused(self) -> None:
        lr, weight_decay, momentum, gradient_scale = self.hyper
        w, g, k = [p.data for p in self.parameters], gradients_of(self.parameters), self.adapted
        s, _ = trust_ratios(self.c, self._norms(w[:k]), self._norms(g[:k]) * gradient_scale, lr, weight_decay)
        # The kernel takes gradients as they are, so its rate and decay are scaled instead. Its trust ratio is that of
        # one preset, eta |w| / (|g| + wd |w| + eps): |w| = 1, eta = LARGE, eps = 0 and this |g| make it ours.
        scaled_lr, scaled_decay = lr * gradient_scale, weight_decay / gradient_scale
        norms = LARGE / s - scaled_decay, torch.ones_like(s)  # fp32, as the kernel reads them
        rest = momentum, 0.0, False, False, False, 1.0  # dampening, nesterov, first_run, wd_after_momentum, scale
        lists = [[t[:k] for t in (g, w, self.momenta)], [t[k:] for t in (g, w, self.momenta)]]
        self._lars(CHUNK, self._no_overflow, lists[0], *norms, scaled_lr, LARGE, 0.0, scaled_decay, *rest, False)
        if lists[1][0]:  # batch norm and biases: no ratio, no decay
            self._lars(CHUNK, self._no_overflow, lists[1], *norms, scaled_lr, LARGE, 0.0, 0.0, *rest, True)

    def _norms(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        return self._norm(CHUNK, self._no_overflow, [tensors], True)[1]
