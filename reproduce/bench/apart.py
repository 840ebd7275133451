"""A contest whose contenders have processes of their own: where not all of them fit a device's memory at once.

They take turns as processes: each is visited several times, in an order that changes. What a visit has found is written
down at once, and a second call goes on from there. A contender that has no room for itself is a row that says so.
"""

import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from reproduce import files
from reproduce.bench import contest, process
from reproduce.bench.contest import NO_MEMORY, Result, Row, Table
from reproduce.errors import LogError, UserError

SECONDS = 600  # for one visit: compiling takes minutes
FAILED = "failed: "  # begins the note of a contender whose process did


def run(name: str, request: dict, threads: int, visits: int, out: Path | None, with_peers: bool) -> int:
    """Hold the contests of a request, show the result and write it to `out`; returns the exit code."""
    file = out or process.FOLDER / contest.file_name(name, request.get("device", "cpu"))
    visitor = Visitor(name, request, threads, visits, file.absolute(), with_peers)
    return process.keep(visitor.all, file)


class Visitor:
    """Visits every contender `visits` times; rounds are divided among the visits."""

    def __init__(self, name: str, request: dict, threads: int, visits: int, out: Path, with_peers: bool):
        self._name, self._request, self._threads, self._visits = name, request, threads, visits
        self._kept, self._with_peers = out.with_name(f".{out.name}.part"), with_peers
        self._rounds = -(-request["rounds"] // visits)

    def all(self) -> dict:
        """The result as JSON values. Raises `UserError` if no contender got through."""
        begun = Result(self._name, {}, ())
        for number, asked in enumerate(self._request["contests"]):
            before = self._before(number)
            found = before or contest.parse(self._hold(asked, [], 1))
            for visit in range(self._visits):
                for who in order(found.tables[0], visit, self._rounds):
                    found = self._visit(found, asked, who)
                    self._keep(number, found)
            begun = Result(self._name, found.about, (*begun.tables, *found.tables))
        if not any(row.values for one in begun.tables for row in one.rows):
            raise UserError(f"bench {self._name}: no contender got through: see the lines above")
        for part in self._parts():
            part.unlink(missing_ok=True)
        return files.parse_json(begun.to_json())

    def _hold(self, asked: dict, only: list[str], rounds: int) -> dict:
        request = self._request | {"rounds": rounds, "contests": [asked | {"only": only}]}
        return process.hold(self._name, request, self._threads, self._with_peers, SECONDS)

    def _visit(self, found: Result, asked: dict, who: str) -> Result:
        print(f"{found.tables[0].title}: {who}", file=sys.stderr, flush=True)
        try:
            seen = contest.parse(self._hold(asked, [who], self._rounds))
        except UserError as error:
            return replace(found, tables=tuple(noted(one, who, f"{FAILED}{error}") for one in found.tables))
        return replace(found, tables=joined(found.tables, seen.tables))

    # ---- what is kept meanwhile -----------------------------------------------------------------------------------

    def _part(self, number: int) -> Path:
        return self._kept.with_name(f"{self._kept.name}{number}")

    def _parts(self) -> list[Path]:
        return [self._part(number) for number in range(len(self._request["contests"]))]

    def _keep(self, number: int, found: Result) -> None:
        process.write(self._part(number), found.to_json())

    def _before(self, number: int) -> Result | None:
        """What a call that was stopped has left."""
        try:
            return contest.read(self._part(number))
        except LogError:
            return None


def order(table: Table, visit: int, rounds: int) -> list[str]:
    """Whom to visit, shuffled; those that have been, or cannot take part, are left out."""
    names = [row.name for row in table.rows if len(row.values) < (visit + 1) * rounds and not row_is_out(row)]
    random.Random(visit).shuffle(names)
    return names


def row_is_out(row: Row) -> bool:
    return row.note.startswith((NO_MEMORY, FAILED, "cannot be imported"))


def joined(before: Sequence[Table], seen: Sequence[Table]) -> tuple[Table, ...]:
    """Tables of the same titles with all their measurements; new ones at the end."""
    known = {one.title: one for one in before}
    for one in seen:
        old = known.get(one.title)
        known[one.title] = one if old is None else replace(old, rows=tuple(map(_both, old.rows, one.rows)))
    return tuple(known.values())


def _both(old: Row, new: Row) -> Row:
    return replace(old, values=(*old.values, *new.values), note=new.note or old.note)


def noted(table: Table, name: str, note: str) -> Table:
    rows = (replace(row, note=note) if row.name == name else row for row in table.rows)
    return replace(table, rows=tuple(rows))
