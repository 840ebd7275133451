"""The networks: sizes, initialisation from the seed alone, label smoothing in MXNet's convention."""


import numpy as np
import pytest
import torch
import torch.nn.functional as F

from reproduce.engine.model import build_model, initialise, weights_sha256
from reproduce.engine.optim import split_parameters
from reproduce.engine.workers import WorkerBatchNorm2d
from reproduce.recipe import load as configs
from tests.helpers import ROOT

HEADLINE = ROOT / "paper_configs/headline_b81920_g2048.toml"
QUICK = ROOT / "paper_configs/quick/headline_b800_w20.toml"


@pytest.mark.parametrize("channels, expected", [(3, 25_557_032), (4, 25_560_168)])
def test_resnet50_has_the_published_size(channels, expected):
    """161 tensors and 25,557,032 parameters; 25,560,168 with the team's padding plane (facts c)."""
    model = build_model(configs.load(HEADLINE, [f"model.input_channels={channels}"]))
    parameters = list(model.parameters())
    assert len(parameters) == 161 and sum(p.numel() for p in parameters) == expected
    weights, others = split_parameters(model)
    assert len(weights) == 54 and len(others) == 107
    assert sum(p.numel() for p in others) == 53_120 + 1_000
    assert {m.stride for n, m in model.named_modules() if n.endswith("0.conv2") and n != "layer1.0.conv2"} == {
        (2, 2)
    }  # v1.5


@pytest.mark.parametrize("path", [HEADLINE, QUICK])
def test_initialisation_follows_the_team(path):
    model = build_model(configs.load(path))
    initialise(model, 1)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.numel() > 2000:
            fan_in = module.weight[0].numel()
            assert module.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05), name
        elif isinstance(module, WorkerBatchNorm2d):
            assert (module.weight == 1).all() and (module.bias == 0).all()
            assert (module.running_mean == 0).all() and (module.running_var == 1).all()
            assert module.eps == 1e-5 and module.ema_momentum == 0.9
    assert model.fc.weight.std().item() == pytest.approx(0.01, rel=0.1) and (model.fc.bias == 0).all()


@pytest.mark.parametrize("path, blocks", [(HEADLINE, 16), (QUICK, 3)])
def test_zero_gamma_makes_every_block_begin_as_its_shortcut(path, blocks):
    """Goyal et al., arXiv:1706.02677, section 5.1; no other gamma changes."""
    model = build_model(configs.load(path, ["model.zero_gamma=true"]))
    initialise(model, 1)
    found = [block for block in model.modules() if hasattr(block, "downsample")]
    last = [block.bn3 if blocks == 16 else block.bn2 for block in found]
    assert len(last) == blocks and all((norm.weight == 0).all() for norm in last)
    others = [m for m in model.modules() if isinstance(m, WorkerBatchNorm2d) and not any(m is norm for norm in last)]
    assert all((norm.weight == 1).all() for norm in others)
    block = next(block for block in found if block.downsample is None)
    x = torch.randn(4, block.conv1.in_channels, 8, 8).relu()
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


def test_weights_are_a_pure_function_of_the_seed():
    model, other = build_model(configs.load(QUICK)), build_model(configs.load(QUICK))
    initialise(model, 7)
    torch.manual_seed(123)  # must not matter
    np.random.seed(123)
    initialise(other, 7)
    assert weights_sha256(model) == weights_sha256(other)
    initialise(other, 8)
    assert weights_sha256(model) != weights_sha256(other)


def test_label_smoothing_is_mxnets():
    """Gradient on the logits: p - (1 - alpha) for the gold class, p - alpha / (K - 1) for the others (facts c)."""
    from reproduce.engine.dist.comm import Comm
    from tests.helpers.worker_run import build

    trainer = build(Comm(torch.device("cpu")), "mean")
    alpha, classes = 0.1, 10
    logits = torch.randn(4, classes, requires_grad=True)
    labels = torch.tensor([0, 3, 9, 3])
    F.cross_entropy(logits, labels, label_smoothing=trainer.smoothing, reduction="sum").backward()
    target = torch.full((4, classes), alpha / (classes - 1))
    target[range(4), labels] = 1 - alpha
    torch.testing.assert_close(logits.grad, logits.detach().softmax(1) - target)
