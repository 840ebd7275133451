"""Run by test_workers.py under torchrun: a few updates of many workers on made-up images; rank 0 saves the weights."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch

from reproduce import config as configs
from reproduce.engine.comm import Comm
from reproduce.engine.data.loader import Chunk
from reproduce.engine.trainer import Trainer

CONFIG = Path(__file__).parents[1] / "paper_configs/quick/headline_b800_w20.toml"


class MadeUpImages:
    """A loader: worker w's images of update u depend on (w, u) alone."""

    def __init__(self, config, workers):
        self.config, self.workers = config, workers

    def train_epoch(self, epoch):
        n = self.config.local_batch(epoch)
        for update in range(self.config.epoch_updates()[epoch]):
            for worker in self.workers:
                rng = np.random.default_rng([epoch, update, worker])
                images = torch.from_numpy(rng.standard_normal((n, 1, 28, 28), dtype=np.float32) + 0.3 * worker)
                labels = torch.from_numpy(rng.integers(0, 10, n))
                last = worker == self.workers[-1]
                yield Chunk(update, range(worker, worker + 1), images, labels, last)


def build(comm, bn_eval: str, workers: int = 8, local_batch: int = 8) -> Trainer:
    overrides = [f"batch.workers={workers}", f"batch.local_batch={local_batch}", f'batch.bn_eval="{bn_eval}"']
    config = configs.load(
        CONFIG, [*overrides, f"data.train_images={5 * workers * local_batch}", "schedule.peak_lr=2.0"]
    )
    return Trainer(config, seed=3, comm=comm, precision="fp32")


def main(out: str, bn_eval: str) -> None:
    torch.set_num_threads(1)
    comm = Comm(torch.device("cpu"))
    trainer = build(comm, bn_eval)
    loader = MadeUpImages(trainer.config, trainer.workers)
    for epoch in range(2):  # of five updates each
        for _ in trainer.train_epoch(loader, epoch):
            pass
    trainer.statistics.synchronise(comm)
    if comm.rank == 0:
        np.savez(out, **{name: value.numpy() for name, value in trainer.model.state_dict().items()})
    comm.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
