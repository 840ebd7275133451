"""Running a generator ahead of its consumer, in a thread: decoding overlaps training."""

import queue
import threading
from collections.abc import Generator, Iterator


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
