"""What recipes of other papers need, in a trainer: batch norm over groups of workers, squares in a checkpoint."""

import types

import pytest
import torch

from reproduce.engine.dist.comm import Comm
from reproduce.engine.execution import Execution
from reproduce.engine.trainer import Trainer
from reproduce.errors import ConfigError
from reproduce.recipe import load as configs
from tests.helpers import ROOT
from tests.helpers.worker_run import MadeUpImages

QUICK = ROOT / "paper_configs/quick/headline_b800_w20.toml"
SMALL = ["data.train_images=1024", "schedule.epochs=10", "schedule.warmup_epochs=2", "schedule.decay_epochs=8",
         "data.unaugmented_epochs=0", 'precision.compute="fp32"']  # fmt: skip
RMSPROP = ['optimizer.preset="rmsprop_warmup"', 'optimizer.trust_coefficient="none"', "optimizer.epsilon=1e-8",
           "optimizer.rmsprop_lr=3e-4", "optimizer.rmsprop_decay=0.99", "schedule.rmsprop_center=2",
           "schedule.rmsprop_period=2", "schedule.peak_lr=0.1"]  # fmt: skip


def trainer_of(workers: int, local: int, *more: str, batch_norm: str = "split") -> Trainer:
    batch = [f"batch.workers={workers}", f"batch.local_batch={local}"]
    config = configs.load(QUICK, [*SMALL, *batch, *more])
    return Trainer(config, 1, Comm(torch.device("cpu")), "fp32", execution=Execution(batch_norm=batch_norm))


def updates(trainer: Trainer, chunks, count: int) -> None:
    trainer.model.train()
    for chunk in [chunk for chunk in chunks if chunk.update < count]:
        trainer.take_update(iter([chunk]), len(chunk.images))


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize("batch_norm", ["split", "vectorised"])
def test_workers_that_share_statistics_train_as_one_worker_with_all_their_images(batch_norm):
    """Ying et al., arXiv:1811.06992, section 3.1: mean and variance over the images of a group of replicas."""
    shared, large = trainer_of(8, 8, "batch.bn_workers=4", batch_norm=batch_norm), trainer_of(2, 32)
    alone = trainer_of(8, 8)
    chunks = list(MadeUpImages(shared.config, shared.workers, together=8).train_epoch(0))
    for trainer in (shared, alone):
        updates(trainer, chunks, 3)
    updates(large, [chunk._replace(workers=range(2)) for chunk in chunks], 3)
    torch.testing.assert_close(weights(shared), weights(large), rtol=1e-4, atol=5e-5)
    assert (weights(alone) - weights(large)).norm() > 100 * (weights(shared) - weights(large)).norm()
    comm = Comm(torch.device("cpu"))
    torch.testing.assert_close(shared.statistics.mean(comm), large.statistics.mean(comm), rtol=1e-4, atol=1e-5)
    assert len(shared.statistics.rows(comm)["running_mean"]) == 2


def test_each_shard_is_evaluated_with_the_statistics_of_its_group():
    shared = trainer_of(8, 8, "batch.bn_workers=4")
    shared.statistics.next_shards(range(3, 6), [5, 6, 7])
    layer = shared.statistics.layers[0]
    assert layer.rows == slice(0, 2) and layer.sizes == [5, 13]


def test_statistics_do_not_cross_processes():
    config = configs.load(QUICK, [*SMALL, "batch.workers=8", "batch.local_batch=8", "batch.bn_workers=4"])
    with pytest.raises(ConfigError, match="batch.bn_workers = 4 does not divide the 2 workers of a process"):
        Trainer(config, 1, types.SimpleNamespace(world_size=4, rank=0), "fp32")


def until(trainer: Trainer, loader: MadeUpImages, update: int) -> None:
    next(_ for _ in trainer.train_epoch(loader) if trainer.update == update)


def test_a_resumed_rmsprop_warmup_goes_on_with_its_averages():
    whole, first, second = (trainer_of(4, 8, *RMSPROP) for _ in range(3))
    loader = MadeUpImages(whole.config, whole.workers, together=4)
    until(whole, loader, 6)
    until(first, loader, 3)
    second.load_state(first.state())
    until(second, loader, 6)
    assert whole.optimizer.squares[0].norm() > 0
    torch.testing.assert_close(weights(second), weights(whole), rtol=0, atol=0)
