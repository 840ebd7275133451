"""Figure 3: top-1 accuracy against mini-batch. Hollow: the paper. Filled: measured here. A hole stays a hole.

    python reproduce/figure3.py [options of run_all.sh]                  trains what is missing, then draws
    python reproduce/figure3.py --draw [--tier T] [--results DIR] [--out DIR]   only draws; needs no torch

Writes figure3.png, .pdf, .svg and .json. Needs the logs and no torch.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reproduce.artefact import Artefact  # noqa: E402
from reproduce.figures import series  # noqa: E402
from reproduce.recipe.runs import PAPER_SWEEP, QUICK_PANEL, QUICK_SWEEP  # noqa: E402
from reproduce.results import measured, output, paper  # noqa: E402
from reproduce.script import entry  # noqa: E402

ARTEFACT = Artefact(
    "figure3", "Figure 3: top-1 accuracy against mini-batch",
    {"quick": QUICK_PANEL, "node": PAPER_SWEEP, "paper": PAPER_SWEEP}, {"quick": QUICK_SWEEP},
)  # fmt: skip


def runs(given):
    names = PAPER_SWEEP + (QUICK_PANEL + QUICK_SWEEP if given.tier == "quick" else ())
    return {name: measured.collect(given.results, name) for name in names}


def rows(found, given):
    def line(panel, label, names):
        return series.against_batch(panel, label, [found[name] for name in names])

    known = [series.paper_point(paper.load()), line("imagenet", "ours on ImageNet", PAPER_SWEEP)]
    if given.tier != "quick":
        return known
    lars, sgd = ([name for name in QUICK_PANEL if f"_{kind}_" in name] for kind in ("lars", "sgd"))
    ours = [line("sweep", "headline recipe", QUICK_SWEEP), line("panel", "LARS", lars)]
    return [*known, *ours, line("panel", "momentum SGD", sgd)]


def render(lines, found, given):
    from reproduce.figures import panels, plot  # here, so that --list needs no matplotlib

    quick = given.tier == "quick"
    shown = [found[n] for n in QUICK_PANEL] if quick else list(found.values())
    title = f"{ARTEFACT.title}\n{output.about(shown, given.tier)}"
    figure = plot.plt.figure(figsize=(14, 8) if quick else (9, 5.5))
    figure.suptitle(title)
    grid = figure.add_gridspec(2, 2) if quick else figure.add_gridspec(1, 1)
    panels.imagenet_sweep(figure.add_subplot(grid[0, 0]), *lines[:2])
    if quick:
        dataset = output.data_sets(shown)
        panels.scaled_sweep(figure.add_subplot(grid[1, 0]), lines[2], dataset)
        panels.optimizer_panel(figure.add_subplot(grid[:, 1]), lines[3:], shown, dataset)
    return plot.save(figure, given.out, "figure3", series.side_car("figure3", title, given.tier, lines))


def draw(given):
    found = runs(given)
    paths = render(rows(found, given), found, given)
    needed = ARTEFACT.runs[given.tier]
    output.announce(paths, [m for m in found.values() if m.run in needed or m.left_out])


main = entry(ARTEFACT, draw)

if __name__ == "__main__":
    sys.exit(main())
