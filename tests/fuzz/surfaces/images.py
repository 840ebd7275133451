"""Image files: damaged JPEG and PNG, headers that promise too much, odd modes; each as one of a training set."""

import functools
import io
import struct
import zlib

from hypothesis import strategies as st
from PIL import Image

from tests.fuzz import stock
from tests.fuzz.scene import Entry, Scene
from tests.fuzz.values import damaged, sampled
from tests.helpers.data import picture

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK", "YCbCr")


@functools.cache
def good() -> dict[str, bytes]:
    """A small image of every kind and mode that can be written."""
    found = {}
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        for mode in MODES:
            buffer = io.BytesIO()
            try:
                base = picture(1, 40, 44)
                image = Image.new("I;16", (44, 40), 40000) if mode == "I;16" else base.convert(mode)
                image.save(buffer, kind, **({"progressive": mode == "RGB"} if kind == "JPEG" else {}))
            except (OSError, ValueError, KeyError):
                continue
            found[f"{kind} {mode}"] = buffer.getvalue()
    return found


def png(width: int, height: int, depth: int, colour: int, data: bytes) -> bytes:
    """A PNG with a header of one's own and such compressed data."""
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def scenes() -> st.SearchStrategy[Scene]:
    return broken() | broken() | kinds() | headers()


@st.composite
def trained(draw, fault: str, content: bytes) -> Scene:
    """The image in place of one of the stock's."""
    skip, place = draw(sampled(["skip", "error"])), draw(sampled(stock.images())).path
    entries = [Entry(place, content=content) if one.path == place else one for one in stock.images()]
    given = ("small.toml", "--data", "images", "--out", "out", *stock.ON_CPU)
    return Scene("images", f"{fault}, {skip}", stock.TRAIN, given, (stock.recipe({"data.corrupt_images": skip}),
                                                                    *entries),
                 writes=("out",), chatty=True, names=(place.rsplit("/", 1)[1],))  # fmt: skip


@st.composite
def broken(draw) -> Scene:
    name = draw(sampled([one for one in good() if one.startswith(("JPEG", "PNG"))]))
    return draw(trained("damaged", draw(damaged(good()[name]))))


@st.composite
def kinds(draw) -> Scene:
    return draw(trained("kind", good()[draw(sampled(list(good())))]))


@st.composite
def headers(draw) -> Scene:
    """Sizes that are nothing or too much, in a PNG or a JPEG; data that unpacks to a gigabyte."""
    width, height = (draw(sampled([0, 1, 40, 20000, 65535, 2**31 - 1, 2**32 - 1])) for _ in range(2))
    if draw(st.booleans()):
        data = draw(sampled([zlib.compress(b"\0" * 5000), zlib.compress(b"\0" * (200 << 20), 9), b"", b"x" * 50]))
        content = png(width, height, draw(sampled([1, 8, 16, 3])), draw(sampled([0, 2, 3, 4, 6, 9])), data)
    else:
        content = good()["JPEG RGB"]
        at = content.find(b"\xff\xc2") if b"\xff\xc2" in content else content.find(b"\xff\xc0")
        content = content[: at + 5] + struct.pack(">HH", height % 65536, width % 65536) + content[at + 9 :]
    return draw(trained("header", content))
