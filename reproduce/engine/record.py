"""What a run leaves behind, kept by rank 0: its log, its checkpoints, and a line that shows its progress."""

import sys
from dataclasses import dataclass
from pathlib import Path

from reproduce.engine.checkpoint import Checkpoints, unpack
from reproduce.engine.progress import Progress, Tick
from reproduce.engine.state import REMEDY, of_log
from reproduce.errors import CheckpointError, shown
from reproduce.events import Event, LogWriter, log_path, read_log
from reproduce.locks import Lock
from reproduce.recipe.load import Config


@dataclass(frozen=True)
class Snapshot:
    """A point from which the run can go on. Not part of the log."""

    state: dict | None  # `Trainer.state` and what the loader found; None on ranks other than 0
    update: int


class Record:
    """The sink of a run's events, ticks and snapshots.

    A checkpoint holds the log up to its own point, so a resumed run has one log without gaps or repetitions. Making one
    raises `UserError` while another process writes the same run to the same folder.
    """

    def __init__(self, config: Config, seed: int, out: Path, checkpoints: Checkpoints):
        self._config, self._seed, self._checkpoints = config, seed, checkpoints
        self._path = log_path(out, config.run.name, seed)
        self._progress = Progress(f"{config.run.name} #{seed}")
        self._log: LogWriter | None = None
        self._lock = Lock(checkpoints.folder.with_suffix(".lock"), f"a run of {config.run.name}, seed {seed},")
        self._lock.take()

    def is_complete(self) -> bool:
        """Whether there is nothing left to do, which is then said: the log is that of this very run, to its end."""
        log = read_log(self._path)
        if not (log.complete and log.is_of(self._config.hash, self._seed)):
            return False
        print(f"{self._path}: this run is complete; --restart trains it again", file=sys.stderr)
        return True

    def resume(self) -> bytes | None:
        """The newest intact checkpoint of this very run; None if it has none.

        Says on stderr what was passed over: damaged files, and checkpoints of another recipe.
        """
        found = self._checkpoints.newest()
        for complaint in self._checkpoints.complaints:
            print(shown(f"warning: {complaint}"), file=sys.stderr, flush=True)
        if not found:
            return None
        state = unpack(*found)
        if state.get("epoch") == self._config.schedule.epochs:
            return None  # it was complete, and somebody has removed its log
        if (state.get("config_hash"), state.get("seed")) != (self._config.hash, self._seed):
            print(
                shown(f"warning: {self._checkpoints.folder}: its checkpoints are of recipe {state.get('config_hash')}, "
                      f"and {self._config.path} is now {self._config.hash}: the run begins again"),
                file=sys.stderr, flush=True,
            )  # fmt: skip
            return None
        if wrong := of_log(state):
            raise CheckpointError(f"{self._checkpoints.folder}: the checkpoint does not fit: {wrong}: {REMEDY}")
        return found[0]

    def open(self, resume: dict | None) -> None:
        """Begin the log, or go on with that of a checkpoint's state. Raises `LogError`."""
        self._log = LogWriter(self._path, resume["log"] if resume else "")
        if resume:
            print(f"{self._config.run.name} #{self._seed}  resumed after update {resume['update']}", file=sys.stderr)

    def __call__(self, item: Event | Tick | Snapshot) -> None:
        """Raises `LogError` or `CheckpointError`, as after a full disk."""
        if isinstance(item, Snapshot):
            assert self._log is not None and item.state is not None, "rank 0 records, and opens its log first"
            self._checkpoints.save(item.state | {"log": self._log.text()}, item.update)
            return
        if isinstance(item, Event):
            assert self._log is not None, "the log is opened before its first event"
            self._log(item)
        self._progress(item)

    def close(self) -> None:
        """Let others write to the folder."""
        self._lock.free()
