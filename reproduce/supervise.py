"""Starts commands, waits for them, and ends them with all their processes when this one is asked to stop.

Imports nothing outside the standard library.
"""

import contextlib
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from typing import IO

from reproduce.paths import ROOT

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# engine/spawn.py gives its processes 30 s for a last checkpoint when told to stop, and then kills those that are left
GRACE_SECONDS = 45
LATE_SECONDS = 10  # for a command that took longer than it may
POLL_SECONDS = 0.1
# srun kills its ranks at a SIGTERM, and mpirun a second after it; SIGUSR1 they pass on, and the ranks save a checkpoint
FORWARDED_SIGNALS = {"srun": signal.SIGUSR1, "mpirun": signal.SIGUSR1}


class Stopped(Exception):
    """Somebody asked us to end: SIGINT, SIGTERM, or the terminal closed."""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


@contextlib.contextmanager
def handling(signums: Iterable[signal.Signals], handler: Callable) -> Iterator[None]:
    """Inside the ``with`` block `handler` has these signals; afterwards whoever had them before."""
    before = {signum: signal.signal(signum, handler) for signum in signums}
    try:
        yield
    finally:
        for signum, earlier in before.items():
            signal.signal(signum, earlier)


def ask_to_end(children: Iterable[subprocess.Popen], signum: signal.Signals, seconds: float) -> bool:
    """Send a signal to children, each the leader of a process group, and to their groups; whether all ended in time."""
    running = [child for child in children if child.poll() is None]
    for child in running:
        os.killpg(child.pid, signum)
    give_up = time.monotonic() + seconds
    while any(child.poll() is None for child in running):
        if time.monotonic() >= give_up:
            return False
        time.sleep(POLL_SECONDS)
    return True


class Foreground:
    """Starts commands one after the other, each in a process group of its own.

    Inside the ``with`` block a stop signal ends the running command with all its processes; then `Stopped` is raised.
    """

    def __init__(self):
        self._signum = None

    def __enter__(self):
        self._handling = handling(STOP_SIGNALS, self._note)
        self._handling.__enter__()
        return self

    def __exit__(self, *_):
        self._handling.__exit__(None, None, None)

    def _note(self, signum, _frame):
        self._signum = self._signum or signum  # acted on in `run`: raising here could lose a child just started

    def run(
        self, argv: list[str], env: dict[str, str], capture: bool = False, seconds: float = math.inf,
        log: IO | None = None,
    ) -> tuple[int, str]:  # fmt: skip
        """Exit code and, with `capture`, the (short) standard output; otherwise that goes where ours goes, or to `log`.

        Raises `Stopped`, TimeoutError if it took longer than `seconds`, and FileNotFoundError if there is no such
        program.
        """
        self._raise_if_stopped()
        give_up = time.monotonic() + seconds
        child = subprocess.Popen(
            argv, cwd=ROOT, env=os.environ | env, start_new_session=True, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if capture else log, stderr=log,
        )  # fmt: skip
        try:
            while child.poll() is None and self._signum is None and time.monotonic() < give_up:
                time.sleep(POLL_SECONDS)
        finally:
            late = child.poll() is None
            if late:
                grace = GRACE_SECONDS if self._signum else LATE_SECONDS
                _end(child, FORWARDED_SIGNALS.get(argv[0], signal.SIGTERM), grace)
        self._raise_if_stopped()
        if late:
            raise TimeoutError
        return child.returncode, child.communicate()[0] or ""

    def _raise_if_stopped(self) -> None:
        if self._signum is not None:
            raise Stopped(self._signum)


def _end(child: subprocess.Popen, signum: signal.Signals, grace: float) -> None:
    """End a child and its process group: politely first, and after so many seconds at once."""
    if not ask_to_end([child], signum, grace):
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
