"""Who sees which training image at which update: a pure function of (config, seed, epoch, update, worker).

All randomness of the data comes from `uniforms` and `shuffle`, which read NumPy's counter-based Philox generator at
an address instead of drawing from a running state. Any process can therefore produce the batch of any worker, the
result does not depend on the number of processes or threads, and a resumed run needs no generator state. Only raw
Philox output is used: unlike the methods of ``numpy.random.Generator``, NumPy never changes it between versions.
"""

import functools
from dataclasses import dataclass

import numpy as np

# Addresses of the independent streams. The fixed ones do not depend on the run's seed.
ORDER, AUGMENT, FIXED_ORDER, SYNTHETIC = 1, 2, 3, 4


def _raw(seed: int, purpose: int, position: tuple[int, ...], count: int) -> np.ndarray:
    # The low counter word counts blocks within one address; the upper three hold the position.
    counter = np.array([0, *position, *(0,) * (3 - len(position))], np.uint64)
    key = np.array([seed % 2**64, purpose], np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(count)


def uniforms(seed: int, purpose: int, position: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """float64 numbers of `shape`, uniform in [0, 1), at the address (seed, purpose, position of up to three)."""
    raw = _raw(seed, purpose, position, int(np.prod(shape)))
    return ((raw >> np.uint64(11)) * 2.0**-53).reshape(shape)


def shuffle(seed: int, purpose: int, position: tuple[int, ...], n: int) -> np.ndarray:
    """int64 [n], a permutation of range(n): the order of n random 64-bit keys."""
    return np.argsort(_raw(seed, purpose, position, n), kind="stable")


@functools.lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, n: int) -> np.ndarray:
    """int64 [n]: the shuffled order of the training set in a zero-based epoch (read-only, cached)."""
    order = shuffle(seed, ORDER, (epoch,), n)
    order.flags.writeable = False
    return order


def fixed_order(n: int) -> np.ndarray:
    """int64 [n]: the order in which a training set's sorted files are numbered, the same for every run.

    It stands for the shuffled record file of the team's set-up. Their un-augmented tail reads it without shuffling
    (facts d); with files sorted by class, each worker would then train on one class, and batch norm would notice.
    """
    return shuffle(0, FIXED_ORDER, (), n)


def share(n: int, part: int, parts: int) -> range:
    """The contiguous share of `part` when n things are dealt to `parts`: sizes differ by at most one."""
    return range(part * n // parts, (part + 1) * n // parts)


def part_of(thing: np.ndarray, n: int, parts: int) -> np.ndarray:
    """The part whose `share` of n things holds this one, elementwise: the first part that ends behind it."""
    return ((thing + 1) * parts - 1) // n


@dataclass(frozen=True)
class Plan:
    """The sharding of one run.

    "ceil": worker w owns its `share` of each epoch's order and wraps inside it to fill the last batch. "carry": each
    worker reads one continuous stream of shards of floor(images / workers); what one epoch over-runs is missing from
    the next (facts h). The un-augmented tail is not shuffled and, with "carry", has a stream of its own.
    """

    seed: int
    images: int
    workers: int
    carry: bool
    first_tail_epoch: int
    local_batch: tuple[int, ...]  # per epoch
    updates: tuple[int, ...]  # per epoch

    @classmethod
    def of(cls, config, seed: int) -> "Plan":
        epochs = range(config.schedule.epochs)
        return cls(
            seed, config.data.train_images, config.batch.workers, config.batch.epoch_rule == "carry",
            config.first_unaugmented_epoch, tuple(map(config.local_batch, epochs)), tuple(config.epoch_updates()),
        )  # fmt: skip

    def augmented(self, epoch: int) -> bool:
        return epoch < self.first_tail_epoch

    def batch(self, epoch: int, update: int, workers: range) -> np.ndarray:
        """int64 [workers, local_batch]: numbers of the training images of one update, both indices zero-based."""
        offsets = update * self.local_batch[epoch] + np.arange(self.local_batch[epoch])
        if self.carry:
            return self._carried(epoch, offsets, workers)
        order = self._order(epoch, epoch)
        shards = (share(self.images, worker, self.workers) for worker in workers)
        return order[np.stack([shard.start + offsets % len(shard) for shard in shards])]

    def _carried(self, epoch: int, offsets: np.ndarray, workers: range) -> np.ndarray:
        first = 0 if self.augmented(epoch) else self.first_tail_epoch
        done = sum(self.updates[e] * self.local_batch[e] for e in range(first, epoch))
        size = self.images // self.workers
        lap, within = np.divmod(done + offsets, size)
        rows = np.array(workers)[:, None] * size + within
        numbers = np.empty_like(rows)
        for one in np.unique(lap):
            numbers[:, lap == one] = self._order(epoch, first + int(one))[rows[:, lap == one]]
        return numbers

    def _order(self, epoch: int, lap: int) -> np.ndarray:
        if self.augmented(epoch):
            return epoch_order(self.seed, lap, self.images)
        return np.arange(self.images)

    def augmentation(self, epoch: int, update: int, workers: range, draws: int) -> np.ndarray:
        """float64 [workers, local_batch, draws]: what decides the crops and flips of one update.

        Keyed by the position in the worker's batch, not by the image: an image met twice is cropped again.
        """
        shape = (self.local_batch[epoch], draws)
        return np.stack([uniforms(self.seed, AUGMENT, (epoch, worker, update), shape) for worker in workers])
