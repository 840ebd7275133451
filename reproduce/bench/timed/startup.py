"""Seconds from the start of a process to its first finished update, of fresh processes in turns.

Started by `python -m reproduce.bench startup`, whose request says for which recipes. This process only starts the
others (`timed/first.py`), one at a time, and reads what they wrote.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from reproduce.bench.contest import Row, Table
from reproduce.bench.timed.entry import serve
from reproduce.bench.timed.first import STAGES
from reproduce.bench.timed.turns import take_turns
from reproduce.engine.environment import compute_precision
from reproduce.errors import UserError
from reproduce.recipe import load as configs
from reproduce.recipe.load import Config

# of each network: who else starts, the modules that takes, and what of `timed/plain.py`
PEERS = {
    "resnet8": {"torchvision's blocks": (["torchvision.models", "reproduce.engine.model"], "resnet8", "sgd")},
    "resnet50": {
        "torchvision": (["torchvision.models"], "torchvision_resnet50", "sgd"),
        "timm": (["timm", "timm.optim"], "timm_resnet50", "timm_lars"),
    },
}


class Starter:
    """Starts one contender afresh each time it is called; `stages` has the seconds of each stage of each start.

    `cache`: where compiled code is kept from start to start; "" for a new folder at each, None for the user's own.
    """

    def __init__(self, request: dict, cache: str | None = None):
        self._request, self._cache = request, cache
        self.stages: list[list[float]] = []

    def __call__(self) -> float:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "moments.json"
            env = {} if self._cache is None else {"TORCHINDUCTOR_CACHE_DIR": self._cache or folder}
            began = time.monotonic()
            text = json.dumps(self._request | {"out": str(out)})
            argv = [sys.executable, "-m", "reproduce.bench.timed.first", text]
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, env=os.environ | env)
            if done.returncode:
                raise UserError(f"bench startup: a process ended with exit code {done.returncode}: see the lines above")
            moments = json.loads(out.read_text())
        self.stages.append([end - begin for begin, end in zip([began, *moments], moments)])
        return moments[-1] - began


def starters(asked: dict, config: Config, device: torch.device) -> dict[str, Starter | None]:
    """All that take part, ours first; None for a peer that is not installed."""
    precision, c = compute_precision(config, device), config
    shared = {"device": device.type, "precision": precision}
    found: dict[str, Starter | None] = {"ours": Starter(shared | {"who": "ours"} | asked)}
    shape = [c.global_batch(), c.model.input_channels, c.data.image_size, c.data.image_size]
    for name, (modules, network, optimizer) in PEERS[c.model.name].items():
        there = all(importlib.util.find_spec(module.partition(".")[0]) for module in modules)
        arguments = [c.model.input_channels, c.data.classes] if c.model.name == "resnet8" else []
        request = {"who": "plain", "modules": modules, "network": network, "arguments": arguments, "images": shape,
                   "optimizer": optimizer, "classes": c.data.classes, "pass_images": c.local_batch(0)}  # fmt: skip
        found[name] = Starter(shared | request) if there else None
    return found


COMPILED = {"lars": "compiled", "batch_norm": "vectorised"}  # what generates code in the first update


def caches(asked: dict, rounds: int, device: torch.device) -> Table:
    """Start to first update where code is compiled: with nothing compiled before, and with what starts before left."""
    config = configs.load(asked["config"], asked["overrides"])
    precision = compute_precision(config, device)
    request = {"device": device.type, "precision": precision, "who": "ours", "execution": COMPILED} | asked
    with tempfile.TemporaryDirectory() as kept:
        starters = {"warm cache": Starter(request, kept), "cold cache": Starter(request, "")}
        found = take_turns(starters, rounds, "compile caches")  # the turn that does not count fills the warm one
    rows = tuple(Row(name, "ours", tuple(found[name]), _medians(starter)) for name, starter in starters.items())
    work = f"{config.run.name}, {config.batch.workers} x {config.local_batch(0)} images of noise, {precision}"
    return Table("Start with compiled code", f"{work}, LARS and batch norm compiled", "s", "warm cache", rows)


def contest(asked: dict, rounds: int, device: torch.device) -> list[Table]:
    """The whole times of all, and the stages of ours. asked: "config" and "overrides"."""
    config = configs.load(asked["config"], asked["overrides"])
    found = starters(asked, config, device)
    title = f"Start to first update, {config.model.name}"
    whole = take_turns({name: starter for name, starter in found.items() if starter}, rounds, title)
    work = (
        f"fresh processes on a warm file cache, {config.batch.workers} x {config.local_batch(0)} images of noise, "
        f"{compute_precision(config, device)}, {torch.get_num_threads()} thread(s), {device.type}"
    )
    rows = []
    for name, starter in found.items():
        role = "ours" if name == "ours" else "peer"
        rows.append(Row(name, role, tuple(whole.get(name, ())), _medians(starter) if starter else "not installed"))
    ours = found["ours"]
    assert ours is not None, "ours is always there"
    stages = map(tuple, zip(*ours.stages[1:]))  # the first start was warm-up
    parts = [rows[0], *(Row(stage, "ours", times) for stage, times in zip(STAGES, stages, strict=True))]
    return [
        Table(title, work, "s", "ours", tuple(rows)),
        Table(f"{title}: ours by stages", work, "s", None, tuple(parts)),
    ]


def _medians(starter: Starter) -> str:
    medians = map(statistics.median, zip(*starter.stages[1:]))
    return ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in zip(STAGES, medians, strict=True))


def measure(request: dict, device: torch.device) -> list[Table]:
    """request: "rounds" and "contests", or "caches", one recipe whose start with compile caches is timed."""
    if "caches" in request:
        return [caches(request["caches"], request["rounds"], device)]
    return [table for asked in request["contests"] for table in contest(asked, request["rounds"], device)]


if __name__ == "__main__":
    serve("startup", measure)
