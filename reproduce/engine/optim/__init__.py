"""LARS, the optimizer: `formulas` says what it is, and four back-ends compute it, all equal to the reference.

foreach    PyTorch's multi-tensor operations; everywhere
native     a small C kernel, made by the machine's own compiler; CPUs
compiled   torch.compile over all tensors as rows of one flat buffer; CPUs and GPUs, and inside a CUDA graph
apex       the multi-tensor kernels of NVIDIA apex; GPUs, where apex is installed
"""

import sys

import torch

from reproduce.engine.optim.foreach import Lars, RmspropWarmup
from reproduce.engine.optim.formulas import PRESETS, Constants, Preset, reference_step, split_parameters
from reproduce.errors import ConfigError, shown

__all__ = ["BACKENDS", "PRESETS", "Constants", "Lars", "Preset", "make_lars", "reference_step", "split_parameters"]

BACKENDS = ("auto", "foreach", "native", "compiled", "apex")


def make_lars(backend: str, weights, others, constants: Constants, gradients=None, warns: bool = True) -> Lars:
    """The optimizer by one of `BACKENDS`; "auto" is native on a CPU with a C compiler, and foreach elsewhere.

    `gradients` is what `make_gradients` returned; only "compiled" needs it. `warns`: whether this process says what
    "auto" had to do without. Raises `ConfigError` where a back-end that was asked for by name cannot run.
    """
    from reproduce.engine.optim import apex, compiled, native

    device: torch.device = (*weights, *others)[0].device
    if backend == "auto":
        wanted = device.type == "cpu" and not constants.only_foreach
        backend = "native" if wanted and native.kernel() else "foreach"
        if wanted and backend == "foreach" and warns:
            why = shown(native.why_not())
            print(f"warning: LARS in C cannot be had ({why}): foreach, which is slower, takes its place",
                  file=sys.stderr, flush=True)  # fmt: skip
    if backend in ("native", "compiled", "apex") and constants.only_foreach:
        raise ConfigError(f"LARS back-end {backend}: does not know this optimizer.preset: use foreach")
    if backend == "foreach":
        return (RmspropWarmup if constants.preset.rmsprop else Lars)(weights, others, constants)
    if backend == "native":
        return native.NativeLars(weights, others, constants)
    if backend == "compiled":
        return compiled.CompiledLars(weights, others, constants, gradients)
    if backend == "apex":
        return apex.ApexLars(weights, others, constants)
    raise ConfigError(f"LARS back-end {backend!r}: must be one of {', '.join(BACKENDS)}")
