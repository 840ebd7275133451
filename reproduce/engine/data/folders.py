"""The index of an ImageNet-style folder: which files, which labels; checked before anything trains.

Lay-out below the root: ``train/CLASS/*`` and either ``val/CLASS/*`` or a flat ``val/*`` with a mapping file. Classes
are numbered in the order of their sorted folder names. File contents are not touched here: a million files on a
shared file system are listed in seconds, but opened in many minutes. Zero-byte files are found when first read.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reproduce import files
from reproduce.engine.data import plan
from reproduce.engine.data.listing import class_folders, differing_classes, images, is_folder, oddities
from reproduce.engine.data.mapping import flat_val
from reproduce.errors import DataError

MARKER = "complete.json"  # written last into a lay-out


@dataclass(frozen=True)
class Split:
    """`names` are paths below the root; `labels` int64 [images]."""

    names: list[str]
    labels: np.ndarray


@dataclass(frozen=True)
class Index:
    train: Split  # in `plan.fixed_order`
    val: Split  # sorted by name
    classes: list[str]


def index(root: Path, data) -> Index:
    """Index `root`, the data set's own folder, and check it against a config's `Data`.

    The embedded set may be larger than data.train_images: the first images of the fixed order are taken. With
    data.subset any set may be larger, and of val/ evenly spread images are taken. With data.evaluate_on = "held_out",
    the last val_images of that order are evaluated on, and val/ is not. Raises `DataError`: missing folder or mapping,
    classes that differ, counts other than the config states.
    """
    root = Path(root)
    embedded = data.dataset == "fashion_mnist"
    remedy = "run python -m reproduce.engine.data.embedded --out DIR" if embedded else "point --data at the folder"
    for part in ("train", "val"):
        if not is_folder(root / part):
            raise DataError(f"{root / part}: no such folder: {root} must hold train/CLASS/* and val/CLASS/*: {remedy}")
    if embedded and not (root / MARKER).is_file():
        raise DataError(f"{root}: holds no {MARKER}, so its lay-out was cut short: remove the folder, then {remedy}")

    classes = _checked_classes(root, data.classes)
    train, val = _class_files(root, "train", classes), _val(root, classes)
    held_out = data.val_images if data.evaluate_on == "held_out" else 0
    if not held_out and (not data.subset or len(val.names) < data.val_images):
        _counted(root, "val", len(val.names), data.val_images)
    if not (embedded or data.subset) or len(train.names) < data.train_images + held_out:
        _counted(root, "train", len(train.names), data.train_images, held_out)
    order = plan.fixed_order(len(train.names))
    if held_out:
        val = _taken(train, np.sort(order[-held_out:]))
    elif data.subset:
        val = _taken(val, np.arange(data.val_images) * len(val.names) // data.val_images)
    return Index(_taken(train, order[: data.train_images]), val, classes)


def _taken(split: Split, numbers: np.ndarray) -> Split:
    """The images with these numbers, in their order."""
    return Split([split.names[i] for i in numbers], split.labels[numbers])


def _class_files(root: Path, part: str, classes: list[str]) -> Split:
    names, labels = [], []
    for label, name in enumerate(classes):
        found = images(root / part / name)
        names += [f"{part}/{name}/{file}" for file in found]
        labels += [label] * len(found)
    return Split(names, np.array(labels, np.int64))


def _val(root: Path, classes: list[str]) -> Split:
    """Of class folders, unless none is a class and images lie beside them: then a mapping tells."""
    found = class_folders(root / "val")
    if set(found).isdisjoint(classes) and (not found or images(root / "val")):
        return Split(*flat_val(root, classes))
    differing = differing_classes(classes, found)
    if differing:
        raise DataError(f"{root}: class folders differ between train and val: {differing}{_also(root, 'val')}")
    return _class_files(root, "val", classes)


def _checked_classes(root: Path, stated: int) -> list[str]:
    classes = class_folders(root / "train")
    if len(classes) == stated:
        return classes
    other = differing_classes(classes, class_folders(root / "val"))
    differing = f"; against val, {other}" if other and class_folders(root / "val") else ""
    raise DataError(f"{root / 'train'}: holds {len(classes):,} class folders: data.classes is {stated:,}"
                    f"{differing}{_also(root, 'train')}")  # fmt: skip


def _also(root: Path, part: str) -> str:
    odd = oddities(root, part)
    return f"; in {part}/, {odd}" if odd else ""


def _counted(root: Path, part: str, found: int, stated: int, held_out: int = 0) -> None:
    if found != stated + held_out:
        what = oddities(root, part) or "complete the copy, or state what is there"
        more = f" beside {held_out:,} held out" if held_out else ""
        raise DataError(f"{root / part}: holds {found:,} images, data.{part}_images states {stated:,}{more}: {what}")


def complete(partial: Path, root: Path, about: dict) -> None:
    """End a lay-out that was made beside its place: the marker goes in last, then the whole becomes `root`."""
    files.write_whole(partial / MARKER, files.to_json(about, indent=1))
    os.replace(partial, root)


def marker(root: Path) -> dict | None:
    """What the lay-out step wrote last, or None if it did not finish."""
    try:
        about = files.read_json(Path(root) / MARKER)
    except (OSError, ValueError):
        return None
    return about if isinstance(about, dict) else None
