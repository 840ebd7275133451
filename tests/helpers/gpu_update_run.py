"""The trainer's updates on a GPU that is not there, and what they would do to one.

    python -m tests.helpers.gpu_update_run [NAME ...]   prints a line of JSON for each scenario and injected fault
    python -m tests.helpers.gpu_update_run --keep       writes the scenarios' kernels and memory to `KEPT`
"""

import contextlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode

from reproduce.engine import trainer, vectorised, workers
from reproduce.engine.data.loader import open_loader
from reproduce.engine.dist import comm as comms
from reproduce.engine.dist import gradients
from reproduce.engine.dist.comm import Comm
from reproduce.engine.execution import Execution
from reproduce.engine.graph import WARM_UP, GraphedUpdate
from reproduce.engine.optim import compiled as compiled_lars
from reproduce.recipe import load as configs
from tests.helpers import ROOT, fake_gpu
from tests.helpers.fake_gpu import EVENTS, current_stream
from tests.helpers.gpu_watch import GpuWatch

KEPT = ROOT / "tests/golden/gpu_updates.json"
PAPER, SMALL = "paper_configs/headline_b81920_g2048.toml", "paper_configs/quick/headline_b800_w20.toml"
SYNTHETIC = 'data.dataset="synthetic"'
GRAPH = {"lars": "compiled", "batch_norm": "vectorised", "cuda_graph": True}
# a process of a node of two GPUs, of two nodes, each process with one worker, as in the paper
ONE_WORKER = {"config": PAPER, "processes": 4, "set": ["batch.workers=4"]}
NODE = {"config": PAPER, "processes": 1, "set": ["batch.workers=12", "data.train_images=9000"]}
AKIBA = {"config": "paper_configs/quick/akiba_b320_w10.toml", "processes": 2, "set": ["batch.workers=2"]}
SCENARIOS = {
    "paper, bf16": ONE_WORKER,
    "paper, fp16": ONE_WORKER | {"precision": "fp16"},
    "paper, fp32, flat": ONE_WORKER
    | {"precision": "fp32", "set": ["batch.workers=4", 'communication.allreduce="flat"', 'communication.wire="fp32"']},
    "paper, recorded": ONE_WORKER | {"execution": GRAPH | {"batch_norm": "split"}},
    "rmsprop warm-up": AKIBA,
    "node": NODE,
    "node, recorded": NODE | {"execution": GRAPH},
}
FAULTY = {"config": SMALL, "processes": 2, "set": ["batch.workers=2", 'communication.allreduce="flat"']}


# ---- processes that are not there -----------------------------------------------------------------------------------


class Work:
    def wait(self) -> None:
        EVENTS.append(("wait for the sum", current_stream().name, ""))


def sent(what: str, tensor: torch.Tensor, group: str | None) -> None:
    where = current_stream().name, threading.current_thread().name
    EVENTS.append((what, str(tensor.dtype).removeprefix("torch."), tensor.numel(), group or "world", *where))


def all_reduce(tensor, group=None, async_op=False):
    sent("all_reduce", tensor, group)
    return Work() if async_op else None


def reduce_scatter(part, tensor, group=None):
    sent("reduce_scatter", tensor, group)


def all_gather(tensor, part, group=None):
    sent("all_gather", tensor, group)


def make_comm(settings, processes: int) -> Comm:
    """Rank 0 of so many processes, two of which make a node, without any of the others."""
    comm = Comm(torch.device("cuda", 0))
    comm.world_size, comm.node_size = processes, min(2, processes)
    comm.two_stage = settings.communication.allreduce == "two_stage"
    comm._node, comm._peers = "node", "peers"
    return comm


# ---- updates --------------------------------------------------------------------------------------------------------


def build(config: str, processes: int, settings: list[str], precision: str, execution: dict) -> trainer.Trainer:
    loaded = configs.load(ROOT / config, [SYNTHETIC, *settings])
    return trainer.Trainer(loaded, 1, make_comm(loaded, processes), precision, execution=Execution(**execution))


def replaced(watch: GpuWatch):
    """What needs a device, or the other processes, is replaced; the weights get no values."""
    stack = contextlib.ExitStack()
    patch = mock.patch.object
    for owner in (vectorised, compiled_lars):
        stack.enter_context(patch(owner, "compiled", watch.compiled))
    stack.enter_context(patch(dist, "all_reduce", all_reduce))
    stack.enter_context(patch(comms, "reduce_scatter_into", reduce_scatter))
    stack.enter_context(patch(comms, "all_gather_into", all_gather))
    stack.enter_context(patch(trainer, "start_equal", lambda model, seed, comm, how: model.to(comm.device) and {}))
    return stack


def take(config: str, processes: int, precision: str = "bf16", execution: dict | None = None, **options) -> dict:
    """The facts of one update, as recorded where a recording is asked for."""
    execution, watch = execution or {}, GpuWatch()
    with FakeTensorMode(), replaced(watch), watch:
        made = build(config, processes, options["set"], precision, execution)
        loader = open_loader(made.config, Path(), 1, made.workers, 0, processes, made.comm.device)
        made.model.train()
        chunks, batch = loader.train_epoch(0), made.config.global_batch(0)
        if execution.get("cuda_graph"):
            recorded(made, chunks, batch, watch)
        else:
            made.take_update(chunks, batch)  # what only the first needs is not watched
            watched(watch, lambda: made.take_update(chunks, batch))
    return facts(made, watch)


def recorded(made: trainer.Trainer, chunks, batch: int, watch: GpuWatch) -> None:
    """Watch what a recording holds, not what comes before."""

    def record(body: Callable[[], None]) -> Callable[[], None]:
        watched(watch, body)
        return lambda: None

    update = GraphedUpdate(made, record)
    for _ in range(WARM_UP + 1):
        update(chunks, batch)


def watched(watch: GpuWatch, body: Callable[[], object]) -> None:
    EVENTS.clear()
    watch.on = True
    body()
    watch.on = False
    watch.events = list(EVENTS)


def facts(made: trainer.Trainer, watch: GpuWatch) -> dict:
    parameters = list(made.model.parameters())
    strays = [p for p in parameters if p.grad.dtype != torch.float32 or p.grad.stride() != p.stride()]
    return {
        "kernels": dict(sorted(watch.kernels.items())), "peak": watch.peak, "events": watch.events,
        "waits": dict(watch.waits), "uploads": dict(watch.uploads), "copies": dict(watch.copies),
        "layouts": dict(watch.layouts), "types": dict(watch.types), "stray gradients": len(strays),
    }  # fmt: skip


# ---- faults ---------------------------------------------------------------------------------------------------------


def after(owner, name: str, do: Callable):
    """A patch: `do(self, result)` is called after a method."""
    original = getattr(owner, name)

    def method(self, *args, **kwargs):
        result = original(self, *args, **kwargs)
        do(self, result)
        return result

    return mock.patch.object(owner, name, method)


def batch_norm_in_half(x, mean, var, weight, bias, *rest, original=torch.nn.functional.batch_norm):
    return original(x, mean, var, weight.to(x.dtype), bias.to(x.dtype), *rest)


def nchw(build_model=trainer.build_model):
    def built(config):
        return build_model(config).to(memory_format=torch.contiguous_format)

    return mock.patch.object(trainer, "build_model", built)


FAULTS = {
    "item": lambda: after(trainer.Trainer, "finish", lambda self, outcome: outcome[0].item()),
    "cpu tensor": lambda: after(trainer.Trainer, "prepare", lambda t, _: t.gradients.controls.add_(torch.ones(3))),
    "wrong stream": lambda: mock.patch.object(gradients._Stream, "put", lambda self, number: self._begin(number)()),
    "half batch norm": lambda: mock.patch.object(workers.F, "batch_norm", batch_norm_in_half),
    "upload": lambda: after(trainer.Trainer, "prepare", lambda self, _: torch.tensor([0.1], device=self.comm.device)),
    "nchw": nchw,
}  # fmt: skip


def run(options: dict, fault: Callable = contextlib.nullcontext) -> dict:
    try:
        with fault():
            return take(**options) | {"error": None}
    except Exception as error:
        traceback.print_exc(limit=-3)
        return {"error": f"{type(error).__name__}: {error}"}


def keep() -> None:
    found = {name: take(**options) for name, options in SCENARIOS.items()}
    kept = {name: {"peak": facts["peak"], "kernels": facts["kernels"]} for name, facts in found.items()}
    KEPT.write_text(json.dumps({"torch": torch.__version__.partition("+")[0]} | kept, indent=1) + "\n")


def main() -> None:
    fake_gpu.install()
    if sys.argv[1:] == ["--keep"]:
        return keep()
    cases = {name: (options,) for name, options in SCENARIOS.items()} | {"no fault": (FAULTY,)}
    cases |= {name: (FAULTY, fault) for name, fault in FAULTS.items()}
    for name in sys.argv[1:] or cases:
        print(json.dumps({"name": name} | run(*cases[name])), flush=True)


if __name__ == "__main__":
    main()
    os._exit(0)  # the device's thread cannot be ended
