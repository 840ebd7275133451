"""Step time against the rule that groups the gradients, overlapped with backward and not, with PyTorch's DDP beside it.

    python reproduce/groups.py [--results DIR] [--out DIR]

Draws what `python -m reproduce.bench comm` measured, and beside it what the cluster model says of the paper's machine:
groups.png, .pdf, .svg, .md and .json. Needs no torch.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reproduce import table  # noqa: E402
from reproduce.artefact import Artefact  # noqa: E402
from reproduce.cluster import files  # noqa: E402
from reproduce.page.view import Cell, Code, Number, SectionData, numbered, numbers_of  # noqa: E402
from reproduce.results import output, steptimes  # noqa: E402
from reproduce.script import entry  # noqa: E402

ARTEFACT = Artefact(
    "groups", "Step time against the rule that groups the gradients", {"quick": ()}, benchmark="comm"
)

CLUSTER, GPUS, LOCAL_BATCH = "abci", 2048, 40  # of the modelled panel: the paper's


def runs(given):
    return steptimes.read(given.results)


def rows(result):
    return [row for network in result.networks for row in steptimes.cells(network)] if result else []


def render(cells, result, given):
    from reproduce.figures import exchange, plot  # here, so that --list needs no matplotlib

    title = f"{ARTEFACT.title}\n{exchange.about(result, given.tier)}"
    networks, cluster = result.networks if result else (), files.load(CLUSTER)
    modelled, rows = exchange.modelled(cluster, GPUS, LOCAL_BATCH), exchange.rows_of(networks)
    count = len(networks) or 1
    height = (count + 2) // 2  # two panels in a row, the modelled one last
    figure, axes = plot.plt.subplots(height, 2, figsize=(exchange.WIDTH, 1.0 + 2.3 * height), squeeze=False)
    figure.suptitle(title, fontsize=8.5)
    panels = list(axes.flat)
    exchange.modelled_panel(panels[count], cluster, modelled, rows)
    if not networks:
        exchange.hole(panels[0])
    for ax, network in zip(panels, networks):
        exchange.panel(ax, network, rows)
    for ax in panels[count + 1 :]:
        ax.set_visible(False)
    exchange.legend(figure)
    facts = exchange.side_car(title, given.tier, result)
    facts["modelled"] = {"kind": "modelled", "rules": [one.facts() for one in modelled], **cluster.facts()}
    paths = plot.save(figure, given.out, "groups", facts)
    notes = table.escape_markdown(exchange.notes(result)) if result else ""
    body = table.markdown(steptimes.HEADER, cells) + notes if result else f"{exchange.MISSING}\n"
    body += exchange.modelled_notes(cluster, modelled) + table.markdown(*exchange.modelled_rows(modelled))
    return [*paths, output.write(given.out, "groups.md", f"# {table.escape_markdown(title)}\n\n{body}")]


def draw(given):
    from reproduce.figures import exchange  # here, so that --list needs no matplotlib

    result = runs(given)
    output.announce(render(rows(result), result, given), ())
    if result is None:
        print(f"groups: {exchange.MISSING} --out {given.results / steptimes.FILE}")


# ---- on the report page ---------------------------------------------------------------------------------------------


def section(given, facts: dict) -> SectionData:
    rows = [_step(facts["source"], network, one) for network in facts.get("rates", ()) for one in network["variants"]]
    rows += [_modelled_step(facts["modelled"], one) for one in facts["modelled"]["rules"]]
    header: list[Cell] = ["network", "groups by", "wire", "exchange", "step, ms", "lowest to highest, or band, ms", "n",
                          "source"]  # fmt: skip
    return numbers_of(facts, header, rows)


def _step(source: str, network: dict, one: dict) -> list[Cell]:
    where, ms = f"{source}: {network['network']}", [1e3 * seconds for seconds in one["seconds"]]
    rate = "unlimited" if network["mbit"] is None else f"{network['mbit']:g} Mbit/s"
    texts = (f"{1e3 * one['median']:,.0f}", f"{min(ms):,.0f} to {max(ms):,.0f}", str(one["n"]))
    return [*_rule(rate, one, one["wire"]), *(Number(text, "measured", where) for text in texts), Code(source)]


def _modelled_step(modelled: dict, one: dict) -> list[Cell]:
    file, (low, high) = modelled["file"], (1e3 * seconds for seconds in one["band"])
    texts = (f"{1e3 * one['seconds']:,.1f}", f"{low:,.1f} to {high:,.1f}")
    name = f"modelled: {modelled['cluster']}"
    return [*_rule(name, one, "fp16"), *(Number(text, "modelled", file) for text in texts), "none", Code(file)]


def _rule(network: str, one: dict, wire: str) -> list[Cell]:
    way = "overlapped" if one["overlap"] else "after backward"
    return [numbered(network, "setting", "groups.json"), Code(one["rule"]), Code(wire), way]


main = entry(ARTEFACT, draw)

if __name__ == "__main__":
    sys.exit(main())
