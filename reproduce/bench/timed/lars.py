"""Holds the contest of `bench lars`. Every contender has its own copy of ResNet-50's tensors and the same gradients.

Gradients are copied in before each timed step, outside the clock: ours may use them as scratch, and decayed ones would
end as denormals.
"""

import importlib
from collections.abc import Callable
from functools import partial

import torch

from reproduce.bench.contest import Row, Table
from reproduce.bench.timed.entry import serve
from reproduce.bench.timed.turns import seconds, take_turns
from reproduce.engine.dist.comm import Comm
from reproduce.engine.dist.gradients import make_gradients
from reproduce.engine.model import build_model, initialise
from reproduce.engine.optim import Constants, make_lars, split_parameters
from reproduce.errors import ConfigError
from reproduce.paths import ROOT
from reproduce.recipe import load as configs
from reproduce.recipe.schema import Communication

CONFIG = ROOT / "paper_configs" / "headline_b81920_g2048.toml"
LR, WEIGHT_DECAY, MOMENTUM, SCALE = 1e-3, 5e-5, 0.9, 1 / 1024
BYTES = 28  # a parameter, see `bench/lars.py`
OURS = {"cpu": ("native", "compiled", "foreach"), "cuda": ("compiled", "foreach", "apex")}
PEERS = {
    "timm Lars": ("timm.optim.lars", "Lars"),
    "torch-optimizer LARS": ("torch_optimizer", "LARS"),
    "pytorch-optimizer LARS": ("pytorch_optimizer", "LARS"),
}


class Contender:
    """One optimizer over tensors of its own; `step` is what is timed."""

    def __init__(self, device: torch.device):
        model = build_model(configs.load(CONFIG)).to(device)
        initialise(model, 1)
        self.weights, self.others = split_parameters(model)
        self.model, self.device = model, device
        self.step: Callable[[], object] = lambda: None

    def ours(self, backend: str) -> "Contender":
        gradients = make_gradients(self.model, Comm(self.device), Communication())
        constants = Constants.of(configs.load(CONFIG))
        lars = make_lars(backend, self.weights, self.others, constants, gradients)
        self.step = lambda: lars.step(LR, WEIGHT_DECAY, MOMENTUM, SCALE)
        return self

    def peer(self, module: str, name: str) -> "Contender":
        lars = getattr(importlib.import_module(module), name)
        groups = [{"params": self.weights, "weight_decay": WEIGHT_DECAY}, {"params": self.others, "weight_decay": 0.0}]
        self.step = lars(groups, lr=LR, momentum=MOMENTUM).step
        return self

    def time(self, gradients: list[torch.Tensor]) -> float:
        """Milliseconds of a step, with the gradients of the whole network given before."""
        for p, g in zip(self.model.parameters(), gradients):
            if p.grad is None:
                p.grad = torch.empty_like(p)
            p.grad.copy_(g)
        return 1e3 * seconds(self.step, self.device)


def measure(request: dict, device: torch.device) -> list[Table]:
    contenders, absent = {}, []
    for backend in OURS[device.type]:
        try:
            contenders[f"ours, {backend}"] = Contender(device).ours(backend)
        except ConfigError as error:
            absent.append(Row(f"ours, {backend}", "ours", (), str(error)))
    for name, (module, attribute) in PEERS.items():
        try:
            contenders[name] = Contender(device).peer(module, attribute)
        except ImportError as error:
            absent.append(Row(name, "peer", (), f"{error}"))
    generator = torch.Generator().manual_seed(0)
    model = next(iter(contenders.values())).model
    gradients = [torch.randn(p.shape, generator=generator).to(device) for p in model.parameters()]
    count = sum(p.numel() for p in model.parameters())
    stream = torch.ones(count, device=device)
    turns: dict[str, Callable[[], float]] = {name: partial(c.time, gradients) for name, c in contenders.items()}
    # scaling in place moves 8 bytes an element
    turns["floor"] = lambda: 1e3 * seconds(lambda: stream.mul_(1.0001), device) * BYTES / 8
    found = take_turns(turns, request["rounds"], "lars")
    floor = Row("floor", "floor", tuple(found.pop("floor")), f"{BYTES} B a parameter at the in-place rate")
    rows = [Row(name, "ours" if name.startswith("ours") else "peer", tuple(ms)) for name, ms in found.items()]
    work = f"ResNet-50: 161 tensors, {count:,} parameters in fp32; {torch.get_num_threads()} thread(s)"
    first = next(iter(contenders))
    return [Table("LARS step", work, "ms", first, (*rows, *absent, floor))]


if __name__ == "__main__":
    serve("lars", measure)
