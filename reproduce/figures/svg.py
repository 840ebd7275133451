"""A figure as SVG: the same numbers give the same bytes, and every point says its value when it is pointed at.

A line with a `gid` of `RESULTS` is a series of numbers of that kind. For each of its points the file gets an invisible
circle with a `<title>`, such as ``momentum SGD: mini-batch 800 images; top-1 accuracy 84.79 %``, in a group that
names the kind. Browsers show the title, and page.js of the report page reads it out, also by keyboard.
"""

import io
import math
import re
from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reproduce.kinds import RESULTS

POINTS = 72  # units of an SVG of Matplotlib per inch
UNITS = ("%", "ms", "s", "images")  # what may follow the last comma of an axis label
RADIUS = 6  # of the circle that answers to the pointer


def render(figure: Figure) -> bytes:
    """The figure as an SVG document, without date and version."""
    buffer = io.BytesIO()
    # the same names of parts, and the same letters, on every machine
    with matplotlib.rc_context({"svg.hashsalt": "reproduce", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(rf' id="({"|".join(RESULTS)})"', "", buffer.getvalue().decode("utf-8"))  # an id is of one element
    body, end, _ = text.rpartition("</svg>")
    return "\n".join([body.rstrip(), *_groups(figure), f"{end}\n"]).encode("utf-8")


def _groups(figure: Figure) -> Iterable[str]:
    """The circles of every series, after `savefig` has placed the axes."""
    for ax in figure.axes:
        for line in ax.get_lines():
            if line.get_gid() in RESULTS:
                yield f'<g class="values" data-kind={quoteattr(str(line.get_gid()))}>'
                yield from _circles(ax, line)
                yield "</g>"


def _circles(ax: Axes, line: Line2D) -> Iterable[str]:
    figure = ax.get_figure(root=True)
    assert figure is not None
    height, scale = figure.get_figheight() * POINTS, POINTS / figure.dpi
    name = _name(ax, line)
    for x, y in np.asarray(line.get_xydata(), float).tolist():
        across, up = line.get_transform().transform((x, y))
        if not (math.isfinite(across) and math.isfinite(up)):
            continue
        said = f"{name}{_value(ax.xaxis, x)}; {_value(ax.yaxis, y)}"
        yield (f'<circle cx="{across * scale:.2f}" cy="{height - up * scale:.2f}" r="{RADIUS}" fill="none" '
               f'pointer-events="all"><title>{escape(said)}</title></circle>')  # fmt: skip


def _name(ax: Axes, line: Line2D) -> str:
    """The line's label up to its colon, after which it says kind and n; without one, the title of its panel.

    A label that begins with ``_`` is one that the legend does not show.
    """
    label = str(line.get_label())
    known = ax.get_title() if re.fullmatch(r"_child\d+", label) else label.removeprefix("_").partition(":")[0]
    return f"{' '.join(known.split())}: " if known else ""


def _value(axis: Axis, value: float) -> str:
    """A value with its axis, ``top-1 accuracy 84.79 %``; where the ticks are words, the word it stands at."""
    label = " ".join(axis.get_label_text().split())
    name, _, unit = label.rpartition(", ")
    name, unit = (name, f" {unit}") if unit in UNITS else (label, "")
    return f"{name} {_word(axis, value) or _number(value)}{unit}".strip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.2f}"


def _word(axis: Axis, value: float) -> str:
    """The first line of the nearest tick's label if it is a word."""
    ticks = list(zip(axis.get_ticklocs(), axis.get_ticklabels()))
    nearest = min(ticks, key=lambda tick: abs(tick[0] - value))[1].get_text() if ticks else ""
    word = nearest.partition("\n")[0]
    return word if re.match("[A-Za-z]", word) else ""
