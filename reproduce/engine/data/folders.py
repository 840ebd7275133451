"""The index of an ImageNet-style folder: which files, which labels; checked before anything trains.

Lay-out below the root: ``train/CLASS/*`` and either ``val/CLASS/*`` or a flat ``val/*`` with a mapping file. Classes
are numbered in the order of their sorted folder names. File contents are not touched here: a million files on a
shared file system are listed in seconds, but opened in many minutes. Zero-byte files are found when first read.
"""

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reproduce.engine.data import plan
from reproduce.errors import DataError

EXTENSIONS = (".jpeg", ".jpg", ".png")
MARKER = "complete.json"  # written last into a lay-out
FLAT_MAPPINGS = {
    "val_map.txt": 'lines "file-name class-or-index"',
    "val.txt": 'the same, as distributed with Caffe: "ILSVRC2012_val_00000001.JPEG 65"',
    "LOC_val_solution.csv": "Kaggle's: ImageId,PredictionString with the class first",
    "synset_labels.txt": "one class per line, in the order of the file names",
    "imagenet_2012_validation_synset_labels.txt": "the same, as distributed with TensorFlow's tools",
}


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

    The embedded set may be larger than data.train_images: the first images of the fixed order are taken. Raises
    `DataError`: missing folder or mapping, classes that differ, counts other than the config states.
    """
    root = Path(root)
    embedded = data.dataset == "fashion_mnist"
    remedy = "run python -m reproduce.engine.data.embedded --out DIR" if embedded else "point --data at the folder"
    for part in ("train", "val"):
        if not (root / part).is_dir():
            raise DataError(f"{root / part}: no such folder: {root} must hold train/CLASS/* and val/CLASS/*: {remedy}")
    if embedded and not (root / MARKER).is_file():
        raise DataError(f"{root}: holds no {MARKER}, so its lay-out was cut short: remove the folder, then {remedy}")

    classes = _class_folders(root / "train")
    if len(classes) != data.classes:
        raise DataError(f"{root / 'train'}: holds {len(classes)} class folders: data.classes is {data.classes}")
    train = _class_files(root, "train", classes)
    found = _class_folders(root / "val")
    if found:
        _same_classes(root, classes, found)
        val = _class_files(root, "val", classes)
    else:
        val = _flat_val(root, classes)
    _counted(root / "val", len(val.names), data.val_images, "val_images")
    if not embedded or len(train.names) < data.train_images:
        _counted(root / "train", len(train.names), data.train_images, "train_images")
    order = plan.fixed_order(len(train.names))[: data.train_images]
    return Index(Split([train.names[i] for i in order], train.labels[order]), val, classes)


def _class_folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _image_names(folder: Path) -> list[str]:
    # macOS leaves "._name.JPEG" beside files it copies to foreign disks; they are not images.
    names = (name for name in os.listdir(folder) if not name.startswith("."))
    return sorted(name for name in names if name.lower().endswith(EXTENSIONS))


def _class_files(root: Path, part: str, classes: list[str]) -> Split:
    names, labels = [], []
    for label, name in enumerate(classes):
        files = _image_names(root / part / name)
        names += [f"{part}/{name}/{file}" for file in files]
        labels += [label] * len(files)
    return Split(names, np.array(labels, np.int64))


def _same_classes(root: Path, train: list[str], val: list[str]) -> None:
    sides = (("train", set(train) - set(val)), ("val", set(val) - set(train)))
    only = [f"only in {part}: {_few(sorted(names))}" for part, names in sides if names]
    if only:
        raise DataError(f"{root}: class folders differ between train and val: {'; '.join(only)}: complete the copy")


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _counted(folder: Path, found: int, stated: int, key: str) -> None:
    if found != stated:
        raise DataError(
            f"{folder}: holds {found:,} images, data.{key} states {stated:,}: complete the copy, or state what is there"
        )


# ---- flat validation folders --------------------------------------------------------------------------------------


def _flat_val(root: Path, classes: list[str]) -> Split:
    files = _image_names(root / "val")
    places = [root / folder / name for folder in ("", "val") for name in FLAT_MAPPINGS]
    mapping = next((path for path in places if path.is_file()), None)
    if mapping is None:
        raise DataError(
            f"{root / 'val'}: holds no class folders and no mapping: sort the images into val/CLASS/, or add one of "
            f"{', '.join(FLAT_MAPPINGS)} (ILSVRC's own ground-truth numbers follow another class order: not accepted)"
        )
    stems = [os.path.splitext(name)[0] for name in files]
    named = _read_mapping(mapping, stems)
    missing = [file for file, stem in zip(files, stems) if stem not in named]
    if missing:
        raise DataError(f"{mapping}: has no class for {_few(missing)}: complete the mapping")
    number = {name: label for label, name in enumerate(classes)}
    number |= {str(label): label for label in range(len(classes)) if str(label) not in number}
    unknown = sorted({named[stem] for stem in stems} - set(number))
    if unknown:
        raise DataError(f"{mapping}: names classes that train/ does not have: {_few(unknown)}: complete the copy")
    return Split([f"val/{file}" for file in files], np.array([number[named[stem]] for stem in stems], np.int64))


def _read_mapping(path: Path, stems: list[str]) -> dict[str, str]:
    """Class by file name without extension."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            if path.suffix == ".csv":
                return {row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(file)}
            rows = [line.split() for line in file if line.strip()]
        if "synset_labels" in path.name:
            if len(rows) != len(stems):
                raise DataError(f"{path}: has {len(rows):,} lines for {len(stems):,} images: complete one of them")
            return {stem: row[0] for stem, row in zip(stems, rows)}
        return {os.path.splitext(row[0])[0]: row[1] for row in rows}
    except (OSError, UnicodeDecodeError, KeyError, IndexError, TypeError, AttributeError):
        raise DataError(f"{path}: not readable: must hold {FLAT_MAPPINGS[path.name]}") from None


def complete(partial: Path, root: Path, about: dict) -> None:
    """End a lay-out that was made beside its place: the marker goes in last, then the whole becomes `root`."""
    (partial / MARKER).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, root)


def marker(root: Path) -> dict | None:
    """What the lay-out step wrote last, or None if it did not finish."""
    try:
        return json.loads((Path(root) / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
