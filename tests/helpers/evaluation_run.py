"""For test_evaluation.py, which also runs it as two ranks: a given state evaluated in all four ways."""

import sys
from pathlib import Path

import numpy as np
import torch

from reproduce.engine.data.chunks import Chunk, groups
from reproduce.engine.data.plan import share
from reproduce.engine.dist.comm import Comm
from reproduce.engine.dist.place import find
from reproduce.engine.evaluation import evaluate
from reproduce.engine.trainer import Trainer
from reproduce.recipe import load as configs
from reproduce.recipe.schema import BN_EVAL
from tests.helpers import ROOT

CONFIG = ROOT / "paper_configs/quick/headline_b800_w20.toml"
WORKERS, LOCAL_BATCH, UPDATES, VAL = 8, 8, 5, 203  # 203 images: shards of 25 and 26


class Images:
    """A loader of made-up images: a class's pattern in noise. Each worker's are brighter than those of the one before.

    So statistics differ between workers, and which of them evaluate shows in the count.
    """

    has_accuracy = True

    def __init__(self, config, workers: range, rank: int = 0, world_size: int = 1, chunk: int = 24):
        self.config, self.workers, self.chunk = config, workers, chunk
        self.val_share = share(config.data.val_images, rank, world_size)
        self.patterns = np.random.default_rng(0).standard_normal((10, 1, 28, 28), dtype=np.float32)

    def made_up(self, key: list[int], n: int, brightness: float) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng(key)
        labels = rng.integers(0, 10, n)
        images = self.patterns[labels] + 0.5 * rng.standard_normal((n, 1, 28, 28), dtype=np.float32) + brightness
        return torch.from_numpy(images), torch.from_numpy(labels)

    def batch(self, epoch: int, update: int, worker: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.made_up([1, epoch, update, worker], self.config.local_batch(epoch), 0.5 * worker)

    def train_epoch(self, epoch: int, first_update: int = 0):
        parts = groups(self.workers, self.config.local_batch(epoch), self.chunk)
        for update in range(first_update, self.config.epoch_updates()[epoch]):
            for part in parts:
                images, labels = map(torch.cat, zip(*(self.batch(epoch, update, worker) for worker in part)))
                yield Chunk(update, part, images, labels, part is parts[-1])

    def val_batches(self):
        for first in range(0, len(self.val_share), self.chunk):
            numbers = np.array(self.val_share[first : first + self.chunk])
            images, labels = map(torch.cat, zip(*(self.made_up([2, number], 1, 1.75) for number in numbers.tolist())))
            yield images, labels, numbers


def build(comm: Comm, *overrides: str) -> tuple[Trainer, Images]:
    values = {
        "batch.workers": WORKERS, "batch.local_batch": LOCAL_BATCH, "batch.recalibration_updates": 3,
        "data.train_images": UPDATES * WORKERS * LOCAL_BATCH, "data.val_images": VAL, "schedule.peak_lr": 4.0,
        "schedule.warmup_epochs": 1.0,
    }  # fmt: skip
    config = configs.load(CONFIG, [*(f"{key}={value}" for key, value in values.items()), *overrides])
    trainer = Trainer(config, seed=3, comm=comm, precision="fp32")
    return trainer, Images(config, trainer.workers, comm.rank, comm.world_size)


def outcome(comm: Comm, state: str | Path) -> dict:
    """The counts in all ways, and the running statistics, of a saved state."""
    trainer, loader = build(comm)
    given = torch.load(state, weights_only=True)
    trainer.model.load_state_dict(given["model"])
    trainer.statistics.load_rows(given["rows"])
    trainer.update = given["update"]
    counts = {how: evaluate(trainer, loader, how) for how in BN_EVAL}
    return {"counts": counts, "rows": trainer.statistics.rows(comm)}


def main(state: str, out: str) -> None:
    torch.set_num_threads(1)
    comm = Comm(torch.device("cpu"), place=find())
    found = outcome(comm, state)
    if comm.rank == 0:
        torch.save(found, out)
    comm.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
