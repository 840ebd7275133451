"""The back-end that runs everywhere: PIL decodes, torchvision's own functions cut and scale.

Where there is a C compiler, and libjpeg-turbo, kernels of ours give the same pixels sooner, to the bit. This is also
the reference: DALI is tested against it, and it decodes what DALI cannot.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
import torchvision.transforms.functional as F
from PIL import Image
from torchvision.transforms import InterpolationMode

from reproduce.engine.data.images import DECODE_ERRORS, opened
from reproduce.engine.data.jpeg import decoder
from reproduce.engine.data.plan import share
from reproduce.engine.data.scaling import Scaler, kernel
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
        self._mean = torch.tensor(data.mean).repeat(data.image_size)
        self._std = torch.tensor(data.std).repeat(data.image_size)
        self._kernel = kernel()
        # Damage outside a window is not noticed: a run that skips damaged images must not depend on where it looks.
        self._window = decoder() if self._kernel and data.corrupt_images != "skip" else None
        # to a GPU go bytes, which are normalised there
        self._kind = np.float32 if self._kernel and device.type == "cpu" else np.uint8
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)

    def stream(self, jobs: Iterator) -> Iterator[tuple]:
        """Yield each job with its float32 images [n, H, W, C], in order; None in their place if one did not decode.

        A job has `encoded` (n byte strings), `pixels` (what `decode` made of them, uint8 [n, H, W, C] as they are all
        of one size; or None), `geometry` int64 [n, 6] and `flips` bool [n], see `windows`.
        """
        flying: deque[tuple[object, np.ndarray, list[Future]]] = deque()
        try:
            for job in jobs:
                flying.append((job, *self._start(job)))
                if len(flying) == AHEAD:
                    yield self._finish(*flying.popleft())
            while flying:
                yield self._finish(*flying.popleft())
        finally:
            for *_, futures in flying:
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

    def _start(self, job) -> tuple[np.ndarray, list[Future]]:
        """The images of a job, and what fills them: float32 and normalised, or uint8."""
        size, count = self._data.image_size, len(job.flips)
        images = np.empty((count, size, size, len(self._data.mean)), self._kind)
        offsets = centre_offsets(job.geometry, size)
        fill = partial(self._by_pil, images, offsets)
        if self._kernel:
            values = self._mean.numpy(), self._std.numpy()
            fill = partial(self._by_kernel, Scaler(self._kernel, images, job.geometry, offsets, job.flips, *values))
        parts = (share(count, part, self._threads) for part in range(self._threads))
        return images, [self._pool.submit(fill, job, part) for part in parts if part]

    def _finish(self, job, images: np.ndarray, futures: list[Future]) -> tuple:
        try:
            for future in futures:
                future.result()
        except DECODE_ERRORS:
            return job, None
        found = torch.from_numpy(images).to(self._device, torch.float32)
        if images.dtype == np.uint8:
            mean, std = self._mean.to(self._device), self._std.to(self._device)
            found.flatten(2).sub_(mean).div_(std)
        return job, found

    def _by_kernel(self, scaler: Scaler, job, part: range) -> None:
        if job.pixels is not None:
            scaler.pixels(part.start, job.pixels[part.start : part.stop])
            return
        windows = job.geometry[part.start : part.stop, :4].tolist()
        for number, file, window in zip(part, job.encoded[part.start : part.stop], windows):
            pixels = self._window(file, window, self._mode) if self._window else None
            if pixels is None:
                scaler.picture(number, self._open(file))
            else:
                scaler.window(number, pixels)

    def _by_pil(self, images: np.ndarray, offsets: np.ndarray, job, part: range) -> None:
        """A part of a job, not normalised."""
        at = slice(part.start, part.stop)
        if job.pixels is None:
            pictures = map(self._open, job.encoded[at])
        else:
            pictures = map(Image.fromarray, job.pixels[at, :, :, 0] if self._mode == "L" else job.pixels[at])
        rows = zip(pictures, job.geometry[at].tolist(), offsets[at].tolist(), job.flips[at].tolist())
        # Bytes joined, not one array after another: an array for each small image takes longer than all the rest.
        joined = b"".join(self._cut(*row) for row in rows)
        images[at] = np.frombuffer(joined, np.uint8).reshape(-1, *images.shape[1:])

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
