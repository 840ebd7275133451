"""A rehearsal of tier node without ImageNet: generated images in its lay-out, and the tier's recipes cut to fit them.

    python -m reproduce.engine.data.generated --out DIR
    REPRODUCE_RECIPES=DIR/recipes bash reproduce/run_all.sh --tier node --device cpu --data DIR --out DIR/results

Indexing, staging, training, evaluation, checkpoints, figures and page are those of the real thing; the numbers mean
nothing. The data set calls itself "generated", so logs, figures and page say what it is, and it is never published.
"""

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from reproduce import errors, files
from reproduce.engine.data import folders
from reproduce.engine.data.plan import uniforms
from reproduce.paths import CONFIGS
from reproduce.recipe.load import load
from reproduce.recipe.runs import FULL_RECIPE, PAPER_SWEEP, SPEED, SPEED_SYNTHETIC
from reproduce.words import Parser

DATASET = "generated"
FIRST_ID, STEP = 1_440_764, 13_579  # WordNet identifiers as ImageNet's, but not its own
PURPOSE = 5  # of random numbers, beside those of `plan`
CELLS = 4  # a class is a pattern of so many coloured cells a side


def image(label: int, number: int, seed: int) -> Image.Image:
    """A small picture of a class: its pattern, in this image's brightness, size and grain."""
    pattern = uniforms(seed, PURPOSE, (label,), (CELLS, CELLS, 3))
    height, width = (int(24 + 24 * share) for share in uniforms(seed, PURPOSE, (label, number + 1), (2,)))
    grain = uniforms(seed, PURPOSE, (label, number + 1, 1), (height, width, 1)) - 0.5
    large = Image.fromarray((255 * pattern).astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR)
    return Image.fromarray(np.clip(np.asarray(large) + 60 * grain, 0, 255).astype(np.uint8))


def lay_out(root: Path, classes: int, per_class: int, val_per_class: int, seed: int) -> dict:
    """Write ``train/nNNNNNNNN/*.JPEG`` and ``val/nNNNNNNNN/*.JPEG``, whole or not at all; what was written, counted."""
    about = {"data_set": "generated images, NOT ImageNet", "seed": seed, "classes": classes,
             "train_images": classes * per_class, "val_images": classes * val_per_class}  # fmt: skip
    if folders.marker(root) == about:
        return about
    partial = root.with_name(f".{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for label in range(classes):
        name = f"n{FIRST_ID + STEP * label:08d}"
        for part in ("train", "val"):
            (partial / part / name).mkdir(parents=True)
        for number in range(per_class + val_per_class):
            place = label * val_per_class + number - per_class + 1
            file = f"train/{name}/{name}_{number}" if number < per_class else f"val/{name}/ILSVRC2012_val_{place:08d}"
            image(label, number, seed).save(partial / f"{file}.JPEG", quality=85)
    shutil.rmtree(root, ignore_errors=True)
    folders.complete(partial, root, about)
    return about


# ---- recipes --------------------------------------------------------------------------------------------------------


def cut(name: str, about: dict, workers: int) -> str:
    """The TOML of a recipe cut to the generated images: a small network, few workers, two epochs."""
    config = load(CONFIGS / f"{name}.toml")
    changes: dict = {
        "data": {"val_images": about["val_images"], "classes": about["classes"], "image_size": 32, "eval_resize": 36},
        "model": {"name": "resnet8"},
    }
    if config.data.dataset != "synthetic":
        changes["data"]["dataset"] = DATASET
    epochs = 3 if config.run.purpose == "speed" else 2
    changes["schedule"] = {"epochs": epochs, "warmup_epochs": 1, "decay_epochs": epochs - 1, "peak_lr": 0.5}
    changes["evaluation"] = {"every": 1, "offset": epochs - 1}
    if config.run.purpose != "speed":
        changes["data"] |= {"train_images": about["train_images"], "unaugmented_epochs": 1}
        changes["batch"] = {"workers": workers}
    run = {"name": name, "title": f"REHEARSAL on generated images of: {config.run.title}", "tier": "paper",
           "purpose": config.run.purpose}  # fmt: skip
    lines = [f"extends = {json.dumps(str(CONFIGS / f'{name}.toml'))}", "[run]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in run.items()]
    for section, values in changes.items():
        lines.append(f"[{section}]")
        lines += [f'{key} = {{ value = {json.dumps(value)}, source = "chosen_here", ref = "a rehearsal" }}'
                  for key, value in values.items()]  # fmt: skip
    return "\n".join(lines) + "\n"


def write_recipes(folder: Path, about: dict, workers: int) -> list[str]:
    """Every recipe of tier node, under the name it stands in for."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys((*FULL_RECIPE, *PAPER_SWEEP, SPEED, SPEED_SYNTHETIC)))
    for name in names:
        files.write_whole(folder / f"{name}.toml", cut(name, about, workers))
        load(folder / f"{name}.toml")
    return names


@errors.command
def main(argv=None):
    parser = Parser(prog="python -m reproduce.engine.data.generated", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for generated/ (train/, val/) and recipes/")
    add("--classes", type=int, default=1000, help="default: 1000, as ImageNet")
    add("--images", type=int, default=4, metavar="N", help="training images of a class (default: 4)")
    add("--val-images", type=int, default=1, metavar="N", help="validation images of a class (default: 1)")
    add("--workers", type=int, default=16, metavar="N", help="workers of the recipes (default: 16)")
    add("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    for option, least in (("classes", 2), ("images", 1), ("val_images", 1), ("workers", 1)):
        if getattr(args, option) < least:
            raise errors.ConfigError(f"--{option.replace('_', '-')} {getattr(args, option)}: must be at least {least}")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        about = lay_out(args.out / DATASET, args.classes, args.images, args.val_images, args.seed)
        names = write_recipes(args.out.absolute() / "recipes", about, args.workers)
    except OSError as error:
        raise errors.DataError(f"{args.out}: cannot write: {error.strerror}: choose another --out") from None
    print(f"{args.out}: {about['train_images']:,} training and {about['val_images']:,} validation images of "
          f"{about['classes']:,} classes, generated, and {len(names)} recipes")  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
