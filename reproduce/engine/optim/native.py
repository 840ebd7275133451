"""LARS on a CPU by a small C kernel, `native.c`, made once per machine by its own C compiler.

PyTorch's multi-tensor operations stream all tensors through memory several times; this goes through them once.
"""

import ctypes
import functools
from pathlib import Path

import torch

from reproduce.engine.build import NoLibraryError, function
from reproduce.engine.optim.foreach import Lars, gradients_of
from reproduce.errors import ConfigError

SOURCE = Path(__file__).with_name("native.c")


class Rule(ctypes.Structure):
    """``struct rule`` of the C file."""

    _fields_ = [(name, ctypes.c_double) for name in ("eta", "eps", "ratio_decay", "gain", "ceiling", "inner", "outer",
                                                     "weight_decay", "momentum", "scale")]
    _fields_ += [(name, ctypes.c_int) for name in ("adapts", "ratio_outside", "needs_gradient", "decays_unadapted",
                                                   "nesterov")]


class NativeLars(Lars):
    """As `Lars`, by one call into C per step. Uses as many threads as torch does; gradients stay as they are.

    Raises `ConfigError` where no C compiler is found, or for parameters that are not on a CPU.
    """

    name = "native"

    def __init__(self, weights, others, constants):
        super().__init__(weights, others, constants)
        if any(p.device.type != "cpu" for p in self.parameters):
            raise ConfigError("LARS back-end native: is for CPUs only: use foreach or compiled on a GPU")
        self._kernel = kernel()
        if self._kernel is None:
            raise ConfigError(f"LARS back-end native: {why_not()}: install a C compiler, see CC, or use foreach")
        self._lengths = (ctypes.c_ssize_t * len(self.parameters))(*[p.numel() for p in self.parameters])

    @torch.no_grad()
    def update(self) -> None:
        lr, weight_decay, momentum, gradient_scale = self.hyper
        p, outside = self.c.preset, self.c.preset.convention == "C"
        gain = (1 / lr if lr else float("inf")) if p.clips else 1.0
        rule = Rule(
            self.c.eta, self.c.eps, self.c.decay_in_ratio(weight_decay), gain,
            self.c.ceiling, lr if p.convention == "A" else 1.0, 1.0 if p.convention == "A" else lr,
            weight_decay, momentum, gradient_scale, p.adapts, outside, p.needs_gradient, p.decays_unadapted,
            self.c.nesterov,
        )  # fmt: skip
        # held here: a copy has no other owner
        gradients = [_same_layout(g, q) for g, q in zip(gradients_of(self.parameters), self.parameters)]
        tables = map(_pointers, ([q.data for q in self.parameters], self.momenta, gradients))
        count = len(self.parameters)
        self._kernel(ctypes.byref(rule), count, self.adapted, self._lengths, *tables, torch.get_num_threads())


def _pointers(tensors: list[torch.Tensor]):
    return (ctypes.c_void_p * len(tensors))(*[t.data_ptr() for t in tensors])


def _same_layout(gradient: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """The kernel sees memory, not indices: element i of a gradient must be that of its parameter."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def kernel():
    """The C function, compiled now if it has not been on this machine; None if it cannot be, and `why_not` says why."""
    return _kernel()[0]


def why_not() -> str:
    return _kernel()[1]


@functools.cache
def _kernel():
    try:
        step = function(SOURCE, "lars_step")
    except NoLibraryError as error:
        return None, str(error)
    step.restype = None
    many, count = ctypes.c_void_p, ctypes.c_ssize_t
    step.argtypes = [many, count, count, many, many, many, many, ctypes.c_int]
    return step, ""
