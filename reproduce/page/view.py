"""What the templates show: text, numbers with kind and source, links, tables, sections.

`shape` is the word of ``macros.html`` for each, which turns them to HTML. A plain string is text, and a tuple is shown
piece by piece.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, Union

from reproduce.judge.verdict import Verdict
from reproduce.kinds import KINDS


@dataclass(frozen=True)
class Number:
    """A number, or words that hold numbers, with its kind (a key of `kinds.KINDS`) and its source, in words."""

    shape: ClassVar = "number"
    text: str
    kind: str
    source: str

    def __post_init__(self):
        if self.kind not in KINDS or not self.source:
            raise ValueError(f"{self.text!r} needs a kind and a source, not {self.kind!r} and {self.source!r}")


@dataclass(frozen=True)
class Gap:
    """Words that say what is missing. Figures in them are none of a result."""

    shape: ClassVar = "gap"
    text: str
    source: str


@dataclass(frozen=True)
class Code:
    """A name, a path or a command."""

    shape: ClassVar = "code"
    text: str


@dataclass(frozen=True)
class Strong:
    shape: ClassVar = "strong"
    text: str


@dataclass(frozen=True)
class Link:
    """`kind` and `source` where the link's text is a number."""

    shape: ClassVar = "link"
    text: "Cell"
    href: str
    kind: str = ""
    source: str = ""


@dataclass(frozen=True)
class Anchor:
    """A place on the page that links lead to."""

    shape: ClassVar = "anchor"
    text: "Cell"
    name: str


@dataclass(frozen=True)
class Judgement:
    """A verdict; `reason` is its own, as a cell."""

    shape: ClassVar = "judgement"
    word: str
    reason: "Cell"


Cell: TypeAlias = Union[str, Number, Gap, Code, Strong, Link, Anchor, Judgement, "tuple[Cell, ...]"]


@dataclass(frozen=True)
class Table:
    """`name` is its anchor, unique on the page. The first cell of a row is its header.

    `stacked`: on a phone each row is a block of its own, with the names of the columns, instead of a line to scroll.
    """

    name: str
    caption: Cell
    header: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    stacked: bool = False


@dataclass(frozen=True)
class Missing:
    """Something that is not there: why, and the command that makes it."""

    reason: str
    command: str

    @property
    def said(self) -> Cell:
        """The reason; one with figures in it as a name, so that nobody reads them as numbers."""
        return Code(self.reason) if re.search(r"\d", self.reason) else self.reason


@dataclass(frozen=True)
class SectionData:
    """What an artefact's section says beside its picture: its numbers as tables, and notes."""

    tables: tuple[Table, ...]
    notes: tuple[Cell, ...] = ()


@dataclass(frozen=True)
class Section:
    """A part of the page: `name` is its anchor and, with ``.html``, its template unless another is named."""

    name: str
    title: str
    data: object
    template: str = ""

    @property
    def file(self) -> str:
        return f"{self.template or self.name}.html"


def numbered(text: str, kind: str, source: str) -> Cell:
    """`text` as a `Number` if it holds a figure, as a `Gap` if it says that something is missing, else as it is."""
    if text.startswith("missing"):
        return Gap(text, source)
    return Number(text, kind, source) if re.search(r"\d", text) else text


def numbers_of(facts: dict, header: Sequence[Cell], rows: Sequence[Sequence[Cell]]) -> SectionData:
    """One table with the numbers of a figure, `facts` being its side-car file."""
    caption = f"Numbers of {facts['title'].splitlines()[0]}"
    return SectionData((Table(f"{facts['artefact']}-table", caption, header, rows),))


def judgement(one: Verdict, source: str) -> Judgement:
    return Judgement(one.word, numbered(one.reason, "setting", source))


def spaced(cells: Sequence[Cell]) -> Cell:
    """Cells one after the other, with a space between two."""
    return tuple(part for cell in cells for part in (cell, " "))[:-1]
