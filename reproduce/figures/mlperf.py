"""Figures of public runs beside ours: top-1 against epoch, and time against mini-batch."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import StrMethodFormatter

from reproduce import files
from reproduce.errors import UserError, wrote
from reproduce.figures import plot

OURS = (plot.BLUE, plot.BLACK)
THEIRS = (plot.ORANGE, plot.GREEN, plot.RED, plot.SKY, plot.GREY)
DASHES = ("-", "--", ":")  # a colour comes round again with another dash
NAMED = 17  # in the legend; more do not fit


@dataclass(frozen=True)
class Curve:
    """One run. Runs of the same `label` share a colour and one entry of the legend."""

    label: str
    kind: str  # "measured" (ours) | "public"
    epochs: Sequence[float]
    top1: Sequence[float]  # percent
    chosen: bool = False  # the one run that is looked at: drawn over the others


@dataclass(frozen=True)
class Timed:
    """One run that reached its target; `style` as `looks` gives it, `name` for the one run that is looked at."""

    batch: int
    seconds: float
    style: dict
    name: str = ""


def looks(curves: Sequence[Curve]) -> dict[str, dict]:
    """Line arguments of each label, in the order of the curves."""
    found: dict[str, dict] = {}
    for curve in curves:
        if curve.chosen and curve.kind == "public":
            found[curve.label] = plot.look("public", plot.BLACK) | {"linewidth": 2.2, "alpha": 1.0}
        elif curve.label not in found:
            of_kind = OURS if curve.kind == "measured" else THEIRS
            index = sum(1 for other in found.values() if other["color"] in of_kind)
            found[curve.label] = plot.look(curve.kind, of_kind[index % len(of_kind)]) | {
                "linestyle": DASHES[index // len(of_kind) % len(DASHES)]
            }
    return found


def curves(ax: Axes, drawn: Sequence[Curve], targets: Sequence[float] = ()) -> None:
    """Top-1 against epoch; `targets` (percent) as thin lines across."""
    styles = looks(drawn)
    for curve in drawn:
        ax.plot(curve.epochs, curve.top1, zorder=3 if curve.chosen else 2, **styles[curve.label])
    for target in targets:
        ax.axhline(target, color=plot.GREY, linewidth=0.8, linestyle=":")
        ax.annotate(f"target {target:.1f} %", (0.01, target), xycoords=("axes fraction", "data"), va="bottom",
                    fontsize=7.5, color=plot.GREY)  # fmt: skip
    names = list(styles)
    handles = [Line2D([], [], **styles[name]) for name in names[:NAMED]]
    if len(names) > NAMED:
        names = [*names[:NAMED], f"and {len(names) - NAMED} more systems"]
        handles.append(Line2D([], [], linestyle="none"))
    ax.figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=7.5)
    ax.set(xlabel="epoch, as logged", ylabel="top-1 accuracy, %")


def times(ax: Axes, points: Sequence[Timed]) -> None:
    """Time against mini-batch; logarithmic where the values span more than a decade."""
    for point in points:
        marker = "*" if point.name else plot.MARKERS[DASHES.index(point.style["linestyle"])]
        ax.plot([point.batch], [point.seconds], marker, markersize=14 if point.name else 5, alpha=0.75,
                color=point.style["color"], label=point.name or None)  # fmt: skip
    if not points:
        ax.text(0.5, 0.5, "no run with a logged mini-batch reached its target", transform=ax.transAxes, ha="center")
    for axis, values in ((ax.xaxis, [p.batch for p in points]), (ax.yaxis, [p.seconds for p in points])):
        if values and max(values) > 10 * min(values):
            (ax.set_xscale if axis is ax.xaxis else ax.set_yscale)("log")
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    if any(point.name for point in points):
        ax.legend(loc="upper right")
    ax.set(xlabel="mini-batch, images", ylabel="run_start to run_stop, s", title="runs that reached the target")


def save(figure: Figure, path: Path) -> None:
    """Write one file, its kind by its name. Raises `UserError` if the kind is unknown or the folder not writable."""
    kind = Path(path).suffix.removeprefix(".").lower()
    if kind not in ("png", "pdf", "svg"):
        raise UserError(f"{path}: --draw writes .png, .pdf or .svg: name such a file")
    plot.as_written(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind)
    plot.plt.close(figure)
    try:
        files.write_whole(path, buffer.getvalue())
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror}: choose another --draw") from None
    wrote(path)
