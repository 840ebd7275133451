"""LARS: every back-end, the reference and an independent NumPy formula agree, for every preset."""

import dataclasses
import sys
import types
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from reproduce.engine.model import build_model, initialise
from reproduce.engine.optim import PRESETS, Constants, Lars, make_lars, native, reference_step, split_parameters
from reproduce.engine.optim.formulas import reference_rmsprop_step
from reproduce.errors import ConfigError
from reproduce.recipe import load as configs
from tests.helpers.lars import BACKENDS, NORMS_ONLY, Tiny, contender

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
        s = min(ETA * norm(w) / (norm(g) + wd * norm(w) + EPS), 50) if adapted and norm(w) > 0 and norm(g) > 0 else 1.0
        v = m * v + np.clip(g + (wd * w if adapted else 0), -10, 10)
        return w - lr * s * v, v
    v = m * v + g + (wd * w if adapted else 0)  # sgd
    return w - lr * v, v


def resnet50():
    model = build_model(configs.load("paper_configs/headline_b81920_g2048.toml"))
    initialise(model, 1)
    return model


@pytest.fixture
def apex(monkeypatch):
    """Stand-ins of apex's two functions, with the arguments and results of their sources. NVIDIA's has but the first;
    what is returned switches to an apex that has both, or not."""

    def multi_tensor_l2norm(chunk, overflow, lists, per_tensor):
        norms = torch.stack([t.double().norm().float() for t in lists[0]])
        return norms.norm()[None], norms if per_tensor else None

    def multi_tensor_lars(
        chunk, overflow, lists, grad_norms, param_norms, lr, trust_coefficient, epsilon, weight_decay, momentum,
        dampening, nesterov, first_run, wd_after_momentum, scale, is_skipped,
    ):  # fmt: skip
        for i, (g, w, v) in enumerate(zip(*lists)):
            ratio = 1.0
            if not is_skipped and grad_norms[i] > 0 and param_norms[i] > 0:
                p = param_norms[i]
                ratio = trust_coefficient * p / (grad_norms[i] + p * weight_decay + epsilon)
            v.mul_(momentum).sub_(lr * ratio * (g + weight_decay * w))
            w.add_(v)

    both, norms = types.ModuleType("amp_C"), types.ModuleType("amp_C")
    both.multi_tensor_l2norm = norms.multi_tensor_l2norm = multi_tensor_l2norm
    both.multi_tensor_lars = multi_tensor_lars
    monkeypatch.setitem(sys.modules, "amp_C", both)
    return lambda backend: monkeypatch.setitem(sys.modules, "amp_C", norms if backend == NORMS_ONLY else both)


def constants(name):
    return Constants(PRESETS[name], ETA, EPS, WD * PEAK)


def relative(a, b):
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))


def refused(backend, name):
    kernel = backend.partition(",")[0]
    with pytest.raises(ConfigError, match=f"{kernel}: does not know this optimizer.preset: use foreach"):
        contender(Tiny(), backend, constants(name))
    assert contender(Tiny(), "auto", constants(name)).name == "foreach"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [name for name in PRESETS if name != "rmsprop_warmup"])
def test_back_end_reference_and_numpy_agree_on_a_small_network_over_50_steps(name, backend, apex):
    """1e-6 relative per tensor against float64: fp32 masters keep 6e-8 per operation, and errors add like noise."""
    apex(backend)
    if constants(name).only_foreach and backend != "foreach":
        return refused(backend, name)
    rng, model = np.random.default_rng(1), Tiny()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.from_numpy(rng.standard_normal(p.shape).astype(np.float32)))
        model.zeros.weight.zero_()  # takes the zero-norm rule at the first step
    lars = contender(model, backend, constants(name))
    fast = lars.parameters
    w64 = [p.detach().numpy().astype(np.float64) for p in fast]
    v64 = [np.zeros_like(w) for w in w64]
    slow, slow_v = [p.detach().clone() for p in fast], [torch.zeros_like(p) for p in fast]
    for step in range(50):
        lr, wd, m = LR * (step % 7) / 6, WD * (1 + step % 3), M - 0.001 * (step % 5)
        if PRESETS[name].clips:
            lr = lr or LR  # LARC divides by it
        for i, p in enumerate(fast):
            g = (rng.standard_normal(p.shape) * 10.0 ** (i % 4 - 3)).astype(np.float32)
            if PRESETS[name].direction_clamp:
                g *= 30  # beyond the clamp
            if i == step % 5:
                g[:] = 0  # takes the zero-norm rule, with weights that are not zero
            p.grad.copy_(torch.tensor(g) * 64)  # a sum over 64 images, that the step turns into a mean
            adapted = p.dim() > 1
            w64[i], v64[i] = numpy_step(name, w64[i], g.astype(np.float64), v64[i], adapted, lr, wd, m)
            reference_step(slow[i], torch.tensor(g), slow_v[i], adapted, constants(name), lr, wd, m)
        lars.step(lr, wd, m, 1 / 64)
    for i, p in enumerate(fast):
        assert relative(p.detach().numpy(), w64[i]) < 1e-6, (name, p.shape)
        assert relative(slow[i].numpy(), w64[i]) < 1e-6, (name, p.shape)
        assert relative(lars.momentum_sign * lars.momenta[i].numpy(), slow_v[i].numpy()) < 1e-5, (name, p.shape)


def test_back_ends_reference_and_numpy_agree_on_the_161_tensors_of_resnet50(apex):
    """Over four steps, for what large and many tensors may change; the small network above takes fifty."""
    name, contenders = "fujitsu_mlperf06", []
    for backend in BACKENDS:
        apex(backend)
        contenders.append(contender(resnet50(), backend, constants(name)))
    assert [contenders[0].adapted, len(contenders[0].parameters)] == [54, 161]
    w64 = [p.detach().numpy().astype(np.float64) for p in contenders[0].parameters]
    v64 = [np.zeros_like(w) for w in w64]
    slow = [p.detach().clone() for p in contenders[0].parameters]
    slow_v = [torch.zeros_like(p) for p in slow]
    rng = np.random.default_rng(0)
    checked = [0, 20, 53, 54, 100, 160]  # float64 formulas on all 25.6 M elements would take minutes
    for _ in range(4):
        for i, p in enumerate(slow):  # gradients of very different sizes
            g = torch.from_numpy(rng.standard_normal(p.shape, dtype=np.float32) * np.float32(10.0 ** (i % 5 - 4)))
            if i in checked:
                w64[i], v64[i] = numpy_step(name, w64[i], g.numpy().astype(np.float64), v64[i], i < 54, LR, WD, M)
            reference_step(p, g, slow_v[i], i < 54, constants(name), LR, WD, M)
            for lars in contenders:
                torch.mul(g, 128, out=lars.parameters[i].grad)
        for lars in contenders:
            lars.step(LR, WD, M, 1 / 128)
    for lars in contenders:
        for i, p in enumerate(lars.parameters):
            assert relative(p.detach().numpy(), slow[i].numpy()) < 1e-6, (lars.name, i)
    for i in checked:
        assert relative(slow[i].numpy(), w64[i]) < 1e-6, i


def test_apex_gets_our_trust_ratio_also_where_decay_is_strong(apex):
    """Its own formula adds the decay once more; at this strength that would be worth four percent."""
    found = []
    for backend in ("foreach", "apex"):
        torch.manual_seed(0)
        p = nn.Parameter(torch.randn(64, 32))
        p.grad = torch.randn(64, 32) * 81920
        lars = make_lars(backend, [p], [], Constants(PRESETS["fujitsu_mlperf06"], 1.0, EPS, WD * PEAK))
        lars.step(LR, 0.5, M, 1 / 81920)
        found.append(p.detach())
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)


def test_native_reads_a_gradient_of_another_memory_layout_element_by_element():
    found = []
    for backend in ("foreach", "native"):
        torch.manual_seed(0)
        p = nn.Parameter(torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last))
        p.grad = torch.randn(4, 3, 2, 2)
        make_lars(backend, [p], [], constants("mlperf_tf2")).step(LR, WD, M, 1.0)
        found.append(p.detach())
    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=1e-7)


def test_auto_is_native_where_there_is_a_compiler_and_foreach_elsewhere(monkeypatch, tmp_path):
    assert contender(Tiny(), "auto", constants("sgd")).name == "native"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", "/bin/false")
    native._kernel.cache_clear()
    try:
        assert contender(Tiny(), "auto", constants("sgd")).name == "foreach"
        with pytest.raises(ConfigError, match="CC = '/bin/false' does not make it: exit code 1: install"):
            contender(Tiny(), "native", constants("sgd"))
    finally:
        native._kernel.cache_clear()


def test_apex_that_is_not_there_is_one_line():
    with pytest.raises(ConfigError, match="back-end apex: .*amp_C.*environment.yml"):
        contender(Tiny(), "apex", constants("mlperf_tf2"))


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


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["fujitsu_mlperf06", "timm", "nus", "sgd"])  # conventions A, B and C, and none
def test_nesterovs_momentum_looks_one_step_ahead(name, backend, apex):
    """The step is that of the buffer after the same direction once more, which the published formulas give as well."""
    apex(backend)
    bare = dataclasses.replace(constants(name), nesterov=True)
    if bare.only_foreach and backend != "foreach":
        return refused(backend, name)
    rng, model = np.random.default_rng(2), Tiny()
    lars = contender(model, backend, bare)
    fast = lars.parameters
    w64, slow = [p.detach().numpy().astype(np.float64) for p in fast], [p.detach().clone() for p in fast]
    v64, slow_v = [np.zeros_like(w) for w in w64], [torch.zeros_like(p) for p in fast]
    for step in range(5):
        lr, m = LR * (step + 1) / 5, M - 0.01 * step
        for i, p in enumerate(fast):
            g, adapted = rng.standard_normal(p.shape).astype(np.float32), p.dim() > 1
            p.grad.copy_(torch.tensor(g) * 64)
            _, v = numpy_step(name, w64[i], g.astype(np.float64), v64[i], adapted, lr, WD, m)
            w64[i], _ = numpy_step(name, w64[i], g.astype(np.float64), v, adapted, lr, WD, m)
            v64[i] = v
            reference_step(slow[i], torch.tensor(g), slow_v[i], adapted, bare, lr, WD, m)
        lars.step(lr, WD, m, 1 / 64)
    for i, p in enumerate(fast):
        assert relative(slow[i].numpy(), w64[i]) < 1e-6, p.shape
        assert relative(p.detach().numpy(), w64[i]) < 1e-6, p.shape


def test_nesterovs_momentum_sgd_equals_pytorchs_own():
    torch.manual_seed(0)
    ours, theirs = nn.Parameter(torch.randn(32, 16)), nn.Parameter(torch.randn(32, 16))
    theirs.data.copy_(ours.data)
    lars = Lars([ours], [], dataclasses.replace(constants("sgd"), nesterov=True))
    sgd = torch.optim.SGD([theirs], lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    for _ in range(20):
        ours.grad, theirs.grad = (g := torch.randn(32, 16)).clone(), g
        lars.step(0.1, 5e-4, 0.9, 1.0)
        sgd.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_rmsprop_warmup_back_end_reference_and_published_formula_agree():
    """Akiba et al., arXiv:1711.04325: a buffer of minus the sum of what both rules step, and one rate outside."""
    rng, model, b, rms_lr, eps = np.random.default_rng(3), Tiny(), 0.99, 3e-4, 1e-8
    c = Constants(PRESETS["rmsprop_warmup"], eps=eps, rmsprop_lr=rms_lr, rmsprop_decay=b)
    lars = contender(model, "auto", c)
    fast = lars.parameters
    w64, slow = [p.detach().numpy().astype(np.float64) for p in fast], [p.detach().clone() for p in fast]
    zeros = [np.zeros_like(w) for w in w64]
    delta, square = list(zeros), list(zeros)
    slow_v, slow_q = [torch.zeros_like(p) for p in fast], [torch.zeros_like(p) for p in fast]
    for step in range(30):
        share, lr = min(1.0, step / 25), 0.5
        for i, p in enumerate(fast):
            g, adapted = rng.standard_normal(p.shape).astype(np.float32), p.dim() > 1
            p.grad.copy_(torch.tensor(g) * 64)
            d = g + (WD if adapted else 0) * w64[i]
            square[i] = b * square[i] + (1 - b) * d**2
            delta[i] = M * delta[i] - (share + (1 - share) * rms_lr / lr / (np.sqrt(square[i]) + eps)) * d
            w64[i] = w64[i] + lr * delta[i]
            reference_rmsprop_step(slow[i], torch.tensor(g), slow_v[i], slow_q[i], adapted, c, lr, WD, M, share)
        lars.sgd_share = share
        lars.step(lr, WD, M, 1 / 64)
    for i, p in enumerate(fast):
        assert relative(slow[i].numpy(), w64[i]) < 1e-6, p.shape
        assert relative(p.detach().numpy(), w64[i]) < 1e-6, p.shape
        assert relative(lars.squares[i].numpy(), square[i]) < 1e-5, p.shape


def test_a_recorded_rmsprop_warmup_reads_the_share_of_each_update():
    """What a recording holds as a number it keeps for ever; the share of momentum SGD rises from update to update."""
    c = Constants(PRESETS["rmsprop_warmup"], eps=1e-8, rmsprop_lr=3e-4, rmsprop_decay=0.99)

    def after(share: float, update: Callable) -> list[torch.Tensor]:
        lars.sgd_share = share
        for tensors, before in zip(changing, start):
            torch._foreach_copy_(tensors, before)
        with torch.no_grad():
            update()
        return [p.detach().clone() for p in lars.parameters]

    lars = contender(Tiny(), "auto", c)
    lars.set(0.5, WD, M, 1 / 64)
    generator = torch.Generator().manual_seed(2)
    for p in lars.parameters:
        p.grad.copy_(torch.randn(p.shape, generator=generator))
    changing = [[p.data for p in lars.parameters], [p.grad for p in lars.parameters], lars.momenta, lars.squares]
    start = [[tensor.clone() for tensor in tensors] for tensors in changing]
    lars.sgd_share = 0.25
    recorded = make_fx(lambda: lars.update())()
    expected = {share: after(share, lars.update) for share in (0.25, 0.75)}
    assert any((one != other).any() for one, other in zip(expected[0.25], expected[0.75]))
    for share, weights in expected.items():
        found = after(share, lambda: recorded())
        assert all(map(torch.equal, found, weights)), share


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_rmsprop_warmup_is_foreachs_alone(backend, apex):
    apex(backend)
    refused(backend, "rmsprop_warmup")


@pytest.mark.parametrize("backend", ["foreach", "native", "compiled"])
def test_a_zero_gradient_without_decay_and_epsilon_leaves_the_weights(backend):
    """The trust ratio is 0 / 0 there; it counts as one."""
    model, bare = Tiny(), Constants(PRESETS["fujitsu_mlperf06"], ETA)
    lars = contender(model, backend, bare)
    before = [p.detach().clone() for p in lars.parameters]
    lars.step(LR, 0.0, M, 1.0)
    for p, w in zip(lars.parameters, before):
        torch.testing.assert_close(p.detach(), w, rtol=0, atol=0)
        slow = w.clone()
        reference_step(slow, torch.zeros_like(w), torch.zeros_like(w), True, bare, LR, 0.0, M)
        torch.testing.assert_close(slow, w, rtol=0, atol=0)


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
