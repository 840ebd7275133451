"""Running a generator ahead of its consumer, in a thread: decoding overlaps training, and the ends of epochs too."""

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple


class Ahead:
    """Iterate over what `produce` yields, kept up to `depth` items ahead. An exception in it is raised here.

    For one consumer. `close` stops the producer at its next item and closes its generator; whoever leaves the
    iteration early must call it. Iterating on after that raises RuntimeError rather than looking like the end.
    """

    def __init__(self, produce: Generator, depth: int):
        self._queue: queue.Queue = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(produce,), name="data", daemon=True)
        self._thread.start()

    def _run(self, produce: Generator) -> None:
        try:
            for item in produce:
                if not self._put((item, None)):
                    break
            else:
                self._put((None, StopIteration()))
        except Exception as error:
            self._put((None, error))
        finally:
            produce.close()

    def _put(self, entry: tuple) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Iterator:
        while not self._stop.is_set():
            item, error = self._queue.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
        raise RuntimeError("this iterator has ended: its loader was closed or has started another one")

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


class Pass(NamedTuple):
    """Once through the training images of a zero-based epoch, from an update on; epoch None: through validation's."""

    epoch: int | None
    first_update: int = 0


VALIDATION = Pass(None)


class Place(NamedTuple):
    """Of an item: its pass, whether it is the last of that, and if so the pass that the producer goes on with."""

    of: Pass
    ends: bool
    then: Pass | None


class Passes:
    """Passes one after the other, each read ahead, and the next one's beginning while this one is still in use.

    `produce` yields (`Place`, content) for the items of a pass and of those that usually follow it. Asking for the pass
    that follows goes on with what is there; asking for any other, or in the midst of one, begins again.
    """

    def __init__(self, produce: Callable[[Pass], Generator], depth: int):
        self._produce, self._depth = produce, depth
        self._ahead: Ahead | None = None
        self._items: Iterator[tuple[Place, Any]] = iter(())
        self._pending: list[tuple[Place, Any]] = []  # met while the end of the pass before was looked for
        self._at: Pass | None = None  # the pass that begins with the next item; None: in the midst of one

    def __call__(self, wanted: Pass) -> Iterator:
        """The contents of a pass. Leaving it before its last item ends the reading ahead."""
        if wanted != self._at or self._ahead is None:
            self._begin(wanted)
        ahead, self._at = self._ahead, None
        try:
            yield from self._until_end(wanted)
        finally:
            if self._ahead is ahead and self._at is None:
                self.halt()

    def leave(self) -> None:
        """End a pass that is in the midst; what was read of the next one stays."""
        if self._at is None:
            self.halt()

    def halt(self) -> None:
        """Read no further, and forget what was read."""
        if self._ahead is not None:
            self._ahead.close()
        self._ahead, self._at, self._pending = None, None, []

    def _begin(self, wanted: Pass) -> None:
        self.halt()
        self._ahead = Ahead(self._produce(wanted), self._depth)
        self._items = iter(self._ahead)

    def _until_end(self, wanted: Pass) -> Iterator:
        items, pending = self._items, self._pending
        while (item := pending.pop() if pending else next(items, None)) is not None:
            place, content = item
            if place.of != wanted:  # the last item of this pass was left out
                pending.append(item)
                self._at = place.of
                return
            self._at = place.then
            yield content
            if place.ends:
                return
