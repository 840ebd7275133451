"""Figure 1: a compute node of ABCI, drawn from the constants the cluster model uses.

    python reproduce/figure1.py [options of run_all.sh]                  trains what is missing, then draws
    python reproduce/figure1.py --draw [--tier T] [--results DIR] [--out DIR]   only draws; needs no torch

Writes figure1.png, .pdf, .svg and .json. Needs neither logs nor torch.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reproduce.artefact import EVERY_TIER, Artefact  # noqa: E402
from reproduce.cluster import files  # noqa: E402
from reproduce.launchers import site  # noqa: E402
from reproduce.page.view import Cell, Code, Number, SectionData, numbered, numbers_of  # noqa: E402
from reproduce.results import output  # noqa: E402
from reproduce.script import entry  # noqa: E402

ARTEFACT = Artefact("figure1", "Figure 1: a compute node of ABCI", EVERY_TIER)

CLUSTER = "abci"


def render(cluster, given):
    from reproduce.figures import node, plot  # here, so that --list needs no matplotlib

    title = f"{ARTEFACT.title}\nredrawn from {cluster.path}: {cluster.about.title}"
    figure, ax = plot.plt.subplots(figsize=(9, 6))
    figure.suptitle(title)
    nodes = site.load(CLUSTER)
    node.draw(ax, cluster, node.Topology(nodes.numa, nodes.hca))
    facts = {"artefact": "figure1", "title": title, "tier": given.tier} | node.facts(cluster)
    return plot.save(figure, given.out, "figure1", facts)


def draw(given):
    output.announce(render(files.load(CLUSTER), given), ())


# ---- on the report page ---------------------------------------------------------------------------------------------


def section(given, facts: dict) -> SectionData:
    rows: list[list[Cell]] = []
    for name, known in facts["constants"].items():
        source = f"{facts['file']}: {known['source']}"
        rows.append([Code(name), Number(f"{known['value']:,g}", "setting", source), known["unit"], known["status"],
                     numbered(known["source"], "setting", facts["file"])])  # fmt: skip
    return numbers_of(facts, ["constant", "value", "unit", "status", "source"], rows)


main = entry(ARTEFACT, draw)

if __name__ == "__main__":
    sys.exit(main())
