"""What the end of an epoch costs: the time from update to update within an epoch, and across the end of one."""

import statistics
import time
from pathlib import Path
from typing import Any

import torch

from reproduce.bench.contest import Row, Table
from reproduce.bench.timed.contenders import Ours
from reproduce.bench.timed.entry import serve
from reproduce.engine.environment import compute_precision
from reproduce.engine.execution import chosen
from reproduce.recipe import load as configs


class Moments:
    """The ends of updates: by events on a GPU, whose host runs ahead, else by the clock."""

    def __init__(self, device: torch.device):
        self._device = device
        self._seen: list[Any] = []

    def mark(self) -> None:
        if self._device.type == "cpu":
            self._seen.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._seen.append(event)

    def milliseconds(self) -> list[float]:
        """Between each and the next."""
        if self._device.type == "cpu":
            return [1e3 * (b - a) for a, b in zip(self._seen, self._seen[1:])]
        torch.cuda.synchronize(self._device)
        return [a.elapsed_time(b) for a, b in zip(self._seen, self._seen[1:])]


def intervals(ours: Ours, epochs: int, device: torch.device) -> tuple[list[float], list[float]]:
    """(ms within, ms across the end of) epochs, after one that does not count."""
    per_epoch = ours.trainer.config.epoch_updates()[0]
    for _ in range(per_epoch):
        ours.step()
    moments = Moments(device)
    for _ in range(epochs * per_epoch + 1):
        ours.step()
        moments.mark()
    spans = moments.milliseconds()  # the last of each epoch's leads into the next
    return [ms for n, ms in enumerate(spans, 1) if n % per_epoch], spans[per_epoch - 1 :: per_epoch]


def measure(request: dict, device: torch.device) -> list[Table]:
    """request: "config", "overrides", "epochs", and "data" where the images are not synthetic."""
    config = configs.load(request["config"], request["overrides"])
    execution, _ = chosen(None, device.type, config.batch.workers, {})
    ours = Ours(config, device, compute_precision(config, device), data=Path(request.get("data", "")),
                execution=execution)  # fmt: skip
    within, across = intervals(ours, request["epochs"], device)
    ours.loader.close()
    bubble = statistics.median(across) - statistics.median(within)
    rows = (Row("across the end of an epoch", "ours", tuple(across), f"{bubble:+.1f} ms by the medians"),
            Row("within an epoch", "ours", tuple(within)))  # fmt: skip
    work = f"{config.batch.workers} x {config.local_batch(0)} images, {config.epoch_updates()[0]} updates per epoch, "
    work += f"{ours.loader.backend} data, execution {execution.preset}"
    return [Table("From update to update", work, "ms", None, rows)]


if __name__ == "__main__":
    serve("bubble", measure)
