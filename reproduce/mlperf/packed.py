"""Packed files: the text inside a gzip, bzip2, xz or zip file, up to a size."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, Any

from reproduce.logged import packing

OPENERS: dict[str, Callable[[IO[bytes]], Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError)


def unpacked(content: bytes, limit: int) -> tuple[bytes, str]:
    """What is inside, and what it was packed with ("" for a plain file).

    Raises `ValueError` if it is damaged, larger than `limit` bytes inside, or packed in a way that is not read here.
    """
    kind = packing(content)
    if not kind:
        return content, ""
    try:
        inside = _inside(content, kind, limit)
    except BROKEN as error:
        raise ValueError(f"packed with {kind} and damaged: {error}") from None
    if len(inside) > limit:
        raise ValueError(f"packed with {kind}: more than {limit >> 20} MB inside")
    return inside, kind


def _inside(content: bytes, kind: str, limit: int) -> bytes:
    if kind in OPENERS:
        with OPENERS[kind](io.BytesIO(content)) as file:
            return file.read(limit + 1)
    if kind != "zip":
        raise ValueError(f"packed with {kind}: unpack it")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [one.filename for one in archive.infolist() if not one.is_dir()]
        if len(names) != 1:
            raise ValueError(f"a zip archive of {len(names)} files: unpack it, and name one log")
        with archive.open(names[0]) as file:
            return file.read(limit + 1)
