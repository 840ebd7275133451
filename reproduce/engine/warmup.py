"""Before the clock of a run: how many images a pass holds, and an update of every size that is to come.

In its first update a GPU's libraries choose algorithms, compilers generate code and communicators connect, and a CUDA
graph is recorded. That belongs to the initialisation; and nothing else uses the device then, as the loader later does.
"""

import torch

from reproduce.engine.data.chunks import Chunk, blank, groups
from reproduce.engine.dist.comm import Comm
from reproduce.engine.graph import WARM_UP
from reproduce.engine.trainer import Trainer
from reproduce.presets import BYTES_PER_IMAGE, PASS_IMAGES
from reproduce.recipe.load import Config

SHARE = 0.8  # of the free memory that a pass may take; evaluation, decoding and fragments take some
STEP = 32


def pass_images(config: Config, comm: Comm, precision: str) -> int:
    """How many images a pass may hold, the same in all processes: by the free memory of their GPUs."""
    if comm.device.type != "cuda":
        return PASS_IMAGES
    free, _ = torch.cuda.mem_get_info(comm.device)
    fits = fitting(free, config.data.image_size, precision)
    return int(comm.gather(torch.tensor([fits], device=comm.device)).min())


def fitting(free: int, image_size: int, precision: str) -> int:
    """From 1 to `PASS_IMAGES` images, of which so many free bytes hold the pass."""
    fits = int(SHARE * free / (BYTES_PER_IMAGE[precision] * (image_size / 224) ** 2))
    return max(1, min(PASS_IMAGES, fits // STEP * STEP or fits))


def needs_warm_up(trainer: Trainer) -> bool:
    """Plain updates of a CPU have nothing to prepare."""
    return trainer.comm.device.type == "cuda" or trainer.execution.compiles


@torch.no_grad()
def warm_up(trainer: Trainer, max_images: int) -> None:
    """Take updates with blank images, for every local batch from the epoch under way on, and put everything back."""
    trainer.comm.watch.doing("the warm-up")
    config, update = trainer.config, trainer.update
    changed = trainer.changing()
    before = [tensor.clone() for tensor in changed]
    trainer.model.train()
    epochs = {config.local_batch(epoch): epoch for epoch in range(trainer.epoch, config.schedule.epochs)}
    with torch.enable_grad():
        for epoch in epochs.values():
            chunks = blanks(trainer, epoch, max_images)
            for _ in range(WARM_UP + 1 if trainer.execution.cuda_graph else 1):
                trainer.take(iter(chunks), config.global_batch(epoch))
                trainer.update = update
    for tensor, was in zip(changed, before, strict=True):
        tensor.copy_(was)
    trainer.comm.synchronise()


def blanks(trainer: Trainer, epoch: int, max_images: int) -> list[Chunk]:
    """An update's chunks as the loader makes them, without its images."""
    config = trainer.config
    shape = config.model.input_channels, config.data.image_size, config.data.image_size
    local = config.local_batch(epoch)
    parts = groups(trainer.workers, local, max_images, config.batch.bn_workers)
    return blank(parts, local, shape, trainer.comm.device)
