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
from reproduce.results import measured, output, paper, public  # noqa: E402
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
    theirs = [series.public_curve(run) for run in others]
    return [*theirs, series.paper_end(paper.load()), *(series.against_epoch(m) for m in ours)]


def render(lines, others, ours, given):
    from reproduce.figures import panels, plot  # here, so that --list needs no matplotlib

    title = f"{ARTEFACT.title}\npanel b: {output.about(ours, given.tier)}"
    figure, (above, below) = plot.plt.subplots(2, 1, figsize=(9, 10))
    figure.suptitle(title)
    count = len(others)
    panels.public_curves(above, lines[:count], others, lines[count])
    panels.measured_curves(below, lines[count + 1 :], output.data_sets(ours))
    for name, ax in zip("ab", (above, below)):
        plot.letter(ax, name)
    return plot.save(figure, given.out, "curve", series.side_car("curve", title, given.tier, lines))


def draw(given):
    others, ours = runs(given)
    paths = render(rows(others, ours), others, ours, given)
    output.announce(paths, ours)


main = entry(ARTEFACT, draw)

if __name__ == "__main__":
    sys.exit(main())
