"""Small configs, images, folders and loaders for the tests of the data station."""

import io
import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from reproduce.engine.data import windows
from reproduce.engine.data.loader import dali_is_here, open_loader
from reproduce.engine.data.plan import AUGMENT, uniforms
from reproduce.engine.data.torchvision_backend import TorchvisionBackend
from reproduce.recipe import load as config

HAVE_DALI = dali_is_here()
NEEDS_DALI = pytest.mark.needs("" if HAVE_DALI else "no DALI: install requirements.txt (DALI is for Linux only)")
BACKENDS = [pytest.param("dali", marks=NEEDS_DALI), "torchvision"]

VALUES = {
    "data.dataset": "imagenet", "data.train_images": 24, "data.val_images": 11, "data.classes": 3,
    "data.image_size": 32, "data.eval_resize": 36, "data.crop_area": [0.05, 0.9], "data.crop_aspect": [0.666667, 1.5],
    "data.flip_probability": 0.5, "data.mean": [123.7, 116.3, 103.5], "data.std": [58.4, 57.1, 57.4],
    "data.unaugmented_epochs": 1, "data.corrupt_images": "error",
    "model.name": "resnet8", "model.input_channels": 3, "model.bn_momentum": 0.9, "model.bn_epsilon": 1e-5,
    "batch.workers": 4, "batch.local_batch": 4, "batch.epoch_rule": "ceil", "batch.bn_eval": "mean",
    "optimizer.preset": "sgd", "optimizer.momentum": 0.9, "optimizer.weight_decay": 0.0,
    "optimizer.label_smoothing": 0.1,
    "schedule.epochs": 4, "schedule.peak_lr": 1.0, "schedule.warmup_epochs": 0.0, "schedule.decay": "linear",
    "schedule.decay_epochs": 1.0, "schedule.decay_power": 1.0, "schedule.end_lr_ratio": 0.0,
    "precision.compute": "fp32", "evaluation.every": 4, "evaluation.offset": 2,
}  # fmt: skip


def make_config(folder: Path, **changes) -> config.Config:
    """A config of `VALUES`; ``data__train_images=12`` changes data.train_images."""
    values = VALUES | {name.replace("__", "."): value for name, value in changes.items()}
    lines = ["[run]", 'name = "small"', 'title = "small"', 'tier = "quick"']
    for section in sorted({name.split(".")[0] for name in values}):
        lines.append(f"[{section}]")
        for name, value in values.items():
            if name.startswith(section + "."):
                lines.append(
                    f'{name.split(".")[1]} = {{ value = {json.dumps(value)}, source = "chosen_here", ref = "test" }}'
                )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "small.toml"
    path.write_text("\n".join(lines))
    return config.load(path)


def picture(number: int, height: int, width: int, channels: int = 3) -> Image.Image:
    """A smooth random picture with some fine grain, as photographs have."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 12 + 2, width // 12 + 2, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    pixels = np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    return image if channels == 3 else image.convert("L")


def encode(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}), **options)
    return buffer.getvalue()


def make_folder(root: Path, train: int = 8, val: tuple[int, ...] = (4, 4, 3), classes=("n01", "n02", "n03")) -> Path:
    """An ImageNet-style folder: `train` images per class, `val[i]` of class i, of different sizes."""
    number = 0
    for label, name in enumerate(classes):
        for part, count in (("train", train), ("val", val[label])):
            (root / part / name).mkdir(parents=True)
            for _ in range(count):
                number += 1
                image = picture(number, 40 + 7 * (number % 5), 40 + 9 * (number % 4))
                (root / part / name / f"{part}_{number:03d}.JPEG").write_bytes(encode(image))
    return root


def job(encoded: list[bytes], geometry: np.ndarray, flips: np.ndarray, pixels=None) -> SimpleNamespace:
    """What a back-end's `stream` takes."""
    return SimpleNamespace(encoded=encoded, pixels=pixels, geometry=geometry, flips=flips)


def images_of(data, files: list[bytes], geometry: np.ndarray, flips: np.ndarray) -> torch.Tensor | None:
    """What the torchvision back-end makes of files."""
    backend = TorchvisionBackend(data, torch.device("cpu"), threads=2)
    ((_, images),) = backend.stream(iter([job(files, geometry, flips)]))
    backend.close()
    return images


def samples(folder: Path, channels: int, training: bool):
    """A config's `Data`, five files of different sizes, and their windows and flips."""
    grey = {"data__mean": [72.9], "data__std": [90.0], "model__input_channels": 1} if channels == 1 else {}
    data = make_config(folder, **grey).data
    sizes = np.array([(75, 100), (200, 33), (64, 97), (31, 140), (36, 36)])
    files = [encode(picture(number, *size, channels)) for number, size in enumerate(sizes.tolist())]
    if training:
        return data, files, windows.train_geometry(sizes, uniforms(3, AUGMENT, (), (len(sizes), windows.DRAWS)), data)
    return data, files, windows.centre_geometry(sizes, data)


class Loaders:
    """`open` is `open_loader` with defaults; all that it opened are closed at the end of the ``with``."""

    def __init__(self, folder: Path):
        self._folder, self._opened = folder, []

    def open(self, root, workers=range(4), rank=0, world_size=1, seed=1, backend="torchvision", chunk=8, **changes):
        config = make_config(self._folder, **changes)
        self._opened.append(open_loader(config, root, seed, workers, rank, world_size, "cpu", backend, chunk))
        return self._opened[-1]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for loader in self._opened:
            loader.close()


def updates(chunks) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
    """Images and labels of each update, its chunks joined."""
    joined = {}
    for update, parts in itertools.groupby(chunks, lambda chunk: chunk.update):
        parts = list(parts)
        joined[update] = torch.cat([p.images for p in parts]), torch.cat([p.labels for p in parts])
    return joined
