"""HTML from Python values: text is escaped by construction, and every number carries its kind and its source.

A plain string becomes text, whatever it holds; only `Markup`, which these functions return, is taken as it is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from reproduce.kinds import KINDS

VOID = ("img", "meta", "br", "link")


class Markup(str):
    """Text that is HTML already."""


@dataclass(frozen=True)
class Number:
    """A number, or words that hold numbers, with its kind (a key of `kinds.KINDS`) and its source, in words."""

    text: str
    kind: str
    source: str

    def __post_init__(self):
        if self.kind not in KINDS or not self.source:
            raise ValueError(f"{self.text!r} needs a kind and a source, not {self.kind!r} and {self.source!r}")

    @property
    def attributes(self) -> dict[str, str]:
        return {"data-kind": self.kind, "data-source": self.source, "title": f"{self.kind}: {self.source}"}


@dataclass(frozen=True)
class Section:
    """A part of the page: `name` is its anchor, `title` its heading."""

    name: str
    title: str
    body: "Content"

    @property
    def markup(self) -> Markup:
        heading = element("h2", self.title, id=f"{self.name}-title")
        return element("section", heading, self.body, id=self.name, aria_labelledby=f"{self.name}-title")


Content = str | Number | Markup | Iterable


def element(tag: str, *children: Content, **attributes) -> Markup:
    """One element. In the names of attributes ``_`` stands for ``-`` and one at the end is dropped (``class_``).

    A value of True writes the bare name, None or False nothing.
    """
    parts = []
    for name, value in attributes.items():
        name = name.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(f" {name}")
        elif value is not None and value is not False:
            parts.append(f' {name}="{escape(str(value))}"')
    opened = f"<{tag}{''.join(parts)}>"
    return Markup(opened if tag in VOID else f"{opened}{join(children)}</{tag}>")


def join(children: Iterable[Content]) -> Markup:
    return Markup("".join(map(render, children)))


def render(content: Content) -> str:
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        return escape(content)
    if isinstance(content, Number):
        return element("span", content.text, class_="n", **content.attributes)
    return join(content)


def code(text: str) -> Markup:
    return element("code", text)


def link(text: Content, target: str) -> Markup:
    return element("a", text, href=target)


def hole(command: str, reason: str) -> Markup:
    """A visible hole: that something is missing, why, and the command that makes it."""
    why = code(reason) if any(map(str.isdigit, reason)) else reason  # what it names is not for reading as a number
    return element("p", element("strong", "missing"), ": ", why, ". To make it: ", code(command), class_="hole")


def table(caption: Content, header: Sequence[Content], rows: Iterable[Sequence[Content]], anchor: str) -> Markup:
    """A table in a box of its own that scrolls, also by keyboard, where the page is too narrow.

    The first cell of a row is its header; `anchor` is unique on the page.
    """
    head = element("tr", *(_cell(name, "th", scope="col") for name in header))
    body = [element("tr", _cell(cells[0], "th", scope="row"), *map(_cell, cells[1:])) for cells in rows]
    whole = element(
        "table", element("caption", caption, id=anchor), element("thead", head), element("tbody", *body)
    )  # fmt: skip
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_labelledby=anchor)


def _cell(content: Content, tag: str = "td", **attributes) -> Markup:
    if isinstance(content, Number):
        return element(tag, content.text, class_="n", **attributes, **content.attributes)
    return element(tag, content, class_="gap" if is_hole(content) else None, **attributes)


def is_hole(content: Content) -> bool:
    """Whether a text says that something is missing."""
    return isinstance(content, str) and not isinstance(content, Markup) and content.startswith("missing")


def details(summary: Content, *children: Content) -> Markup:
    return element("details", element("summary", summary), *children)
