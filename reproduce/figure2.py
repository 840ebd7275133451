"""Figure 2: images/s against GPUs. Hollow: the paper. Filled: measured. Dashed: the cluster model, with its errors.

Panel c is a weak scaling measured here: 40 images on each of the devices there are, real and synthetic, with gradients
sent in backward and after it.

    python reproduce/figure2.py [options of run_all.sh]                  trains what is missing, then draws
    python reproduce/figure2.py --draw [--tier T] [--results DIR] [--out DIR]   only draws; needs no torch

Writes figure2.png, .pdf, .svg and .json. Needs no torch; draws logs of ResNet-50 with a device per worker, if any.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reproduce.artefact import EVERY_TIER, Artefact  # noqa: E402
from reproduce.cluster import files, systems, validate  # noqa: E402
from reproduce.cluster.step import Work  # noqa: E402
from reproduce.kinds import RESULTS  # noqa: E402
from reproduce.page.view import Cell, Code, SectionData, numbered, numbers_of  # noqa: E402
from reproduce.recipe.runs import FULL_RECIPE, PAPER_SWEEP, WEAK_SCALING  # noqa: E402
from reproduce.results import measured, output, paper  # noqa: E402
from reproduce.script import entry  # noqa: E402

ARTEFACT = Artefact("figure2", "Figure 2: images/s against the number of GPUs", EVERY_TIER, speed=WEAK_SCALING)

CLUSTER, LOCAL_BATCH, RULE = "abci", 40, "cubic:3"


def runs(given):
    """The runs of the whole recipe, and those of the weak scaling."""
    names = dict.fromkeys((*PAPER_SWEEP, *FULL_RECIPE)), WEAK_SCALING[given.tier]
    return tuple([measured.collect(given.results, name) for name in some] for some in names)


def rows(whole, timed):
    """The points of panels a and b, and the series of panel c."""
    from reproduce.figures import scaling, weak  # here, so that --list needs no matplotlib

    found = weak.series(timed)
    points = [scaling.paper_point(paper.load()), scaling.public_point(), *scaling.measured_points(whole)]
    return [*points, *weak.on_gpus(found, scaling.NETWORK)], found


def beside(found):
    """What the model of the machine of panel c says, if there is a file of it."""
    from reproduce.figures import scaling, weak  # here, so that --list needs no matplotlib

    ours = weak.on_gpus(found, scaling.NETWORK)
    cluster = weak.cluster_of(ours, CLUSTER)
    return weak.modelled(cluster, ours, Work(LOCAL_BATCH, RULE)) if cluster else None


def render(points, found, given):
    from reproduce.figures import plot, scaling, weak  # here, so that --list needs no matplotlib

    cluster = files.load(CLUSTER)
    modelled = scaling.line(cluster, Work(LOCAL_BATCH, RULE))
    checks = [validate.check(row) for row in systems.systems() if row.board.startswith("V100") and row.gpus >= 512]
    what = "modelled, not measured, but for the points that say so"
    title = f"{ARTEFACT.title}\nResNet-50 on {cluster.about.title}: {what}"
    figure, axes = plot.plt.subplot_mosaic([["a", "a"], ["b", "c"]], figsize=(13, 11))
    figure.suptitle(title)
    scaling.draw(axes["a"], axes["b"], modelled, checks, points)
    model = beside(found)
    weak.panel(axes["c"], found, model, scale(given.tier))
    drawn = [modelled.facts(checks), *(point for point in points if point not in found), *found]
    facts = {"artefact": "figure2", "title": title, "tier": given.tier}
    return plot.save(figure, given.out, "figure2", facts | {"series": [*drawn, *([model] if model else [])]})


def scale(tier: str) -> str:
    return f"tier {tier}; {output.SCALED_DOWN}" if tier == "quick" else f"tier {tier}"


def draw(given):
    whole, timed = runs(given)
    output.announce(render(*rows(whole, timed), given), [m for m in (*whole, *timed) if m.left_out])


# ---- on the report page ---------------------------------------------------------------------------------------------


def section(given, facts: dict) -> SectionData:
    rows = [_rate(one, point) for one in facts["series"] for point in one.get("points", [one])]
    return numbers_of(facts, ["series", "GPUs", "images/s", "band or range, images/s", "efficiency, %", "source"], rows)


def _rate(one: dict, point: dict) -> list[Cell]:
    kind = one["kind"] if one["kind"] in RESULTS else "setting"
    logs = "; ".join(point.get("logs", ()))
    where = logs or one.get("file") or one.get("source") or one.get("place") or one.get("run") or "figure2.json"
    source = f"{where}; {one.get('status') or one.get('stack') or one['label']}"
    around = point.get("band") or point.get("spread") or ()
    band = " to ".join(f"{value:,.0f}" for value in around)
    share = f"{100 * point['efficiency']:.1f}" if "efficiency" in point else ""
    texts = (one["label"], f"{point['gpus']:,}", f"{point['images_per_second']:,.0f}", band, share)
    return [*(numbered(text, kind, source) for text in texts), Code(source)]


main = entry(ARTEFACT, draw)

if __name__ == "__main__":
    sys.exit(main())
