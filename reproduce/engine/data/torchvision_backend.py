"""The back-end that runs everywhere: PIL decodes, torchvision's own functions cut and scale, one image at a time.

It is also the reference: DALI is tested against it, and it decodes what DALI cannot.
"""

import io
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
import torchvision.transforms.functional as F
from PIL import Image
from torchvision.transforms import InterpolationMode

from reproduce.engine.data.images import DECODE_ERRORS
from reproduce.engine.data.plan import share
from reproduce.engine.data.windows import centre_offsets

AHEAD = 2  # jobs in progress: one being collected, one behind it so that no thread idles


class TorchvisionBackend:
    """`data` is a config's `Data`; results are moved to `device`."""

    name = "torchvision"

    def __init__(self, data, device: torch.device, threads: int):
        self._data, self._device = data, device
        self._mode = "L" if len(data.mean) == 1 else "RGB"
        self._mean = torch.tensor(data.mean, device=device)
        self._std = torch.tensor(data.std, device=device)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)

    def stream(self, jobs: Iterator) -> Iterator[tuple]:
        """Yield each job with its float32 images [n, H, W, C], in order; None in their place if one did not decode.

        A job has `encoded` (n byte strings), `geometry` int64 [n, 6] and `flips` bool [n], see `windows`.
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

    def _start(self, job) -> list[Future]:
        offsets = centre_offsets(job.geometry, self._data.image_size).tolist()
        rows = list(zip(job.encoded, job.geometry.tolist(), offsets, job.flips.tolist()))
        parts = (share(len(rows), part, self._threads) for part in range(self._threads))
        return [self._pool.submit(self._images, rows[part.start : part.stop]) for part in parts if part]

    def _finish(self, job, futures: list[Future]) -> tuple:
        try:
            images = torch.cat([future.result() for future in futures])
        except DECODE_ERRORS:
            return job, None
        return job, (images.to(self._device, torch.float32) - self._mean) / self._std

    def _images(self, rows: list[tuple]) -> torch.Tensor:
        return torch.stack([F.pil_to_tensor(self._image(*row)).permute(1, 2, 0) for row in rows])

    def _image(self, encoded: bytes, geometry: list[int], offset: list[int], flip: bool) -> Image.Image:
        top, left, height, width, *resized = geometry
        size = self._data.image_size
        with Image.open(io.BytesIO(encoded)) as file:
            image = file.convert(self._mode)
        image = F.crop(image, top, left, height, width)
        image = F.resize(image, resized, InterpolationMode.BILINEAR, antialias=True)
        image = F.crop(image, *offset, size, size)
        return F.hflip(image) if flip else image

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
