"""A CUDA device that is not there, but enough of one for PyTorch to dispatch an update to on fake tensors.

Fake tensors carry a device, a type, a shape and strides but no numbers, so nothing is computed; autograd runs backward
in the thread it keeps for the device. Three places of PyTorch would still ask a driver: `torch.cuda`, the allocator's
context and the CUDA hooks of libtorch. `install` answers for it. It depends on PyTorch's internals and raises
`NoLongerWorks` where they have changed: whoever raises the pin of torch mends it here.
"""

import contextlib
import ctypes
import re
import threading
from pathlib import Path

import torch
import torch._subclasses.fake_tensor as fake_tensor

TORCH = Path(torch.__file__).parent
DESTRUCTORS = 2  # entries of a virtual table in front of the first function
BEFORE_TABLE = 2  # words in front of it: offset and type
WORDS = 200  # copied of the hooks' table; it has about 60
EVENTS: list[tuple] = []  # what streams were asked for: (what, stream, other stream)


class NoLongerWorks(RuntimeError):
    """This version of PyTorch is built differently."""

    def __init__(self, what: str):
        super().__init__(f"torch {torch.__version__}: {what}: mend tests/helpers/fake_gpu.py")


def install() -> None:
    """Have this process believe in eight GPUs, for good: it must be left by `os._exit`, as a device thread remains."""
    _replace(fake_tensor, "init_gpu_context", lambda *_, **__: None)
    _replace(fake_tensor.FakeTensorMode, "avoid_device_init", property(lambda self: True))
    answers = {
        "is_available": True, "_lazy_init": None, "device_count": 8, "current_device": 0, "set_device": None,
        "get_device_capability": (9, 0), "get_device_name": "no GPU", "is_bf16_supported": True,
    }  # fmt: skip
    for name, answer in answers.items():
        _replace(torch.cuda, name, lambda *_, answer=answer, **__: answer)
    _replace(torch.cuda, "synchronize", lambda *_: EVENTS.append(("host waits", current_stream().name, "")))
    _replace(torch.cuda, "Stream", Stream)
    _replace(torch.cuda, "current_stream", current_stream)
    _replace(torch.cuda, "stream", on_stream)
    _replace(torch.nn.Module, "to", _module_to)
    _answer_hooks()


def _replace(owner, name: str, by) -> None:
    if not hasattr(owner, name):
        raise NoLongerWorks(f"{owner.__name__} has no {name}")
    setattr(owner, name, by)


# ---- streams --------------------------------------------------------------------------------------------------------


class Stream:
    """Notes what it is asked for in `EVENTS`; nothing runs on it."""

    def __init__(self, *_, name: str = "side", **__):
        self.name = name

    def wait_stream(self, other: "Stream") -> None:
        EVENTS.append(("wait", self.name, other.name))

    def synchronize(self) -> None:
        EVENTS.append(("host waits", self.name, ""))


MAIN, _here = Stream(name="main"), threading.local()


def current_stream(device=None) -> Stream:
    return getattr(_here, "stream", MAIN)


@contextlib.contextmanager
def on_stream(stream: Stream):
    before, _here.stream = current_stream(), stream
    try:
        yield
    finally:
        _here.stream = before


# ---- the network ----------------------------------------------------------------------------------------------------


def _module_to(self, *args, **kwargs):
    """`nn.Module.to` with new parameters: the real one exchanges the contents of tensors, which fake ones forbid."""
    device, dtype, _, layout = torch._C._nn._parse_to(*args, **kwargs)

    def moved(tensor):
        layout_of_it = layout if layout is not None and tensor.dim() == 4 else torch.preserve_format
        new = {"device": device or tensor.device, "dtype": dtype or tensor.dtype}
        return tensor.detach().to(**new, memory_format=layout_of_it)

    for module in self.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = torch.nn.Parameter(moved(parameter))
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = moved(buffer)
    return self


# ---- the hooks of libtorch ------------------------------------------------------------------------------------------

_kept: list = []  # what C++ points to


def _answer_hooks() -> None:
    """Autograd asks whether a device has a context, convolution whether cuDNN knows bf16: a copy of the table answers.

    The object that libtorch asks is C++; its functions are found through its first word, a table of their addresses.
    """
    library = ctypes.CDLL(str(TORCH / "lib" / "libtorch_cpu.so"))
    try:
        get = library._ZN2at6detail12getCUDAHooksEv
    except AttributeError:
        raise NoLongerWorks("no getCUDAHooks") from None
    get.restype = ctypes.c_void_p
    first_word = ctypes.c_void_p.from_address(get())
    table = (ctypes.c_void_p * WORDS)()
    ctypes.memmove(table, first_word.value - BEFORE_TABLE * 8, WORDS * 8)
    functions = {
        "hasPrimaryContext": ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_int8)(lambda _, __: False),
        "supportsBFloat16ConvolutionWithCuDNNv8": ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)(lambda _: True),
    }
    order = _virtual_functions()
    for name, function in functions.items():
        if name not in order:
            raise NoLongerWorks(f"the CUDA hooks have no {name}")
        table[BEFORE_TABLE + DESTRUCTORS + order.index(name)] = ctypes.cast(function, ctypes.c_void_p).value
    _kept.extend([table, *functions.values()])
    first_word.value = ctypes.addressof(table) + BEFORE_TABLE * 8


def _virtual_functions() -> list[str]:
    """The hooks' functions in the order of their table: the general interface's, then those CUDA adds to it."""
    names: dict[str, None] = {}
    for header in ("AcceleratorHooksInterface.h", "CUDAHooksInterface.h"):
        path = TORCH / "include" / "ATen" / "detail" / header
        if not path.is_file():
            raise NoLongerWorks(f"no {path.name}")
        code = re.sub(r"//.*|/\*[\s\S]*?\*/", "", path.read_text())
        names |= dict.fromkeys(re.findall(r"\bvirtual\b[^;{~]*?(\w+)\s*\(", code))
    return list(names)
