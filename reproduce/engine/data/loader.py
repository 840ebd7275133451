"""The loader of one process: the plan's images of its workers as normalised tensors, decoded ahead of training.

DALI and torchvision give the same pixels within rounding (tests/test_data_parity.py states how closely), and the same
images, windows and flips exactly.
"""

import importlib.util
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproduce.engine.data import folders, windows
from reproduce.engine.data.images import ImageFiles
from reproduce.engine.data.plan import Plan, share
from reproduce.engine.data.synthetic import SyntheticLoader
from reproduce.errors import DataError

BACKENDS = ("auto", "dali", "torchvision")
THREADS = {"cpu": 1, "cuda": 4}  # decoding threads: on a CPU the cores belong to training; the team used 3 per GPU
QUEUE = 2  # finished chunks kept ready


class Chunk(NamedTuple):
    """One piece of one update of this process."""

    update: int  # within the epoch, zero-based
    workers: range  # worker ids, contiguous, each with local_batch images, in order
    images: Tensor  # float32 [len(workers) * local_batch, C, H, W], channels_last
    labels: Tensor  # int64 [len(workers) * local_batch]
    last: bool  # the last chunk of this update for this process


class _Request(NamedTuple):
    """A chunk before its images are read: which it is, and what was decided about it."""

    files: ImageFiles
    labels: np.ndarray  # of the whole split
    numbers: np.ndarray  # int64 [workers, local_batch] in training, [1, n] in validation
    uniforms: np.ndarray | None  # [workers * local_batch, DRAWS]; None: centre crop
    training: bool
    update: int = 0
    workers: range = range(0)
    last: bool = True


class _Job(NamedTuple):
    """What a back-end executes."""

    request: _Request
    numbers: np.ndarray  # int64 [n]: the request's, without files known to be corrupt
    encoded: list[bytes]
    geometry: np.ndarray
    flips: np.ndarray


def open_loader(
    config, root: Path, seed: int, workers: range, rank: int, world_size: int,
    device="cpu", backend: str = "auto", max_images_per_chunk: int = 512,
):  # fmt: skip
    """A `Loader` (a `SyntheticLoader` for synthetic data, which ignores `root`).

    `root` is the data set's own folder, the one that holds train/ and val/. `workers` is the contiguous range of
    workers this process emulates, `rank` and `world_size` say which share of the validation images is its own.
    `backend` "auto" is DALI where it is installed, else torchvision. A chunk holds as many whole workers as fit into
    `max_images_per_chunk`, at least one. Raises `DataError`.
    """
    device = torch.device(device)
    if config.data.dataset == "synthetic":
        return SyntheticLoader(config, seed, workers, rank, world_size, device, max_images_per_chunk)
    return Loader(config, root, seed, workers, rank, world_size, device, backend, max_images_per_chunk)


class Loader:
    """Real images. One iterator at a time: a new one ends the one before it."""

    has_accuracy = True

    def __init__(self, config, root, seed, workers, rank, world_size, device, backend, max_images_per_chunk):
        self._data, self._input_channels = config.data, config.model.input_channels
        self._plan, self._workers, self._device = Plan.of(config, seed), workers, device
        self._max_images = max_images_per_chunk
        index = folders.index(root, config.data)
        self._train = ImageFiles(root, index.train.names, config.data.corrupt_images), index.train.labels
        self._val = ImageFiles(root, index.val.names, config.data.corrupt_images), index.val.labels
        self._val_share = share(len(index.val.names), rank, world_size)
        self._backend = _open_backend(config.data, device, backend, max(max_images_per_chunk, *self._plan.local_batch))
        self._rescue = None  # the torchvision back-end, once DALI failed on something
        self._running: _Ahead | None = None

    @property
    def backend(self) -> str:
        """"dali-cpu", "dali-gpu" or "torchvision"."""
        return self._backend.name

    @property
    def skipped(self) -> int:
        """Corrupt files met and left out so far; more than 0 only with corrupt_images = "skip"."""
        return len(self._train[0].bad) + len(self._val[0].bad)
