"""What the loaders yield, and how the workers of a process are grouped."""

from typing import NamedTuple

import torch
from torch import Tensor

from reproduce.engine.data.plan import share


class Chunk(NamedTuple):
    """One piece of one update of this process."""

    update: int  # within the epoch, zero-based
    workers: range  # worker ids, contiguous, each with local_batch images, in order
    images: Tensor  # float32 [len(workers) * local_batch, C, H, W], channels_last
    labels: Tensor  # int64 [len(workers) * local_batch]
    last: bool  # the last chunk of this update for this process


def groups(workers: range, local_batch: int, max_images: int, span: int = 1) -> list[range]:
    """Contiguous groups of whole workers: at most `max_images` images, at least one worker, sizes nearly equal.

    Workers that share batch-norm statistics, `span` of them, stay together.

    Equal, because a device is slow to meet a new batch size: 20 workers of 40 at 512 images go as 10 + 10, not 12 + 8.
    """
    units = len(workers) // span
    count = -(-units // max(1, max_images // (local_batch * span)))
    parts = (share(units, i, count) for i in range(count))
    return [workers[part.start * span : part.stop * span] for part in parts]


def blank(parts: list[range], local_batch: int, shape: tuple[int, int, int], device: torch.device) -> list[Chunk]:
    """The chunks of an update in these `groups`, of black images [C, H, W] of class 0."""
    chunks = []
    for part in parts:
        count = len(part) * local_batch
        images = torch.zeros(count, *shape, device=device).contiguous(memory_format=torch.channels_last)
        labels = torch.zeros(count, dtype=torch.int64, device=device)
        chunks.append(Chunk(0, part, images, labels, part is parts[-1]))
    return chunks
