"""The synthetic data set: one batch of noise, yielded again and again. For throughput only: it has no accuracy."""

from collections.abc import Generator, Iterator

import numpy as np
import torch
from torch import Tensor

from reproduce.engine.data.chunks import Chunk, groups
from reproduce.engine.data.plan import SYNTHETIC, Plan, share, uniforms


class SyntheticLoader:
    """Same interface as `loader.Loader`; the same constant images and labels in every chunk."""

    has_accuracy = False
    backend = identity = "synthetic"
    bad: tuple[set[int], set[int]] = (set(), set())

    def __init__(self, config, seed, workers, rank, world_size, device, max_images_per_chunk):
        data, self._plan, self._workers = config.data, Plan.of(config, seed), workers
        self._span, self._max_images = config.batch.bn_workers, max_images_per_chunk
        self._val_share = share(data.val_images, rank, world_size)
        count = max(
            len(part) * local for local in set(self._plan.local_batch)
            for part in groups(workers, local, max_images_per_chunk, config.batch.bn_workers)
        )  # fmt: skip
        generator = torch.Generator().manual_seed(seed)
        shape = (count, config.model.input_channels, data.image_size, data.image_size)
        images = torch.randn(shape, generator=generator)
        images[:, len(data.mean) :] = 0  # the appended plane, where there is one
        self._images = images.to(device, memory_format=torch.channels_last)
        labels = uniforms(seed, SYNTHETIC, (), (count,)) * data.classes
        self._labels = torch.from_numpy(labels).to(device, torch.int64)

    def train_epoch(self, epoch: int, first_update: int = 0) -> Generator[Chunk, None, None]:
        local = self._plan.local_batch[epoch]
        parts = groups(self._workers, local, self._max_images, self._span)
        for update in range(first_update, self._plan.updates[epoch]):
            for part in parts:
                count = len(part) * local
                yield Chunk(update, part, self._images[:count], self._labels[:count], part is parts[-1])

    def val_batches(self) -> Iterator[tuple[Tensor, Tensor, np.ndarray]]:
        for first in range(0, len(self._val_share), len(self._images)):
            numbers = np.array(self._val_share[first : first + len(self._images)])
            yield self._images[: len(numbers)], self._labels[: len(numbers)], numbers

    def mark_bad(self, bad) -> None:
        """Nothing here can be corrupt."""

    def close(self) -> None:
        """Holds nothing open."""
