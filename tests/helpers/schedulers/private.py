"""A private folder for the daemons of a scheduler, of which nothing is left: no process and no file.

What runs in it is known by the folder's path, which stands in the environment or the command line of each process:
daemons, job shepherds and jobs, however they have detached themselves. A reaper outside of the test's process group
ends them when the test does, in whatever way; should it be killed as well, the next one to start cleans up.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "reproduce-scheduler-"
START_SECONDS = 120  # for a scheduler to be ready, on a machine that is slow or shared


@dataclass(frozen=True)
class Private:
    """A folder and the daemons that were started in it."""

    folder: Path
    _daemons: list[subprocess.Popen] = field(default_factory=list)

    def start(self, name: str, *argv: str, env: Mapping[str, str]) -> None:
        """Start a daemon, which must stay in the foreground; what it prints is in NAME.out."""
        with open(self.folder / f"{name}.out", "w") as out:
            self._daemons.append(subprocess.Popen(
                argv, env=env, cwd=self.folder, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
            ))  # fmt: skip

    def said(self) -> str:
        """The ends of all logs, for a person who wonders why a daemon does not start."""
        logs = [path for path in sorted(self.folder.rglob("*")) if path.suffix in (".out", ".log")]
        return "".join(f"--- {path.name}\n{path.read_text(errors='replace')[-2000:]}" for path in logs)

    def collect(self) -> None:
        for daemon in self._daemons:
            daemon.wait()


@contextlib.contextmanager
def private_folder() -> Iterator[Private]:
    """A new folder; at the end it goes, with every process that mentions it."""
    _clean_up_after_others()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=short_folder()))
    lock = open(folder / "lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    reaper = subprocess.Popen(
        [sys.executable, __file__, folder.name], stdin=subprocess.PIPE, start_new_session=True, cwd="/"
    )
    private = Private(folder)
    try:
        folder.chmod(0o755)  # daemons may run as users of their own
        yield private
    finally:
        reaper.stdin.close()
        reaper.wait()
        private.collect()
        lock.close()


def short_folder() -> Path:
    """Where temporary files go, or /tmp: a socket of Slurm's below it, of up to 60 characters, has to fit into 107."""
    return next(Path(path) for path in (tempfile.gettempdir(), "/tmp") if len(path) <= 45 or path == "/tmp")


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def until(condition, what: str, seconds: float = START_SECONDS, poll: float = 0.1):
    """The first true value of `condition()`; `what` (a text, or a function that makes one) says what was awaited."""
    give_up = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < give_up, f"{what() if callable(what) else what}: not within {seconds:.0f} s"
        time.sleep(poll)
    return value


def processes_of(folder: Path) -> list[int]:
    """All other processes whose environment or command line mentions the folder."""
    found, mark = [], folder.name.encode()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            said = (path / "environ").read_bytes() + (path / "cmdline").read_bytes()
            if mark in said and int(path.name) != os.getpid():
                found.append(int(path.name))
    return found


def remove(folder: Path) -> None:
    """End all processes of a folder, and delete it."""
    while pids := processes_of(folder):  # again: one may have started another meanwhile
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)


def _clean_up_after_others() -> None:
    """Folders whose owner and reaper are dead."""
    for folder in short_folder().glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), open(folder / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held for as long as the owner lives
            remove(folder)


if __name__ == "__main__":  # the reaper
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    sys.stdin.buffer.read()  # ends when the owner closes its end, or dies
    remove(short_folder() / sys.argv[1])
