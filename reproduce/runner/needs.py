"""What the tiers for GPUs take, for --list: hours and memory, each with the kind of number it is.

Measured: by a published campaign's whole updates (`python -m reproduce.bench campaign`), on one device. Modelled: by
the cluster model, which needs numpy; without, that is said. Imports nothing else outside the standard library.
"""

import importlib
from collections.abc import Iterator
from pathlib import Path

from reproduce import files, presets
from reproduce.errors import UserError
from reproduce.paths import CONFIGS, PUBLISHED
from reproduce.recipe.load import load

RECIPE = "headline_b81920_g2048"
CLUSTERS = {"node": ("dgx1v", "dgx-h100"), "paper": ("abci",)}
GPUS = 8  # of a node
HOURS, MEMORY = "Hours of the recipe", "Memory of whole updates"  # tables of a campaign's step full_update
STATE = 0.42e9  # bytes of ResNet-50's weights, gradients, momenta and copies for the wire


def lines(tier: str, published: Path = PUBLISHED) -> list[str]:
    """Of the full recipe in a tier for GPUs; nothing for tier quick."""
    if tier not in CLUSTERS:
        return []
    measured = list(measured_hours(published)) if tier == "node" else []
    nothing = [] if measured or tier != "node" else ["hours: not measured: python -m reproduce.bench campaign does it"]
    return [f"{tier}: {line}" for line in (*measured, *nothing, *modelled_hours(tier), memory(tier))]


def measured_hours(published: Path) -> Iterator[str]:
    for path in sorted(published.glob("bench/cuda_*/full_update.json")):
        try:
            facts = files.read_json(path)
            values = {one["title"]: one["rows"][0]["values"][0] for one in facts["tables"] if one["rows"][0]["values"]}
            hours, where = values[HOURS], facts["hardware"]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        room = f"; {values[MEMORY] / 1e3:.1f} GB of its memory, measured" if MEMORY in values else ""
        yield (f"the headline's updates take {hours:,.1f} hours on {where}, measured by a campaign: about "
               f"{hours / GPUS:,.1f} on {GPUS} such GPUs{room}")  # fmt: skip


def modelled_hours(tier: str) -> Iterator[str]:
    """By the cluster model's point, without its band: `python -m reproduce.cluster` has it."""
    try:
        model = importlib.import_module("reproduce.cluster.recipe_time")
    except ImportError as error:
        yield f"hours: not modelled: {error}"
        return
    config = load(CONFIGS / f"{RECIPE}.toml")
    for name in CLUSTERS[tier]:
        try:
            machine = importlib.import_module("reproduce.cluster.files").load(name)
            seconds = model.seconds(config, machine) if tier == "paper" else emulated(config, machine)
        except UserError as error:
            yield f"hours: not modelled for {name}: {error}"
            continue
        on = f"{config.batch.workers:,} GPUs of {name}" if tier == "paper" else f"the {GPUS} GPUs of a {name}"
        yield f"the headline takes {_duration(seconds)} on {on}, modelled"


def emulated(config, machine) -> float:
    """Seconds of the recipe's training on one node whose GPUs take all workers in turn, a full pass at a time."""
    step = importlib.import_module("reproduce.cluster.step")
    work = step.Work(presets.PASS_IMAGES, config.communication.groups, config.communication.overlap)
    return config.total_images / (GPUS * presets.PASS_IMAGES) * step.step(work, GPUS, machine).total


def memory(tier: str) -> str:
    images = presets.PASS_IMAGES if tier == "node" else load(CONFIGS / f"{RECIPE}.toml").local_batch(0)
    room = (STATE + presets.BYTES_PER_IMAGE["fp16"] * images) / 1e9
    less = "; with less, passes get smaller by themselves (--pass-images)" if tier == "node" else ""
    return f"{room:.1f} GB of a GPU's memory, counted for {images} images a pass and not measured{less}"


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} hours" if seconds >= 3600 else f"{seconds:,.0f} seconds"
