"""Shows a run's progress: one line that rewrites itself on a terminal, plain lines now and then in a pipe."""

import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Tick:
    """One update is done. Not part of the log; only progress displays read it."""

    epoch: int  # one-based
    update: int  # done so far, of `total`
    total: int
    images: int  # in this update
    lr: float


class Progress:
    """A sink for events and ticks. Rates are of the last few seconds; ETA assumes they last."""

    PIPE_SECONDS = 20.0
    TERMINAL_SECONDS = 0.2

    def __init__(self, label: str, stream=None):
        self.label = label
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.accuracy = ""
        self.images = 0
        self.shown_at = self.since = time.monotonic()
        self.shown_update = 0

    def __call__(self, event) -> None:
        if isinstance(event, Tick):
            self.images += event.images
            wait = self.TERMINAL_SECONDS if self.terminal else self.PIPE_SECONDS
            if time.monotonic() - self.shown_at >= wait or event.update == event.total:
                self._show(event)
        elif event.key == "eval_accuracy":
            self.accuracy = f"  top-1 {100 * event.value:.2f} % after epoch {event.metadata['epoch_num']}"

    def _show(self, tick: Tick) -> None:
        now = time.monotonic()
        rate = self.images / max(now - self.since, 1e-9)
        seconds = (tick.total - tick.update) * (now - self.since) / max(1, tick.update - self.shown_update)
        line = (
            f"{self.label}  epoch {tick.epoch}  update {tick.update}/{tick.total}  {rate:,.0f} images/s"
            f"  lr {tick.lr:.3g}{self.accuracy}  ETA {int(seconds // 60)}:{int(seconds % 60):02d}"
        )
        last = tick.update == tick.total
        print(f"\r\033[K{line}" if self.terminal else line, end="\n" if last or not self.terminal else "",
              file=self.stream, flush=True)  # fmt: skip
        self.shown_at = now
        if now - self.since > 2 or not self.terminal:  # a short window follows the rate, without flicker
            self.since, self.images, self.shown_update = now, 0, tick.update
