"""Evaluation by each of the four sets of batch-norm statistics, against slow computations that share no code."""

import dataclasses
import itertools
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from reproduce.engine.data.plan import part_of, share
from reproduce.engine.dist.comm import Comm
from reproduce.engine.evaluation import evaluate, recalibrate, shards
from reproduce.engine.model import SmallResNet, weights_sha256
from reproduce.engine.workers import WorkerBatchNorm2d, WorkerStatistics, worker_range
from reproduce.errors import CheckpointError, DataError
from reproduce.recipe.schema import BN_EVAL
from tests.helpers import warm
from tests.helpers.evaluation_run import UPDATES, VAL, WORKERS, Images, build, outcome

MOMENTUM = 0.9


class Separate:
    """The slow computation: PyTorch's own batch norm, one worker at a time, one image set at a time."""

    def __init__(self, loader: Images):
        self.loader = loader
        self.net = SmallResNet(1, 10, nn.BatchNorm2d)
        self.norms = [module for module in self.net.modules() if isinstance(module, nn.BatchNorm2d)]
        self.inputs: list[torch.Tensor] = []
        for norm in self.norms:
            norm.register_forward_hook(lambda module, inputs, output: self.inputs.append(inputs[0]))
        # per worker, per layer: (mean, variance)
        self.averages = [[(torch.zeros(n.num_features), torch.ones(n.num_features)) for n in self.norms]
                         for _ in range(WORKERS)]  # fmt: skip

    @torch.no_grad()
    def seen(self, epoch: int, update: int, worker: int) -> list[torch.Tensor]:
        """What each batch norm gets to see in training, [N, C, H, W]."""
        self.inputs.clear()
        self.net.train()(self.loader.batch(epoch, update, worker)[0])
        return list(self.inputs)

    def update(self, weights: dict, epoch: int, update: int) -> None:
        self.net.load_state_dict(weights)
        for worker in range(WORKERS):
            self.averages[worker] = [
                (MOMENTUM * mean + 0.1 * x.mean((0, 2, 3)), MOMENTUM * var + 0.1 * x.var((0, 2, 3), unbiased=False))
                for (mean, var), x in zip(self.averages[worker], self.seen(epoch, update, worker), strict=True)
            ]

    def population(self, epoch: int, updates: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Over all values at once, not by batches."""
        batches = [self.seen(epoch, update, worker) for update in range(updates) for worker in range(WORKERS)]
        together = [torch.cat(xs).double() for xs in zip(*batches, strict=True)]
        return [(x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)) for x in together]

    @torch.no_grad()
    def correct(self, moments, numbers: range) -> int:
        for norm, (mean, var) in zip(self.norms, moments, strict=True):
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)
        self.net.eval()
        alone = [self.loader.made_up([2, number], 1, 1.75) for number in numbers]
        return sum(int(self.net(image).argmax() == label) for image, label in alone)

    def counts(self, epoch: int) -> dict[str, int]:
        whole = range(VAL)
        mean = [tuple(torch.stack(parts).mean(0) for parts in zip(*rows)) for rows in zip(*self.averages)]
        return {
            "mean": self.correct(mean, whole),
            "local": sum(self.correct(self.averages[w], share(VAL, w, WORKERS)) for w in range(WORKERS)),
            "rank0": self.correct(self.averages[0], whole),
            "recalibrated": self.correct(self.population(epoch, 3), whole),
        }


def flat(moments) -> torch.Tensor:
    """[2, channels] of per-layer pairs."""
    return torch.stack([torch.cat([pair[i].float() for pair in moments]) for i in range(2)])


def weights_of(trainer) -> dict:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def train(runs, epochs: range) -> None:
    for trainer, loader in runs:
        for epoch in epochs:
            assert trainer.epoch == epoch
            for _ in trainer.train_epoch(loader):
                pass
            trainer.end_epoch()


def assert_same(rows: dict, expected: dict) -> None:
    """To the last bit, the sign of zero included."""
    for name, table in expected.items():
        assert torch.equal(rows[name].view(torch.int32), table.view(torch.int32)), name


@pytest.fixture(scope="module")
def trained():
    """Two epochs, and what separate workers make of the same weights and images."""
    trainer, loader = build(Comm(torch.device("cpu")))
    separate = Separate(loader)
    for epoch in range(2):
        weights = weights_of(trainer)
        for update, _ in enumerate(trainer.train_epoch(loader)):
            separate.update(weights, epoch, update)
            weights = weights_of(trainer)
        trainer.end_epoch()
    separate.net.load_state_dict(weights)
    return trainer, loader, separate


def test_each_way_counts_as_the_slow_computation_does(trained):
    trainer, loader, separate = trained
    counts = {how: evaluate(trainer, loader, how) for how in BN_EVAL}
    assert counts == {how: (correct, VAL) for how, correct in separate.counts(epoch=1).items()}
    assert len(set(counts.values())) == 4, "the ways must differ here, or this test tells none from another"


def test_every_workers_running_statistics_are_its_own(trained):
    trainer, _, separate = trained
    rows = trainer.statistics.rows(trainer.comm)
    expected = torch.stack([flat(moments) for moments in separate.averages])
    torch.testing.assert_close(rows["running_mean"], expected[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(rows["running_var"], expected[:, 1], rtol=1e-4, atol=1e-4)


def test_recalibrated_statistics_are_those_of_all_values(trained):
    trainer, loader, separate = trained
    expected = flat(separate.population(1, 3))
    torch.testing.assert_close(recalibrate(trainer, loader), expected, rtol=1e-4, atol=1e-5)


def test_recalibration_stays_inside_the_epoch_last_trained(trained):
    trainer, _, separate = trained
    longer, loader = build(trainer.comm, "batch.recalibration_updates=99")
    longer.model.load_state_dict(trainer.model.state_dict())
    for update, epoch in ((0, 0), (1, 0), (UPDATES, 0), (UPDATES + 1, 1), (2 * UPDATES, 1)):
        longer.update = update
        expected = flat(separate.population(epoch, UPDATES))
        torch.testing.assert_close(recalibrate(longer, loader), expected, rtol=1e-4, atol=1e-5)


def test_no_way_leaves_a_trace():
    """On another way's count, whichever follows which; on the running statistics; and on training."""
    (trainer, loader), (alone, _) = pair = [build(Comm(torch.device("cpu"))) for _ in range(2)]
    train(pair, range(2))
    before, first = trainer.statistics.rows(trainer.comm), {}
    for how in itertools.chain(*itertools.product(BN_EVAL, repeat=2)):
        count = evaluate(trainer, loader, how)
        assert first.setdefault(how, count) == count
    assert_same(trainer.statistics.rows(trainer.comm), before)
    train(pair, range(2, 3))
    assert weights_sha256(trainer.model) == weights_sha256(alone.model)
    assert_same(trainer.statistics.rows(trainer.comm), alone.statistics.rows(alone.comm))


def test_two_processes_count_as_one_and_keep_every_bit(trained, tmp_path):
    """The rows of a checkpoint go to their workers, wherever these are, and come back: -0.0 and denormals too."""
    trainer = trained[0]
    rows = trainer.statistics.rows(trainer.comm)
    for table in rows.values():
        table[3, 0], table[6, 1], table[5, 2] = -0.0, 1e-42, -0.0
    state, two = tmp_path / "state.pt", tmp_path / "two.pt"
    torch.save({"model": trainer.model.state_dict(), "rows": rows, "update": trainer.update}, state)
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    for done in warm.run_ranks("tests.helpers.evaluation_run", [str(state), str(two)], 2, env):
        assert done.returncode == 0, done.stderr[-2000:]
    outcomes = [torch.load(two, weights_only=True), outcome(Comm(torch.device("cpu")), state)]
    assert outcomes[0]["counts"] == outcomes[1]["counts"]
    for each in outcomes:
        assert_same(each["rows"], rows)


def test_statistics_of_another_network_or_too_few_workers_are_refused(trained):
    trainer = trained[0]
    rows = trainer.statistics.rows(trainer.comm)
    fewer = {name: table[:7] for name, table in rows.items()}
    for wrong in (fewer, {**rows, "running_var": rows["running_var"][:, 1:]}):
        with pytest.raises(CheckpointError, match="at least 8 workers and exactly 336 channels"):
            trainer.statistics.load_rows(wrong)


@pytest.mark.parametrize("images, workers", [(203, 8), (8, 8), (5, 8), (50_000, 2048)])
def test_shards_are_the_workers_shares_and_a_processs_the_union_of_its_workers(images, workers):
    shares = [share(images, worker, workers) for worker in range(workers)]
    owners = [part_of(np.array(own, np.int64), images, workers).tolist() for own in shares]
    assert owners == [[worker] * len(own) for worker, own in enumerate(shares)]
    assert sum(map(len, shares)) == images
    for processes in (1, 2, 4, 8):
        for rank in range(processes):
            own = worker_range(workers, rank, processes)
            union = list(itertools.chain(*shares[own.start : own.stop]))
            assert union == list(share(images, rank, processes))


def test_skipped_images_leave_the_others_with_their_workers(trained):
    config = trained[0].config
    assert [share(VAL, worker, WORKERS) for worker in (1, 2, 3)] == [range(25, 50), range(50, 76), range(76, 101)]
    assert shards(np.array([48, 49, 50, 75, 76]), config) == (range(1, 4), [2, 2, 1])
    assert shards(np.array([25, 49, 76]), config) == (range(1, 4), [2, 0, 1])  # all of worker 2's were skipped


def test_where_no_image_is_left_there_is_no_accuracy(trained, monkeypatch):
    trainer = trained[0]
    data = dataclasses.replace(trainer.config.data, corrupt_images="skip")
    monkeypatch.setattr(trainer, "config", dataclasses.replace(trainer.config, data=data))
    with pytest.raises(DataError, match="no validation image can be decoded"):
        evaluate(trainer, SimpleNamespace(val_batches=lambda: iter(())), "mean")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shards_of_one_batch_are_normalised_one_by_one(dtype):
    """In the dtype and memory format of the images, with empty shards, by a sub-range of the process's workers."""
    torch.manual_seed(0)
    tolerance = 1e-2 if dtype == torch.bfloat16 else 1e-5
    layer = WorkerBatchNorm2d(16, eps=1e-5, ema_momentum=MOMENTUM)
    statistics = WorkerStatistics(layer, range(4, 9))
    layer.running.copy_(torch.rand(2, 5, 16) + 0.5)
    layer.eval()
    x = torch.randn(6, 16, 5, 5).to(dtype, memory_format=torch.channels_last)
    statistics.next_shards(range(5, 9), [3, 0, 1, 2])
    y = layer(x)
    assert y.dtype == dtype and y.is_contiguous(memory_format=torch.channels_last)
    for row, images in ((1, slice(0, 3)), (3, slice(3, 4)), (4, slice(4, 6))):
        mean, var = (table[None, :, None, None] for table in layer.running[:, row])
        expected = (x[images].float() - mean) / (var + 1e-5).sqrt()
        torch.testing.assert_close(y[images].float(), expected, rtol=tolerance, atol=tolerance)
    statistics.end_shards()  # now by running_mean = 0 and running_var = 1
    torch.testing.assert_close(layer(x), x, rtol=tolerance, atol=tolerance)
