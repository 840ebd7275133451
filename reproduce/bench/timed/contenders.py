"""Contenders of `bench step`: our own trainer with all that it does in a run, and how contenders become a table."""

import resource
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch.profiler import ProfilerActivity, profile

from reproduce.bench.contest import NO_MEMORY, Row, Table
from reproduce.bench.timed.plain import MatrixProducts
from reproduce.bench.timed.turns import seconds, take_turns
from reproduce.engine.data.loader import open_loader
from reproduce.engine.dist.comm import Comm
from reproduce.engine.execution import Execution
from reproduce.engine.progress import Tick
from reproduce.engine.trainer import Trainer
from reproduce.recipe.load import Config

LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch")  # of the runtime and the driver, ExC among them


class Contender(Protocol):
    @property
    def images(self) -> float: ...  # trained on by a step

    def step(self) -> None: ...


class Ours:
    """A `step` is one update of the global batch as `Trainer.train_epoch` takes it, epoch after epoch.

    At most `pass_images` images go through the network at once: whole workers, at least one.
    """

    def __init__(
        self, config: Config, device: torch.device, precision: str, pass_images: int = 512, data: Path = Path(),
        comm: Comm | None = None, execution: Execution | None = None,
    ):  # fmt: skip
        comm = comm or Comm(device)
        self.trainer = Trainer(config, 1, comm, precision, execution=execution)
        workers = self.trainer.workers
        self.loader: Any = open_loader(
            config, data, 1, workers, comm.rank, comm.world_size, device, max_images_per_chunk=pass_images
        )
        self.images = config.global_batch()
        self._updates = self._endless()

    def _endless(self) -> Iterator[Tick]:
        while True:
            if self.trainer.epoch == self.trainer.config.schedule.epochs:  # the recipe is at its end: begin it again
                self.trainer.epoch = self.trainer.update = 0
            yield from self.trainer.train_epoch(self.loader)
            self.trainer.end_epoch()

    def step(self) -> None:
        next(self._updates)


class Entry(NamedTuple):
    """A row of the table to be; `make` raises ImportError for a peer that is not installed."""

    role: str
    make: Callable[[], Contender]
    note: str = ""


def contest(
    title: str, work: str, entries: Mapping[str, Entry], rounds: int, steps: int, device: torch.device,
    only: Sequence[str] | None = None,
) -> list[Table]:  # fmt: skip
    """Images/s of all entries, in turns of so many steps each; the others are compared with the first.

    `only`: of these alone, and the rest are rows without numbers; with a process to itself, a contender's memory and
    launches are told in tables of their own.
    """
    made: dict[str, Contender] = {}
    notes = {name: entry.note for name, entry in entries.items()}
    for name in entries if only is None else only:
        try:
            made[name] = _ready(entries[name])
        except ImportError as error:
            notes[name] = f"cannot be imported: {error}"
        except torch.OutOfMemoryError as error:
            notes[name] = f"{NO_MEMORY}: {str(error).splitlines()[0]}"[:160]

    def turn(contender: Contender) -> float:
        def work() -> None:
            for _ in range(steps):
                contender.step()

        return steps * contender.images / seconds(work, device)

    found = take_turns({name: partial(turn, contender) for name, contender in made.items()}, rounds, title)
    rows = [Row(name, entry.role, tuple(found.get(name, ())), notes[name]) for name, entry in entries.items()]
    rows = [_with_rate(row, made.get(row.name)) for row in rows]
    tables = [Table(title, work, "images/s", rows[0].name, tuple(rows))]
    return tables if only is None else [*tables, *_taken(title, work, entries, made, device)]


def _ready(entry: Entry) -> Contender:
    """Made, and one step taken, which needs all the memory that any does."""
    contender = entry.make()
    contender.step()
    return contender


def _taken(
    title: str, work: str, entries: Mapping[str, Entry], made: Mapping[str, Contender], device: torch.device
) -> Iterator[Table]:
    """Peak memory, and on a GPU what the host launches in a step; of contenders with a process to themselves."""

    def table(what: str, unit: str, measure: Callable[[Contender], tuple[float, ...]]) -> Table:
        values = {name: measure(contender) for name, contender in made.items()}
        rows = (Row(name, entry.role, values.get(name, ())) for name, entry in entries.items())
        return Table(f"{title}: {what}", work, unit, next(iter(entries)), tuple(rows))

    yield table("memory", "MB", lambda _: (peak_megabytes(device),))
    if device.type == "cuda":
        yield table("launches per update", "launches", launches)


def peak_megabytes(device: torch.device) -> float:
    """The most that tensors took on a GPU; the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def launches(contender: Contender) -> tuple[float, ...]:
    """How often the host starts a kernel or a graph in a step, as the profiler sees it; empty if it sees none."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        contender.step()
        torch.cuda.synchronize()
    counted = sum(event.count for event in profiled.key_averages() if event.key.startswith(LAUNCHES))
    return (float(counted),) if counted else ()


def _with_rate(row: Row, contender: Contender | None) -> Row:
    if not isinstance(contender, MatrixProducts):
        return row
    assert row.median is not None, "a contender that was made has taken its turns"
    return replace(row, note=contender.note(row.median))
