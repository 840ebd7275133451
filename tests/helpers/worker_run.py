"""Run by tests as the ranks of one run: a few updates of many workers on made-up images; rank 0 saves the weights.

python -m tests.helpers.worker_run OUT.npz '[{"groups": "layer"}, ...]' trains once per set of options, one after
another in the same processes; see `Options`. The arrays in OUT.npz are named INDEX/TENSOR.
"""

import json
import os
import sys
from dataclasses import dataclass, replace

import numpy as np
import torch

from reproduce.engine.data.loader import Chunk
from reproduce.engine.dist.comm import Comm
from reproduce.engine.dist.place import Place, find
from reproduce.engine.trainer import Trainer
from reproduce.recipe import load as configs
from tests.helpers import ROOT

CONFIG = ROOT / "paper_configs/quick/headline_b800_w20.toml"


@dataclass(frozen=True)
class Options:
    workers: int = 8
    local_batch: int = 8
    updates: int = 10
    bn_eval: str = "mean"
    groups: str = "single"
    allreduce: str = "flat"
    wire: str = "fp32"
    overlap: bool = True
    initialisation: str = "same_seed"


class MadeUpImages:
    """A loader: worker w's images of update u depend on (w, u) alone: a pattern per class, noise, a mean per worker.

    There is something to learn, so that gradients are not the noise of single precision; and the means differ only a
    little, as batch norm subtracts them again and loses digits to large ones. Both would hide what is tested.
    """

    def __init__(self, config, workers, together: int = 1):
        self.config, self.workers, self.together = config, workers, together  # so many workers in a pass

    def train_epoch(self, epoch, first_update=0):
        n, patterns = self.config.local_batch(epoch), np.random.default_rng(7).standard_normal((10, 1, 28, 28))
        for update in range(first_update, self.config.epoch_updates()[epoch]):
            for first in range(0, len(self.workers), self.together):
                workers, images, labels = self.workers[first : first + self.together], [], []
                for worker in workers:
                    rng = np.random.default_rng([epoch, update, worker])
                    labels.append(rng.integers(0, 10, n))
                    noise = rng.standard_normal((n, 1, 28, 28))
                    images.append(patterns[labels[-1]] + 0.5 * noise + 0.3 * (worker % 8))
                images = torch.from_numpy(np.concatenate(images).astype(np.float32))
                last = workers[-1] == self.workers[-1]
                yield Chunk(update, workers, images, torch.from_numpy(np.concatenate(labels)), last)


def build(comm, bn_eval: str = "mean", **options) -> Trainer:
    o = Options(bn_eval=bn_eval, **options)
    epochs = min(2, o.updates)
    values = {
        "batch.workers": o.workers, "batch.local_batch": o.local_batch, "batch.bn_eval": o.bn_eval,
        "data.train_images": o.updates // epochs * o.workers * o.local_batch, "data.unaugmented_epochs": 0,
        "schedule.epochs": epochs, "schedule.warmup_epochs": epochs - 1, "schedule.decay_epochs": 1,
        "schedule.peak_lr": 0.05, "optimizer.momentum": 0.9,
        "communication.groups": o.groups, "communication.allreduce": o.allreduce, "communication.wire": o.wire,
        "communication.overlap": o.overlap, "communication.initialisation": o.initialisation,
    }  # fmt: skip
    config = configs.load(CONFIG, [f"{name}={json.dumps(value)}" for name, value in values.items()])
    return Trainer(config, seed=3, comm=comm, precision="fp32")


def train(comm, **options) -> Trainer:
    """Two epochs of half the updates each, or one of one."""
    trainer = build(comm, **options)
    loader = MadeUpImages(trainer.config, trainer.workers, together=4)
    while trainer.epoch < trainer.config.schedule.epochs:
        for _ in trainer.train_epoch(loader):
            pass
        trainer.end_epoch()
    trainer.statistics.evaluate_with(getattr(trainer.statistics, trainer.config.batch.bn_eval)(comm))
    trainer.gradients.close()
    return trainer


def main(out: str, runs: str) -> None:
    torch.set_num_threads(1)
    runs, weights = json.loads(runs), {}
    # one set of process groups serves all: with two stages there, `flat` runs use the plain one
    allreduce = "two_stage" if any(o.get("allreduce") == "two_stage" for o in runs) else "flat"
    comm = Comm(torch.device("cpu"), allreduce, place=on_nodes_of(int(os.environ.get("NODE_SIZE", 0))))
    for index, options in enumerate(runs):
        comm.two_stage = options.get("allreduce") == "two_stage"
        trainer = train(comm, **options)
        weights |= {f"{index}/{name}": value.numpy().copy() for name, value in trainer.model.state_dict().items()}
    if comm.rank == 0:
        np.savez(out, **weights)
    comm.close()


def on_nodes_of(size: int) -> Place:
    """This process's place, as if so many made up a node; with 0 all of this machine do."""
    place = find()
    return replace(place, local_rank=place.rank % size, local_world_size=size) if size else place


if __name__ == "__main__":
    main(*sys.argv[1:])
