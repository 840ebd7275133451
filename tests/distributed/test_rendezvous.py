"""Where processes meet: who may hear of it, and the one line for every way in which they may not."""

import socket
import threading
from pathlib import Path

import pytest

from reproduce.engine.dist import rendezvous
from reproduce.engine.dist.place import Place
from reproduce.errors import ConfigError, NetworkError


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def port(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    return free_port()


def meet(ranks, world_size, port, address="127.0.0.1", here=True, timeout=20.0):
    """The stores of some ranks, in threads of this process, or what was raised."""
    found = {}

    def come(rank):
        try:
            local = (rank, world_size) if here else (0, 1)
            place = Place("environment", rank, world_size, *local, master_addr=address, master_port=port)
            found[rank] = rendezvous.meet(place, timeout)
        except (ConfigError, NetworkError) as error:
            found[rank] = error

    threads = [threading.Thread(target=come, args=(rank,)) for rank in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def listeners(port: int) -> set[str]:
    """Addresses, as /proc/net/tcp and tcp6 spell them, at which somebody listens on a port."""
    text = "".join(Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6"))
    rows = [line.split() for line in text.splitlines() if ": " in line]
    places = [row[1].split(":") for row in rows if row[3] == "0A"]
    return {address for address, found in places if int(found, 16) == port}


def test_all_meet_at_one_store(port):
    stores = meet(range(3), 3, port)
    stores[0].set("key", "value")
    assert [stores[rank].get("key") for rank in range(3)] == [b"value"] * 3
    assert stores[2].clone().get("key") == b"value", "the watch needs a connection of its own"


@pytest.mark.parametrize(("here", "address"), [(True, "nowhere.invalid"), (False, "127.0.0.1"), (False, "localhost")])
def test_a_run_on_one_machine_listens_on_its_loopback_address_only(port, here, address):
    stores = meet(range(2), 2, port, address, here)
    assert listeners(port) == {"0100007F"}, stores


def test_a_run_on_several_listens_on_all(port):
    with rendezvous.listening("node1", port):
        assert listeners(port) & {"0" * 8, "0" * 32}


def test_a_port_that_another_program_has_is_named(port):
    with socket.socket() as other:
        other.bind(("0.0.0.0", port))
        other.listen()
        error = meet([0], 2, port)[0]
    assert isinstance(error, ConfigError), error
    assert f"MASTER_PORT = {port}" in str(error) and "Address already in use" in str(error)


def test_rank_0_names_those_that_did_not_come(port):
    found = meet([0, 2], 4, port, timeout=1.0)
    assert all(isinstance(error, NetworkError) for error in found.values()), found
    assert str(found[0]).startswith(f"rank 1, 3 of 4 did not come to 127.0.0.1:{port} within 1 s")


def test_an_address_where_nobody_is_is_named(port):
    error = meet([1], 2, port, timeout=1.0)[1]
    assert isinstance(error, NetworkError)
    assert f"cannot reach rank 0 at 127.0.0.1:{port} within 1 s (Connection refused)" in str(error)
    assert "rank 0 at nowhere.invalid:" in str(meet([1], 2, port, "nowhere.invalid", here=False, timeout=1.0)[1])


def test_another_program_at_the_address_is_not_taken_for_rank_0(port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        error = meet([1], 2, port, timeout=1.5)[1]
    assert isinstance(error, NetworkError) and "\n" not in str(error)
    assert f"127.0.0.1:{port}" in str(error)
