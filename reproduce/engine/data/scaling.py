"""Windows cut, scaled, mirrored and normalised by a small C kernel, `scaling.c`: PIL's pixels, to the bit, but sooner.

PIL keeps a byte per pixel more than it has use for and goes value by value; what it scales has been cut out before, and
is mirrored, packed and normalised after, each in a pass of its own. Where no C compiler is found, PIL does it.
"""

import ctypes
import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from reproduce.engine.build import NoLibraryError, function

SOURCE = Path(__file__).with_name("scaling.c")
PIXEL = {"L": 1, "RGB": 4}  # bytes of a pixel in PIL's memory


class Kernel(NamedTuple):
    """The C function; and whether PIL is one that begins along the columns where that is less work, as 13.0 does.

    The order of the passes decides on the rounding.
    """

    cut: Any
    may_start_down: bool


class _Target(ctypes.Structure):
    """``struct target`` of the C file."""

    _fields_ = [("size", ctypes.c_ssize_t)] + [(name, ctypes.c_void_p) for name in ("mean", "std", "images")]
    _fields_ += [("may_start_down", ctypes.c_int)]


class _Array(ctypes.Structure):
    """The beginning of ``struct ArrowArray``, of Arrow's C data interface."""


_Array._fields_ = [
    *((name, ctypes.c_int64) for name in ("length", "nulls", "offset", "buffer_count", "child_count")),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)), ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
]  # fmt: skip
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


class Scaler:
    """Fills `images` [n, size, size, C], float32 or uint8, from windows of images.

    `geometry` int64 [n, 6] and `flips` bool [n] are as in `windows`, `offsets` int64 [n, 2] its `centre_offsets`;
    float32 results are normalised by `mean` and `std`, float32 [size * C], of a row of pixels. One object may be used
    by several threads, for different images.
    """

    def __init__(self, kernel: Kernel, images: np.ndarray, geometry, offsets, flips, mean=None, std=None):
        assert images.flags.c_contiguous, "the kernel sees memory, not indices"
        geometry, offsets = (np.ascontiguousarray(rows, np.int64) for rows in (geometry, offsets))
        flips = np.ascontiguousarray(flips, bool)
        self._held = (images, geometry, offsets, flips, mean, std)  # the C code has their addresses only
        floats = images.dtype == np.float32
        values = (mean.ctypes.data, std.ctypes.data) if floats else (None, None)
        self._target = _Target(images.shape[1], *values, images.ctypes.data, kernel.may_start_down)
        self._rows = [geometry.ctypes.data, offsets.ctypes.data, flips.ctypes.data]
        self._cut = kernel.cut

    def picture(self, number: int, image: Image.Image) -> None:
        """One image of mode L or RGB."""
        try:
            held, address = _memory(image)
        except (AttributeError, ValueError):  # an older PIL, or an image so large that it lies in several blocks
            self.pixels(number, np.asarray(image)[None])
            return
        pixel = PIXEL[image.mode]
        self._run(number, 1, address, 0, image.width * pixel, pixel)
        del held

    def window(self, number: int, pixels: np.ndarray) -> None:
        """The window of one image, alone: uint8 [height, width, 3 or 4], or [height, width] in grey."""
        pixel = pixels.strides[1]
        top, left = self._held[1][number, :2].tolist()
        # where the whole image would begin
        address = pixels.ctypes.data - top * pixels.strides[0] - left * pixel
        self._run(number, 1, address, 0, pixels.strides[0], pixel)

    def pixels(self, first: int, pixels: np.ndarray) -> None:
        """Images of one size, uint8 [n, H, W, C] or, of one channel, [n, H, W]."""
        pixels = np.ascontiguousarray(pixels)
        pixel = pixels.shape[3] if pixels.ndim == 4 else 1
        self._run(first, len(pixels), pixels.ctypes.data, *pixels.strides[:2], pixel)

    def _run(self, first: int, count: int, *memory: int) -> None:
        if not self._cut(ctypes.byref(self._target), first, count, *memory, *self._rows):
            raise MemoryError("no memory to scale an image in")


def _memory(image: Image.Image) -> tuple[object, int]:
    """Where PIL keeps the pixels of an image, and what must be held while they are read: they are not copied."""
    held = image.__arrow_c_array__()
    array = _Array.from_address(_pointer(held[1], b"arrow_array"))
    pixels = array.children[0].contents if array.child_count else array
    return held, pixels.buffers[1]


@functools.cache
def kernel() -> Kernel | None:
    """Compiled now if it has not been on this machine; None if it cannot be, or does not do as the PIL here does."""
    try:
        cut = function(SOURCE, "cut")
    except NoLibraryError:
        return None
    many, count, number = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int
    cut.restype, cut.argtypes = number, [many, count, count, many, count, count, number, many, many, many]
    return next(filter(_does_as_pil, (Kernel(cut, True), Kernel(cut, False))), None)


def _does_as_pil(kernel: Kernel) -> bool:
    """On a tall window, a wide one and one that is enlarged."""
    noise, size = np.random.default_rng(1).integers(0, 256, (67, 71, 3), np.uint8), 16
    image, windows = Image.fromarray(noise), np.array([(0, 1, 66, 23), (3, 0, 24, 70), (40, 50, 9, 11)])
    found = np.empty((len(windows), size, size, 3), np.uint8)
    geometry = np.pad(windows, ((0, 0), (0, 2)), constant_values=size)
    scaler = Scaler(kernel, found, geometry, np.zeros((len(windows), 2)), np.zeros(len(windows)))
    for number, (top, left, height, width) in enumerate(windows.tolist()):
        scaler.picture(number, image)
        cut = image.crop((left, top, left + width, top + height))
        if (found[number] != np.asarray(cut.resize((size, size), Image.Resampling.BILINEAR))).any():
            return False
    return True
