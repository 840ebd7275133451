"""Times loading, ours and others', and training with and without it; asked by `python -m reproduce.bench data`.

Seconds are processor time of all threads: what a contender takes from whoever else wants the core. All have one core,
where nobody gains by threads that read ahead; were it theirs alone, it would be the time elapsed. A turn is an epoch
over the same files in an order of its own; they are in memory, the system's or ours.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import count, islice
from pathlib import Path

import torch

from reproduce.bench.contest import ANEW, DECODED_ONCE, Row, Table
from reproduce.bench.timed import parts, peer_loaders
from reproduce.bench.timed.entry import serve
from reproduce.bench.timed.parts import rate
from reproduce.bench.timed.turns import take_turns
from reproduce.engine.data.jpeg import decoder
from reproduce.engine.data.loader import AnyLoader, open_loader
from reproduce.engine.data.scaling import kernel
from reproduce.engine.dist.comm import Comm
from reproduce.engine.environment import compute_precision
from reproduce.engine.trainer import Trainer
from reproduce.errors import DataError
from reproduce.recipe import load as configs

CPU = torch.device("cpu")
BATCH = 40  # of the peers, and of decoding alone
BATCHES = 50  # of an epoch, the most that a peer does in a turn
EPOCHS = 40  # what turns count through: images are augmented in all of them
BACKENDS = {"DALI": "dali", "torchvision": "torchvision"}


class Field:
    """The contenders of one table: `make` builds a turn; where it lacks a package, the row is empty and says so."""

    def __init__(self):
        self.turns: dict[str, Callable[[], float]] = {}
        self._rows: list[Row] = []

    def add(self, name: str, role: str, make: Callable[[], Callable[[], float]], note: str = "") -> None:
        try:
            self.turns[name] = make()
        except (ImportError, DataError) as error:
            note = str(error)
        self._rows.append(Row(name, role, (), note))

    def race(self, rounds: int, label: str) -> tuple[Row, ...]:
        found = take_turns(self.turns, rounds, label)
        return tuple(replace(row, values=tuple(found.get(row.name, ()))) for row in self._rows)


class Folder:
    """A data set asked for, and the loaders opened on it."""

    def __init__(self, asked: dict, stack: ExitStack):
        self.config, self.what = configs.load(asked["config"], asked["overrides"]), asked["what"]
        self._root, self._asked, self._stack = Path(asked["root"]), asked, stack

    def open(self, backend: str, anew: bool, *overrides: str) -> AnyLoader:
        """Our loader of all workers; `anew`: keeps no decoded images, as if there were too many of them."""
        config = configs.load(self._asked["config"], [*self._asked["overrides"], *overrides])
        workers = range(config.batch.workers)
        options = {"keep_decoded": not anew, "across_epochs": False}  # a turn counts all that it reads
        loader = open_loader(config, self._root, 1, workers, 0, 1, CPU, backend, **options)
        self._stack.callback(loader.close)
        return loader

    def ours(self, backend: str, anew: bool, *overrides: str) -> Callable[[], float]:
        loader, numbers = self.open(backend, anew, *overrides), count()
        return lambda: rate(len(chunk.labels) for chunk in loader.train_epoch(next(numbers) % EPOCHS))

    def part(self, make: Callable, *options) -> Callable[[], float]:
        """A part of the work, see `parts`."""
        files = [path.read_bytes() for path in sorted((self._root / "train").glob("*/*"))]
        return make(self.config.data, files, BATCH, *options)

    def peer(self, make: Callable) -> Callable[[], float]:
        batches = make(self._root / "train", self.config.data, BATCH)
        return lambda: rate(len(labels) for _, labels in islice(batches, BATCHES))


# ---- the tables ---------------------------------------------------------------------------------------------------


def photographs(folder: Folder, pinned: str, rounds: int) -> Table:
    """Nothing decoded is kept, as of a whole ImageNet nothing could be."""
    field = Field()
    for name, backend in BACKENDS.items():
        note = means() if name == "torchvision" else ""
        field.add(f"ours, {name}", "ours", partial(folder.ours, backend, True), note)
    field.add("torchvision, PIL images", "peer", partial(folder.peer, peer_loaders.torchvision_pil))
    field.add("torchvision, tensors", "peer", partial(folder.peer, peer_loaders.torchvision_tensors), tensors_note())
    field.add("timm", "peer", partial(folder.peer, peer_loaders.timm), "create_loader with its prefetcher")
    whole = partial(folder.ours, "dali", True, 'data.corrupt_images="skip"')
    field.add("ours, DALI, whole images decoded", "control", whole, "not only the window to be cut")
    field.add("DALI, decoding alone", "control", partial(folder.part, parts.dali_decoding), "whole images")
    field.add("PIL, decoding alone", "control", partial(folder.part, parts.pil_decoding), "whole images")
    field.add("ours, torchvision, all but decoding", "control", partial(folder.part, parts.scaling),
              "of images decoded before")  # fmt: skip
    field.add("entropy decoding alone", "floor", partial(folder.part, parts.pil_decoding, 8),
              "libjpeg-turbo reads every coefficient and makes one pixel of 64")  # fmt: skip
    work = f"{folder.what}, normalised float32 batches of {BATCH}, {pinned}, peers with num_workers=0"
    rows = field.race(rounds, "photographs")
    return Table("decode, random resized crop, flip, normalise", work, "images/s per core", fastest(rows), rows)


def fastest(rows: tuple[Row, ...]) -> str:
    """The name of our fastest row, which peers are compared with: a user may take either back-end."""
    return max((row for row in rows if row.role == "ours"), key=lambda row: row.median or 0.0).name


def means() -> str:
    """What the torchvision back-end has on this machine."""
    windows = "windows alone decoded by libjpeg-turbo" if kernel() and decoder() else "whole images decoded by PIL"
    return f"{windows}, scaled by {'our kernel' if kernel() else 'PIL'}"


def tensors_note() -> str:
    return f"transforms.v2, decoded by {peer_loaders.tensor_decoder('RGB')[0]}"


def small(folder: Folder, pinned: str, rounds: int) -> Table:
    field = Field()
    for name, backend in BACKENDS.items():
        field.add(f"ours, {name}", "ours", partial(folder.ours, backend, False))
    for name, backend in BACKENDS.items():
        field.add(f"ours, {name}, {ANEW}", "control", partial(folder.ours, backend, True))
    field.add("torchvision, PIL images", "peer", partial(folder.peer, peer_loaders.torchvision_pil))
    field.add("torchvision, tensors", "peer", partial(folder.peer, peer_loaders.torchvision_tensors), tensors_note())
    field.add("normalising alone", "floor", partial(normalising, folder), "uint8 pixels to float32")
    work = f"{folder.what}, normalised float32 batches, {pinned}, peers with num_workers=0"
    rows = field.race(rounds, "small images")
    return Table(DECODED_ONCE, work, "images/s per core", fastest(rows), rows)


def normalising(folder: Folder) -> Callable[[], float]:
    data = folder.config.data
    pixels = torch.zeros(512, data.image_size, data.image_size, len(data.mean), dtype=torch.uint8)
    mean, scale = torch.tensor(data.mean), 1 / torch.tensor(data.std)
    return lambda: rate(len(pixels.float().sub_(mean).mul_(scale)) for _ in range(64))


def training(folder: Folder, pinned: str, rounds: int) -> Table:
    """Whole epochs of the quick config with its loader, and with the same chunks kept in memory."""
    comm = Comm(CPU)
    precision = compute_precision(folder.config, CPU)
    trainer = Trainer(folder.config, 1, comm, precision)
    trainer.model.train()

    def train(chunks: Iterable) -> float:
        trainer.update = 0  # the schedule has an end
        return rate(step(trainer, chunk) for chunk in chunks)

    def loaded(backend: str, anew: bool) -> Callable[[], float]:
        loader, numbers = folder.open(backend, anew), count()
        return lambda: train(loader.train_epoch(next(numbers) % EPOCHS))

    def from_memory() -> Callable[[], float]:
        chunks = list(folder.open("auto", False).train_epoch(0))
        return lambda: train(chunks)

    field = Field()
    for name, backend in BACKENDS.items():
        field.add(f"ours, {name}", "ours", partial(loaded, backend, False))
    for name, backend in BACKENDS.items():
        field.add(f"ours, {name}, {ANEW}", "control", partial(loaded, backend, True))
    field.add("tensors in memory", "floor", from_memory, "no loader")
    rows = field.race(rounds, "training")
    best = rows[-1].median
    assert best is not None, "training on tensors in memory needs no peer"
    rows = tuple(row if row.median is None or row.role == "floor" else with_share(row, best) for row in rows)
    comm.close()
    work = f"{folder.what}, {folder.config.run.name}, {precision}, training and loader {pinned}"
    return Table("what loading takes from training", work, "images/s", "ours, DALI", rows)


def step(trainer: Trainer, chunk) -> int:
    with trainer.autocast:
        trainer.accumulate(chunk)
    if chunk.last:
        trainer.prepare(trainer.config.global_batch())
        trainer.finish(trainer.config.global_batch())
    return len(chunk.labels)


def with_share(row: Row, without: float) -> Row:
    """`without`: the median images/s without a loader."""
    return replace(row, note=f"the loader's share of the step: {1 - (row.median or 0.0) / without:.1%}")


def pin() -> str:
    """Give this process, and the threads it starts, one core; says in words whether that worked."""
    if not hasattr(os, "sched_setaffinity"):
        return "one thread, not pinned to a core"
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return "pinned to one core"


def measure(request: dict, device: torch.device) -> list[Table]:
    pinned, rounds = f"{pin()}, seconds of processor time", request["rounds"]
    with ExitStack() as stack:
        large, quick = (Folder(request[name], stack) for name in ("large", "quick"))
        return [photographs(large, pinned, rounds), small(quick, pinned, rounds), training(quick, pinned, rounds)]


if __name__ == "__main__":
    serve("data", measure)
