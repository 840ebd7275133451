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


def record(body: Callable[[], None]) -> Callable[[], None]:
    """Record what `body` does on the GPU, without doing it; the result does it."""
    graph = torch.cuda.CUDAGraph()
    # other threads, NCCL's among them, may go on calling CUDA meanwhile
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        body()
    return graph.replay


class GraphedUpdate:
    """Takes updates like `Trainer.take_update`; from the fourth of a shape on, by replaying a recorded one.

    A recording reads images and labels from where the first ones lay, and learning rate, decay, momentum and wishes
    from the device's memory. A change of shape, such as a new phase of the local batch, makes a new recording.
    """

    def __init__(self, trainer: "Trainer", record: Callable[[Callable[[], None]], Callable[[], None]] = record):
        self._trainer, self._record = trainer, record
        self._shape, self._taken = (), 0
        self._chunks: list[Chunk] = []
        self._outcome: torch.Tensor | None = None
        self._replay: Callable[[], None] | None = None

    def __call__(self, chunks: Iterator[Chunk], global_batch: int) -> torch.Tensor:
        trainer, pieces = self._trainer, []
        for chunk in chunks:
            pieces.append(chunk)
            if chunk.last:
                break
        shape = (global_batch, *((chunk.images.shape, chunk.workers) for chunk in pieces))
        if shape != self._shape:
            self._shape, self._taken, self._replay = shape, 0, None
        self._taken += 1
        if self._taken <= WARM_UP:
            return trainer.take_update(pieces, global_batch)
        update = trainer.update
        if self._replay is None:
            self._chunks = [c._replace(images=c.images.clone(), labels=c.labels.clone()) for c in pieces]
            self._replay = self._record(lambda: self._body(global_batch))
            trainer.update = update  # recorded, not taken
        for mine, theirs in zip(self._chunks, pieces, strict=True):
            mine.images.copy_(theirs.images)
            mine.labels.copy_(theirs.labels)
        trainer.prepare(global_batch)
        self._replay()
        trainer.update = update + 1
        return self._outcome.clone()

    def release(self) -> None:
        """Let go of the recording. Before the communicators close: NCCL's wait for graphs that hold collectives."""
        self._shape, self._taken, self._replay, self._outcome, self._chunks = (), 0, None, None, []

    def _body(self, global_batch: int) -> None:
        with self._trainer.autocast:
            for chunk in self._chunks:
                self._trainer.accumulate(chunk)
        self._outcome = self._trainer.finish(global_batch)
