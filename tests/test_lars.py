"""LARS: the fast version, the reference and an independent NumPy formula agree, for every preset."""

import numpy as np
import pytest
import torch
from torch import nn

from reproduce.engine.lars import PRESETS, Constants, Lars, reference_step, split_parameters
from reproduce.engine.model import build_model, initialise

LR, WD, M, ETA, EPS, PEAK = 0.7, 5e-5, 0.96, 0.0025, 1e-9, 13.0


def numpy_step(name, w, g, v, adapted, lr, wd, m):
    """Each preset's published formula, one by one, in float64; shares no code with the implementation. -> (w, v)"""
    norm = np.linalg.norm
    if name == "fujitsu_mlperf06":
        if not adapted:
            v = m * v - lr * g
        else:
            s = ETA * norm(w) / (norm(g) + WD * PEAK * norm(w) + EPS)
            s = s if s > 0 else 1.0
            v = m * v - s * lr * wd * w - s * lr * g
        return w + v, v
    if name == "mlperf_tf2":
        s = ETA * norm(w) / (norm(g) + wd * norm(w) + EPS) if adapted and norm(w) > 0 and norm(g) > 0 else 1.0
        v = m * v + s * lr * (g + (wd * w if adapted else 0))
        return w - v, v
    if name == "apex_larc":
        if norm(w) != 0 and norm(g) != 0:
            rate = min(ETA * norm(w) / (norm(g) + norm(w) * wd + EPS) / lr, 1)
            g = (g + wd * w) * rate
        v = m * v + g
        return w - lr * v, v
    if name == "timm":
        if adapted:
            s = ETA * norm(w) / (norm(g) + norm(w) * wd + EPS) if norm(w) > 0 and norm(g) > 0 else 1.0
            g = (g + wd * w) * s
        v = m * v + g
        return w - lr * v, v
    if name == "nus":
        s = min(ETA * norm(w) / (norm(g) + wd * norm(w)), 50) if adapted and norm(w) > 0 and norm(g) > 0 else 1.0
        v = m * v + g + (wd * w if adapted else 0)
        return w - lr * s * v, v
    v = m * v + g + (wd * w if adapted else 0)  # sgd
    return w - lr * v, v


class ResNet50Tensors:
    """The 161 tensors of ResNet-50 with seeded gradients of very different sizes per tensor."""

    def __init__(self):
        from reproduce import config as configs

        model = build_model(configs.load("paper_configs/headline_b81920_g2048.toml"))
        initialise(model, 1)
        self.weights, self.others = split_parameters(model)
        self.parameters = [*self.weights, *self.others]
        self.generator = np.random.default_rng(0)

    def gradients(self):
        for i, p in enumerate(self.parameters):
            scale = np.float32(10.0 ** (i % 5 - 4))
            draws = self.generator.standard_normal(p.shape, dtype=np.float32) * scale
            yield torch.from_numpy(draws).to(memory_format=torch.preserve_format)


@pytest.fixture(scope="module")
def tensors():
    return ResNet50Tensors()


def constants(name):
    return Constants(PRESETS[name], ETA, EPS, WD * PEAK)


def relative(a, b):
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))


@pytest.mark.parametrize("name", PRESETS)
def test_fast_reference_and_numpy_agree_on_a_small_network_over_50_steps(name):
    """1e-6 relative per tensor against float64: fp32 masters keep 6e-8 per operation, and errors add like noise."""
    rng = np.random.default_rng(1)
    shapes = [(8, 3, 3, 3), (16, 8, 1, 1), (10, 16), (4, 4, 1, 1), (8,), (10,), (16,)]
    w64 = [rng.standard_normal(shape).astype(np.float32).astype(np.float64) for shape in shapes]
    w64[3][:] = 0  # a tensor of zeros takes the zero-norm rule at the first step
    v64 = [np.zeros(shape) for shape in shapes]
    fast = [nn.Parameter(torch.tensor(w, dtype=torch.float32)) for w in w64]
    slow, slow_v = [p.detach().clone() for p in fast], [torch.zeros_like(p) for p in fast]
    lars = Lars(fast[:4], fast[4:], constants(name))
    for step in range(50):
        lr, wd, m = LR * (1 + step % 7) / 7, WD * (1 + step % 3), M - 0.001 * (step % 5)
        for i, p in enumerate(fast):
            g = (rng.standard_normal(shapes[i]) * 10.0 ** (i % 4 - 3)).astype(np.float32)
            p.grad = torch.tensor(g) * 64  # a sum over 64 images, that the step turns into a mean
            w64[i], v64[i] = numpy_step(name, w64[i], g.astype(np.float64), v64[i], i < 4, lr, wd, m)
            reference_step(slow[i], torch.tensor(g), slow_v[i], i < 4, constants(name), lr, wd, m)
        lars.step(lr, wd, m, 1 / 64)
    for i in range(len(shapes)):
        assert relative(fast[i].detach().numpy(), w64[i]) < 1e-6, (name, shapes[i])
        assert relative(slow[i].numpy(), w64[i]) < 1e-6, (name, shapes[i])


def test_fast_reference_and_numpy_agree_on_the_161_tensors_over_50_steps(tensors):
    name = "fujitsu_mlperf06"
    assert (len(tensors.weights), len(tensors.others)) == (54, 107)
    w64 = [p.detach().numpy().astype(np.float64) for p in tensors.parameters]
    v64 = [np.zeros_like(w) for w in w64]
    slow = [p.detach().clone() for p in tensors.parameters]
    slow_v = [torch.zeros_like(p) for p in slow]
    lars = Lars(tensors.weights, tensors.others, constants(name))
    checked = [0, 20, 53, 54, 100, 160]  # float64 formulas on all 25.6 M elements would take minutes
    for _ in range(50):
        for i, (p, g) in enumerate(zip(tensors.parameters, tensors.gradients(), strict=True)):
            if i in checked:
                w64[i], v64[i] = numpy_step(name, w64[i], g.numpy().astype(np.float64), v64[i], i < 54, LR, WD, M)
            reference_step(slow[i], g, slow_v[i], i < 54, constants(name), LR, WD, M)
            p.grad = g * 128
        lars.step(LR, WD, M, 1 / 128)
    for i, p in enumerate(tensors.parameters):
        assert relative(p.detach().numpy(), slow[i].numpy()) < 1e-6, i
    for i in checked:
        assert relative(slow[i].numpy(), w64[i]) < 1e-6, i


@pytest.mark.parametrize("scale", [1.0, 128.0, 2.0**-10])
def test_the_update_does_not_depend_on_the_loss_scale(scale):
    """Gradients are unscaled before their norms are taken; apex's LARC got this wrong (NVIDIA/apex issue 1030)."""
    torch.manual_seed(0)
    w, g = torch.randn(64, 32), torch.randn(64, 32)
    updated = []
    for loss_scale in (1.0, scale):
        p = nn.Parameter(w.clone())
        p.grad = g * loss_scale
        Lars([p], [], constants("fujitsu_mlperf06")).step(LR, WD, M, 1 / loss_scale)
        updated.append(p.detach())
    torch.testing.assert_close(updated[0], updated[1], rtol=1e-6, atol=0)


def test_momentum_sgd_equals_pytorchs_own():
    torch.manual_seed(0)
    ours, theirs = nn.Parameter(torch.randn(32, 16)), nn.Parameter(torch.randn(32, 16))
    theirs.data.copy_(ours.data)
    lars = Lars([ours], [], constants("sgd"))
    sgd = torch.optim.SGD([theirs], lr=0.1, momentum=0.9, weight_decay=5e-4)
    for _ in range(20):
        ours.grad, theirs.grad = (g := torch.randn(32, 16)).clone(), g
        lars.step(0.1, 5e-4, 0.9, 1.0)
        sgd.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_the_conventions_differ_when_the_rate_changes():
    """Else a mix-up of A, B and C would pass unnoticed."""
    results = {}
    for name in ("mlperf_tf2", "timm", "nus"):  # A, B and C
        torch.manual_seed(0)
        p = nn.Parameter(torch.randn(32, 16))
        lars = Lars([p], [], constants(name))
        for lr in (0.1, 1.0, 5.0):
            p.grad = torch.randn(32, 16)
            lars.step(lr, WD, 0.9, 1.0)
        results[name] = p.detach()
    assert relative(results["mlperf_tf2"].numpy(), results["timm"].numpy()) > 1e-4
    assert relative(results["timm"].numpy(), results["nus"].numpy()) > 1e-6


def test_a_module_without_a_rule_is_refused():
    with pytest.raises(TypeError, match="GroupNorm"):
        split_parameters(nn.Sequential(nn.GroupNorm(2, 4)))
