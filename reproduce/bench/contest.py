"""Contests: contenders that do the same work in turns, and what was measured of them. No torch.

A contest is asked for and shown here, and held in a process of its own by a module of `bench/timed`, so that peers
are imported where nothing else is. Its result is a JSON file whose header says what it ran on.
"""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from reproduce import files, table
from reproduce.errors import LogError

# control: ours or a peer's with one thing changed, to tell its effect; floor: a reference rate, see `Row`
ROLES = ("ours", "peer", "control", "floor")
SHOWN = {"floor": "reference"}  # roles by another name than in the files
PRECISIONS = ("bf16", "fp16", "fp32")
ANEW = "images decoded anew each time"  # rows that keep no decoded image
DECODED_ONCE = "the quick tier's images"  # the table in which ours keeps decoded images and the peers cannot
NO_WORKERS = ("no workers", "without workers")  # in a peer's words: one batch norm over all images
NO_MEMORY = "out of memory"  # begins the note of a contender that could not take part for it
UNITS = {  # which is better
    "ms": "lower", "s": "lower", "h": "lower", "images/s": "higher", "images/s per core": "higher", "%": "higher",
    "MB": "lower", "launches": "lower", "difference": "lower", "levels": "lower",
}  # fmt: skip
MAY_BE_ZERO = ("difference", "levels")  # relative, of weights; of pixels
HEADER = ["", "role", "median", "lowest to highest", "n", "against it", "note"]


@dataclass(frozen=True)
class Row:
    """A contender, and its measurements in the order of rounds; none if it could not take part, and `note` says why.

    A floor is a reference rate, and no bound: a simple kernel that moves or multiplies as much, at the rate it reaches
    here. A contender that does the same work in a better way may be faster.
    """

    name: str
    role: str  # one of ROLES
    values: tuple[float, ...]
    note: str = ""

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.values else None


@dataclass(frozen=True)
class Table:
    """Contenders at equal work. `first` names the row that the others are compared with; None: they are parts of one.

    `work` says what each of them did: network, batch, precision, threads.
    """

    title: str
    work: str
    unit: str  # a key of UNITS
    first: str | None
    rows: tuple[Row, ...]

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    def speed(self, over: str, of: str | None = None) -> float | None:
        """How many times as fast `of` (default: `first`) is as `over`, by the medians; None if either is missing."""
        ahead = of or self.first
        assert ahead is not None, "a table without a first row is asked by name"
        one, other = self.row(ahead).median, self.row(over).median
        if one is None or other is None:
            return None
        return other / one if UNITS[self.unit] == "lower" else one / other

    def equal(self, peer: str) -> str | None:
        """The name of our row that does a peer's work: as precise, and decoding as often; None if none does.

        A peer that does not keep workers apart does less than any of ours.
        """
        row = self.row(peer)
        said = f"{row.name}, {row.note}"
        if self.first is None or any(words in said for words in NO_WORKERS):
            return None
        precision = next((one for one in PRECISIONS if one in said), None)
        wanted = f"ours, {precision}" if precision else self.first
        if self.title == DECODED_ONCE:
            wanted = f"{self.first}, {ANEW}"
        names = [one.name for one in self.rows]
        return wanted if wanted in names else self.first if not precision else None

    def cells(self) -> list[list[str]]:
        """The rows of `HEADER`; "against it" is the speed over that row of our equal one, or of `first`."""
        return [self._cells(row) for row in self.rows]

    def _cells(self, row: Row) -> list[str]:
        if row.median is None:
            return [row.name, SHOWN.get(row.role, row.role), "missing", "", "0", "", row.note]
        low, high = (number(value, row.median) for value in (min(row.values), max(row.values)))
        of = (self.equal(row.name) if row.role == "peer" else None) or self.first
        speed = None if self.first in (None, row.name) else self.speed(row.name, of)
        against = f"{speed:.2f}x{'' if of == self.first else f' by {of}'}" if speed else ""
        median, n = f"{number(row.median)} {self.unit}", str(len(row.values))
        return [row.name, SHOWN.get(row.role, row.role), median, f"{low} to {high}", n, against, row.note]

    def markdown(self) -> str:
        return f"{self.title} ({self.work})\n\n{table.markdown(HEADER, self.cells())}"


def file_name(name: str, device: str = "cpu") -> str:
    """Of a contest's result: those of a CPU and of a GPU stand beside each other."""
    return f"{name}.json" if device == "cpu" else f"{name}_{device}.json"


def number(value: float, like: float | None = None) -> str:
    """With as many decimals as show three digits of it, or of `like`."""
    size = abs(value if like is None else like)
    return f"{value:,.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 4}f}"


@dataclass(frozen=True)
class Result:
    """A whole benchmark: `about` says what it ran on (hardware, versions, revision, minutes)."""

    benchmark: str
    about: dict
    tables: tuple[Table, ...]

    def to_json(self) -> str:
        facts = {"benchmark": self.benchmark, "kind": "measured"} | self.about
        return json.dumps(facts | {"tables": [asdict(t) for t in self.tables]}, indent=1) + "\n"

    def markdown(self) -> str:
        return "\n".join([f"measured on {self.about['hardware']}\n", *(t.markdown() for t in self.tables)])


def read(path: Path) -> Result | None:
    """The result in a file, None if there is no such file. Raises `LogError` for a file that is not one."""
    try:
        facts = files.read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LogError(f"{path}: not a benchmark's result: {error}: remove it, or run the benchmark again") from None
    try:
        return parse(facts)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise LogError(f"{path}: not a benchmark's result: {why}: remove it, or run the benchmark again") from None


def parse(facts: dict) -> Result:
    """From the values of its JSON. Raises KeyError, TypeError or ValueError if they are not a result's."""
    about = {key: value for key, value in facts.items() if key not in ("benchmark", "kind", "tables")}
    if facts["kind"] != "measured":
        raise ValueError(f"kind {facts['kind']!r}")
    return Result(facts["benchmark"], about, tuple(map(_table, facts["tables"])))


def _table(facts: dict) -> Table:
    rows = tuple(Row(r["name"], r["role"], tuple(map(float, r["values"])), r["note"]) for r in facts["rows"])
    found = Table(facts["title"], facts["work"], facts["unit"], facts["first"], rows)
    check(found)
    return found


def check(t: Table) -> None:
    """Raises `ValueError` for a table that cannot be shown."""
    names: Sequence[str] = [row.name for row in t.rows]
    if t.unit not in UNITS:
        raise ValueError(f"{t.title}: unit {t.unit!r}")
    if len(set(names)) < len(names) or t.first not in (None, *names):
        raise ValueError(f"{t.title}: names must differ, and {t.first!r} be among them")
    for row in t.rows:
        low = min(row.values, default=1.0)
        if row.role not in ROLES or low < 0 or (low == 0 and t.unit not in MAY_BE_ZERO):
            raise ValueError(f"{t.title}: {row.name}: role {row.role!r}, or a measurement that is not positive")
