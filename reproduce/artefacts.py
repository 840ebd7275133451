"""What this package makes, and which runs each piece needs. The runner runs them; the report reads their logs.

A run is named by its config, a path below ``paper_configs`` without ``.toml``. Tier "node" runs the paper-tier configs
with all 2,048 workers emulated on the devices of one node: it can test the accuracy claims, not the elapsed time.
Imports nothing outside the standard library.
"""

from dataclasses import dataclass

TIERS = ("quick", "node", "paper")

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


@dataclass(frozen=True)
class Artefact:
    """A table or figure: the script that draws it, the runs it needs per tier, and runs it draws only if present.

    It belongs to the tiers in `runs`; one that needs no run draws what the package carries, and logs if there are any.
    `benchmark` is the module of `reproduce.bench` that measures what it draws, if no run does: its result is
    bench/NAME.json below the results folder.
    """

    name: str
    title: str
    script: str
    runs: dict[str, tuple[str, ...]]
    optional: dict[str, tuple[str, ...]]
    benchmark: str | None = None


ARTEFACTS = (
    Artefact(
        "table1", "Table 1: training time and top-1 accuracy", "reproduce/table1.py",
        {"quick": ("quick/headline_b800_w20", "quick/baseline_b128_w2"),
         "node": ("headline_b81920_g2048",), "paper": ("headline_b81920_g2048",)}, {},
    ),
    Artefact(
        "curve", "Top-1 accuracy against epoch and against time", "reproduce/curve.py",
        {"quick": ("quick/headline_b800_w20",), "node": FULL_RECIPE, "paper": FULL_RECIPE},
        {"quick": ("quick/mlperf06_b840_w20",)},
    ),
    Artefact(
        "figure1", "Figure 1: a compute node of ABCI", "reproduce/figure1.py",
        {"quick": (), "node": (), "paper": ()}, {},
    ),
    Artefact(
        "figure2", "Figure 2: images/s against the number of GPUs", "reproduce/figure2.py",
        {"quick": (), "node": (), "paper": ()}, {},
    ),
    Artefact(
        "figure3", "Figure 3: top-1 accuracy against mini-batch", "reproduce/figure3.py",
        {"quick": QUICK_PANEL, "node": PAPER_SWEEP, "paper": PAPER_SWEEP}, {"quick": QUICK_SWEEP},
    ),
    Artefact(
        "groups", "Step time against the rule that groups the gradients", "reproduce/groups.py",
        {"quick": ()}, {}, benchmark="comm",
    ),
)  # fmt: skip


def artefact(name: str) -> Artefact:
    """The artefact called `name`; raises KeyError."""
    return {a.name: a for a in ARTEFACTS}[name]
