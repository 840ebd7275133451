"""The back-end that runs everywhere: PIL decodes, torchvision's own functions cut and scale, one image at a time.

It is also the reference: DALI is tested against it, and it decodes what DALI cannot.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
import torchvision.transforms.functional as F
from PIL import Image
from torchvision.transforms import InterpolationMode

from reproduce.engine.data.images import DECODE_ERRORS, opened
from reproduce.engine.data.plan import share
from reproduce.engine.data.windows import centre_offsets

AHEAD = 2  # jobs in progress: one being collected, one behind it so that no thread idles


class TorchvisionBackend:
    """`data` is a config's `Data`; results are moved to `device`."""

    name = "torchvision"
    takes_pixels = True

    def __init__(self, data, device: torch.device, threads: int):
        self._data, self._device = data, device
        self._mode = "L" if len(data.mean) == 1 else "RGB"
        # Of a row of pixels: torch takes ten times as long where it has to go through three values at a time.
        self._mean = torch.tensor(data.mean, device=device).repeat(data.image_size)
        self._std = torch.tensor(data.std, device=device).repeat(data.image_size)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)

    def stream(self, jobs: Iterator) -> Iterator[tuple]:
        """Yield each job with its float32 images [n, H, W, C], in order; None in their place if one did not decode.

        A job has `encoded` (n byte strings), `pixels` (what `decode` made of them, uint8 [n, H, W, C] as they are all
        of one size; or None), `geometry` int64 [n, 6] and `flips` bool [n], see `windows`.
        """
        flying: deque[tuple[object, list[Future]]] = deque()
        try:
            for job in jobs:
                flying.append((job, self._start(job)))
                if len(flying) == AHEAD:
                    yield self._finish(*flying.popleft())
            while flying:
                yield self._finish(*flying.popleft())
        finally:
            for _, futures in flying:
                for future in futures:
                    future.cancel()

    def decode(self, encoded: list[bytes]) -> list[np.ndarray] | None:
        """Files as uint8 [H, W, C]; None if one of them does not decode."""
        try:
            return [np.atleast_3d(np.asarray(self._open(file))) for file in encoded]
        except DECODE_ERRORS:
            return None

    def _open(self, encoded: bytes) -> Image.Image:
        """Converted only to another mode: even to the same one it copies all pixels, a tenth of the whole work."""
        file = opened(encoded)
        file.load()
        return file if file.mode == self._mode else file.convert(self._mode)

    def _start(self, job) -> list[Future]:
        parts = (share(len(job.flips), part, self._threads) for part in range(self._threads))
        return [self._pool.submit(self._images, job, slice(part.start, part.stop)) for part in parts if part]

    def _finish(self, job, futures: list[Future]) -> tuple:
        try:
            images = torch.cat([future.result() for future in futures])
        except DECODE_ERRORS:
            return job, None
        rows = images.to(self._device, torch.float32).flatten(2)
        return job, rows.sub_(self._mean).div_(self._std).view(images.shape)

    def _images(self, job, part: slice) -> torch.Tensor:
        """uint8 [n, H, W, C]: a part of a job, not normalised."""
        if job.pixels is None:
            images = map(self._open, job.encoded[part])
        else:
            images = map(Image.fromarray, job.pixels[part, :, :, 0] if self._mode == "L" else job.pixels[part])
        geometry, size = job.geometry[part], self._data.image_size
        offsets = centre_offsets(geometry, size)
        # Bytes joined, not tensors stacked: a tensor for each small image takes longer than all the rest.
        joined = bytearray().join(map(self._cut, images, geometry.tolist(), offsets.tolist(), job.flips[part].tolist()))
        return torch.frombuffer(joined, dtype=torch.uint8).view(-1, size, size, len(self._data.mean))

    def _cut(self, image: Image.Image, geometry: list[int], offset: list[int], flip: bool) -> bytes:
        top, left, height, width, *resized = geometry
        size = self._data.image_size
        image = F.crop(image, top, left, height, width)
        image = F.resize(image, resized, InterpolationMode.BILINEAR, antialias=True)
        if resized != [size, size]:
            image = F.crop(image, *offset, size, size)
        return (F.hflip(image) if flip else image).tobytes()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
