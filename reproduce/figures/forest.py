"""A forest plot: a line per variant, with its interval, its word in colour, and the zero it is compared with."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reproduce.figures import plot
from reproduce.judge.ablation import Effect

COLOURS = {"helps": plot.BLUE, "hurts": plot.RED, "none": plot.GREY}
AXIS = "top-1 of the recipe minus that of the variant, points"


def panel(ax: Axes, found: Sequence[Effect], title: str, names: bool) -> None:
    """The variants from top to bottom, with or without their names; a hole is the word at the left edge.

    Where all are holes there is no scale, and no zero.
    """
    for row, one in enumerate(found):
        _line(ax, one, -row)
    if any(map(shown, found)):
        ax.axvline(0, color=plot.BLACK, linewidth=1)
        ax.set_xlabel(AXIS)
    else:
        ax.set(xlabel="missing: not run", xticks=[])
    ax.set_yticks([-row for row in range(len(found))], [one.variant.text if names else "" for one in found])
    ax.set_ylim(-len(found) + 0.4, 0.6)
    low, high = ax.get_xlim()
    ax.set_xlim(min(low, -1), max(high, 1))
    ax.grid(axis="y", visible=False)
    ax.set_title(title)


def shown(one: Effect) -> bool:
    """Whether it has a place on the scale."""
    return one.difference is not None


def legend(figure: Figure) -> None:
    """Of all panels, below them."""
    texts = {plot.BLUE: "interval above zero: what the recipe does helps", plot.RED: "below zero: it hurts",
             plot.GREY: "no effect seen at this scale"}  # fmt: skip
    handles = [Line2D([], [], label=text, **_style(colour)) for colour, text in texts.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(texts))


def _line(ax: Axes, one: Effect, height: float) -> None:
    if one.difference is None:
        ax.annotate("missing", (0.02, height), xycoords=("axes fraction", "data"), xytext=(0, -3),
                    textcoords="offset points", fontsize=7.5, color=plot.GREY)  # fmt: skip  # not at a value
        return
    colour = COLOURS.get(one.word, plot.GREY)
    if one.difference.interval is not None:
        low, high = one.difference.interval
        ax.plot([low, high], [height, height], color=colour, linewidth=1.6)
    ax.plot([one.difference.mean], [height], **_style(colour))


def _style(colour: str) -> dict:
    return plot.look("measured", colour, "s") | {"linestyle": "none"}
