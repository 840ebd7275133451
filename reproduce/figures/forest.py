"""A forest plot: a line per variant, with its interval, its word in colour, and the zero it is compared with."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from reproduce.figures import plot
from reproduce.judge.ablation import Effect

COLOURS = {"helps": plot.BLUE, "hurts": plot.RED, "none": plot.GREY}
AXIS = "top-1 of the recipe minus that of the variant, points"


def panel(ax: Axes, found: Sequence[Effect], title: str) -> None:
    """The variants from top to bottom; a hole is a light cross at zero with the word."""
    for row, one in enumerate(found):
        _line(ax, one, -row)
    ax.axvline(0, color=plot.BLACK, linewidth=1)
    ax.set_yticks([-row for row in range(len(found))], [one.variant.text for one in found])
    ax.set_ylim(-len(found) + 0.4, 0.6)
    ax.grid(axis="y", visible=False)
    ax.set(xlabel=AXIS, title=title)
    ax.plot([], [], **_style(plot.BLUE), label="interval above zero: what the recipe does helps")
    ax.plot([], [], **_style(plot.RED), label="below zero: it hurts")
    ax.plot([], [], **_style(plot.GREY), label="no effect seen at this scale")
    ax.legend(loc="lower right", fontsize=7.5)


def _line(ax: Axes, one: Effect, height: float) -> None:
    if one.difference is None:
        ax.plot([0], [height], "x", color=plot.GREY, alpha=0.6)
        ax.annotate("missing", (0, height), xytext=(6, -3), textcoords="offset points", fontsize=7.5, color=plot.GREY)
        return
    colour = COLOURS.get(one.word, plot.GREY)
    if one.difference.interval is not None:
        low, high = one.difference.interval
        ax.plot([low, high], [height, height], color=colour, linewidth=1.6)
    ax.plot([one.difference.mean], [height], **_style(colour))


def _style(colour: str) -> dict:
    return plot.look("measured", colour, "s") | {"linestyle": "none"}
