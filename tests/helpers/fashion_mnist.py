"""The embedded data set for tests that train on it: the laid-out one, or as much of it as a config needs.

A whole lay-out takes half a minute; this writes the images that are read and leaves the other training files empty, so
that the names, and with them the choice of images, are those of the whole set.
"""

from pathlib import Path

from PIL import Image

from reproduce.engine.data import embedded, folders, plan
from reproduce.errors import DataError
from reproduce.recipe.load import Config
from tests.helpers import ROOT
from tests.helpers.needs import need

LAID_OUT = ROOT / "data/fashion_mnist"  # where run_all.sh has it


def fashion_mnist(config: Config, folder: Path) -> Path:
    """A data folder for `config`; where no source has the files the test is skipped, or fails (needs.py)."""
    if folders.marker(LAID_OUT):
        return LAID_OUT
    try:
        contents, _ = embedded.find()
    except DataError as error:
        need(str(error))
        raise
    return lay_out(contents, config.data.train_images, folder)


def lay_out(contents: dict[str, bytes], train_images: int, folder: Path) -> Path:
    """The files of `embedded.find` as image folders, with the content of `train_images` training images."""
    for part in embedded.PARTS:
        images, labels = embedded._arrays(part, contents)
        names = [f"{part}/{embedded.CLASSES[label]}/{number:05d}.png" for number, label in enumerate(labels)]
        wanted = names
        if part == "train":
            ordered = sorted(names)
            wanted = [ordered[i] for i in plan.fixed_order(len(names))[:train_images]]
        for name in embedded.CLASSES:
            (folder / part / name).mkdir(parents=True)
        for name in set(names) - set(wanted):
            (folder / name).touch()
        for name in wanted:
            Image.fromarray(images[int(Path(name).stem)]).save(folder / name, compress_level=1)
    (folder / folders.MARKER).write_text("{}")
    return folder
