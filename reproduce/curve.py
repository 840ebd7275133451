"""Top-1 accuracy against epoch and against time: five public runs of the paper's team, and ours below them.

    python reproduce/curve.py [options of run_all.sh]                  trains what is missing, then draws
    python reproduce/curve.py --draw [--tier T] [--results DIR] [--out DIR]   only draws; needs no torch

Writes curve.png, .pdf, .svg and .json. Needs the logs and no torch.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reproduce.artefact import Artefact  # noqa: E402
from reproduce.figures import series  # noqa: E402
from reproduce.recipe.runs import FULL_RECIPE, QUICK_PAIR  # noqa: E402
from reproduce.results import measured, output, public  # noqa: E402
from reproduce.script import entry  # noqa: E402

ARTEFACT = Artefact(
    "curve", "Top-1 accuracy against epoch and against time",
    {"quick": QUICK_PAIR[:1], "node": FULL_RECIPE, "paper": FULL_RECIPE}, {"quick": ("quick/mlperf06_b840_w20",)},
)  # fmt: skip


def runs(given):
    needed, extra = (names.get(given.tier, ()) for names in (ARTEFACT.runs, ARTEFACT.optional))
    ours = [measured.collect(given.results, name) for name in (*needed, *extra)]
    return public.runs(), [m for m in ours if m.run in needed or m.n]


def rows(others, ours):
    return [series.public_curve(run) for run in others] + [series.against_epoch(m) for m in ours]


def render(lines, others, ours, given):
    from reproduce.figures import panels, plot  # here, so that --list needs no matplotlib

    title = f"{ARTEFACT.title}\nlower panels: {output.about(ours, given.tier)}"
    figure, axes = plot.plt.subplots(2, 2, figsize=(14, 9))
    figure.suptitle(title)
    panels.public_curves(*axes[0], lines[: len(others)], others)
    panels.measured_curves(*axes[1], lines[len(others) :], output.data_sets(ours))
    return plot.save(figure, given.out, "curve", series.side_car("curve", title, given.tier, lines))


def draw(given):
    others, ours = runs(given)
    paths = render(rows(others, ours), others, ours, given)
    output.announce(paths, ours)


main = entry(ARTEFACT, draw)

if __name__ == "__main__":
    sys.exit(main())
