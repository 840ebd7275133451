"""Many workers on few processes: the same mathematics as one device each."""


import torch
import torch.nn.functional as F

from reproduce.engine.dist.comm import Comm
from reproduce.engine.workers import WorkerBatchNorm2d, WorkerStatistics, worker_range
from tests.helpers.worker_run import MadeUpImages, build
from tests.helpers.workers import assert_equal_to, run

BN_EVALS = ("mean", "rank0")


def test_eight_workers_on_one_two_and_four_processes_give_the_same_weights(tmp_path):
    """After 10 updates, to 1e-5 relative per tensor in fp32; running statistics included."""
    runs = [{"bn_eval": bn_eval} for bn_eval in BN_EVALS]
    one = run(tmp_path, 1, *runs)
    for processes in (2, 4):
        for options, expected, found in zip(runs, one, run(tmp_path, processes, *runs)):
            assert_equal_to(expected, found, 1e-5, (processes, options))


def gradients_of(trainer, chunks) -> torch.Tensor:
    trainer.gradients.zero()
    for chunk in chunks:
        trainer.accumulate(chunk)
    return trainer.gradients.buffer.clone()


def one_pass(trainer, chunks):
    """All workers in one pass of the network, as the loader hands them over."""
    images, labels = torch.cat([c.images for c in chunks]), torch.cat([c.labels for c in chunks])
    return chunks[0]._replace(workers=trainer.workers, images=images, labels=labels)


def test_a_workers_statistics_never_see_another_workers_images():
    """The gradient sum of one pass is the sum of each worker's alone; replacing one's images moves only its share."""
    trainer = build(Comm(torch.device("cpu")), "mean")
    trainer.model.train()
    chunks = [chunk for chunk in MadeUpImages(trainer.config, trainer.workers).train_epoch(0) if chunk.update == 0]
    together = gradients_of(trainer, [one_pass(trainer, chunks)])
    alone = [gradients_of(trainer, [chunk]) for chunk in chunks]
    torch.testing.assert_close(together, torch.stack(alone).sum(0), rtol=1e-4, atol=1e-4)
    chunks[3] = chunks[3]._replace(images=chunks[3].images * 50 + 100)
    changed = gradients_of(trainer, [one_pass(trainer, chunks)])
    torch.testing.assert_close(changed - gradients_of(trainer, [chunks[3]]), together - alone[3], rtol=1e-4, atol=1e-3)


def test_running_statistics_equal_those_of_separate_workers():
    """Against every worker keeping buffers of its own, with the biased variance of the team's kernel."""
    torch.manual_seed(0)
    comm, layer = Comm(torch.device("cpu")), WorkerBatchNorm2d(6, eps=1e-5, ema_momentum=0.9)
    statistics = WorkerStatistics(layer, range(5))
    own_mean, own_var = torch.zeros(5, 6), torch.ones(5, 6)
    layer.train()
    for _ in range(7):
        batches = [torch.randn(4, 6, 3, 3) * (worker + 1) + worker for worker in range(5)]
        for chunk in (range(0, 2), range(2, 5)):
            statistics.next_chunk(chunk)
            y = layer(torch.cat([batches[worker] for worker in chunk]))
            alone = [F.batch_norm(batches[worker], None, None, training=True, eps=1e-5) for worker in chunk]
            torch.testing.assert_close(y, torch.cat(alone), rtol=1e-5, atol=1e-5)
        for worker, x in enumerate(batches):
            own_mean[worker] = 0.9 * own_mean[worker] + 0.1 * x.mean((0, 2, 3))
            own_var[worker] = 0.9 * own_var[worker] + 0.1 * x.var((0, 2, 3), unbiased=False)
        statistics.end_update()
    own, close = torch.stack([own_mean, own_var]), {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(torch.stack(list(statistics.rows(comm).values())), own, **close)
    torch.testing.assert_close(statistics.mean(comm), own.mean(1), **close)
    torch.testing.assert_close(statistics.rank0(comm), own[:, 0], **close)


def test_workers_are_dealt_in_order_and_completely():
    assert [worker_range(8, rank, 4) for rank in range(4)] == [range(0, 2), range(2, 4), range(4, 6), range(6, 8)]
