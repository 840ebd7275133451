"""Curves as inline SVG: values in `<title>` of each point for the pointer, the same in a table for everybody else.

Kinds differ in more than colour, as in all figures here: hollow is the paper, filled is measured, dashed is modelled,
thin is public.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reproduce.page.html import Markup, element

WIDTH, HEIGHT = 640, 340  # of the drawing, in its own units
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 46  # margins


@dataclass(frozen=True)
class Dot:
    """A value of a curve, with what it says when pointed at; `low` and `high` are those of its seeds."""

    x: float
    y: float
    text: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Curve:
    """A line of one kind and one source; `shade` (0, 1, ...) tells curves of the same kind apart."""

    label: str
    kind: str
    source: str
    dots: tuple[Dot, ...]
    shade: int = 0


def chart(curves: Sequence[Curve], title: str, x_label: str, y_label: str, anchor: str) -> Markup:
    """The curves on common axes from 0, in a frame that page.js makes answer to pointer and arrow keys."""
    x, y = Axis(_top(d.x for c in curves for d in c.dots)), Axis(_top(d.high or d.y for c in curves for d in c.dots))
    drawing = element(
        "svg", element("title", title, id=anchor), _axes(x, y, x_label, y_label), *(_line(c, x, y) for c in curves),
        element("circle", class_="cursor", r="7", cx="0", cy="0", visibility="hidden"),
        viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_labelledby=anchor,
    )  # fmt: skip
    hint = "Point at a curve, or use the arrow keys, to read its values; all of them are in the table below."
    frame = element("div", drawing, class_="scroll chart", tabindex="0", role="group", aria_label=f"Chart: {title}")
    legend = {c.label: c for c in reversed(curves)}
    return element(
        "div", element("ul", *(_legend(c) for c in reversed(legend.values())), class_="legend"), frame,
        element("p", hint, class_="readout", role="status"), class_="plot",
    )  # fmt: skip


@dataclass(frozen=True)
class Axis:
    """From 0 to `top`, with round ticks."""

    top: float

    @property
    def ticks(self) -> list[float]:
        rough = self.top / 6
        power = 10 ** math.floor(math.log10(rough))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
        return [i * step for i in range(int(self.top / step + 1e-9) + 1)]


def _top(values) -> float:
    return max(values, default=0) or 1.0


def _across(axis: Axis, value: float) -> str:
    return f"{LEFT + (WIDTH - LEFT - RIGHT) * value / axis.top:.1f}"


def _up(axis: Axis, value: float) -> str:
    return f"{HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / axis.top:.1f}"


def _axes(x: Axis, y: Axis, x_label: str, y_label: str) -> Markup:
    floor, parts = HEIGHT - BOTTOM, []
    for value in y.ticks:
        at = _up(y, value)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at))
        parts.append(element("text", f"{value:g}", x=LEFT - 6, y=f"{float(at) + 4:.1f}", text_anchor="end"))
    for value in x.ticks:
        parts.append(element("text", f"{value:g}", x=_across(x, value), y=floor + 18, text_anchor="middle"))
    parts.append(element("text", x_label, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 8, text_anchor="middle"))
    middle = (TOP + floor) / 2
    parts.append(element("text", y_label, x=14, y=middle, text_anchor="middle", transform=f"rotate(-90 14 {middle})"))
    return element("g", *parts, class_="axis")


def _line(curve: Curve, x: Axis, y: Axis) -> Markup:
    places = [(_across(x, dot.x), _up(y, dot.y), dot) for dot in curve.dots]
    parts = []
    if any(dot.low is not None for dot in curve.dots):
        upper = [f"{across},{_up(y, dot.y if dot.high is None else dot.high)}" for across, _, dot in places]
        lower = [f"{across},{_up(y, dot.y if dot.low is None else dot.low)}" for across, _, dot in places]
        parts.append(element("polygon", points=" ".join([*upper, *reversed(lower)]), class_="band"))
    parts.append(element("polyline", points=" ".join(f"{across},{up}" for across, up, _ in places)))
    parts += [element("circle", element("title", dot.text), cx=across, cy=up, r="2.6") for across, up, dot in places]
    return element("g", *parts, class_=f"line shade{curve.shade}", data_kind=curve.kind, data_source=curve.source)


def _legend(curve: Curve) -> Markup:
    sample = element("line", x1="1", x2="29", y1="6", y2="6") + element("circle", cx="15", cy="6", r="3")
    mark = element("g", Markup(sample), class_=f"line shade{curve.shade}", data_kind=curve.kind)
    picture = element("svg", mark, viewBox="0 0 30 12", width="30", height="12", aria_hidden="true")
    return element("li", picture, " ", element("span", curve.label, data_kind=curve.kind, data_source=curve.source))
