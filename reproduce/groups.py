"""Step time against the rule that groups the gradients, overlapped with backward and not, with PyTorch's DDP beside it.

    python reproduce/groups.py [--results DIR] [--out DIR]

Draws what `python -m reproduce.bench comm` measured: groups.png, .pdf, .md and .json. Needs no torch.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reproduce.artefacts import artefact  # noqa: E402
from reproduce.bench import steptimes  # noqa: E402
from reproduce.errors import command  # noqa: E402
from reproduce.report import exchange, output, plot, table  # noqa: E402


def runs(given):
    return steptimes.read(given.results)


def rows(result):
    return [row for network in result.networks for row in steptimes.cells(network)] if result else []


def render(cells, result, given):
    title = f"{artefact('groups').title}\n{exchange.about(result, given.tier)}"
    networks = result.networks if result else ()
    columns = max(1, len(networks))
    figure, axes = plot.plt.subplots(1, columns, figsize=(max(8, 5.2 * columns), 5.5), squeeze=False)
    figure.suptitle(title, fontsize=10.5)
    if not networks:
        exchange.hole(axes[0][0])
    for ax, network in zip(axes[0], networks):
        exchange.panel(ax, network)
    paths = plot.save(figure, given.out, "groups", exchange.side_car(title, given.tier, result))
    body = table.markdown(steptimes.HEADER, cells) + exchange.notes(result) if result else f"{exchange.MISSING}\n"
    return [*paths, output.write(given.out, "groups.md", f"# {title}\n\n{body}")]


@command
def main(argv=None):
    given = output.options("groups", argv)
    result = runs(given)
    output.announce(render(rows(result), result, given), ())
    if result is None:
        print(f"groups: {exchange.MISSING} --out {given.results / steptimes.FILE}")


if __name__ == "__main__":
    sys.exit(main())
