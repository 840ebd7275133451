"""What a process asks all of them to do after an update: save a checkpoint, or save one and stop.

Schedulers announce a preemption by a signal, not to all processes at the same moment, and saving takes all of them at
the same update. So a request is a number in the buffer of gradients, and what all do is decided by its sum.
"""

import signal
import time
from collections.abc import Callable

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # Slurm and torchrun send the first; Grid Engine's -notify the second


class StopRequests:
    """Every `save_every` seconds, or at each update if that is longer, it asks to save; 0: only when it stops."""

    def __init__(self, save_every: float = 0.0, clock: Callable[[], float] = time.monotonic):
        self._every, self._clock, self._last = save_every, clock, clock()
        self.stop = False

    def heed_signals(self) -> None:
        """From now on SIGTERM and SIGUSR1 are a request to stop, no longer the end of this process."""
        for signum in SIGNALS:
            signal.signal(signum, self._note)

    def _note(self, _signum, _frame) -> None:
        self.stop = True

    @property
    def save(self) -> bool:
        return self._every > 0 and self._clock() - self._last >= self._every

    def saved(self) -> None:
        """All have just saved."""
        self._last = self._clock()
