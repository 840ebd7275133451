"""Good inputs, which scenes spoil: a small recipe, its images, a log and a checkpoint of it."""

import contextlib
import functools
import io
import json
import tempfile
from pathlib import Path

from tests.fuzz.scene import Entry, Scene
from tests.helpers.data import VALUES, make_folder
from tests.helpers.runs import TINY

TRAIN = "reproduce.engine.train"
RECIPE = VALUES | {name.replace("__", "."): value for name, value in TINY.items()} | {
    "schedule.epochs": 1, "evaluation.every": 1, "data.unaugmented_epochs": 0, "data.train_images": 12,
    "data.val_images": 4, "data.classes": 2,
}  # fmt: skip
RUN = {"name": '"small"', "title": '"small"', "tier": '"quick"'}
ON_CPU = ("--device", "cpu", "--backend", "torchvision")


def entry(value: str) -> str:
    return f'{{ value = {value}, source = "chosen_here", ref = "test" }}'


def sections(changes: dict[str, object] | None = None) -> dict[str, dict[str, str]]:
    """The recipe as TOML texts by section and key."""
    found: dict[str, dict[str, str]] = {"run": dict(RUN)}
    for name, value in (RECIPE | (changes or {})).items():
        section, key = name.split(".")
        found.setdefault(section, {})[key] = entry(json.dumps(value))
    return found


def toml(found: dict[str, dict[str, str]], head: str = "") -> str:
    lines = [head] if head else []
    for section, entries in found.items():
        lines += [f"[{section}]", *(f"{key} = {value}" for key, value in entries.items())]
    return "\n".join(lines) + "\n"


def recipe(changes: dict[str, object] | None = None) -> Entry:
    """small.toml"""
    return Entry("small.toml", content=toml(sections(changes)).encode())


SYNTHETIC = {"data.dataset": "synthetic"}


@functools.cache
def images() -> tuple[Entry, ...]:
    """A folder ``images`` of what the recipe says: 12 images for training, 4 for validation, of two classes."""
    with tempfile.TemporaryDirectory() as folder:
        root = make_folder(Path(folder) / "images", 6, (2, 2), ("n01", "n02"))
        return tuple(Entry(f"images/{path.relative_to(root).as_posix()}", content=path.read_bytes())
                     for path in sorted(root.rglob("*")) if path.is_file())  # fmt: skip


@functools.cache
def trained() -> tuple[Entry, ...]:
    """What a run of the recipe on these images leaves below ``out``: its log and its checkpoint."""
    from tests.fuzz import child
    from tests.fuzz.scene import lay_out

    scene = Scene("stock", "", TRAIN, ("small.toml", "--data", "images", "--out", "out", *ON_CPU), (recipe(),
        *images()))
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        lay_out(scene, here)
        for name in child.OWN:
            (here / name).mkdir()
        code, _, _, said = child.call(scene, here, child.SECONDS)
        if code:
            raise RuntimeError(f"the stock's run failed: {said[1].decode()}")
        files = [path for path in sorted((here / "out").rglob("*")) if path.is_file() and path.suffix in (".txt",
            ".ckpt")]
        return tuple(Entry(path.relative_to(here).as_posix(), content=path.read_bytes()) for path in files)


def log() -> str:
    return next(one.content.decode() for one in trained() if one.path.endswith(".txt"))


def checkpoint() -> Entry:
    return next(one for one in trained() if one.path.endswith(".ckpt"))


@functools.cache
def state() -> dict:
    """What the checkpoint holds."""
    import torch

    return torch.load(io.BytesIO(checkpoint().content.partition(b"\n")[2]), weights_only=True)


def packed(found: object, update: int) -> bytes:
    """A checkpoint file, with its right checksum, of anything."""
    import torch

    from reproduce.engine.checkpoint import _header

    payload = io.BytesIO()
    with contextlib.suppress(Exception):
        torch.save(found, payload)
    return _header(payload.getvalue(), update) + payload.getvalue()


ODD = (  # what the paths of `values` lead to
    Entry("plain.txt", content=b"plain\n"), Entry("empty.txt"), Entry("folder/inside.txt", content=b"inside\n"),
    Entry("fifo", "fifo"), Entry("loop", "link", target="loop"), Entry("dangling", "link", target="nowhere/at/all"),
    Entry("zeros.bin", "zeros", size=30 << 30), Entry("locked", "folder", mode=0),
)  # fmt: skip
