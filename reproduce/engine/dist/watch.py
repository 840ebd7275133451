"""Ends a process that has waited too long for the others, and names the one that hangs.

Every process tells the others, through the store they met at, what it is doing and that it is alive. One that waits in
a collective for longer than the timeout looks up what the others last told, says in one line who holds it up and leaves
with `EXIT_LOST`. All of that happens in threads of its own: the main thread may be inside gloo or NCCL for ever.

Load on the store: a process has one more connection to it and sends two small requests every 5 s. With 2,048 processes
these are 820 requests/s of about 100 bytes; a TCPStore answers tens of thousands per second. Reading what all others
told (4,096 requests, about a second) is done once, by one process, at the end.
"""

import contextlib
import json
import os
import threading
import time

from torch.distributed import PrefixStore, Store

from reproduce.errors import EXIT_LOST

BEATS_PER_TIMEOUT, MAX_BEAT_SECONDS = 8, 5.0  # seconds
SILENT_BEATS = 3  # missed by a process, or by the store, that counts as silent
LINGER_BEATS = 2  # of the store's keeper after its last word, so that all others hear of the end
LINGER_SECONDS = 10  # of the others from then on: their launchers will have ended them before
STAGGER_SECONDS = 4  # between those who speak where the store cannot tell who was first
NAMED = 4  # at most; a switch that fails takes hundreds with it


class NoWatch:
    """For a run of one process: there is nobody to wait for. The interface of `Watch`."""

    def doing(self, what: str) -> None:
        pass

    def waiting(self, what: str):
        return contextlib.nullcontext()

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


class Watch:
    """Watches over one process of `world_size` and lets the others see what it is doing.

    `store`: the one the process group was made with, of which a connection of its own is made; every process must make
    its `Watch` at about the same time. `timeout`: seconds of waiting after which the run is given up. Time during which
    the whole process was stopped does not count, so a job may be suspended and go on.
    """

    def __init__(self, store: Store, rank: int, world_size: int, timeout: float):
        self._store = PrefixStore("watch", store.clone())
        self._rank, self._world_size, self._timeout = rank, world_size, timeout
        self.beat_seconds = min(MAX_BEAT_SECONDS, timeout / BEATS_PER_TIMEOUT)
        self._linger = max(1.0, LINGER_BEATS * self.beat_seconds)
        self._doing = "the start"
        self._wait: tuple[str] | None = None  # what for; a new object for each wait
        self._beats = 0  # since the start: the clock of this file
        self._waited = 0  # beats of the wait under way
        self._answered_at = 0  # the beat at which the store last answered
        self._closed = threading.Event()
        self._threads = [threading.Thread(target=f, name=f.__name__, daemon=True) for f in (self._count, self._tell)]
        for thread in self._threads:
            thread.start()

    def doing(self, what: str) -> None:
        """Say what this process is at, such as "update 17 of 320"."""
        self._doing = what

    @contextlib.contextmanager
    def waiting(self, what: str):
        """Around a collective: the process may be held up by others here, and only here. `what` it waits for, such as
        "the gradients of update 17", must be the same in all processes."""
        self._wait = (what,)
        try:
            yield
        finally:
            self._wait = None

    def stop(self) -> None:
        """Say nothing any more; the threads end when they can."""
        self._closed.set()

    def close(self) -> None:
        """End the threads. The process that keeps the store should leave last."""
        self.stop()
        for thread in self._threads:
            thread.join(2 * self.beat_seconds)  # one that hangs in the store is left behind

    # ---- the thread that counts, and never blocks -----------------------------------------------------------------

    def _count(self) -> None:
        """Count beats, of the wait too, and give up if the store is silent as well."""
        last_wait = None
        while not self._closed.wait(self.beat_seconds):
            self._beats += 1
            wait = self._wait
            self._waited = self._waited + 1 if wait is not None and wait is last_wait else 0
            last_wait = wait
            unanswered = (self._beats - self._answered_at) * self.beat_seconds
            # those of one host are ended together by their launcher: most of them need not speak
            late = STAGGER_SECONDS * max(0, self._rank.bit_length() - 1)
            if self._overdue(late) and unanswered > SILENT_BEATS * self.beat_seconds + late:
                host = "it, or the launcher on its host, keeps the store"
                assert wait is not None, "only a wait can be overdue"
                self._say(wait[0], f"rank 0 has not answered for {unanswered:.0f} s ({host})")
                os._exit(EXIT_LOST)

    def _overdue(self, late: float = 0.0) -> bool:
        return self._waited * self.beat_seconds > self._timeout + late

    # ---- the thread that talks to the store, which may block --------------------------------------------------------

    def _tell(self) -> None:
        with contextlib.suppress(RuntimeError):  # the store has gone: so will we, or the other thread will say so
            while not self._closed.is_set():
                wait = self._wait
                self._store.set(str(self._rank), json.dumps([self._beats, self._doing, wait[0] if wait else None]))
                if self._store.check(["over"]):  # also the answer that `set` does not wait for
                    self._leave_quietly()
                self._answered_at = self._beats
                if wait and self._overdue():
                    self._give_up(wait[0])
                self._closed.wait(self.beat_seconds)

    def _give_up(self, what: str) -> None:
        if self._store.add("over", 1) > 1:
            self._leave_quietly()
        self._say(what, self._who_holds_us_up(what))
        self._leave(self._linger if self._rank == 0 else 0)

    def _leave_quietly(self) -> None:
        """Another has said it."""
        self._leave(self._linger + LINGER_SECONDS)

    def _leave(self, linger: float) -> None:
        self._closed.set()  # the other thread has nothing to add
        time.sleep(linger)
        os._exit(EXIT_LOST)

    def _who_holds_us_up(self, what: str) -> str:
        others = [rank for rank in range(self._world_size) if rank != self._rank]
        told = ((rank, self._fault(rank, what)) for rank in others)
        faults = [f"rank {rank} {fault}" for rank, fault in told if fault]
        if not faults:
            return "all ranks wait for it, so it is the network between them"
        more = f" and {len(faults) - NAMED} more ranks" if len(faults) > NAMED else ""
        return ", ".join(faults[:NAMED]) + more

    def _fault(self, rank: int, what: str) -> str:
        """What `rank` does other than wait for `what`; empty if it does."""
        if not self._store.check([str(rank)]):
            return "has never been heard of"
        beats, doing, waits_for = json.loads(self._store.get(str(rank)))
        missed = self._beats - beats  # all count from about the same moment, and at the same rate
        if missed > SILENT_BEATS:
            return f"has not been heard of for {missed * self.beat_seconds:.0f} s (last at {doing})"
        if waits_for is None:
            return f"is still at {doing} (computing)"
        return "" if waits_for == what else f"waits for {waits_for}"

    def _say(self, what: str, why: str) -> None:
        line = (
            f"error: rank {self._rank} waited {self._waited * self.beat_seconds:.0f} s for {what}: {why}: run the same "
            "command again to go on from the last checkpoint, with a longer --timeout if it was only slow\n"
        )
        os.write(2, line.encode())  # not `print`: the main thread may hold its lock
