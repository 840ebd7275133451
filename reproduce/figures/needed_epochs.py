"""The panel of Figure 3 with public runs: epochs needed to 75.9 % against mini-batch, by division."""

import statistics
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from reproduce.figures import plot
from reproduce.mlperf import table
from reproduce.mlperf.epochs import DIVISIONS, Needed
from reproduce.mlperf.summary import TARGET
from reproduce.results.paper import Paper

LOOKS = {"closed": (plot.GREY, "o"), "open": (plot.GREEN, "^")}
TICKS = (512, 2048, 8192, 32768, 131072)


def panel(ax: Axes, needed: Sequence[Needed], paper: Paper) -> None:
    """Median and range of the runs of each mini-batch; the paper's epochs as a line, its mini-batch as another."""
    for division in DIVISIONS:
        _draw(ax, division, needed)
    length, batch = paper.values["epochs"], paper.values["mini_batch"]
    ax.axhline(length.value, color=plot.BLACK, linestyle="--", linewidth=1,
               label=f"paper: {length.text} ({length.status})")  # fmt: skip
    ax.axvline(batch.value, color=plot.BLACK, linestyle=":", linewidth=1,
               label=f"paper: mini-batch {batch.text} ({batch.status})")  # fmt: skip
    ax.set_xscale("log")
    ax.set_xticks(TICKS, [f"{tick:,}" for tick in TICKS])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel="mini-batch, images", ylabel=f"epochs to {100 * TARGET:.1f} %", ylim=(0, 130),
           yticks=range(0, 101, 20),  # above them stands the legend
           title="ImageNet, public MLPerf runs v0.6 to v4.0: not the paper's, not ours")  # fmt: skip
    ax.legend(loc="upper left")


def _draw(ax: Axes, division: str, needed: Sequence[Needed]) -> None:
    """The runs of a division that reached the target, one mark per mini-batch, with how many did."""
    rows = by_batch(division, needed)
    colour, marker = LOOKS[division]
    count, tried = sum(len(epochs) for _, epochs in rows), sum(run.division == division for run in needed)
    middles = [statistics.median(epochs) for _, epochs in rows]
    ax.plot([batch for batch, _ in rows], middles,
            label=f"{division} division: median and range; {count:,} of {tried:,} runs reached it",
            **plot.look("public", colour) | {"linestyle": "none", "marker": marker, "markersize": 5})  # fmt: skip
    ax.vlines([batch for batch, _ in rows], [min(epochs) for _, epochs in rows], [max(epochs) for _, epochs in rows],
              color=colour, linewidth=0.9, alpha=0.8)  # fmt: skip


def by_batch(division: str, needed: Sequence[Needed]) -> list[tuple[int, list[float]]]:
    """(mini-batch, epochs of its runs that reached the target), by mini-batch."""
    found: dict[int, list[float]] = {}
    for run in needed:
        if run.division == division and run.epochs is not None:
            found.setdefault(run.batch, []).append(run.epochs)
    return sorted(found.items())


def facts(needed: Sequence[Needed]) -> dict:
    """What the panel draws, for the side-car file."""
    rows = [
        {"division": division, "mini_batch": batch, "n": len(epochs), "median": statistics.median(epochs),
         "lowest": min(epochs), "highest": max(epochs)}
        for division in DIVISIONS for batch, epochs in by_batch(division, needed)
    ]  # fmt: skip
    missed = [run.division for run in needed if run.epochs is None]
    return {"kind": "public", "source": f"figures/public/{table.CURVES}", "target_top1": TARGET,
            "not_reached": {division: missed.count(division) for division in DIVISIONS}, "rows": rows}  # fmt: skip
