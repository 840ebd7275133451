"""The lines of an MLPerf Training log, as they are: three formats, several processes writing at once, other text.

- v0.5: ``:::MLPv0.5.0 resnet 1541725927.742 (file.py:49) key: value``, the value JSON, a bare word or absent
- v0.6: ``:::MLL 1560722749.842 key: {"value": ..., "metadata": {...}}``
- v0.6, one submitter: ``MLPerf: resnet [2019-05-22 05:42:46], key: {"value": 75.98%, "metadata": {...}}``
- v0.7 and later: ``:::MLLOG {"time_ms": 1593186581829, "key": ..., "value": ..., "metadata": {...}}``; one submitter of
  v0.7 has ``time_s``, and in some logs of workers the metadata, or the whole, is a dict as Python prints it

Sources: mlcommons/training_policies (compliance logging of each round) and the public logs themselves. This reader is
lenient, for what others wrote; `reproduce/events.py` is the strict one for our own logs.
"""

import ast
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from reproduce.logged import LATEST

MARKER = re.compile(r":::(MLPv[0-9.]+|MLLOG|MLL)(?=[ \t])|(MLPerf):(?=[ \t]+\w+[ \t]+\[)")
DATED = re.compile(r"\s+(\w+)\s+\[([^\]]{1,40})\],?\s*(\w+):\s*(?=\{)")
# Every branch takes all it has looked at, also a text without an end and a number that is no percentage: else each of
# its letters would begin another search.
TOKEN = re.compile(
    r"""("(?:[^"\\]|\\.?)*+"?|'(?:[^'\\]|\\.?)*+'?)|\b(null|true|false|NaN|Infinity)\b|([\d.]++)(%?)|([{}])"""
)
WORDS = {"null": "None", "true": "True", "false": "False", "NaN": "None", "Infinity": "None"}
COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
RANK = re.compile(r"^\s*(?:\[?\d+\]?:\s?)")  # what srun -l and mpirun put before each line
V05 = re.compile(r"\s+(\S+)\s+(\d+(?:\.\d+)?)\s+\((.*?):(\d+)\)\s+(\w+)[ \t]*(:?)[ \t]*")
V06 = re.compile(r"\s+(\d+(?:\.\d+)?)\s+(\w+):\s*(?=\{)")
WORD = re.compile(r"[\w.+\-/]+")
WAITS = 3  # lines; the rest of a record that another process cut into comes at once or not at all
OPEN = 8  # records that wait at once; more are no log, and each is tried with every line
TRIES = 64  # of a record that waits, with the rests of others on its own line
DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Record:
    """One event. `at` is in seconds since 1970, 0 where the log has no time."""

    style: str  # "MLPv0.5.0" | "MLL" | "MLPerf" | "MLLOG"
    at: float
    key: str
    value: object = None
    metadata: dict = field(default_factory=dict)
    benchmark: str = ""  # v0.5 names it in every line


@dataclass(frozen=True)
class Lines:
    """What a text holds: its records in the order written, and how many lines are something else."""

    records: tuple[Record, ...]
    not_understood: int  # began as a record, and could not be read even with the lines that follow
    other: int  # text of other programs


def read_lines(text: str) -> Lines:
    """All records of a log. Never raises for what the text holds."""
    reader = _Reader()
    for line in re.split(r"\r\n|\n|\r", text):
        if line.strip():
            reader.line(COLOUR.sub("", line))
    return reader.done()


class _Reader:
    """Goes through the lines and keeps the beginnings of records that another process's output was written into."""

    def __init__(self):
        self.records: list[Record] = []
        self.open: list[list] = []  # [text, lines it has waited, times it was tried]
        self.not_understood = self.other = 0

    def line(self, line: str) -> None:
        marks = [found.start() for found in MARKER.finditer(line)]
        if not marks:
            if not self._continues(line):
                self.other += 1
        for begin, stop in zip(marks, [*marks[1:], len(line)]):
            self._piece(line[begin:stop], cut=stop < len(line))
        for waiting in self.open:
            waiting[1] += 1
        self._give_up()

    def _give_up(self) -> None:
        late = [waiting for waiting in self.open if waiting[1] > WAITS or waiting[2] > TRIES]
        self.not_understood += len(late)
        self.open = [waiting for waiting in self.open if waiting not in late]

    def done(self) -> Lines:
        return Lines(tuple(self.records), self.not_understood + len(self.open), self.other)

    def _piece(self, piece: str, cut: bool) -> None:
        record, end = parse(piece, cut)
        if record is None:
            self.open.append([piece, 0, 0])
            if len(self.open) > OPEN:
                self.not_understood += 1
                del self.open[0]
            return
        self.records.append(record)
        if piece[end:].strip():
            self._continues(piece[end:])

    def _continues(self, text: str) -> bool:
        """Whether `text` is the rest of exactly one open record; two candidates leave both unread."""
        if not self.open:
            return False
        for waiting in self.open:
            waiting[2] += 1
        self._give_up()
        found = []
        for rest in dict.fromkeys((RANK.sub("", text), text)):
            for waiting in self.open:
                record, _ = parse(waiting[0] + rest, cut=False)
                if record is not None:
                    found.append((waiting, record))
            if found:
                break
        if len(found) != 1:
            return False
        self.open.remove(found[0][0])
        self.records.append(found[0][1])
        return True


def parse(piece: str, cut: bool = False) -> tuple[Record | None, int]:
    """The record at the start of `piece`, which begins with a marker, and where it ends; (None, 0) if it has none.

    `cut` says that another record follows on the same line. A v0.5 line without a value may then have lost it, so it
    is only taken for whole if it is one that never has a value.
    """
    marker = MARKER.match(piece)
    assert marker is not None, "pieces are cut at the markers"
    style, end = marker.group(1) or marker.group(2), marker.end()
    try:
        record, stop = READERS.get(style, _v05_record)(piece, end, style, cut)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None, 0
    return (record, stop) if record is not None and 0 <= record.at < LATEST / 1000 else (None, 0)


def _json_record(piece: str, end: int, style: str, cut: bool) -> tuple[Record | None, int]:
    line, stop = _table(piece, piece.index("{", end))
    at = float(line["time_ms"]) / 1000 if "time_ms" in line else float(line["time_s"])
    return Record(style, at, str(line["key"]), line.get("value"), _dict(line)), stop


def _v06_record(piece: str, end: int, style: str, cut: bool) -> tuple[Record | None, int]:
    head = V06.match(piece, end)
    if head is None:
        return None, 0
    body, stop = _table(piece, head.end())
    return Record(style, float(head.group(1)), head.group(2), body["value"], _dict(body)), stop


def _dated_record(piece: str, end: int, style: str, cut: bool) -> tuple[Record | None, int]:
    head = DATED.match(piece, end)
    if head is None:
        return None, 0
    body, stop = _table(piece, head.end())
    return Record(style, _clock(head[2]), head[3], body.get("value"), _dict(body), head[1]), stop


def _clock(text: str) -> float:
    """Seconds since 1970 of a date and time; of which zone the log does not say, and only differences count."""
    moment = datetime.fromisoformat(text.strip().replace("/", "-").replace(",", "."))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _table(text: str, at: int) -> tuple[dict, int]:
    """The table that begins at `at`, and where it ends: of JSON, or else as Python prints one. Raises `ValueError`."""
    try:
        return DECODER.raw_decode(text, at)
    except ValueError:
        if "'" not in text and "%" not in text and "None" not in text:
            raise
        return _python_table(text, at)


def _python_table(text: str, at: int) -> tuple[dict, int]:
    """Of Python's or JSON's words, with quotes of either kind; a percentage is a fraction of 1."""
    parts, done, depth = [], at, 0
    for token in TOKEN.finditer(text, at):
        quoted, word, number, percent, brace = token.groups()
        depth += {"{": 1, "}": -1}.get(brace, 0)
        new = quoted or brace or (WORDS[word] if word else repr(float(number) / 100) if percent else number)
        parts += [text[done : token.start()], new]
        done = token.end()
        if brace and depth <= 0:
            break
    if depth or done == at:
        raise ValueError("a table without an end")
    try:
        return json.loads(json.dumps(ast.literal_eval("".join(parts)))), done  # Python has values that JSON has not
    except (SyntaxError, MemoryError) as error:
        raise ValueError(str(error)) from None


NO_VALUE = ("run_start", "run_stop", "run_final", "eval_start", "eval_stop", "train_loop")
SUCCESS = re.compile(r'run_stop:\s*\{\s*"success"')  # the one value that some log


def _v05_record(piece: str, end: int, style: str, cut: bool) -> tuple[Record | None, int]:
    head = V05.match(piece, end)
    if head is None:
        return None, 0
    benchmark, at, _, _, key, colon = head.groups()
    value, stop = None, head.end()
    known = next((name for name in NO_VALUE if key.startswith(name)), "")
    if known and not SUCCESS.match(piece, head.start(5)):
        key, stop = known, head.start(5) + len(known)  # what follows at once is another process's
    elif colon:
        value, stop = _v05_value(piece, stop)
    elif cut:
        return None, 0
    return Record(style, float(at), key, value, {}, benchmark), stop


def _v05_value(piece: str, at: int) -> tuple[object, int]:
    """JSON, or a bare word. What starts as JSON and does not end as such is a cut line, not a word."""
    try:
        return DECODER.raw_decode(piece, at)
    except ValueError:
        word = WORD.match(piece, at)
        if word is None:
            raise
        return word.group(), word.end()


READERS = {"MLLOG": _json_record, "MLL": _v06_record, "MLPerf": _dated_record}


def _dict(line: dict) -> dict:
    return line["metadata"] if isinstance(line.get("metadata"), dict) else {}
