"""A whole update as one CUDA graph: the host starts one thing per update instead of some thousands.

Not yet run on a GPU; the tests run it with a stand-in for the recording.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch

from reproduce.engine.data.chunks import Chunk

if TYPE_CHECKING:
    from reproduce.engine.trainer import Trainer

WARM_UP = 3  # updates taken as usual before one is recorded: libraries choose their algorithms in the first ones


class Recorder:
    """Records what a function does on the GPU, without doing it; the result does it. All share one pool of memory,
    which they may: they are replayed one after the other, and nothing in it is needed after a replay."""

    def __init__(self):
        self._pool = None

    def __call__(self, body: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        # other threads, NCCL's among them, may go on calling CUDA meanwhile
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            body()
        self._pool = self._pool or graph.pool()
        return graph.replay


class Recording:
    """An update of one shape: how often it was taken and, once recorded, what it reads, how to do it, its outcome."""

    def __init__(self):
        self.taken = 0
        self.chunks: list[Chunk] = []
        self.replay: Callable[[], None] | None = None
        self.outcome: torch.Tensor | None = None


class GraphedUpdate:
    """Takes updates like `Trainer.take_update`; from the fourth of a shape on, by replaying a recorded one.

    A recording reads images and labels from where the first ones lay, and learning rate, decay, momentum and requests
    to stop from the device's memory. Each shape, such as that of a phase of the local batch, has its own.
    """

    def __init__(self, trainer: "Trainer", record: Callable[[Callable[[], None]], Callable[[], None]] | None = None):
        self._trainer, self._record = trainer, record or Recorder()
        self.recordings: dict[tuple, Recording] = {}

    def __call__(self, chunks: Iterator[Chunk], global_batch: int) -> torch.Tensor:
        pieces = []
        for chunk in chunks:
            pieces.append(chunk)
            if chunk.last:
                break
        shape = (global_batch, *((chunk.images.shape, chunk.workers) for chunk in pieces))
        recording = self.recordings.setdefault(shape, Recording())
        recording.taken += 1
        if recording.taken <= WARM_UP:
            return self._trainer.take_update(pieces, global_batch)
        if recording.replay is None:
            self._make(recording, pieces, global_batch)
        return self._replay(recording, pieces, global_batch)

    def _make(self, recording: Recording, pieces: list[Chunk], global_batch: int) -> None:
        update = self._trainer.update
        recording.chunks = [c._replace(images=c.images.clone(), labels=c.labels.clone()) for c in pieces]
        recording.replay = self._record(lambda: self._body(recording, global_batch))
        self._trainer.update = update  # recorded, not taken

    def _replay(self, recording: Recording, pieces: list[Chunk], global_batch: int) -> torch.Tensor:
        trainer, update = self._trainer, self._trainer.update
        assert recording.replay is not None, "recorded before it is replayed"
        for mine, theirs in zip(recording.chunks, pieces, strict=True):
            mine.images.copy_(theirs.images)
            mine.labels.copy_(theirs.labels)
        trainer.prepare(global_batch)
        recording.replay()
        trainer.update = update + 1
        assert recording.outcome is not None, "recording an update sets its outcome"
        return recording.outcome.clone()

    def release(self) -> None:
        """Let go of the recordings. Before the communicators close: NCCL's wait for graphs that hold collectives."""
        for recording in self.recordings.values():
            recording.replay = recording.outcome = None
        self.recordings.clear()

    def _body(self, recording: Recording, global_batch: int) -> None:
        with self._trainer.autocast:
            for chunk in recording.chunks:
                self._trainer.accumulate(chunk)
        recording.outcome = self._trainer.finish(global_batch)
