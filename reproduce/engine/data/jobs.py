"""From the images that are wanted to decoded ones: what a back-end executes, and what is done where it fails."""

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproduce.engine.data import windows
from reproduce.engine.data.ahead import Place
from reproduce.engine.data.images import ImageFiles, substituted
from reproduce.engine.data.pixels import Pixels
from reproduce.errors import DataError

THREADS = {"cpu": 1, "cuda": 4}  # decoding threads: on a CPU the cores belong to training; the team used 3 per GPU


class Split(NamedTuple):
    """All there is to train on, or to validate on."""

    files: ImageFiles
    labels: np.ndarray  # int64
    pixels: Pixels | None  # None: the back-end decodes where they could not be kept


class Request(NamedTuple):
    """Images wanted, before any is read."""

    split: Split
    at: Place
    numbers: np.ndarray  # int64 [workers, local_batch]; in validation [1, n]
    uniforms: np.ndarray | None = None  # float64 [numbers.size, DRAWS]; None: centre crops
    place: tuple[int, range, bool] | None = None  # a training chunk's update, workers, last; None: validation


class Job(NamedTuple):
    """A request read and measured: what a back-end executes."""

    request: Request
    numbers: np.ndarray  # int64 [n]
    encoded: list[bytes]
    pixels: np.ndarray | None  # uint8 [n, H, W, C], decoded by the same back-end before; None: it decodes now
    geometry: np.ndarray  # int64 [n, 6], see `windows`
    flips: np.ndarray  # bool [n]


def prepare(request: Request, data) -> Job:
    """Read and measure a request's images; `data` is a config's. Raises `DataError`, for a corrupt image as for others,
    unless corrupt ones are to be skipped."""
    split = request.split
    files, numbers = split.files, without_bad(request)
    encoded, known = files.read(numbers), len(files.bad)
    sizes = files.sizes(numbers, encoded)
    if len(files.bad) > known:
        return prepare(request, data)
    pixels = split.pixels.of(numbers, encoded, sizes) if split.pixels and len(numbers) else None
    if request.uniforms is None:
        return Job(request, numbers, encoded, pixels, *windows.centre_geometry(sizes, data))
    return Job(request, numbers, encoded, pixels, *windows.train_geometry(sizes, request.uniforms, data))


def without_bad(request: Request) -> np.ndarray:
    """The request's numbers, flat. In training each corrupt file gives way to the next good one of its worker."""
    files, numbers = request.split.files, request.numbers
    if not files.bad or files.bad.isdisjoint(numbers.ravel().tolist()):
        return numbers.ravel()
    good = ~np.isin(numbers, list(files.bad))
    if request.place is None:
        return numbers[good]
    if not good.any(1).all():
        raise DataError(f"{files.root}: a whole batch of one worker is corrupt: replace the damaged files")
    return substituted(numbers, good).ravel()


class Decoder:
    """A back-end, and torchvision's for the jobs that it fails on."""

    def __init__(self, backend, data, device: torch.device):
        self._backend, self._data, self._device = backend, data, device
        self._rescuer: Any = None  # opened when it is needed

    def stream(self, requests: Iterator[Request]) -> Iterator[tuple[Job, Tensor]]:
        """Each request as a job with its float32 images [n, H, W, C], in order; those without a good image are left
        out. Raises `DataError`."""
        jobs = (prepare(request, self._data) for request in requests)
        for job, images in self._backend.stream(job for job in jobs if len(job.numbers)):
            if images is None:
                job, images = self._rescue(job)
            if len(job.numbers):
                yield job, images

    def _rescue(self, job: Job) -> tuple[Job, Tensor | None]:
        """Decode a job the back-end failed on: find the corrupt files, leave them out, let torchvision do the rest.

        The job that comes back holds nothing, and no tensor, if none of its validation images decodes.
        """
        from reproduce.engine.data.torchvision_backend import TorchvisionBackend

        files = job.request.split.files
        files.examine(job.numbers, job.encoded)
        if files.bad.isdisjoint(job.numbers.tolist()):
            first = files.root / files.names[job.numbers[0]]
            what = f"{self._backend.name} failed on the batch that begins with {first}; torchvision decodes it"
            warnings.warn(what, stacklevel=2)
        job = prepare(job.request, self._data)._replace(pixels=None)
        if len(job.numbers) == 0:
            return job, None
        if self._rescuer is None:
            self._rescuer = TorchvisionBackend(self._data, self._device, THREADS[self._device.type])
        ((job, images),) = self._rescuer.stream(iter([job]))
        return job, images

    def close(self) -> None:
        """Free the threads and the memory of both."""
        for part in (self._backend, self._rescuer):
            if part is not None:
                part.close()
