"""Training steps in turns: ours, and those of plain loops and public packages, on synthetic images in memory.

Started by `python -m reproduce.bench step`, whose request lists the contests. Every contender takes whole updates:
zero, forward, loss, backward, optimizer.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from reproduce.bench.contest import Table
from reproduce.bench.timed import plain
from reproduce.bench.timed.contenders import Entry, Ours, contest
from reproduce.bench.timed.entry import serve
from reproduce.engine.environment import compute_precision
from reproduce.engine.execution import Execution
from reproduce.engine.graph import WARM_UP
from reproduce.engine.model import build_model
from reproduce.recipe import load as configs

PASS_IMAGES = 512  # the most per pass that `open_loader` chooses by itself


# what a GPU may gain, one thing added after the other
ON_GPU: dict[str, dict[str, Any]] = {
    "compiled LARS": {"lars": "compiled"},
    "compiled LARS, vectorised batch norm": {"lars": "compiled", "batch_norm": "vectorised"},
    "compiled LARS, CUDA graph": {"lars": "compiled", "cuda_graph": True},
    "compiled LARS, vectorised batch norm, CUDA graph": {
        "lars": "compiled", "batch_norm": "vectorised", "cuda_graph": True,
    },
}  # fmt: skip


class Contest:
    """The entries of one table, and what they share: a recipe, a device, and one global batch of noise."""

    def __init__(self, asked: dict, device: torch.device):
        """asked: "config", "overrides", and "matrix", the size of the matrices whose product is the floor; perhaps
        "precisions" instead of those that the device is good at, and "only" some contenders, by name."""
        self.config = c = configs.load(asked["config"], asked["overrides"])
        self.device = device
        self.entries: dict[str, Entry] = {}
        self.workers, self.local_batch = c.batch.workers, c.local_batch(0)
        self.images, size = c.global_batch(), c.data.image_size
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(self.images, c.model.input_channels, size, size, generator=generator)
        labels = torch.randint(c.data.classes, (self.images,), generator=generator)
        self._noise = noise.to(device), labels.to(device)
        self._flop = plain.training_flop(build_model(c), noise[:1])
        self._matrix = asked["matrix"]
        half = compute_precision(c, device)
        usual = ["bf16", "fp16"] if device.type == "cuda" else list(dict.fromkeys([half, "fp32"]))
        self.precisions, self._only = asked.get("precisions") or usual, asked.get("only")

    def ours(self, name: str, precision: str, per_pass: int, role: str = "ours", **execution) -> None:
        """`Trainer`, with so many workers per pass, and computing by an `Execution` of these choices."""
        chosen = Execution(**execution)

        def make() -> Ours:
            made = Ours(self.config, self.device, precision, per_pass * self.local_batch, execution=chosen)
            for _ in range(WARM_UP + 1 if chosen.cuda_graph else 0):  # the last of these is recorded
                made.step()
            return made

        self.entries[name] = Entry(role, make, f"{per_pass} of {self.workers} workers per pass")

    def plain(
        self, name: str, network: Callable[[], nn.Module], optimizer=plain.sgd, role: str = "peer", note: str = "",
        **options,
    ) -> None:  # fmt: skip
        """`plain.Plain` with these options."""

        def make() -> plain.Plain:
            return plain.Plain(network(), optimizer, *self._noise, **options)

        self.entries[name] = Entry(role, make, note)

    def floors(self) -> None:
        for precision in self.precisions:
            make = partial(plain.MatrixProducts, self._flop, self.images, precision, self.device, self._matrix)
            self.entries[f"all multiply-adds in {precision} matrix products"] = Entry("floor", make)

    def hold(self, network: str, rounds: int, updates: int) -> list[Table]:
        size, threads = self.config.data.image_size, torch.get_num_threads()
        on = "one GPU" if self.device.type == "cuda" else f"{threads} thread{'s' if threads > 1 else ''}"
        work = f"images of {size} x {size}, {updates} update{'s' if updates > 1 else ''} per round, on {on}"
        title = f"Training step, {network}, {self.workers} x {self.local_batch} images"
        return contest(title, work, self.entries, rounds, updates, self.device, self._only)


def quick(asked: dict, rounds: int, device: torch.device) -> list[Table]:
    """The quick tier's network. "workers_per_pass" of ours, and images per pass of "ordinary" batch norm, are tried."""
    c = Contest(asked, device)
    best, tried = c.precisions[0], asked["workers_per_pass"]
    default = max(n for n in tried if n * c.local_batch <= PASS_IMAGES)
    for precision in c.precisions:
        c.ours(f"ours, {precision}", precision, default)
    for per_pass in tried:
        if per_pass != default:
            c.ours(f"ours, {best}, {per_pass} per pass", best, per_pass, role="control")
    c.ours(f"ours, {best}, vectorised batch norm", best, default, role="control", batch_norm="vectorised")
    network = partial(plain.resnet8, c.config.model.input_channels, c.config.data.classes)
    c.plain("plain loop, one worker after another", network, pass_images=c.local_batch,
            note="the same mathematics of workers; fp32, NCHW, SGD")  # fmt: skip
    c.plain("plain loop without workers", network, note="one batch norm over all; fp32, NCHW, SGD")
    for images in asked["ordinary"]:
        c.plain(f"ordinary batch norm over {images}", network, role="control", precision=best, channels_last=True,
                pass_images=images, note=f"no workers; {best}, channels_last, SGD")  # fmt: skip
    c.floors()
    return c.hold("quick network", rounds, asked["updates"])


def resnet50(asked: dict, rounds: int, device: torch.device) -> list[Table]:
    """The paper's network. The peers keep workers apart by one pass for each, or, as "one batch", not at all."""
    c = Contest(asked, device)
    best = c.precisions[0]
    for precision in c.precisions:
        c.ours(f"ours, {precision}", precision, c.workers)
        if device.type == "cuda":
            for also, execution in ON_GPU.items():
                c.ours(f"ours, {precision}, {also}", precision, c.workers, **execution)
    if c.workers > 1:
        c.ours(f"ours, {best}, 1 per pass", best, 1, role="control")

    def peer(name: str, network: Callable[[], nn.Module], note: str, **options) -> None:
        c.plain(name, network, note=note, pass_images=c.local_batch, **options)
        if c.workers > 1:
            c.plain(f"{name}, one batch", network, note=f"{note}; no workers", **options)

    for precision in c.precisions if device.type == "cuda" else [best]:
        flags = {"precision": precision, "channels_last": True}
        said = f"{precision}, channels_last"
        peer(f"timm, {precision}", plain.timm_resnet50, f"{said}, Lars", optimizer=plain.timm_lars, **flags)
        if device.type == "cuda":
            peer(f"timm, {precision}, compiled", plain.compiled_timm_resnet50, f"{said}, Lars, torch.compile",
                 optimizer=plain.timm_lars, **flags)  # fmt: skip
        peer(f"torchvision, {precision}", plain.torchvision_resnet50, f"{said}, SGD", **flags)
    if not asked.get("precisions"):
        beside(c, device)
    c.floors()
    return c.hold("ResNet-50", rounds, asked["updates"])


def beside(c: Contest, device: torch.device) -> None:
    """Loops that are in no table of one precision."""
    c.plain("torchvision, fp32, NCHW", plain.torchvision_resnet50, note="SGD", pass_images=c.local_batch)
    ddp = "torchvision, fp32, NCHW, SGD; a world of one" + ("; one batch, no workers" if c.workers > 1 else "")
    c.plain("plain DDP loop", lambda: plain.data_parallel(plain.torchvision_resnet50(), device), note=ddp)


def measure(request: dict, device: torch.device) -> list[Table]:
    """request: "rounds", and "contests", each with its "network", a function of this module, and what that asks for."""
    torch.backends.cudnn.benchmark = True  # as timm does; for all alike
    held = {"quick": quick, "resnet50": resnet50}
    try:
        found = [held[asked["network"]](asked, request["rounds"], device) for asked in request["contests"]]
        return [table for tables in found for table in tables]
    finally:
        if dist.is_initialized():  # by the plain DDP loop
            dist.destroy_process_group()


if __name__ == "__main__":
    serve("step", measure)
