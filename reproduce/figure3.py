"""Figure 3: top-1 accuracy against mini-batch. Hollow: the paper. Filled: measured here. A hole stays a hole.

Panel b: the epochs public runs needed to 75.9 %, which ask the same question of another measure.

    python reproduce/figure3.py [options of run_all.sh]                  trains what is missing, then draws
    python reproduce/figure3.py --draw [--tier T] [--results DIR] [--out DIR]   only draws; needs no torch

Writes figure3.png, .pdf, .svg and .json. Needs the logs and no torch.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reproduce.artefact import Artefact  # noqa: E402
from reproduce.figures import series  # noqa: E402
from reproduce.mlperf import epochs  # noqa: E402
from reproduce.page.view import Cell, Code, Number, SectionData, numbered, numbers_of  # noqa: E402
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

    ours = f"ours on {output.data_sets(found[name] for name in PAPER_SWEEP)}"
    known = [series.paper_point(paper.load()), line("imagenet", ours, PAPER_SWEEP)]
    if given.tier != "quick":
        return known
    lars, sgd = ([name for name in QUICK_PANEL if f"_{kind}_" in name] for kind in ("lars", "sgd"))
    ours = [line("sweep", "headline recipe", QUICK_SWEEP), line("panel", "LARS", lars)]
    return [*known, *ours, line("panel", "momentum SGD", sgd)]


def render(lines, found, given):
    from reproduce.figures import needed_epochs, panels, plot  # here, so that --list needs no matplotlib

    quick = given.tier == "quick"
    shown = [found[n] for n in QUICK_PANEL] if quick else list(found.values())
    which = "panels c and d" if quick else "panel a, squares"
    title = f"{ARTEFACT.title}\n{which}: {output.about(shown, given.tier)}"
    figure = plot.plt.figure(figsize=(14, 10) if quick else (14, 5.5))
    figure.suptitle(title)
    axes = figure.subplots(2 if quick else 1, 2).flat
    panels.imagenet_sweep(axes[0], *lines[:2])
    needed = epochs.needed()
    needed_epochs.panel(axes[1], needed, paper.load())
    if quick:
        dataset = output.data_sets(shown)
        panels.scaled_sweep(axes[2], lines[2], dataset)
        panels.optimizer_panel(axes[3], lines[3:], shown, dataset)
    for name, ax in zip("abcd", axes):
        plot.letter(ax, name)
    facts = series.side_car("figure3", title, given.tier, lines) | {"epochs_to_target": needed_epochs.facts(needed)}
    return plot.save(figure, given.out, "figure3", facts)


def draw(given):
    found = runs(given)
    paths = render(rows(found, given), found, given)
    needed = ARTEFACT.runs[given.tier]
    output.announce(paths, [m for m in found.values() if m.run in needed or m.left_out])


# ---- on the report page ---------------------------------------------------------------------------------------------


def section(given, facts: dict) -> SectionData:
    rows = [_batch(one, index, point) for one in facts["series"] for index, point in enumerate(one["points"])]
    return numbers_of(facts, ["series", "mini-batch, images", "top-1, %", "single seeds, %", "source"], rows)


def _batch(one: dict, index: int, point: dict) -> list[Cell]:
    known, kind = one["sources"][min(index, len(one["sources"]) - 1)], one["kind"]
    source = "; ".join(known.get("logs", ())) or known.get("file") or known["run"]
    source += f"; {one['status']}" if one["status"] else ""
    top1 = "missing" if point["y"] is None else f"{point['y']:.2f}"
    seeds = ", ".join(f"{value:.2f}" for value in point.get("values") or ())
    return [numbered(one["label"], kind, source), Number(f"{point['x']:,}", "setting", source),
            numbered(top1, kind, source), numbered(seeds, kind, source), Code(source)]  # fmt: skip


main = entry(ARTEFACT, draw)

if __name__ == "__main__":
    sys.exit(main())
