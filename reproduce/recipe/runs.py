"""The runs that more than one artefact, claim or tool speaks of, by the names of their configs.

A name is the path of a config below ``paper_configs`` without ``.toml``; what follows an @ is changed in it, and makes
it a run of its own: ``quick/speed_b40_w1@batch.workers=2,data.train_images=1252``.
"""

import re
from collections.abc import Sequence

VARIANT = re.compile(r"[a-z_]+\.[a-z_0-9]+=(-?[0-9][0-9.e-]*|true|false)")  # it becomes part of a folder's name


def name_of(file: str, variant: Sequence[str]) -> str:
    """The name of a run; the reverse of `parts`."""
    return f"{file}@{','.join(variant)}" if variant else file


def parts(run: str) -> tuple[str, tuple[str, ...]]:
    """The config's name and what is changed in it."""
    file, _, changes = run.partition("@")
    return file, tuple(changes.split(",")) if changes else ()


def weak_scaling(file: str, counts: Sequence[int], overlap: bool = True) -> tuple[str, ...]:
    """Runs of a config for one worker with more of them: each has the images it has among the paper's 2,048 workers.

    So an epoch has the paper's 16 updates, whatever the number of workers. Without `overlap` gradients are sent after
    backward; a single worker sends none.
    """
    apart = () if overlap else ("communication.overlap=false",)
    found = []
    for count in counts:
        images = min(SHARD * count, IMAGENET)
        changes = (f"batch.workers={count}", f"data.train_images={images}") if count > 1 else ()
        found += [name_of(file, (*changes, *apart))] if overlap or count > 1 else []
    return tuple(found)


IMAGENET = 1_281_167
SHARD = 626  # images of one of 2,048 workers, rounded up

PAPER_SWEEP = (
    "batch_b49152_g2048", "batch_b65536_g2048", "headline_b81920_g2048",
    "batch_b98304_g2048", "batch_b114688_g2048", "batch_b131072_g2048",
)  # fmt: skip
QUICK_SWEEP = (
    "quick/batch_b480_w20", "quick/batch_b640_w20", "quick/headline_b800_w20",
    "quick/batch_b960_w20", "quick/batch_b1120_w20", "quick/batch_b1280_w20",
)  # fmt: skip
QUICK_PANEL = tuple(
    f"quick/panel_{optimizer}_b{40 * workers}_w{workers}"
    for optimizer in ("lars", "sgd")
    for workers in (20, 40, 80, 160)
)
FULL_RECIPE = ("headline_b81920_g2048", "mlperf06_b86016_g2048")
QUICK_PAIR = ("quick/headline_b800_w20", "quick/baseline_b128_w2")  # the headline recipe and the small-batch baseline
# The rows of Table 1 and the run that stands for each, scaled down. He et al.'s 256 images would be 2.5.
TABLE1_ROWS = {
    "He et al.": None, "Goyal et al.": "quick/goyal_b80_w2", "Smith et al.": "quick/smith_b80_w2",
    "Akiba et al.": "quick/akiba_b320_w10", "Jia et al.": "quick/jia_b640_w20", "Ying et al.": "quick/ying_b640_w20",
    "Mikami et al.": "quick/mikami_b340_w34", "This work": QUICK_PAIR[0],
}  # fmt: skip
EARLIER_ROWS = tuple(run for run in TABLE1_ROWS.values() if run not in (None, *QUICK_PAIR))
ROW_MACHINES = {"Mikami et al.": "abci", "This work": "abci"}  # where the row's machine has a cluster file

# Weak scaling at 40 images a worker, a device for each: on real data and on synthetic, gradients sent in backward or
# after it (in tier quick, which is to be short, on real data only).
SPEED, SPEED_SYNTHETIC = "speed_b40_g1", "speed_synthetic_b40_g1"
QUICK_SPEED, QUICK_SPEED_SYNTHETIC = "quick/speed_b40_w1", "quick/speed_synthetic_b40_w1"


def _both(counts: Sequence[int]) -> tuple[str, ...]:
    return tuple(run for overlap in (True, False) for file in (SPEED, SPEED_SYNTHETIC)
                 for run in weak_scaling(file, counts, overlap))  # fmt: skip


WEAK_SCALING = {
    "quick": (*weak_scaling(QUICK_SPEED, (1, 2)), *weak_scaling(QUICK_SPEED_SYNTHETIC, (1, 2)),
              *weak_scaling(QUICK_SPEED, (1, 2), overlap=False)),
    "node": _both((1, 2, 4, 8, 16)),
    "paper": _both(tuple(2**k for k in range(2, 12))),
}  # fmt: skip
