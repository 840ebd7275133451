"""Other ways to compute the same: vectorised batch norm, recorded updates, another back-end after a checkpoint."""

import contextlib
import functools
import gc
import json
import weakref
from pathlib import Path

import pytest
import torch

from reproduce.engine import train as train_module
from reproduce.engine import vectorised, warmup
from reproduce.engine.data.loader import open_loader
from reproduce.engine.dist.comm import Comm
from reproduce.engine.execution import Execution
from reproduce.engine.graph import WARM_UP, GraphedUpdate
from reproduce.engine.model import build_model
from reproduce.engine.trainer import Trainer
from reproduce.engine.warmup import BYTES_PER_IMAGE, fitting, warm_up
from reproduce.engine.workers import WorkerBatchNorm2d, WorkerStatistics
from reproduce.errors import ConfigError, Preempted, TrainingError
from reproduce.recipe import load as configs

QUICK = "paper_configs/quick/headline_b800_w20.toml"
# two phases of the local batch, and a rate at which a tenth of a millionth does not grow
SMALL = [
    'data.dataset="synthetic"', "data.train_images=96", "data.val_images=16", "batch.workers=4",
    "batch.local_batch=[[0, 3], [1, 6]]", "schedule.epochs=2", "schedule.warmup_epochs=1", "schedule.decay_epochs=1",
    "schedule.peak_lr=0.5", "data.unaugmented_epochs=0", "evaluation.offset=1",
]  # fmt: skip


def build(execution=None, stop_requests=None):
    return Trainer(configs.load(QUICK, SMALL), 1, Comm(torch.device("cpu")), "fp32", stop_requests, execution)


class Varying:
    """The synthetic loader hands out the same images again and again; here every update has its own."""

    def __init__(self, trainer):
        self.loader = open_loader(trainer.config, Path(), 1, trainer.workers, 0, 1, max_images_per_chunk=6)
        self.classes = trainer.config.data.classes

    def train_epoch(self, epoch, first_update=0):
        for chunk in self.loader.train_epoch(epoch, first_update):
            shift = epoch + chunk.update
            yield chunk._replace(images=chunk.images * (1 + shift / 4), labels=(chunk.labels + shift) % self.classes)


def train(trainer):
    """Both epochs, two passes an update in the first; the losses of all updates."""
    loader, losses = Varying(trainer), []
    while trainer.epoch < 2:
        for _ in trainer.train_epoch(loader):
            losses.append(trainer.losses[-1].item())
        trainer.end_epoch()
    return losses


def parameters(trainer):
    return [p.detach().clone() for p in trainer.model.parameters()]


def assert_close(found, expected, tolerance):
    """Relative to the largest value of each tensor."""
    for a, b in zip(found, expected, strict=True):
        assert (a - b).abs().max() <= tolerance * max(b.abs().max(), 1e-3)


def test_vectorised_batch_norm_gives_the_images_gradients_and_statistics_of_split():
    torch.manual_seed(0)
    x = torch.randn(12, 6, 5, 5).contiguous(memory_format=torch.channels_last) * 3 + 1
    outcome = torch.randn_like(x)
    found = []
    for together in (False, True):
        layer = WorkerBatchNorm2d(6, eps=1e-5, ema_momentum=0.9)
        statistics = WorkerStatistics(layer, range(5), together)
        with torch.no_grad():
            layer.weight.copy_(torch.arange(1, 7))
            layer.bias.copy_(torch.arange(6))
        layer.train()
        statistics.next_chunk(range(1, 4))
        mine = x.clone(memory_format=torch.preserve_format).requires_grad_()
        y = layer(mine)
        (y * outcome).sum().backward()
        statistics.end_update()
        assert y.is_contiguous(memory_format=torch.channels_last)
        found.append([y, mine.grad, layer.weight.grad, layer.bias.grad, layer.running, layer.batch])
    for split, all_at_once in zip(*found):
        torch.testing.assert_close(all_at_once, split, rtol=1e-5, atol=1e-5)
    assert (found[1][5][:, [0, 4]] == 0).all(), "a worker that was not in the pass has statistics"


@pytest.fixture
def compilations(monkeypatch):
    """(graphs compiled, compiled graphs run), by a stand-in for the code generator."""
    count = [0, 0]

    def backend(graph, _):
        count[0] += 1

        def run(*args):
            count[1] += 1
            return graph(*args)

        return run

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    vectorised.compiled.cache_clear()
    yield count
    vectorised.compiled.cache_clear()


def test_every_shape_of_resnet50_runs_compiled(compilations):
    """12 shapes in a pass, and others in a pass of another size: PyTorch by itself gives up after 8."""
    model = build_model(configs.load("paper_configs/headline_b81920_g2048.toml"))
    statistics = WorkerStatistics(model, range(5), vectorised=True)
    shapes = set()
    for layer in statistics.layers:
        layer.register_forward_pre_hook(lambda _, given: shapes.add(given[0].shape))
    for workers in (range(2), range(2, 5)):
        statistics.next_chunk(workers)
        model(torch.randn(2 * len(workers), 3, 64, 64).contiguous(memory_format=torch.channels_last)).sum().backward()
    graphs, runs = compilations
    assert len(shapes) == 24 and graphs == 2 * 24, "forward and backward of each shape"
    assert runs == 2 * 2 * len(statistics.layers)


def test_work_in_place_after_vectorised_batch_norm_copies_nothing():
    """A view as its result would make the rectifier behind it copy all images, forward and backward."""
    layer = WorkerBatchNorm2d(6, eps=1e-5, ema_momentum=0.9)
    WorkerStatistics(layer, range(2), vectorised=True)
    y = layer(torch.randn(4, 6, 5, 5).contiguous(memory_format=torch.channels_last))
    assert not y._is_view() and torch.relu_(y).grad_fn.name() == "ReluBackward0"


def test_training_with_vectorised_batch_norm_equals_split():
    split, all_at_once = build(), build(Execution(batch_norm="vectorised"))
    torch.testing.assert_close(train(split), train(all_at_once), rtol=1e-5, atol=1e-5)
    assert_close(parameters(all_at_once), parameters(split), 1e-5)


def recorded(trainer, made):
    """Takes the place of a CUDA graph: recording runs the Python but changes no number, replaying the reverse."""

    def numbers():
        layers = [module for module in trainer.model.modules() if isinstance(module, WorkerBatchNorm2d)]
        statistics = [tensor for layer in layers for tensor in (layer.running, layer.batch)]
        weights = [parameter.data for parameter in trainer.model.parameters()]
        return [trainer.gradients.buffer, *trainer.optimizer.momenta, *statistics, *weights]

    def record(body):
        made.append(trainer.update)
        before = [tensor.clone() for tensor in numbers()]
        body()
        for tensor, was in zip(numbers(), before, strict=True):
            tensor.copy_(was)

        def replay():
            update = trainer.update
            body()
            trainer.update = update

        return replay

    trainer.take = GraphedUpdate(trainer, record)
    return trainer


def test_recorded_updates_equal_those_taken_as_usual():
    plain, made = build(Execution(lars="compiled")), []
    graphed = recorded(build(Execution(lars="compiled")), made)
    updates = plain.config.epoch_updates()
    assert updates == [8, 4]
    assert train(plain) == train(graphed)
    assert made == [WARM_UP, updates[0] + WARM_UP], "one recording for each size of the local batch"
    assert graphed.update == plain.update == sum(updates)
    for a, b in zip(parameters(plain), parameters(graphed)):
        assert torch.equal(a, b)


@pytest.mark.parametrize("graph", [False, True])
def test_a_warm_up_changes_nothing_and_records_every_shape(graph):
    """Two sizes of the local batch, one of them in two passes; no update of the run is the first of its shape."""
    plain, warm, made = build(Execution(lars="compiled")), build(Execution(lars="compiled")), []
    if graph:
        warm.execution = Execution(lars="compiled", cuda_graph=True)
        recorded(warm, made)
    warm_up(warm, 6)
    assert warm.update == 0 and made == ([0, 0] if graph else [])
    assert train(plain) == train(warm)
    for a, b in zip(parameters(plain), parameters(warm)):
        assert torch.equal(a, b)
    assert torch.equal(plain.statistics.running, warm.statistics.running)
    assert len(made) == (2 if graph else 0), "recorded again in the run"


def test_what_a_gpu_must_prepare_comes_before_the_data_and_the_clock(monkeypatch):
    seen = []
    monkeypatch.setattr(warmup, "warm_up", lambda trainer, size: seen.append("warm-up"))
    opening = open_loader
    monkeypatch.setattr(train_module, "open_loader", lambda *args: seen.append("data") or opening(*args))
    comm = Comm(torch.device("cpu"))
    for event in train_module.train(configs.load(QUICK, SMALL), 1, Path(), comm, execution=Execution("compiled")):
        if getattr(event, "key", "") == "run_start":
            break
    assert seen == ["warm-up", "data"]


def test_a_pass_fits_the_memory_that_is_free():
    kept = json.loads(Path("tests/golden/gpu_updates.json").read_text())
    assert fitting(80 * 2**30, 224, "bf16") == 512 and fitting(0, 224, "bf16") == 1
    for precision, name, images in (("bf16", "node", 480), ("fp32", "paper, fp32, flat", 40)):
        rest = kept["paper, bf16"]["peak"] - 40 * BYTES_PER_IMAGE["bf16"]  # the weights, their gradients and the like
        assert kept[name]["peak"] - rest == pytest.approx(images * BYTES_PER_IMAGE[precision], rel=0.05)
    assert fitting(16 * 10**9, 224, "fp32") == 128 and fitting(16 * 10**9, 224, "fp16") == 256
    assert fitting(10**9, 224, "fp16") == 17


def test_ranks_that_have_drifted_apart_end_a_run_as_aborted(monkeypatch):
    comm, events, found = Comm(torch.device("cpu")), [], iter([None, None, 3])  # the weights, the data, the weights
    monkeypatch.setattr(Comm, "first_to_differ", lambda self, digest: next(found))
    with pytest.raises(TrainingError, match="rank 3 does not hold the weights of rank 0"):
        for event in train_module.train(configs.load(QUICK, SMALL), 1, Path(), comm):
            events.append(event)
    assert events[-1].key == "run_stop" and events[-1].metadata["status"] == "aborted"


def test_a_recording_is_gone_when_the_trainer_has_closed():
    """NCCL would wait for it when the communicators close; a cycle would keep it until Python cleans up."""
    trainer = recorded(build(Execution(lars="compiled")), [])
    for _, _ in zip(range(WARM_UP + 1), trainer.train_epoch(Varying(trainer))):
        pass
    recording = weakref.ref(next(iter(trainer.take.recordings.values())).replay)
    gc.disable()
    try:
        trainer.close()
        assert recording() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("stop", [False, True])
def test_a_run_lets_go_of_its_recording_before_it_disconnects(monkeypatch, stop):
    seen, stop_requests = [], Wish()
    stop_requests.stop = stop
    monkeypatch.setattr(Trainer, "close", lambda self: seen.append("trainer"))
    monkeypatch.setattr(Comm, "close", lambda self: seen.append("comm"))
    comm = Comm(torch.device("cpu"))
    with pytest.raises(Preempted) if stop else contextlib.nullcontext(), comm:
        for _ in train_module.train(configs.load(QUICK, SMALL), 1, Path(), comm, stop_requests=stop_requests):
            pass
    assert seen == ["trainer", "comm"]


class Wish:
    save, stop = False, False

    def saved(self):
        pass


def test_a_wish_reaches_a_recorded_update():
    stop_requests = Wish()
    trainer = recorded(build(Execution(lars="compiled"), stop_requests), [])
    seen = []
    for tick in trainer.train_epoch(Varying(trainer)):
        seen.append((trainer.save_due, trainer.stop_due))
        stop_requests.save, stop_requests.stop = tick.update == 5, tick.update == 6
    assert [i for i, (save, _) in enumerate(seen) if save] == [5]
    assert [i for i, (_, stop) in enumerate(seen) if stop] == [6]


def test_a_recording_needs_an_optimizer_that_reads_its_rate_on_the_device():
    with pytest.raises(ConfigError, match="needs --lars compiled"):
        Execution(lars="foreach", cuda_graph=True)
    for wrong in ({"lars": "fast"}, {"batch_norm": "fast"}):
        with pytest.raises(ConfigError, match="must be one of"):
            Execution(**wrong)


@pytest.mark.parametrize("after", ["foreach", "compiled"])
def test_a_checkpoint_of_one_back_end_goes_on_under_another(after):
    whole, first, second = build(Execution("native")), build(Execution("native")), build(Execution(after))
    expected = train(whole)
    for _, _ in zip(range(5), first.train_epoch(Varying(first))):
        pass
    second.load_state(first.state())
    found = train(second)
    torch.testing.assert_close(found, expected[5:], rtol=1e-5, atol=1e-5)
    assert_close(parameters(second), parameters(whole), 1e-5)
