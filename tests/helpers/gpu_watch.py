"""Watches what is dispatched to a GPU, real or fake: kernels, waits, copies, layouts, types and memory."""

import contextlib
import traceback
import weakref
from collections import Counter
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PACKAGE = "/reproduce/"
# operations that start no kernel: they make a tensor of memory, or another view of one
FREE = set(
    "device detach lift_fresh alias unbind split split_with_sizes slice select view _unsafe_view t permute transpose "
    "as_strided expand unsqueeze squeeze reshape _reshape_alias empty empty_like empty_strided new_empty "
    "new_empty_strided".split()
)
WAITING = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "_unique2", "unique_dim"}
COPYING = {"clone", "copy_", "_to_copy", "cat", "stack", "repeat"}
LARGE = 2_000_000  # bytes: as many as the smallest images between layers, 40 of 512 x 7 x 7 in half precision
NORMS = {"native_batch_norm", "cudnn_batch_norm", "_native_batch_norm_legit", "miopen_batch_norm"}


class GpuWatch(TorchDispatchMode):
    """Everything between ``with`` and its end while `on`, backward included. By operation, or by "what, where":

    `kernels`  operations that start one, and compiled functions, each as one
    `waits`    of the host for the device
    `uploads`  from the host's memory
    `copies`   of `LARGE` tensors that change neither type nor strides; joining counts, too
    `layouts`  convolutions whose images or weights are not channels_last
    `types`    batch norms whose weights or statistics are not float32
    `peak`     most bytes of tensors alive at once, of those made or used since the ``with``
    """

    def __init__(self):
        super().__init__()
        self.kernels: Counter = Counter()
        self.waits, self.uploads, self.copies = Counter(), Counter(), Counter()
        self.layouts, self.types = Counter(), Counter()
        self.peak = self._bytes = 0
        self._alive: dict[int, int] = {}
        self.on = self._fused = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, given = func._overloadpacket.__name__, tensors((args, kwargs))
        if name in WAITING and self.on and any(map(on_gpu, given)):
            self.waits[f"{name}, {where()}"] += 1
        # a fake tensor has no number
        made = 1 if name == "_local_scalar_dense" else func(*args, **kwargs or {})
        if self._fused:
            return made
        for tensor in filter(on_gpu, tensors(made)):
            self._follow(tensor)
        if self.on:
            self._note(name, args, given, tensors(made))
        return made

    def _note(self, name: str, args: tuple, given: list, made: list) -> None:
        here, there = [t for t in given if on_gpu(t)], [t for t in made if on_gpu(t)]
        if (here or there) and name not in FREE:
            self.kernels[name] += 1
        if here and len(there) < len(made):
            self.waits[f"{name} to the host, {where()}"] += 1
        if name in ("copy_", "_to_copy") and there and not on_gpu(args[1] if name == "copy_" else args[0]):
            self.uploads[f"{name}, {where()}"] += 1
        if name in COPYING and is_plain_copy(name, args, given, made):
            self.copies[f"{name}, {where()}"] += 1
        if name in ("convolution", "convolution_backward"):
            self._note_layout(name, args)
        if name in NORMS and any(t is not None and t.dtype != torch.float32 for t in args[1:5]):
            self.types[f"{name}, {where()}"] += 1

    def _note_layout(self, name: str, args: tuple) -> None:
        roles = ("images", "weights") if name == "convolution" else ("gradient", "images", "weights")
        for role, tensor in zip(roles, args):
            if on_gpu(tensor) and not tensor.is_contiguous(memory_format=torch.channels_last):
                self.layouts[f"{role} of a {name}, {where()}"] += 1

    # ---- memory -----------------------------------------------------------------------------------------------------

    def _follow(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._alive:
            self._alive[key] = storage.nbytes()
            self._bytes += storage.nbytes()
            self.peak = max(self.peak, self._bytes if self.on else 0)
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self._bytes -= self._alive.pop(key, 0)

    # ---- compiled functions -----------------------------------------------------------------------------------------

    def compiled(self, function):
        """Stands for `torch.compile`: `function` counts as one kernel, and what it makes inside not at all."""

        def fused(*args):
            self.kernels[f"compiled {function.__name__}"] += self.on
            with self._as_one():
                made = function(*args)
            for tensor in tensors(made):
                self._follow(tensor)
            return made

        return fused

    @contextlib.contextmanager
    def _as_one(self):
        self._fused = True
        try:
            yield
        finally:
            self._fused = False


def tensors(tree) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def on_gpu(tensor) -> bool:
    return isinstance(tensor, torch.Tensor) and tensor.device.type == "cuda"


def is_plain_copy(name: str, args: tuple, given: list, made: list) -> bool:
    """Whether the same values were written once more, as they were, to other memory of the GPU."""
    source = args[1] if name == "copy_" else given[0]
    target = made[0]
    if not (on_gpu(source) and on_gpu(target)) or target.numel() * target.element_size() < LARGE:
        return False
    same = source.dtype == target.dtype and source.dim() == target.dim()
    return same and (name != "_to_copy" or source.stride() == target.stride())


def where() -> str:
    """The innermost line of the package that is being run; during backward there is none."""
    frames = [f for f in traceback.extract_stack() if PACKAGE in f.filename and "/tests/" not in f.filename]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "backward"
