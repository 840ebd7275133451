"""Figure 1: a compute node, drawn from a cluster file, so that the picture is the data the model used."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from reproduce.cluster.machine import Cluster
from reproduce.figures import plot

ROWS = {"adapter": 2.6, "cpu": 1.7, "gpu": 0.55}  # heights of the boxes' middles
SIZE = (0.9, 0.36)  # of a box
SHOWN = ("node.gpus", "node.link_bandwidth", "node.cpus", "node.pcie_bandwidth", "network.adapters",
         "network.adapter_bandwidth")  # fmt: skip


def counts(cluster: Cluster) -> dict[str, int]:
    """Boxes of each kind."""
    node, network = cluster.node, cluster.network
    return {"adapter": int(network.adapters), "cpu": int(node.cpus), "gpu": int(node.gpus)}


def places(cluster: Cluster) -> dict[str, list[float]]:
    """Where the boxes of each row stand, left to right: evenly, over the width of the longest row."""
    found, width = counts(cluster), max(counts(cluster).values())
    return {kind: [(i + 0.5) * width / count for i in range(count)] for kind, count in found.items()}


def rate(value: float) -> str:
    return f"{value / 1e9:.4g} GB/s"


@dataclass(frozen=True)
class Topology:
    """What hangs where, as the cluster file's [launch] says: of each GPU the NUMA node (CPU) and the adapter."""

    numa: Sequence[int]
    hca: Sequence[str]

    def cpu(self, kind: str, index: int) -> int | None:
        """The CPU of a GPU or adapter, by its number; None where the file does not say."""
        if kind == "gpu":
            return self.numa[index] if index < len(self.numa) else None
        adapters = list(dict.fromkeys(self.hca))
        return self.cpu("gpu", self.hca.index(adapters[index])) if index < len(adapters) else None


def wires(cluster: Cluster, topology: Topology) -> list[tuple[tuple[str, int], tuple[str, int], str]]:
    """(one end, other end, kind): each GPU and adapter to its CPU by PCIe, each CPU to the next, and out."""
    at = places(cluster)
    cards = [(kind, i) for kind in ("gpu", "adapter") for i in range(len(at[kind]))]
    found = [(card, ("cpu", cpu), "pcie") for card in cards
             if (cpu := topology.cpu(*card)) is not None and cpu < len(at["cpu"])]  # fmt: skip
    found += [(("cpu", i), ("cpu", i + 1), "socket") for i in range(len(at["cpu"]) - 1)]
    return found + [(("adapter", i), ("network", i), "network") for i in range(len(at["adapter"]))]


def draw(ax: Axes, cluster: Cluster, topology: Topology) -> None:
    at, about = places(cluster), cluster.about
    names = {"adapter": f"HCA\n{about.adapter}", "cpu": f"CPU\n{about.cpu}", "gpu": f"GPU\n{about.gpu}"}
    colours = {"pcie": plot.GREY, "socket": plot.GREY, "network": plot.RED}
    for (kind, i), (other, j), wire in wires(cluster, topology):
        x, y = at[kind][i], ROWS[kind]
        to = (x, ROWS["adapter"] + 0.75) if other == "network" else (at[other][j], ROWS[other])
        ax.plot([x, to[0]], [y, to[1]], color=colours[wire], linewidth=2.5 if wire == "network" else 1.6, zorder=1)
    for kind, row in at.items():
        for i, x in enumerate(row):
            corner = (x - SIZE[0] / 2, ROWS[kind] - SIZE[1] / 2)
            ax.add_patch(FancyBboxPatch(corner, *SIZE, boxstyle="round,pad=0.02", facecolor="white", zorder=2,
                                        edgecolor=plot.GREEN if kind == "gpu" else plot.BLACK))  # fmt: skip
            label = names[kind].replace("\n", f" {i}\n", 1).replace(" (", "\n(")
            ax.text(x, ROWS[kind], label, ha="center", va="center", fontsize=7, zorder=3)
    _links(ax, at["gpu"], cluster)
    middle = sum(at["cpu"]) / len(at["cpu"])
    for height, text, colour in (
        (ROWS["adapter"] + 0.85, f"network: {rate(cluster.network.adapter_bandwidth)} each way per adapter", plot.RED),
        (ROWS["gpu"] + 0.62, f"PCIe x16: {rate(cluster.node.pcie_bandwidth)} each way", plot.GREY),
        *([(ROWS["cpu"] + 0.08, "link between CPUs: not in the model", plot.GREY)] if len(at["cpu"]) > 1 else []),
    ):
        ax.text(middle, height, text, ha="center", fontsize=8.5, color=colour, backgroundcolor="white", zorder=3)
    ax.set(xlim=(0, max(map(len, at.values()))), ylim=(-0.8, 3.6), xticks=[], yticks=[])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)


def _links(ax: Axes, row: list[float], cluster: Cluster) -> None:
    """NVLink: an arc between every two GPUs of a small node, each with ends of its own; else a bar they all hang on."""
    low = ROWS["gpu"] - SIZE[1] / 2 - 0.02
    if len(row) <= 4:
        for i, x in enumerate(row):
            for steps, other in enumerate(row[i + 1 :], 1):
                inset = 0.26 - 0.1 * steps  # longer arcs begin further out, so that none hides another
                _arc(ax, x + inset, other - inset, low, 0.3 * steps)
    else:
        ax.plot([row[0], row[-1]], [low - 0.25] * 2, color=plot.GREEN, linewidth=5)
        for x in row:
            ax.plot([x, x], [low - 0.25, low], color=plot.GREEN, linewidth=1.8)
    text = f"NVLink: {rate(cluster.node.link_bandwidth)} each way per GPU, to all others together"
    ax.text(sum(row) / len(row), -0.75, text, ha="center", fontsize=8.5, color=plot.GREEN)


def _arc(ax: Axes, left: float, right: float, top: float, depth: float) -> None:
    middle, half = (left + right) / 2, (right - left) / 2
    angles = [math.pi * k / 40 for k in range(41)]
    ax.plot([middle - half * math.cos(a) for a in angles], [top - depth * math.sin(a) for a in angles],
            color=plot.GREEN, linewidth=1.8, gid="nvlink")  # fmt: skip


def facts(cluster: Cluster) -> dict:
    """What is drawn, with its sources."""
    constants = cluster.facts()["constants"]
    boxes = {kind: {"count": count} for kind, count in counts(cluster).items()}
    return {"cluster": cluster.about.name, "file": cluster.path, "boxes": boxes,
            "constants": {name: constants[name] for name in SHOWN}}  # fmt: skip
