"""The one style of all figures: hollow is the paper, filled is measured, dashed is modelled, thin grey is public."""

import io
import math
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter, MaxNLocator, ScalarFormatter
from matplotlib.transforms import ScaledTranslation, Transform

from reproduce.errors import shown
from reproduce.figures import svg
from reproduce.figures.series import Series
from reproduce.results import output

# Okabe and Ito's colour-blind-safe set.
BLACK, ORANGE, SKY, GREEN, BLUE, RED, GREY = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#777777",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D")
HOLE_ROW = 0.11  # of the axes' height: room for the markers of one series' holes
matplotlib.rcdefaults()  # whatever the user's matplotlibrc says: a figure looks the same on every machine
matplotlib.use("Agg")  # no display is needed, and none is assumed
plt.rcParams.update({
    "font.size": 10, "axes.titlesize": 10.5, "legend.fontsize": 8.5, "axes.grid": True, "grid.alpha": 0.3,
    "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False, "savefig.dpi": 160,
    "legend.framealpha": 0.9, "figure.constrained_layout.use": True,
})  # fmt: skip


def look(kind: str, colour: str, marker: str = "o") -> dict:
    """Line and marker arguments that show the kind of a number. By `gid` its values are said in the SVG (svg.py)."""
    found = {
        "paper": {"linestyle": "none", "marker": marker, "markersize": 10, "markerfacecolor": "none",
                  "markeredgewidth": 2, "color": colour},
        "measured": {"linestyle": "-", "linewidth": 1.8, "marker": marker, "markersize": 6, "color": colour},
        "modelled": {"linestyle": "--", "linewidth": 1.8, "color": colour},
        "public": {"linestyle": "-", "linewidth": 0.9, "alpha": 0.8, "color": colour},
    }[kind]  # fmt: skip
    return found | {"gid": kind}


def draw_batches(ax: Axes, series: Series, colour: str, marker: str = "o", row: int = 0, shift: float = 0) -> None:
    """Accuracy against mini-batch: mean, bar from lowest to highest seed, seeds as dots; holes at the bottom.

    `shift`, in points, moves a series sideways, so that its bars do not cover another's; its values stay.
    """
    style = look(series.kind, colour, marker) | {"transform": (moved := aside(ax, shift))}
    if not series.drawn:
        style |= {"linestyle": "none", "marker": "x", "alpha": 0.6}
    # A hole is a NaN, so that the line breaks there instead of bridging it.
    ax.plot([p.x for p in series.points], [math.nan if p.y is None else p.y for p in series.points],
            label=series.label, **style)  # fmt: skip
    for point in series.drawn:
        if point.y is not None and len(point.values) > 1:  # one seed has no spread: no bar, rather than one of length 0
            bars = [[point.y - min(point.values)], [max(point.values) - point.y]]
            ax.errorbar([point.x], [point.y], yerr=bars, capsize=4, color=colour, transform=moved)
            ax.plot([point.x] * len(point.values), point.values, ".", color=colour, alpha=0.55, markersize=5,
                    transform=moved)  # fmt: skip
    for point in series.holes:
        draw_hole(ax, point.x, colour, row)


def aside(ax: Axes, shift: float) -> Transform:
    """The axes' own transform, moved sideways by `shift` points."""
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes are made by a figure"
    return ax.transData + ScaledTranslation(shift / 72, 0, figure.dpi_scale_trans)


def draw_hole(ax: Axes, x: float, colour: str, row: int) -> None:
    """A light cross below the scale with the word: nothing was measured here."""
    height = HOLE_ROW * (row + 0.35)
    across = ax.get_xaxis_transform()
    ax.plot([x], [height], "x", color=colour, alpha=0.6, markersize=6, transform=across, clip_on=False)
    ax.annotate("missing", (x, height), xycoords=across, xytext=(0, 4), textcoords="offset points",
                ha="center", va="bottom", fontsize=7.5, color=colour, alpha=0.9)  # fmt: skip


def fit_accuracy(ax: Axes, series: list[Series]) -> None:
    """Set the limits of an accuracy axis: the values with room, and below them a row for each series with holes.

    Those rows are off the scale: the axis ends above them, and they are shaded, so that no hole seems to be a value.
    """
    values = [value for one in series for point in one.drawn for value in (point.y, *point.values)
              if value is not None]
    rows = max((index + 1 for index, one in enumerate(series) if one.holes), default=0)
    if not values:
        ax.set_ylim(0, 1)
        ax.set_yticks([])
        ax.text(0.5, 0.6, "missing: nothing measured", transform=ax.transAxes, ha="center", color=GREY)
        return
    pad = max(1.0, 0.12 * (max(values) - min(values)))
    low, high = min(values) - pad, max(values) + 1.6 * pad  # more above: the legend stands there
    ax.set_ylim(low - (high - low) * rows * HOLE_ROW / (1 - rows * HOLE_ROW), high)
    if rows:
        ticks = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high)
        ax.set_yticks([tick for tick in ticks if low <= tick <= high])
        ax.spines["left"].set_bounds(low, high)
        ax.add_patch(Rectangle((0, 0), 1, rows * HOLE_ROW, transform=ax.transAxes, color=GREY, alpha=0.12, linewidth=0))


def letter(ax: Axes, name: str) -> None:
    """Name a panel, above its left edge."""
    ax.set_title(name, loc="left", fontweight="bold")


def as_written(figure: Figure) -> None:
    """Have every text of a figure drawn letter by letter: a log's '$' begins no formula, nor is a control a control.

    But for the numbers along axes, which matplotlib itself writes as formulas.
    """
    axes = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]
    own = [axis for axis in axes if isinstance(axis.get_major_formatter(), LogFormatter | ScalarFormatter)]
    numbers = {id(label) for axis in own for label in axis.findobj(Text) if label is not axis.label}
    for text in figure.findobj(Text):
        if id(text) not in numbers and ("$" in text.get_text() or not text.get_text().isprintable()):
            text.set(text="\n".join(map(shown, text.get_text().split("\n"))), parse_math=False)


def save(figure: Figure, out: Path, name: str, facts: dict) -> list[Path]:
    """Write NAME.png, .pdf, .svg and .json. The same numbers give the same bytes: no dates are written."""
    as_written(figure)
    paths = []
    for suffix, metadata in (("png", {}), ("pdf", {"CreationDate": None})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, metadata=metadata)
        paths.append(output.write(out, f"{name}.{suffix}", buffer.getvalue()))
    paths.append(output.write(out, f"{name}.svg", svg.render(figure)))
    plt.close(figure)
    return [*paths, output.write(out, f"{name}.json", output.to_json(facts))]
