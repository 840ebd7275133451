"""Figure 1: a compute node of ABCI, drawn from the constants the cluster model uses.

    python reproduce/figure1.py [--tier quick|node|paper] [--results DIR] [--out DIR]

Writes figure1.png, .pdf, .svg and .json. Needs neither logs nor torch.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reproduce.artefacts import artefact  # noqa: E402
from reproduce.cluster import files  # noqa: E402
from reproduce.errors import command  # noqa: E402
from reproduce.figures import node, plot  # noqa: E402
from reproduce.results import output  # noqa: E402

CLUSTER = "abci"


def render(cluster, given):
    title = f"{artefact('figure1').title}\nredrawn from {cluster.path}: {cluster.about.title}"
    figure, ax = plot.plt.subplots(figsize=(9, 6))
    figure.suptitle(title)
    node.draw(ax, cluster)
    facts = {"artefact": "figure1", "title": title, "tier": given.tier} | node.facts(cluster)
    return plot.save(figure, given.out, "figure1", facts)


@command
def main(argv=None):
    given = output.options("figure1", argv)
    output.announce(render(files.load(CLUSTER), given), ())


if __name__ == "__main__":
    sys.exit(main())
