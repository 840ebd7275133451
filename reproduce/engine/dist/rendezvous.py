"""Where the processes of a run meet: a TCPStore kept by rank 0, and in one line why they could not.

A run on one machine listens on its loopback address only, so that nobody else hears of it. Until all have met, what
goes wrong is an address, a port or a process that never came, none of which a second start mends: `NetworkError` or
`ConfigError`, never `LostError`.
"""

import datetime
import os
import socket
import time

import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore

from reproduce.engine.deadline import within
from reproduce.engine.dist.meeting import LOOPBACK
from reproduce.engine.dist.place import Place
from reproduce.errors import ConfigError, NetworkError

POLL_SECONDS, MAX_TRY_SECONDS = 0.2, 5.0
NAMED = 4  # ranks at most in a message
SPARE_SECONDS = 5.0  # that others wait longer than rank 0, which knows who is missing


def meet(place: Place, timeout: float) -> Store:
    """The store that all ranks share, once all of them are there.

    torchrun keeps a store itself; else rank 0 does, at the place's address and port. Raises `ConfigError` if it cannot
    listen there, and `NetworkError` naming the address, or the ranks that have not come within `timeout` seconds.
    """
    rank, world_size, address, port = place.rank, place.world_size, place.master_addr, place.master_port
    assert address is not None and port is not None, "only a process that is alone has none"
    limit = datetime.timedelta(seconds=timeout)
    if place.agent_store:
        return _agents(rank, address, port, limit)
    if place.here:
        address = LOOPBACK
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # gloo asks for the host's name otherwise
    where = f"{address}:{port}"
    if rank == 0:
        store = _listen(address, port, world_size, limit)
    else:
        store = _reach(rank, address, port, world_size, timeout)
    try:
        _wait_for_all(PrefixStore("meet", store), rank, world_size, where, timeout)
    except RuntimeError as error:
        raise NetworkError(f"rank {rank}: rank 0 at {where} went away before all ranks had met ({first_line(error)}): "
                           "see what it says") from None  # fmt: skip
    return store


def is_loopback(address: str) -> bool:
    return address in ("localhost", "::1") or address.startswith("127.")


def first_line(error: Exception) -> str:
    """What an exception of PyTorch says, without its stack of C++."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _agents(rank: int, address: str, port: int, limit: datetime.timedelta) -> Store:
    try:
        return next(dist.rendezvous("env://", timeout=limit))[0]
    except RuntimeError as error:
        raise NetworkError(f"rank {rank}: torchrun's store at {address}:{port} cannot be reached "
                           f"({first_line(error)})") from None  # fmt: skip


def _listen(address: str, port: int, world_size: int, limit: datetime.timedelta) -> Store:
    """Rank 0's store. Its own connection goes by the loopback address, whatever others call this machine."""
    try:
        server = listening(address, port)
    except OSError as error:
        raise ConfigError(f"MASTER_PORT = {port}: rank 0 cannot listen at {address}:{port}: {error.strerror}: set "
                          "another port for all ranks, or end the program that has it") from None  # fmt: skip
    return TCPStore(LOOPBACK, port, world_size, is_master=True, timeout=limit, wait_for_workers=False,
                    master_listen_fd=server.detach())  # fmt: skip


def listening(address: str, port: int) -> socket.socket:
    """A socket that listens on the loopback address alone if that is what `address` is, else on all there are."""
    if is_loopback(address) or not socket.has_dualstack_ipv6():
        server = socket.socket(socket.AF_INET)
        at: tuple = (LOOPBACK if is_loopback(address) else "", port)
    else:
        server = socket.socket(socket.AF_INET6)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        at = ("::", port)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # `spawn` holds the port until the run ends
        server.bind(at)
        server.listen(socket.SOMAXCONN)
    except OSError:
        server.close()
        raise
    return server


def _reach(rank: int, address: str, port: int, world_size: int, timeout: float) -> Store:
    """A connection to rank 0's store; tried by hand first, as PyTorch reports its tries with stacks of C++."""
    give_up = time.monotonic() + timeout
    while True:
        left = give_up - time.monotonic()
        try:
            socket.create_connection((address, port), timeout=max(0.1, min(left, MAX_TRY_SECONDS))).close()
            break
        except OSError as error:
            if left <= 0:
                raise NetworkError(f"rank {rank} on {socket.gethostname()} cannot reach rank 0 at {address}:{port} "
                                   f"within {timeout:g} s ({error.strerror or error}): see that rank 0 was started, "
                                   "and MASTER_ADDR and MASTER_PORT") from None  # fmt: skip
            time.sleep(POLL_SECONDS)
    left = max(1.0, give_up - time.monotonic())
    limit = datetime.timedelta(seconds=left)
    try:  # PyTorch waits for ever for the answer of a program that gives none
        return within(left, lambda: TCPStore(address, port, world_size, False, limit, wait_for_workers=False))
    except (RuntimeError, TimeoutError) as error:
        raise NetworkError(f"rank {rank}: what listens at {address}:{port} does not answer as rank 0 of a run does "
                           f"({first_line(error)}): see MASTER_ADDR and MASTER_PORT") from None  # fmt: skip


def _wait_for_all(store: Store, rank: int, world_size: int, where: str, timeout: float) -> None:
    """Return once every rank has come; rank 0 names those that have not."""
    store.set(str(rank), "here")
    if rank:
        store.wait(["all"], datetime.timedelta(seconds=timeout + SPARE_SECONDS))
        return
    try:
        store.wait([str(other) for other in range(world_size)], datetime.timedelta(seconds=timeout))
    except RuntimeError:
        missing = [other for other in range(world_size) if not store.check([str(other)])]
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise NetworkError(f"rank {', '.join(map(str, missing[:NAMED]))}{more} of {world_size} did not come to {where} "
                           f"within {timeout:g} s: see that all were started, with this MASTER_ADDR and MASTER_PORT "
                           "and WORLD_SIZE, and that their hosts reach this one") from None  # fmt: skip
    store.set("all", "here")
