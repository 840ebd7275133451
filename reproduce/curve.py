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
from reproduce.page.view import Cell, Number, SectionData, Table, numbered  # noqa: E402
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


# ---- on the report page ---------------------------------------------------------------------------------------------


def section(given, facts: dict) -> SectionData:
    """A table per run, ours with a column per seed, and one of what is known of the paper's."""
    tables = []
    for kind, anchor in (("measured", "ours"), ("public", "team"), ("paper", "paper")):
        drawn = [one for one in facts["series"] if one["kind"] == kind and _drawn(one)]
        tables += [_curve_table(one, f"{anchor}-{number}-table") for number, one in enumerate(drawn)]
    return SectionData(tuple(tables), tuple(_label(one) for one in facts["series"] if not _drawn(one)))


def _drawn(one: dict) -> bool:
    return any(point["y"] is not None for point in one["points"])


def _label(one: dict) -> Cell:
    return numbered(f"missing: {one['label'].partition(':')[0]}", "measured", "curve.json")


def _curve_table(one: dict, anchor: str) -> Table:
    source = one["sources"][0]
    logs, seeds = source.get("logs", ()), source.get("seeds", ())
    where = f"{', '.join(logs)}; config {source['config_hash']}" if logs else source["file"]
    name = one["label"].partition(":")[0]
    if one["kind"] == "public":
        name, where = f"public run {source['run']}", f"{where}, run {source['run']}"
    header: list[Cell] = ["epoch", "seconds since run_start", "top-1, %"]
    header += [Number(f"seed {seed}", "setting", log) for seed, log in zip(seeds, logs)]
    rows = [_curve_row(point, one["kind"], where, logs) for point in one["points"]]
    return Table(anchor, numbered(f"{name}: {where}", one["kind"], where), header, rows)


def _curve_row(point: dict, kind: str, where: str, logs: list[str]) -> list[Cell]:
    seconds = point.get("seconds")
    time = "missing" if seconds is None else f"{seconds:,.1f}"
    mean = [numbered(text, kind, where) for text in (f"{point['x']:g}", time, f"{point['y']:.2f}")]
    return [*mean, *(Number(f"{value:.2f}", kind, log) for value, log in zip(point.get("values", ()), logs))]


main = entry(ARTEFACT, draw)

if __name__ == "__main__":
    sys.exit(main())
