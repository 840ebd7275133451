"""The loader of one process: the plan's images of its workers as normalised tensors, decoded ahead of training.

DALI and torchvision execute the same windows and flips on the same images; their pixels differ by rounding only
(tests/data/test_data_parity.py says how much).
"""

import functools
import hashlib
import importlib.util
import itertools
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reproduce.engine.data import folders, windows
from reproduce.engine.data.ahead import VALIDATION, Pass, Passes, Place
from reproduce.engine.data.chunks import Chunk, groups
from reproduce.engine.data.images import ImageFiles
from reproduce.engine.data.jobs import THREADS, Decoder, Request, Split
from reproduce.engine.data.pixels import KEEP_BYTES, Pixels
from reproduce.engine.data.plan import Plan, share
from reproduce.engine.data.synthetic import SyntheticLoader
from reproduce.engine.data.transfer import Transfer
from reproduce.errors import DataError
from reproduce.presets import PASS_IMAGES

READY = 2  # finished chunks kept ready


def open_loader(
    config, root: Path, seed: int, workers: range, rank: int, world_size: int,
    device="cpu", backend: str = "auto", max_images_per_chunk: int = PASS_IMAGES, keep_decoded: bool = True,
    across_epochs: bool = True,
) -> "AnyLoader":  # fmt: skip
    """The loader of one process; for synthetic data, which has no folder, `root` and `backend` are ignored.

    `root` is the data set's own folder, the one that holds train/ and val/. `workers` is the contiguous range of
    workers this process emulates; `rank` and `world_size` say which share of the validation images is its own.
    `backend` is "dali", "torchvision" or "auto": DALI where it is installed. A chunk holds as many whole workers as
    fit into `max_images_per_chunk`, at least one. `keep_decoded` allows the images of a small set to be decoded once
    only, `across_epochs` the next epoch to be begun while one is still in use. Raises `DataError` for a data set that
    is not as the config states.
    """
    device = torch.device(device)
    if config.data.dataset == "synthetic":
        return SyntheticLoader(config, seed, workers, rank, world_size, device, max_images_per_chunk)
    return Loader(
        config, Path(root), seed, workers, rank, world_size, device, backend, max_images_per_chunk, keep_decoded,
        across_epochs,
    )  # fmt: skip


def dali_is_here() -> bool:
    """Whether NVIDIA DALI is installed; nothing of it is imported."""
    return bool(importlib.util.find_spec("nvidia") and importlib.util.find_spec("nvidia.dali"))


class Loader:
    """Real images. Serves one iterator at a time: starting one ends the one before it."""

    has_accuracy = True

    def __init__(
        self, config, root, seed, workers, rank, world_size, device, backend, max_images_per_chunk, keep_decoded,
        across_epochs,
    ):  # fmt: skip
        self._config, self._span, self._across_epochs = config, config.batch.bn_workers, across_epochs
        self._data, self._input_channels, self._device = config.data, config.model.input_channels, device
        self._plan, self._workers, self._max_images = Plan.of(config, seed), workers, max_images_per_chunk
        index = folders.index(root, config.data)
        self._val_share = share(len(index.val.names), rank, world_size)
        self._val_finished: list[tuple[Tensor, Tensor, np.ndarray]] | None = None  # of a small set, after one pass
        self._backend, self._keep = self._open(backend), keep_decoded
        self._train, self._val = (self._split(root, part) for part in (index.train, index.val))
        self._decoder = Decoder(self._backend, self._data, device)
        self._passes = Passes(self._results, READY)
        self._transfer = Transfer(device)

    def _open(self, backend: str):
        # Imported here: each back-end needs a package that another machine may lack.
        if backend not in ("auto", "dali", "torchvision"):
            raise DataError(f"back-end {backend!r}: must be one of auto, dali, torchvision")
        threads = THREADS[self._device.type]
        if backend == "dali" and not dali_is_here():
            raise DataError("back-end dali: NVIDIA DALI is not installed: install requirements.txt, or use torchvision")
        if backend != "torchvision" and dali_is_here():
            from reproduce.engine.data.dali import DaliBackend

            most = max(self._max_images, *(self._span * local for local in self._plan.local_batch))
            return DaliBackend(self._data, self._device, threads, most)
        from reproduce.engine.data.torchvision_backend import TorchvisionBackend

        return TorchvisionBackend(self._data, self._device, threads)

    def _split(self, root: Path, part: folders.Split) -> Split:
        pixels = None
        if self._backend.takes_pixels and self._keep:
            pixels = Pixels(len(part.names), len(self._data.mean), self._backend.decode)
        return Split(ImageFiles(root, part.names, self._data.corrupt_images), part.labels, pixels)

    @property
    def backend(self) -> str:
        """ "dali-cpu", "dali-gpu" or "torchvision"."""
        return self._backend.name

    @functools.cached_property
    def identity(self) -> str:
        """SHA-256 over the names and labels of all files: what a resumed run must find again."""
        digest = hashlib.sha256()
        for part in (self._train, self._val):
            digest.update("\0".join(part.files.names).encode("utf-8", "surrogateescape"))
            digest.update(part.labels.astype("<i8").tobytes())
        return digest.hexdigest()

    @property
    def bad(self) -> tuple[set[int], set[int]]:
        """Numbers of the corrupt files of train/ and val/ met so far; empty unless corrupt_images = "skip"."""
        # Copies: the thread that reads ahead may find another.
        return set(self._train.files.bad), set(self._val.files.bad)

    def mark_bad(self, bad: Sequence[Iterable[int]]) -> None:
        """Count as met what an earlier part of the run met. The batches are the same with and without."""
        self._train.files.bad.update(bad[0])
        self._val.files.bad.update(bad[1])

    def train_epoch(self, epoch: int, first_update: int = 0) -> Generator[Chunk, None, None]:
        """The chunks of a zero-based epoch, from an update on. Raises `DataError` for a corrupt image."""
        self._order_early(epoch + 1)
        for request, _, images, labels in self._taken(Pass(epoch, first_update)):
            assert request.place is not None, "requests of training have a place"
            update, workers, last = request.place
            yield Chunk(update, workers, images, labels, last)

    def _order_early(self, epoch: int) -> None:
        """Shuffle for an epoch while the one before it runs: 0.1 s for ImageNet. The plan keeps it."""
        if epoch < len(self._plan.updates):
            threading.Thread(target=self._plan.batch, args=(epoch, 0, self._workers[:1]), daemon=True).start()

    def val_batches(self) -> Iterator[tuple[Tensor, Tensor, np.ndarray]]:
        """This rank's share of the validation set: images [n, C, H, W], labels [n] and numbers, int64 [n] on the host.

        Numbers count the whole set's images and ascend. Over all ranks each image comes once; a corrupt one that is
        skipped is absent. A rank's share is the union of its workers' shares. The tensors are not to be changed: those
        of a small set are made once.
        """
        if self._val_finished is not None:
            self._passes.leave()
            yield from self._val_finished
            return
        finished, keep = [], self._keeps_val
        for _, numbers, images, labels in self._taken(VALIDATION):
            if keep:
                finished.append((images, labels, numbers))
            yield images, labels, numbers
        self._val_finished = finished if keep else None

    @property
    def _keeps_val(self) -> bool:
        bytes_ = len(self._val_share) * self._input_channels * self._data.image_size**2 * 4
        return self._keep and bytes_ <= KEEP_BYTES

    def close(self) -> None:
        """Stop reading ahead and free the back-ends' threads and memory."""
        self._passes.halt()
        for part in (self._decoder, self._train.files, self._val.files):
            part.close()

    def _taken(self, wanted: Pass) -> Iterator[tuple[Request, np.ndarray, Tensor, Tensor]]:
        for request, numbers, images, labels, made in self._passes(wanted):
            self._transfer.take(made, images, labels)
            yield request, numbers, images, labels

    # ---- what is wanted -------------------------------------------------------------------------------------------

    def _script(self, wanted: Pass) -> Iterator[Pass]:
        """A pass and those a run takes after it, as long as that is known; an evaluation that was kept is not read."""
        yield wanted
        if wanted.epoch is None or not self._across_epochs:
            return
        config, evaluated = self._config, False
        for epoch in range(wanted.epoch + 1, config.schedule.epochs + 1):  # one-based, the epoch just read
            if config.evaluates_after(epoch):
                if config.batch.bn_eval == "recalibrated":  # which reads training images first
                    return
                if not (self._keeps_val and (evaluated or self._val_finished)):
                    yield VALIDATION
                evaluated = True
            if epoch < config.schedule.epochs:
                yield Pass(epoch)

    def _requests(self, wanted: Pass) -> Iterator[Request]:
        script = list(self._script(wanted))
        for one, then in itertools.zip_longest(script, script[1:]):
            yield from self._val_requests(then) if one.epoch is None else self._train_requests(one, one.epoch, then)

    def _train_requests(self, of: Pass, epoch: int, then: Pass | None) -> Iterator[Request]:
        plan = self._plan
        parts = groups(self._workers, plan.local_batch[epoch], self._max_images, self._span)
        for update in range(of.first_update, plan.updates[epoch]):
            for part in parts:
                numbers, uniforms = plan.batch(epoch, update, part), None
                if plan.augmented(epoch):
                    uniforms = plan.augmentation(epoch, update, part, windows.DRAWS).reshape(-1, windows.DRAWS)
                last = part is parts[-1]
                ends = last and update + 1 == plan.updates[epoch]
                at = Place(of, ends, then if ends else None)
                yield Request(self._train, at, numbers, uniforms, (update, part, last))

    def _val_requests(self, then: Pass | None) -> Iterator[Request]:
        for first in range(0, len(self._val_share), self._max_images):
            numbers = np.array(self._val_share[first : first + self._max_images])
            ends = first + self._max_images >= len(self._val_share)
            at = Place(VALIDATION, ends, then if ends else None)
            yield Request(self._val, at, numbers[None])

    # ---- how it is made; all of this runs in the thread of `Ahead` ------------------------------------------------

    def _results(self, wanted: Pass) -> Generator[tuple[Place, tuple], None, None]:
        """Of a pass and what follows it: request, numbers, images, labels, and what `Transfer.take` is to be given."""
        with self._transfer.making():
            for request, numbers, images, labels in self._made(self._requests(wanted)):
                yield request.at, (request, numbers, images, labels, self._transfer.made())

    def _made(self, requests: Iterator[Request]) -> Iterator[tuple[Request, np.ndarray, Tensor, Tensor]]:
        for job, images in self._decoder.stream(requests):
            missing = self._input_channels - images.shape[-1]
            if missing:
                images = torch.nn.functional.pad(images, (0, missing))
            labels = self._transfer.put(torch.from_numpy(job.request.split.labels[job.numbers]))
            yield job.request, job.numbers, images.permute(0, 3, 1, 2), labels


AnyLoader = Loader | SyntheticLoader  # of one interface
