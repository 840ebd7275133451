"""What other reproductions stumbled over, each once: a batch norm too few, gammas that never move, a rate that rounds.

The places: mlcommons training_policies #89 and training #255, tensorflow/models #6721, PaddlePaddle #40892,
lightning-bolts #154, tinygrad #3649 and #4299, pytorch/vision #4238, SimCLR #27.
"""

import types

import numpy as np
import pytest
import torch
from torchvision.models import resnet50

from reproduce.bench.timed.plain import resnet8
from reproduce.engine.dist.comm import Comm
from reproduce.engine.header import hyper_parameters
from reproduce.engine.model import SmallResNet, build_model, initialise
from reproduce.engine.optim import PRESETS, Constants
from reproduce.engine.trainer import Trainer
from reproduce.engine.workers import WorkerBatchNorm2d, worker_range
from reproduce.recipe import load as configs
from reproduce.recipe.schedule import Schedule
from tests.helpers import ROOT
from tests.helpers.lars import BACKENDS, NORMS_ONLY, Tiny, contender
from tests.helpers.worker_run import MadeUpImages

HEADLINE = ROOT / "paper_configs/headline_b81920_g2048.toml"
QUICK = ROOT / "paper_configs/quick/headline_b800_w20.toml"
SMALL = ["batch.workers=4", "batch.local_batch=8", "data.train_images=320", 'precision.compute="fp32"']


def headline(seed: int = 1):
    model = build_model(configs.load(HEADLINE))
    initialise(model, seed)
    return model


def test_resnet50_has_53_batch_norms():
    found = [m for m in headline().modules() if isinstance(m, WorkerBatchNorm2d)]
    assert len(found) == 53 and sum(m.weight.numel() for m in found) == 26_560


def test_the_last_layer_begins_at_a_hundredth():
    fc = headline().fc
    assert fc.weight.std().item() == pytest.approx(0.01, rel=0.01) and fc.weight.mean().abs().item() < 1e-4
    assert (fc.bias == 0).all()


def test_the_forward_pass_is_torchvisions_for_equal_weights():
    """In evaluation, with statistics that are not the first ones: strides, padding, order and epsilon all show.

    In double precision, as this network of random weights multiplies rounding errors.
    """
    ours, theirs = headline(), resnet50(weights=None)
    generator = torch.Generator().manual_seed(2)
    for module in ours.modules():
        if isinstance(module, WorkerBatchNorm2d):
            for values, low in ((module.running_mean, -0.1), (module.running_var, 0.9), (module.weight, 0.9)):
                values.data.copy_(low + 0.2 * torch.rand(values.shape, generator=generator))
    missing = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not missing.unexpected_keys and all(key.endswith("num_batches_tracked") for key in missing.missing_keys)
    images = torch.randn(2, 3, 96, 96, generator=generator).double()
    with torch.no_grad():
        found, expected = ours.double().eval()(images), theirs.double().eval()(images)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert expected.std() > 1e-3, "nothing came through"


def test_the_small_networks_blocks_are_torchvisions_bit_for_bit():
    """Outputs, gradients and running statistics, in training; parameters by the same names in the same order."""
    ours, theirs = SmallResNet(1, 10, torch.nn.BatchNorm2d), resnet8(1, 10)
    assert [*ours.state_dict()] == [*theirs.state_dict()]
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    for model in (ours, theirs):
        model(images).square().sum().backward()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad) and one.grad.any()
    assert all(torch.equal(one, theirs.state_dict()[name]) for name, one in ours.state_dict().items())


@pytest.mark.parametrize("zero_gamma", ["false", "true"])
def test_every_gamma_beta_bias_and_momentum_moves(zero_gamma):
    config = configs.load(QUICK, [*SMALL, f"model.zero_gamma={zero_gamma}", "schedule.warmup_epochs=0.0"])
    trainer = Trainer(config, 1, Comm(torch.device("cpu")), "fp32")
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.model.train()
    chunks = iter(MadeUpImages(config, trainer.workers, together=4).train_epoch(0))
    for _ in range(3):  # with zero gammas the insides of a block see a gradient from the second update on
        trainer.take_update([next(chunks)], config.global_batch())
    for name, p in trainer.model.named_parameters():
        assert (p.detach() != before[name]).float().mean() > 0.99, name
    assert all((v != 0).float().mean() > 0.99 for v in trainer.optimizer.momenta)


@pytest.mark.parametrize("path", [HEADLINE, QUICK])
def test_the_rate_of_the_last_update_reaches_the_optimizer_exactly_in_single_precision(path):
    config = configs.load(path)
    schedule = Schedule.of(config)
    last = np.float32(schedule.lr(config.total_updates - 1))
    assert last == np.float32(config.schedule.peak_lr * config.schedule.end_lr_ratio) and last > 0
    seen = []
    optimizer = types.SimpleNamespace(set=lambda lr, *rest: seen.append(lr))
    stops = types.SimpleNamespace(save=False, stop=False)
    trainer = types.SimpleNamespace(
        update=config.total_updates - 1, schedule=schedule, config=config, optimizer=optimizer, stop_requests=stops,
        gradients=types.SimpleNamespace(scale=1.0), _asked=(False, False),
    )  # fmt: skip
    Trainer.prepare(trainer, config.global_batch())
    assert [np.float32(lr) for lr in seen] == [last]


LARS = [name for name, preset in PRESETS.items() if preset.adapts]


@pytest.mark.parametrize("backend", [one for one in BACKENDS if not one.startswith("apex") and one != NORMS_ONLY])
@pytest.mark.parametrize("name", LARS)
def test_lars_without_weight_decay_still_scales(name, backend):
    """The first step from rest is rate x ratio x gradient, with ratio = eta |w| / |g|, not the plain rate."""
    if backend != "foreach" and PRESETS[name].direction_clamp is not None:
        return  # that back-end does not know this preset, which another test says
    eta, lr = 0.01, 0.5
    torch.manual_seed(3)
    model = Tiny()
    optimizer = contender(model, backend, Constants(PRESETS[name], eta, 0.0, 0.0))
    weight = model.conv.weight
    for p in model.parameters():
        p.grad.copy_(torch.randn(p.shape))
    w, g = weight.detach().clone(), weight.grad.clone()
    optimizer.step(lr, 0.0, 0.9, 1.0)
    ratio = eta * w.norm() / g.norm()
    expected = min(ratio, lr) if PRESETS[name].clips else lr * ratio  # LARC: min(ratio / lr, 1) of the rate
    assert ratio < 0.1, "the plain rate would not show"
    torch.testing.assert_close(w - weight.detach(), expected * g, rtol=1e-4, atol=1e-7)


def test_the_number_of_processes_never_changes_the_global_batch():
    config = configs.load(QUICK)
    for world in (1, 2, 4, 5, 10, 20):
        comm = types.SimpleNamespace(world_size=world)
        said = {event.key: event.value for event in hyper_parameters(config, 1, comm)}
        dealt = [worker for rank in range(world) for worker in worker_range(config.batch.workers, rank, world)]
        assert said["global_batch_size"] == 800 and said["lars_opt_base_learning_rate"] == config.schedule.peak_lr
        assert dealt == list(range(20)) and config.local_batch(0) * len(dealt) == 800
        assert said["gradient_accumulation_steps"] * world == 20
