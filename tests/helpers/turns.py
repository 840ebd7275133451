"""Tests marked `serial` have the machine for themselves, although several processes run tests (pytest -n).

Every other test shares the lock of the room with its like; a serial one holds it alone. The gate makes it fair: who
wants the room alone closes the gate first, so that no further test enters while it waits for the others to leave. The
serial tests of a file, one after the other, wait for that once.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

FOLDER = "REPRODUCE_TEST_TURNS"  # the variable by which the processes of a run know where the locks are


def begin() -> None:
    """For the process that starts the others."""
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="reproduce-turns-")


def end() -> None:
    shutil.rmtree(os.environ.pop(FOLDER), ignore_errors=True)


class Turns:
    """Those of one process, which runs one test at a time."""

    def __init__(self) -> None:
        self._held: contextlib.ExitStack | None = None

    @contextlib.contextmanager
    def test(self, alone: bool, goes_on: bool) -> Iterator[None]:
        """The time of one test. `goes_on`: the next test is as serial as this one, and of its file."""
        if self._held is None:
            self._held = contextlib.ExitStack()
            self._held.enter_context(turn(alone))
        try:
            yield
        finally:
            if not goes_on:
                self._held.close()
                self._held = None


@contextlib.contextmanager
def turn(alone: bool) -> Iterator[None]:
    """The time of one test."""
    with _locked("gate", fcntl.LOCK_EX) as gate, _locked("room", fcntl.LOCK_EX if alone else fcntl.LOCK_SH):
        if not alone:
            fcntl.flock(gate, fcntl.LOCK_UN)
        yield


@contextlib.contextmanager
def _locked(name: str, kind: int) -> Iterator[int]:
    with open(Path(os.environ[FOLDER]) / name, "w") as file:  # not inherited by what a test starts
        fcntl.flock(file, kind)
        yield file.fileno()
