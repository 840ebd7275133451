"""Evaluation: whose batch-norm statistics classify the validation images, and how many they classify correctly.

In training every worker normalises with its own local batch and keeps running statistics of its own. Evaluating needs
one answer per image, and there are four ways to it (`batch.bn_eval`):

mean          every image with the mean over all workers of their running statistics
local         each worker's shard of the validation set with that worker's running statistics, as the team did (facts f)
rank0         every image with worker 0's running statistics
recalibrated  every image with the statistics of training images under the final weights, no moving average at all

A moving average mixes in the statistics of weights long gone, the more so the fewer and larger the updates are (paper,
technique 5); recalibrated shows what is lost by that. No way leaves a trace on training or on another way.
"""

import itertools
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from reproduce.engine.data.loader import AnyLoader
from reproduce.engine.data.plan import part_of
from reproduce.errors import DataError
from reproduce.recipe.load import Config

if TYPE_CHECKING:
    from reproduce.engine.trainer import Trainer


@torch.no_grad()
def evaluate(trainer: "Trainer", loader: AnyLoader, how: str) -> tuple[int, int]:
    """(correct, images) over the whole validation set, each image counted once over all processes.

    `how` is one of `recipe.BN_EVAL`. "recalibrated" reads training images, which ends a training iterator of `loader`
    that is still open. Raises `DataError` if images are missing and the config does not allow it.
    """
    statistics, config, comm = trainer.statistics, trainer.config, trainer.comm
    if how != "local":
        statistics.evaluate_with(shared_statistics(trainer, loader, how))
    trainer.model.eval()
    counts = torch.zeros(2, dtype=torch.int64, device=comm.device)
    with trainer.autocast:
        for images, labels, numbers in loader.val_batches():
            if how == "local":
                statistics.next_shards(*shards(numbers, config))
            predictions = trainer.model(images).argmax(1)
            counts += torch.stack([(predictions == labels).sum(), counts.new_tensor(len(labels))])
    statistics.end_shards()
    correct, images = comm.sum_(counts).tolist()
    expected = config.data.val_images
    if images != expected and config.data.corrupt_images != "skip":
        raise DataError(f"evaluation saw {images} images, not {expected}: the validation set changed during the run")
    if not images:
        raise DataError(f"{config.path}: no validation image can be decoded: replace the damaged files")
    return correct, images


def shared_statistics(trainer: "Trainer", loader: AnyLoader, how: str) -> torch.Tensor:
    """float32 [2, channels]: the means and variances that evaluate all images in every way but "local"."""
    if how == "recalibrated":
        return recalibrate(trainer, loader)
    return trainer.statistics.mean(trainer.comm) if how == "mean" else trainer.statistics.rank0(trainer.comm)


def shards(numbers: np.ndarray, config: Config) -> tuple[range, list[int]]:
    """The contiguous workers whose shards these validation images (ascending) belong to, and how many each has."""
    workers = part_of(numbers, config.data.val_images, config.batch.workers)
    return range(workers[0], workers[-1] + 1), np.bincount(workers - workers[0]).tolist()


@torch.no_grad()
def recalibrate(trainer: "Trainer", loader: AnyLoader) -> torch.Tensor:
    """float32 [2, channels]: statistics of training images with the weights as they are now.

    All workers run the first `batch.recalibration_updates` updates of the epoch last trained once more, forward only.
    Their local batches are equally large, so by the law of total variance the population has the mean of the batches'
    means, and the mean of their (biased) variances plus the variance of their means. One collective.
    """
    statistics, config = trainer.statistics, trainer.config
    epoch = epoch_trained(config, trainer.update)
    updates = min(config.batch.recalibration_updates, config.epoch_updates()[epoch])
    trainer.model.train()
    sums: Any = 0.0  # a tensor from the first update on
    with trainer.autocast, closing(loader.train_epoch(epoch)) as chunks:
        for chunk in chunks:
            statistics.next_chunk(chunk.workers)
            trainer.model(chunk.images)
            if chunk.last:
                sums += statistics.batch_sums()
                if chunk.update + 1 == updates:
                    break
    mean, square, var = trainer.comm.sum_(sums) / (updates * config.batch.workers // config.batch.bn_workers)
    return torch.stack([mean, var + (square - mean.square()).clamp_(min=0)]).float()


def epoch_trained(config: Config, update: int) -> int:
    """The zero-based epoch that the last of the first `update` updates belongs to; 0 before the first."""
    ends = itertools.accumulate(config.epoch_updates())
    return next(epoch for epoch, end in enumerate(ends) if update <= end)
