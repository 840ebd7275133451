"""How the ranks talk: JSON values under keys of a TCPStore, kept by rank 0. Every wait has a deadline."""

import contextlib
import json
import os
import resource
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from torch.distributed import PrefixStore, Store, TCPStore

from reproduce.engine.dist import rendezvous
from reproduce.engine.dist.meeting import LOOPBACK
from reproduce.engine.dist.place import Place
from reproduce.errors import EXIT_USER_ERROR, NetworkError

POLL_SECONDS = 0.05
PROGRESS_SECONDS = 10.0
MAX_ANSWER_WAIT = timedelta(seconds=60)  # of the store to a request that waits for nothing


def own_address(place: Place) -> str:
    """The address this node has on the network of rank 0; empty if there is no way to it."""
    try:
        host, port = place.master_addr or LOOPBACK, place.master_port or 1
        family, _, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(target)  # sends nothing
            return probe.getsockname()[0]
    except OSError:
        return ""


class Board:
    """What this rank tells the others and learns from them. Methods raise `NetworkError` once rank 0 has gone."""

    def __init__(self, place: Place, seconds: float):
        """Raises `NetworkError` if rank 0 cannot be reached within `seconds`."""
        self.place, self.rank0 = place, place.master_addr or LOOPBACK
        if place.rank == 0:  # two connections to each rank
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        limit, keeps = timedelta(seconds=seconds), place.rank == 0 and not place.agent_store
        address, port, listening = LOOPBACK if place.here else self.rank0, place.master_port or 0, None
        try:
            if keeps:
                server = rendezvous.listening(address, port)
                port, listening = server.getsockname()[1], server.detach()
            store = TCPStore(
                address, port, None, is_master=keeps, timeout=limit, wait_for_workers=False, multi_tenant=not keeps,
                master_listen_fd=listening,
            )  # fmt: skip
        except (RuntimeError, OSError) as error:
            reason = rendezvous.first_line(error)
            raise NetworkError(
                f"rank {place.rank} on {socket.gethostname()} cannot reach rank 0 at {self.rank0}:{port} "
                f"within {seconds:g} s ({reason}): look at the node of rank 0 and at MASTER_ADDR"
            ) from None
        self._store = PrefixStore("preflight", store)
        self._store.set_timeout(MAX_ANSWER_WAIT)

    def store(self) -> Store:
        """A connection of its own, for a thread that may be held up in it."""
        return self._store.clone()

    def tell(self, key: str, value) -> None:
        self._ask(lambda: self._store.set(key, json.dumps(value)))

    def told(self, key: str, seconds: float):
        """The value under `key` as soon as there is one; None if there is none within `seconds`."""
        give_up = time.monotonic() + seconds
        while True:
            # in short turns: this process is to end when rank 0 has gone
            turn = min(5.0, max(0.001, give_up - time.monotonic()))
            if self._ask(lambda turn=turn: self._wait(key, turn)):
                return json.loads(self._ask(lambda: self._store.get(key)))
            if time.monotonic() >= give_up:
                return None

    def at(self, what: str) -> None:
        """Say what this rank is at, so that it can be said of it should it never be heard of again."""
        self.tell(f"at/{self.place.rank}", what)

    def answer(self, what: str, value) -> None:
        """This rank's part of what rank 0 will `collect`."""
        self.tell(f"{what}/{self.place.rank}", value)
        self._ask(lambda: self._store.add(f"{what}/count", 1))

    def collect(self, what: str, count: int, seconds: float, progress: Callable[[str], None]) -> dict[int, dict]:
        """By rank, what was answered: once `count` have answered, or after `seconds`."""
        began = said = time.monotonic()
        while True:
            answered = self._ask(lambda: self._store.add(f"{what}/count", 0))
            now = time.monotonic()
            if answered >= count or now - began > seconds:
                break
            if now - said > PROGRESS_SECONDS:
                progress(f"{what}: {answered} of {count} ranks after {now - began:.0f} s")
                said = now
            time.sleep(POLL_SECONDS)
        found = {rank: self.look(f"{what}/{rank}") for rank in range(self.place.world_size)}
        return {rank: value for rank, value in found.items() if value is not None}

    def look(self, key: str):
        """The value under `key`, None if there is none."""
        if not self._ask(lambda: self._store.check([key])):
            return None
        return json.loads(self._ask(lambda: self._store.get(key)))

    def _wait(self, key: str, seconds: float) -> bool:
        try:
            self._store.wait([key], timedelta(seconds=seconds))
        except RuntimeError as error:
            if "timeout" in str(error).lower():
                return False
            raise
        return True

    def _ask(self, request: Callable):
        try:
            return request()
        except RuntimeError as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise NetworkError(
                f"rank {self.place.rank} on {socket.gethostname()} has lost rank 0 at {self.rank0} ({reason}): "
                "look at what rank 0 says, and at its node"
            ) from None


def last_resort(place: Place, seconds: float) -> None:
    """End this process after `seconds`, whatever it hangs in."""

    def end():
        line = f"error: rank {place.rank} on {socket.gethostname()}: the preflight did not end within {seconds:g} s\n"
        os.write(2, line.encode())
        os._exit(EXIT_USER_ERROR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
