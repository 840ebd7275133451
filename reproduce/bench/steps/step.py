"""One step of a campaign, and what came of it: a benchmark's result that also says how the step ended."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from reproduce import files
from reproduce.bench import contest
from reproduce.bench.contest import Result
from reproduce.errors import LogError, UserError

OUT = "@OUT@"  # stands for the file that a step's process writes
# how a step can end; those that are not settled are tried again by the next call
MEASURED, MEMORY, ABSENT = SETTLED = ("measured", "out of memory", "not installed")
FAILED, LATE = "failed", "out of time"
NOT_RUN = "not run"
LINES = 12  # of a failed process's last words
MEMORY_SAYS = ("OutOfMemoryError", "CUDA out of memory", "can't allocate memory", "MemoryError")


@dataclass(frozen=True)
class Step:
    """`words`: of the process, after ``python -m``; it writes a `contest.Result` as JSON to the file `OUT`.

    `estimate`: seconds that it is expected to take; it is begun only where so many are left. After `deadline` seconds
    it is ended.
    """

    name: str
    what: str
    words: tuple[str, ...]
    estimate: float
    deadline: float
    env: dict[str, str] = field(default_factory=dict)

    def argv(self, out: Path) -> list[str]:
        return [word.replace(OUT, str(out)) for word in self.words]


def timed(name: str, what: str, module: str, request: dict, estimate: float, deadline: float) -> Step:
    """A step held by a module of `bench/timed`."""
    words = (f"reproduce.bench.timed.{module}", json.dumps(request | {"out": OUT}))
    return Step(name, what, words, estimate, deadline)


@dataclass(frozen=True)
class Ended:
    """What came of a step; `lines` are the last words of a process that failed. `found` may hold a part of the work."""

    outcome: str
    found: Result
    seconds: float = 0.0
    lines: tuple[str, ...] = ()

    @property
    def settled(self) -> bool:
        return self.outcome in SETTLED

    def to_json(self, name: str) -> str:
        about = self.found.about | {"outcome": self.outcome, "seconds": round(self.seconds, 1)}
        about |= {"last_lines": list(self.lines)} if self.lines else {}
        return Result(name, about, self.found.tables).to_json()


def read(path: Path) -> Ended | None:
    """What a step's file says, None if there is none. Raises `UserError` for a file that is not one."""
    found = contest.read(path)
    if found is None:
        return None
    outcome, lines = found.about.get("outcome"), found.about.get("last_lines", [])
    if outcome not in (*SETTLED, FAILED, LATE):
        raise UserError(f"{path}: not a campaign's step: outcome {outcome!r}: remove it, or name another --out")
    return Ended(outcome, found, float(found.about.get("seconds", 0.0)), tuple(map(str, lines)))


def ended(out: Path, code: int | None, said: str, about: dict) -> Ended:
    """By the exit code of its process (None: it was late), by what it said, and by the file it may have written.

    `about`: of the machine, where the process has not come to saying it.
    """
    found = _written(out) or Result("", about, ())
    last = tuple(line for line in said.splitlines() if line.strip())[-LINES:]
    if code == 0 and out.exists():
        return Ended(found.about.pop("outcome", MEASURED), found)
    if code is None:
        return Ended(LATE, found, lines=last)
    if any(words in said for words in MEMORY_SAYS):
        return Ended(MEMORY, found, lines=last)
    return Ended(FAILED, found, lines=(*last, f"exit code {code}"))


def _written(out: Path) -> Result | None:
    try:
        return contest.read(out)
    except LogError:
        return None


def write(path: Path, name: str, what: Ended) -> None:
    try:
        files.write_whole(path, what.to_json(name))
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror}: choose another --out") from None
