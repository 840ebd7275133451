"""Where the time of an update goes: the real trainer and loader, with marks where it passes from stage to stage.

Started once per process by `python -m reproduce.bench profile`; rank 0 writes what it measured.

On a CPU a mark is a moment on the host's clock, so a stage has the time between two of them. On a GPU it is an event
on the training stream, so a stage has the device's time from the moment the stream reaches it until it reaches the
next: its kernels, and what the stream waits for meanwhile, be it the host or another stream. No mark waits for the
device.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from reproduce.bench.contest import Result, Row, Table
from reproduce.bench.timed.contenders import Ours
from reproduce.bench.timed.marks import pass_marks, wrapped
from reproduce.engine.data.chunks import Chunk
from reproduce.engine.device import pick_device
from reproduce.engine.dist.comm import Comm
from reproduce.engine.dist.place import find
from reproduce.engine.environment import compute_precision, machine
from reproduce.errors import TrainingError, command
from reproduce.recipe import load as configs

DATA, FORWARD, BACKWARD, WAIT, UPDATE, OTHER = STAGES = (
    "data wait", "forward", "loss and backward", "exposed communication", "update", "host and other",
)  # fmt: skip
AFTER = {"begin": FORWARD, "forward_end": BACKWARD, "backward_end": OTHER}  # the stage that begins there
WARM_UP = 3  # updates not counted
TRACED = 3  # updates under the profiler, after those that are timed
OPERATORS = 12  # shown by themselves
TICK_MS = 1e-6  # for events that lie closer together than a GPU's clock can tell


class Marks:
    """The moments of one update at which a stage begins, in order."""

    def __init__(self, device: torch.device):
        self._on_gpu = device.type == "cuda"
        self._marks: list = []  # (stage, nanoseconds or event)

    def __call__(self, stage: str) -> None:
        if not self._on_gpu:
            self._marks.append((stage, time.perf_counter_ns()))
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._marks.append((stage, event))

    def take(self) -> list:
        """What was marked since the last `take`."""
        taken, self._marks = self._marks, []
        return taken


def milliseconds(marks: list) -> dict[str, float]:
    """Of every stage in one update's marks, all its pieces together; the last mark ends the update."""
    spent: dict[str, float] = {}
    for (stage, begin), (_, end) in zip(marks, marks[1:]):
        ms = (end - begin) / 1e6 if isinstance(begin, int) else begin.elapsed_time(end)
        spent[stage] = spent.get(stage, 0.0) + max(ms, TICK_MS)
    return spent


class MarkedLoader:
    """A loader that marks how long the trainer waits for each chunk."""

    def __init__(self, loader, mark: Marks):
        self._loader, self._mark = loader, mark

    def train_epoch(self, epoch: int, first_update: int = 0) -> Iterator[Chunk]:
        self._mark(DATA)
        for chunk in self._loader.train_epoch(epoch, first_update):
            self._mark(OTHER)
            yield chunk
            self._mark(DATA)


@contextlib.contextmanager
def marked(ours: Ours, mark: Marks) -> Iterator[None]:
    """Inside the block every update calls `mark` with the stage that begins."""
    trainer = ours.trainer
    several = trainer.comm.world_size > 1
    ours.loader = MarkedLoader(ours.loader, mark)
    with (
        pass_marks(trainer, lambda name: mark(AFTER[name])),
        wrapped(trainer.gradients, "wait", lambda: mark(WAIT if several else OTHER), lambda: mark(UPDATE)),
        wrapped(trainer, "finish", after=lambda: mark(OTHER)),
    ):
        yield


def stages(ours: Ours, updates: int, work: str) -> Table:
    """Milliseconds of each stage in so many updates. Raises `TrainingError` if the trainer passes one by."""
    mark, found = Marks(ours.trainer.comm.device), []
    with marked(ours, mark):
        for number in range(WARM_UP + updates):
            mark(OTHER)
            ours.step()
            mark("end")
            taken = mark.take()
            if number >= WARM_UP:
                found.append(taken)
    ours.trainer.comm.synchronise()  # events have times when the device has passed them
    spent = [milliseconds(marks) for marks in found]
    expected = [stage for stage in STAGES if stage != WAIT or ours.trainer.comm.world_size > 1]
    for stage in expected:
        if any(stage not in update for update in spent):
            raise TrainingError(f"profile: an update passed without a stage '{stage}': the marks miss what it does")
    whole = [sum(update.values()) for update in spent]
    rows = [Row("whole update", "ours", tuple(whole), _share(sum(whole), sum(whole), updates))]
    for stage in expected:
        values = tuple(update[stage] for update in spent)
        rows.append(Row(stage, "ours", values, _share(sum(values), sum(whole), updates)))
    return Table("Where an update's time goes", work, "ms", None, tuple(rows))


def operators(ours: Ours, work: str) -> Table:
    """Self time of the operators that take most, as the profiler sees it, and of the rest together."""
    on_gpu = ours.trainer.comm.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiled:
        for _ in range(TRACED):
            ours.step()
        ours.trainer.comm.synchronise()
    times = {}
    for event in profiled.key_averages():
        microseconds = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        if microseconds > 0:
            times[event.key] = (microseconds / 1000 / TRACED, event.count / TRACED)
    order = sorted(times, key=lambda name: -times[name][0])
    total = sum(ms for ms, _ in times.values())
    rows = [Row("all operators", "ours", (total,), f"{len(order)} kinds")]
    for name in order[:OPERATORS]:
        ms, calls = times[name]
        rows.append(Row(name, "ours", (ms,), f"{ms / total:.1%}, {calls:,.0f} calls"))
    if rest := sum(times[name][0] for name in order[OPERATORS:]):
        rows.append(Row("all others", "ours", (rest,), f"{rest / total:.1%}"))
    clock = "GPU" if on_gpu else "CPU"
    return Table("Operators by self time", f"{work}; mean of {TRACED} updates, {clock} time under torch.profiler", "ms",
                 None, tuple(rows))  # fmt: skip


def _share(ms: float, whole: float, updates: int) -> str:
    return f"mean {ms / updates:.3f} ms, {ms / whole:.1%}"


def measure(request: dict, comm: Comm) -> Result:
    """request: "config", "overrides", "data" (a folder, ignored for synthetic images), "updates"."""
    config = configs.load(request["config"], request["overrides"])
    precision = compute_precision(config, comm.device)
    ours = Ours(config, comm.device, precision, data=Path(request["data"]), comm=comm)
    several = f"{comm.world_size} processes, rank 0's times" if comm.world_size > 1 else "1 process"
    work = f"{config.run.name}, {ours.images} images per update, {precision}, {ours.loader.backend} data, {several}"
    loader = ours.loader
    try:
        tables = stages(ours, request["updates"], work), operators(ours, work)
    finally:
        loader.close()
    ours.trainer.gradients.close()
    about = machine(comm.device, comm.world_size) | {"cores": os.cpu_count()}
    return Result("profile", about, tables)


@command
def main(argv=None) -> None:
    request = json.loads((sys.argv[1:] if argv is None else argv)[0])
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler says when it starts and stops
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    torch.set_flush_denormal(True)
    place = find()
    comm = Comm(pick_device(request["device"], place.local_rank), place=place)
    try:
        result = measure(request, comm)
        if comm.rank == 0:
            Path(request["out"]).write_text(result.to_json())
    finally:
        comm.close()


if __name__ == "__main__":
    sys.exit(main())
