"""The classes of a flat validation folder, from the one of several public mapping files that lies with it."""

import csv
import io
import os
from pathlib import Path

import numpy as np

from reproduce import files
from reproduce.engine.data.listing import few, images
from reproduce.errors import DataError

FLAT_MAPPINGS = {
    "val_map.txt": 'lines "file-name class-or-index"',
    "val.txt": 'the same, as distributed with Caffe: "ILSVRC2012_val_00000001.JPEG 65"',
    "LOC_val_solution.csv": "Kaggle's: ImageId,PredictionString with the class first",
    "synset_labels.txt": "one class per line, in the order of the file names",
    "imagenet_2012_validation_synset_labels.txt": "the same, as distributed with TensorFlow's tools",
}


def flat_val(root: Path, classes: list[str]) -> tuple[list[str], np.ndarray]:
    """Names of the images below `root` and their labels, int64. Raises `DataError`."""
    names = images(root / "val")
    places = [root / folder / name for folder in ("", "val") for name in FLAT_MAPPINGS]
    mapping = next((path for path in places if path.is_file()), None)
    if mapping is None:
        raise DataError(
            f"{root / 'val'}: holds no class folders and no mapping: sort the images into val/CLASS/, or add one of "
            f"{', '.join(FLAT_MAPPINGS)} (ILSVRC's own ground-truth numbers follow another class order: not accepted)"
        )
    stems = [_stem(name) for name in names]
    named = _read(mapping, stems)
    missing = [name for name, stem in zip(names, stems) if stem not in named]
    if missing:
        raise DataError(f"{mapping}: has no class for {few(missing)}: complete the mapping")
    number = {name: label for label, name in enumerate(classes)}
    number |= {str(label): label for label in range(len(classes)) if str(label) not in number}
    unknown = sorted({named[stem] for stem in stems} - set(number))
    if unknown:
        raise DataError(f"{mapping}: names classes that train/ does not have: {few(unknown)}: complete the copy")
    return [f"val/{name}" for name in names], np.array([number[named[stem]] for stem in stems], np.int64)


def _stem(name: str) -> str:
    """Of a file name as mappings give it: some put folders before it, as in "val/NAME.JPEG"."""
    return os.path.splitext(name.replace("\\", "/").rpartition("/")[2])[0]


def _read(path: Path, stems: list[str]) -> dict[str, str]:
    """Class by file name without folder and extension."""
    try:
        pairs = _pairs(path, files.read_text(path), stems)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {files.why(error)}: make it readable") from None
    except (ValueError, csv.Error, KeyError, IndexError, TypeError, AttributeError):
        raise DataError(f"{path}: not readable: must hold {FLAT_MAPPINGS[path.name]}") from None
    found: dict[str, str] = {}
    for stem, name in pairs:
        if found.setdefault(stem, name) != name:
            raise DataError(f"{path}: gives {stem} the classes {found[stem]} and {name}: remove one of the two lines")
    return found


def _pairs(path: Path, text: str, stems: list[str]) -> list[tuple[str, str]]:
    if path.suffix == ".csv":
        table = csv.DictReader(io.StringIO(text))
        return [(_stem(row["ImageId"]), row["PredictionString"].split()[0]) for row in table]
    rows = [line.split() for line in text.splitlines() if line.strip()]
    if "synset_labels" not in path.name:
        return [(_stem(row[0]), row[1]) for row in rows]
    if len(rows) != len(stems):
        raise DataError(f"{path}: has {len(rows):,} lines for {len(stems):,} images: complete one of them")
    return [(stem, row[0]) for stem, row in zip(stems, rows)]
