"""Times training steps that differ only in how the gradients are exchanged, interleaved in the same processes.

Started once per process by `python -m reproduce.bench comm`, through torchrun, with a `Request` as JSON:

    python -m reproduce.bench.timed.comm '{"config": ..., "overrides": [...], "variants": [...], "rounds": 6, ...}'

Rank 0 writes what it measured to the request's file. All variants share one copy of weights and momenta, and each has
gradients of its own; the order within a round changes from round to round, so that noise and neighbours hit all alike.
"""

import copy
import json
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from reproduce.bench.timed.marks import pass_marks
from reproduce.engine.data.loader import Chunk, open_loader
from reproduce.engine.dist.comm import Comm
from reproduce.engine.dist.gradients import make_gradients
from reproduce.engine.dist.place import find
from reproduce.engine.dist.start import start_equal
from reproduce.engine.environment import describe
from reproduce.engine.model import build_model
from reproduce.engine.trainer import Trainer
from reproduce.errors import command
from reproduce.recipe import load as configs
from reproduce.recipe.load import Config
from reproduce.recipe.schema import Communication

STARTS = 3  # of either kind


@dataclass(frozen=True)
class Request:
    """What to time. `variants` are [rule, overlap, wire]; rule "none" exchanges nothing. The first round is warm-up.

    `traced` is the place of the variant of which one more step is traced, after the timed ones. Into `out` goes the
    result, and into `progress` a line per round.
    """

    config: str
    overrides: list[str]
    variants: list[list]
    rounds: int
    traced: int
    progress: str
    out: str


class Contender:
    """One way to exchange the gradients of a trainer, switched in for a step at a time."""

    def __init__(self, trainer: Trainer, rule: str, overlap: bool, wire: Literal["fp32", "fp16", "bf16"]):
        comm = trainer.comm
        if rule == "none":
            comm = copy.copy(comm)
            comm.world_size = 1
            rule = "single"
        self.trainer, self.name = trainer, rule
        self._parameters = list(trainer.model.parameters())
        for p in self._parameters:
            p.grad = None  # what the one before left; PyTorch's reducer would add to it
        self.gradients = make_gradients(trainer.model, comm, Communication(rule, "flat", wire, overlap))
        self._views = [p.grad for p in self._parameters]

    def step(self, chunk: Chunk, global_batch: int) -> float:
        """Seconds of one update, from barrier to barrier."""
        self.trainer.gradients = self.gradients
        for p, view in zip(self._parameters, self._views):
            p.grad = view
        self.trainer.comm.synchronise()
        began = time.perf_counter()
        self.trainer.take_update([chunk], global_batch)
        self.trainer.comm.synchronise()
        seconds = time.perf_counter() - began
        self._views = [p.grad for p in self._parameters]  # PyTorch's reducer lays its buckets out anew
        return seconds

    def traffic(self) -> tuple[int, int]:
        """(allreduces, bytes each process puts into them) of a step."""
        if self.gradients.comm.world_size == 1:
            return 0, 0
        table = self.gradients.table()
        if table is None:  # PyTorch's reducer
            logged = self.gradients.network._get_ddp_logging_data()
            sizes = [int(size) for size in logged.get("rebuilt_bucket_sizes", logged["bucket_sizes"]).split(",")]
            return len(sizes), sum(sizes)
        return len(table), sum(size for _, _, size in table)

    def trace(self, chunk: Chunk, global_batch: int) -> list[list]:
        """[name, group or -1, ns] of one more step: "begin", "forward_end", "backward_end", "end" and the groups'."""
        marks = []

        def mark(name: str) -> None:
            marks.append([name, -1, time.perf_counter_ns()])

        self.gradients.timeline = []
        with pass_marks(self.trainer, mark):
            self.step(chunk, global_batch)
            mark("end")
        timeline, self.gradients.timeline = self.gradients.timeline, None
        return marks + [list(event) for event in timeline]


def startups(config: Config, comm: Comm) -> dict[str, list[float]]:
    """Seconds, a few times each in turns, from an empty network to equal weights in all processes, and of the check."""
    seconds: dict[str, list[float]] = {"same_seed": [], "broadcast": [], "check": []}
    for _ in range(STARTS):
        for how in ("same_seed", "broadcast"):
            about = start_equal(build_model(config), 1, comm, how)
            seconds[how].append(about["seconds"])
            seconds["check"].append(about["check_seconds"])
    return seconds


def measure(request: Request, comm: Comm) -> dict:
    """Run all rounds; the start-up times, the step times of every variant without the first round, its traffic, and
    the trace."""
    config = configs.load(request.config, request.overrides)
    started = startups(config, comm)
    trainer = Trainer(config, 1, comm, "fp32")
    trainer.model.train()
    loader = open_loader(config, Path(), 1, trainer.workers, comm.rank, comm.world_size, comm.device)
    chunk, global_batch = next(loader.train_epoch(0)), config.global_batch()
    contenders = [Contender(trainer, *variant) for variant in request.variants]
    for contender in contenders:
        if contender.name == "ddp":  # it lays its buckets out anew in its second step: that is to be the warm-up round
            contender.step(chunk, global_batch)
    seconds: list[list[float]] = [[] for _ in contenders]
    began = time.monotonic()
    for number in range(request.rounds):
        order = list(range(len(contenders)))
        random.Random(number).shuffle(order)  # the same on every process
        for index in order:
            seconds[index].append(contenders[index].step(chunk, global_batch))
        if comm.rank == 0:
            gone = time.monotonic() - began
            left = gone / (number + 1) * (request.rounds - number - 1)
            done = f"round {number + 1} of {request.rounds}, {len(order)} steps each"
            with open(request.progress, "a") as file:
                file.write(f"{done}; {gone:.0f} s gone, about {left:.0f} s to go at this rate\n")
    trace = contenders[request.traced].trace(chunk, global_batch)
    variants = []
    for (rule, overlap, wire), contender, times in zip(request.variants, contenders, seconds):
        groups, size = contender.traffic()
        variants.append({"rule": rule, "overlap": overlap, "wire": wire, "groups": groups, "bytes": size,
                         "seconds": times[1:]})  # fmt: skip
        contender.gradients.close()
    about = describe(config, comm, "fp32", loader.backend)
    return {"variants": variants, "startup": started, "trace": trace, "about": about}


@command
def main(argv=None) -> None:
    request = Request(**json.loads((sys.argv[1:] if argv is None else argv)[0]))
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    comm = Comm(torch.device("cpu"), place=find())
    try:
        result = measure(request, comm)
        if comm.rank == 0:
            Path(request.out).write_text(json.dumps(result))
    finally:
        comm.close()


if __name__ == "__main__":
    sys.exit(main())
