"""Parts of the loading of images, timed alone.

Each is `make(data, files, batch)`, `data` being a config's `Data` and `files` all encoded images; it gives what does
them all once and returns its images per second.
"""

import io
import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from reproduce.engine.data.plan import AUGMENT, uniforms
from reproduce.engine.data.torchvision_backend import TorchvisionBackend
from reproduce.engine.data.windows import DRAWS, train_geometry

CPU = torch.device("cpu")


def rate(counts: Iterable[int]) -> float:
    """Images per second of processor time of something that yields how many it has just done."""
    began = time.process_time()
    return sum(counts) / (time.process_time() - began)


def dali_decoding(data, files: list[bytes], batch: int) -> Callable[[], float]:
    from reproduce.engine.data.dali import DaliBackend

    backend = DaliBackend(data, CPU, 1, batch)
    parts = [files[at : at + batch] for at in range(0, len(files), batch)]

    def decoded(part: list[bytes]) -> int:
        pictures = backend.decode(part)
        assert pictures is not None, "the benchmark's pictures decode"
        return len(pictures)

    return lambda: rate(decoded(part) for part in parts)


def pil_decoding(data, files: list[bytes], batch: int, smaller: int = 1) -> Callable[[], float]:
    """`smaller` > 1: to a fraction of the size, which libjpeg makes from as few coefficients of each block."""

    def decode(file: bytes) -> int:
        with Image.open(io.BytesIO(file)) as image:
            if smaller > 1:
                image.draft("RGB", (image.width // smaller, image.height // smaller))
            image.convert("RGB")
        return 1

    return lambda: rate(map(decode, files))


def scaling(data, files: list[bytes], batch: int) -> Callable[[], float]:
    """All that the torchvision back-end does but decoding; for pictures of one size."""
    backend = TorchvisionBackend(data, CPU, 1)
    sizes = np.repeat([Image.open(io.BytesIO(files[0])).size[::-1]], len(files), 0)
    geometry, flips = train_geometry(sizes, uniforms(1, AUGMENT, (), (len(files), DRAWS)), data)
    parts = [slice(at, at + batch) for at in range(0, len(files), batch)]
    decoded = [np.stack(backend.decode(files[part]) or []) for part in parts]
    jobs = [SimpleNamespace(pixels=pixels, geometry=geometry[part], flips=flips[part])
            for part, pixels in zip(parts, decoded)]  # fmt: skip
    return lambda: rate(len(images) for _, images in backend.stream(iter(jobs)))
