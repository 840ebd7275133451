"""A training run in a process of its own, on one thread, for trials that train many at a time."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

from reproduce.paths import ROOT
from reproduce.supervise import STOP_SIGNALS, handling

_running: set[subprocess.Popen] = set()
_stopped = threading.Event()


def train(words: Sequence[str], module: str = "reproduce.engine.train") -> tuple[int, str]:
    """Exit code and last line on stderr of ``python -m MODULE WORDS...``.

    Raises `KeyboardInterrupt` inside `stopped_with_us`, in whatever thread, once somebody has asked to stop.
    """
    if _stopped.is_set():
        raise KeyboardInterrupt
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([sys.executable, "-m", module, *words], env=env, stderr=subprocess.PIPE, text=True,
                             start_new_session=True)  # fmt: skip  # a Ctrl-C reaches it through `stopped_with_us` alone
    _running.add(child)
    if _stopped.is_set():  # since we looked
        child.send_signal(signal.SIGTERM)
    try:
        said = child.communicate()[1]
    finally:
        _running.discard(child)
    if _stopped.is_set():
        raise KeyboardInterrupt
    return child.returncode, (said.strip().splitlines() or ["no word"])[-1]


@contextlib.contextmanager
def stopped_with_us() -> Iterator[None]:
    """Inside the block a stop signal ends the runs too, each with a checkpoint; then `train` raises."""

    def stop(_signum, _frame):  # raising here could lose a run that was just started
        _stopped.set()
        for child in tuple(_running):
            child.send_signal(signal.SIGTERM)

    _stopped.clear()
    with handling(STOP_SIGNALS, stop):
        yield
