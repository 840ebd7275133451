"""Runs a campaign's steps one after the other, within a limit of time, and says after each what is still open."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from reproduce import files, table
from reproduce.bench import contest, peers
from reproduce.bench.steps import step
from reproduce.bench.steps.step import Ended, Step
from reproduce.errors import LogError, UserError
from reproduce.revision import revision
from reproduce.supervise import Foreground

SUMMARY = "summary.md"
FACTS = ("hardware", "cores", "python", "torch", "torchvision", "revision")  # of the machine, in a step's file


class Campaign:
    """`folder` holds a file STEP.json for every step that was run, and STEP.log with what its process said."""

    def __init__(self, steps: Sequence[Step], folder: Path, seconds: float, say: Callable[[str], None] = print):
        self.steps, self.folder, self._say = steps, folder, say
        self._give_up = time.monotonic() + seconds

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def found(self) -> dict[str, Ended | None]:
        """What is known of each step. Raises `UserError` for a file that is not a step's."""
        return {one.name: step.read(self.file(one.name)) for one in self.steps}

    def run(self, foreground: Foreground) -> None:
        """Run what is open, as far as the time reaches. Raises `Stopped`; what was measured before is kept."""
        found = self.found()
        for number, one in enumerate(self.steps, 1):
            before, label = found[one.name], f"[{number}/{len(self.steps)}] {one.name}"
            if before is not None and before.settled:
                self._say(f"{label}: {before.outcome} before")
            elif (left := self._left()) < one.estimate:
                self._say(f"{label}: left open: it takes about {one.estimate:.0f} s and {max(0, left):.0f} s are left")
            else:
                self._say(f"{label}: {one.what}, about {one.estimate:.0f} s")
                ended = self._one(one, foreground)
                self._say(f"{label}: {ended.outcome} after {ended.seconds:.0f} s")
                self._summarise()

    def _left(self) -> float:
        return self._give_up - time.monotonic()

    def _one(self, one: Step, foreground: Foreground) -> Ended:
        began = time.monotonic()
        out = self.folder / f".{one.name}.measured.json"  # a benchmark may keep parts beside it, and go on from them
        out.unlink(missing_ok=True)
        code, said = self._process(one, out, foreground)
        ended = step.ended(out, code, said, self._machine())
        out.unlink(missing_ok=True)
        ended = Ended(ended.outcome, ended.found, time.monotonic() - began, ended.lines)
        step.write(self.file(one.name), one.name, ended)
        return ended

    def _process(self, one: Step, out: Path, foreground: Foreground) -> tuple[int | None, str]:
        """The exit code of a step's process, None if it was late; and what it said."""
        path = self.folder / f"{one.name}.log"
        argv, seconds = [sys.executable, "-m", *one.argv(out)], min(one.deadline, self._left())
        path.unlink(missing_ok=True)
        with open(path, "x") as log:  # a new one: not through a link that somebody has put there
            try:
                code, _ = foreground.run(argv, environment() | one.env, seconds=seconds, log=log)
            except TimeoutError:
                return None, files.read_text(path, files.LOG, errors="replace")
        return code, files.read_text(path, files.LOG, errors="replace")

    def _machine(self) -> dict:
        """Of the machine, as a step before has said it, for a step that failed before it could."""
        for path in sorted(self.folder.glob("*.json")):
            try:
                known = contest.read(path)
            except LogError:
                continue
            if known and known.tables:
                return {key: known.about[key] for key in FACTS if key in known.about}
        return {"hardware": "not known: no step has said it", "torch": "not known", "revision": revision()}

    # ---- what is said ---------------------------------------------------------------------------------------------

    def _summarise(self) -> None:
        try:
            files.write_whole(self.folder / SUMMARY, self.summary())
        except OSError as error:
            raise UserError(f"{self.folder / SUMMARY}: cannot write: {error.strerror}: choose another --out") from None

    def open_steps(self) -> list[str]:
        return [name for name, ended in self.found().items() if ended is None or not ended.settled]

    def failed(self) -> list[str]:
        return [name for name, ended in self.found().items() if ended and ended.outcome == step.FAILED]

    def summary(self) -> str:
        """Markdown: every step with what came of it, and what is still open."""
        found = self.found()
        rows = [[one.name, *cells(found[one.name]), one.what] for one in self.steps]
        text = table.markdown(["step", "outcome", "seconds", "shown first", "what"], rows)
        left = self.open_steps()
        return f"{text}\nstill open: {', '.join(left)}\n" if left else f"{text}\nnothing is open\n"


def cells(ended: Ended | None) -> list[str]:
    """Outcome, seconds, and the first number or the last word of a step."""
    if ended is None:
        return [step.NOT_RUN, "", ""]
    if ended.outcome != step.MEASURED and ended.lines:
        return [ended.outcome, f"{ended.seconds:.0f}", ended.lines[-1][:120].replace("|", "/")]
    return [ended.outcome, f"{ended.seconds:.0f}", headline(ended)]


def headline(ended: Ended) -> str:
    """The first row with a number of each table."""
    said = []
    for one in ended.found.tables:
        row = next((row for row in one.rows if row.median is not None), None)
        if row is not None:
            assert row.median is not None
            said.append(f"{row.name}: {contest.number(row.median)} {one.unit}")
    return "; ".join(said[:3])


def environment() -> dict[str, str]:
    """Of every step: the peers, where they are installed already; nothing is fetched."""
    if not peers.installed():
        return {}
    return {"PYTHONPATH": os.pathsep.join([str(peers.FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])])}
