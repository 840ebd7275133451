"""One start of a training command that can be killed at a chosen moment, watched from outside. Needs Linux's /proc."""

import contextlib
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from reproduce.errors import UserError
from reproduce.events import newest_update
from reproduce.paths import ROOT

MAX_SECONDS = 180  # for one attempt, and far more than one takes
POLL_SECONDS = 0.0005  # a checkpoint of the small run is written within milliseconds


@dataclass(frozen=True)
class Kill:
    """Whom to kill and when: `share` in [0, 1) of the start-up, of the training left, or of the checkpoints left."""

    victim: int  # a rank; LAUNCHER
    moment: str  # "starting", "training" or "writing" a checkpoint
    share: float


LAUNCHER = -1


@dataclass(frozen=True)
class Pace:
    """How long things take in an undisturbed run."""

    startup: float  # seconds from the command to the first line of the log
    training: float  # seconds from there to the end
    checkpoints: int
    updates: int


class Attempt:
    """A running command with its log and its folder of checkpoints. Everything is killed when the ``with`` ends."""

    def __init__(self, argv: list[str], env: dict[str, str], log: Path, checkpoints: Path, said: Path):
        self.log, self.checkpoints, self.said = log, checkpoints, said
        self.first_update = newest_update(checkpoints)
        self._log_before = self._log_stamp()
        self._pids: dict[int, int] = {}
        said.unlink(missing_ok=True)
        with open(said, "x") as file:  # a new one: not through a link that somebody has put there
            self.process = subprocess.Popen(
                argv, env=os.environ | env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip
        self.began_at = time.monotonic()

    # ---- the moment ------------------------------------------------------------------------------------------------

    def strike(self, kill: Kill, pace: Pace) -> bool:
        """Wait for the moment and kill; False if the run ended before it came."""
        left = 1 - (self.first_update or 0) / pace.updates
        if kill.moment == "starting":
            reached = self._wait(kill.share * pace.startup)
        elif kill.moment == "training":
            reached = self.wait_for(self.training) and self._wait(kill.share * left * pace.training)
        else:
            reached = self._wait_for_writing(1 + int(kill.share * left * pace.checkpoints))
        return reached and self._kill(kill.victim)

    def training(self) -> bool:
        """Whether the log of this attempt has begun."""
        return self._log_stamp() != self._log_before

    def _log_stamp(self):
        with contextlib.suppress(OSError):
            return self.log.stat().st_ino, self.log.stat().st_mtime_ns

    def _wait(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        return self.wait_for(lambda: time.monotonic() >= until)

    def _wait_for_writing(self, number: int) -> bool:
        """Wait for the start of the `number`-th checkpoint, or of a later one if that is missed."""
        for _ in range(number):
            if not (self.wait_for(lambda: not self.writing()) and self.wait_for(self.writing)):
                return False
        return True

    def writing(self) -> bool:
        try:
            return any(name.endswith(".tmp") for name in os.listdir(self.checkpoints))
        except FileNotFoundError:
            return False

    def wait_for(self, condition) -> bool:
        """Whether it came before the end of the process."""
        while not condition():
            if self.process.poll() is not None:
                return False
            if time.monotonic() - self.began_at > MAX_SECONDS:
                raise UserError(f"the run hangs: {MAX_SECONDS} s have passed: what it said is in {self.said}")
            time.sleep(POLL_SECONDS)
        return True

    # ---- the deed, and what is left ----------------------------------------------------------------------------------

    def _kill(self, victim: int) -> bool:
        self._pids = ranks_of(self.process.pid)
        # during start-up a rank may not be there yet
        pid = self.process.pid if victim == LAUNCHER else self._pids.get(victim, self.process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return True

    def wait(self) -> int:
        """The exit code, once every process of the attempt has gone. Raises `UserError` if one stays or hangs."""
        self.wait_for(lambda: False)
        give_up = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in self._pids.values()):
            if time.monotonic() > give_up:
                raise UserError(f"processes {sorted(self._pids.values())} have outlived their launcher")
            time.sleep(0.01)
        return self.process.returncode

    def resumed_after(self) -> int | None:
        """The update it said it went on from."""
        found = re.search(r"resumed after update (\d+)", self.said.read_text(errors="replace"))
        return int(found[1]) if found else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in [self.process.pid, *ranks_of(self.process.pid).values()]:
            if self.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()


def ranks_of(pid: int) -> dict[int, int]:
    """Process ids by rank of a launcher's children."""
    ranks: dict[int, int] = {}
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
                ranks |= {int(line[5:]): int(child) for line in environment if line.startswith(b"RANK=")}
    return ranks
