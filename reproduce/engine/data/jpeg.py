"""Windows of JPEG files decoded alone, by libjpeg-turbo: the same pixels as PIL's, which decodes the whole image.

For that a machine must have a C compiler and libjpeg-turbo with its header (``libjpeg-dev``, ``libjpeg-turbo-devel``).
Where it has not, and for files that are damaged or of a rare kind, PIL decodes.
"""

import ctypes
import functools
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from reproduce.engine.build import NoLibraryError, function

SOURCE = Path(__file__).with_name("jpeg.c")
SIGNATURE = b"\xff\xd8"
MARGIN = 48  # columns: at most two blocks of 16 to the left of a window, one to its right
PIXEL = {"L": 1, "RGB": 4}  # bytes: red, green, blue and one unused

Decode = Callable[[bytes, list[int], str], np.ndarray | None]


@functools.cache
def decoder() -> Decode | None:
    """`decode(file, [top, left, height, width], mode)` gives uint8 [height, width, 4], in mode L [height, width].

    Or None for a file it leaves to PIL. The whole is None where there is no such library here, or not one whose pixels
    are those of the PIL here.
    """
    try:
        decode_window = function(SOURCE, "decode_window", ("-ljpeg",))
    except NoLibraryError:
        return None
    many, size = ctypes.c_void_p, ctypes.c_ssize_t
    decode_window.restype = ctypes.c_int
    decode_window.argtypes = [ctypes.c_char_p, ctypes.c_size_t, many, ctypes.c_int, many, size, many]
    decode = functools.partial(_decode, decode_window)
    return decode if _does_as_pil(decode) else None


def _decode(decode_window, file: bytes, window: list[int], mode: str) -> np.ndarray | None:
    if not file.startswith(SIGNATURE):
        return None
    pixel, (_, _, height, width) = PIXEL[mode], window
    pixels = np.empty((height, width + MARGIN, pixel), np.uint8)
    numbers, margin = np.array(window, np.int64), np.empty(1, np.int64)
    place = pixels.ctypes.data, pixels.strides[0], margin.ctypes.data
    if not decode_window(file, len(file), numbers.ctypes.data, pixel, *place):
        return None
    found = pixels[:, margin[0] : margin[0] + width]
    return found[:, :, 0] if mode == "L" else found


def _does_as_pil(decode: Decode) -> bool:
    """On a few windows of noise, with each kind of chroma."""
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (70, 90, 3), np.uint8))
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        buffer = io.BytesIO()
        noise.save(buffer, "JPEG", subsampling=subsampling)
        whole = np.asarray(Image.open(buffer))
        for top, left, height, width in ([0, 0, 70, 90], [17, 35, 20, 11], [33, 63, 37, 27]):
            found = decode(buffer.getvalue(), [top, left, height, width], "RGB")
            expected = whole[top : top + height, left : left + width]
            if found is None or (found[:, :, :3] != expected).any():
                return False
    return True
