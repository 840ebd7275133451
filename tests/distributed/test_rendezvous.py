"""Where processes meet: who may hear of it, and the one line for every way in which they may not."""

import socket
import threading
from pathlib import Path

import pytest

from reproduce.engine.dist import rendezvous
from reproduce.errors import ConfigError, NetworkError


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def variables(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}


def meet(ranks, world_size, variables, here=True, timeout=20.0):
    """The stores of some ranks, in threads of this process, or what was raised."""
    found = {}

    def come(rank):
        try:
            found[rank] = rendezvous.meet(rank, world_size, here, timeout, variables)
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


def test_all_meet_at_one_store(variables):
    stores = meet(range(3), 3, variables)
    stores[0].set("key", "value")
    assert [stores[rank].get("key") for rank in range(3)] == [b"value"] * 3
    assert stores[2].clone().get("key") == b"value", "the watch needs a connection of its own"


@pytest.mark.parametrize(("here", "address"), [(True, "nowhere.invalid"), (False, "127.0.0.1"), (False, "localhost")])
def test_a_run_on_one_machine_listens_on_its_loopback_address_only(variables, here, address):
    stores = meet(range(2), 2, variables | {"MASTER_ADDR": address}, here)
    assert listeners(int(variables["MASTER_PORT"])) == {"0100007F"}, stores


def test_a_run_on_several_listens_on_all(variables):
    with rendezvous.listening("node1", int(variables["MASTER_PORT"])):
        assert listeners(int(variables["MASTER_PORT"])) & {"0" * 8, "0" * 32}


def test_a_port_that_another_program_has_is_named(variables):
    with socket.socket() as other:
        other.bind(("0.0.0.0", int(variables["MASTER_PORT"])))
        other.listen()
        error = meet([0], 2, variables)[0]
    assert isinstance(error, ConfigError), error
    assert f"MASTER_PORT = {variables['MASTER_PORT']}" in str(error) and "Address already in use" in str(error)


def test_rank_0_names_those_that_did_not_come(variables):
    found = meet([0, 2], 4, variables, timeout=1.0)
    assert all(isinstance(error, NetworkError) for error in found.values()), found
    assert str(found[0]).startswith(f"rank 1, 3 of 4 did not come to 127.0.0.1:{variables['MASTER_PORT']} within 1 s")


def test_an_address_where_nobody_is_is_named(variables):
    error = meet([1], 2, variables, timeout=1.0)[1]
    assert isinstance(error, NetworkError)
    assert f"cannot reach rank 0 at 127.0.0.1:{variables['MASTER_PORT']} within 1 s (Connection refused)" in str(error)
    nowhere = variables | {"MASTER_ADDR": "nowhere.invalid"}
    assert "rank 0 at nowhere.invalid:" in str(meet([1], 2, nowhere, here=False, timeout=1.0)[1])


def test_another_program_at_the_address_is_not_taken_for_rank_0(variables):
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(variables["MASTER_PORT"])))
        other.listen()
        error = meet([1], 2, variables, timeout=1.5)[1]
    assert isinstance(error, NetworkError) and "\n" not in str(error)
    assert f"127.0.0.1:{variables['MASTER_PORT']}" in str(error)


@pytest.mark.parametrize("name", ["MASTER_ADDR", "MASTER_PORT"])
def test_an_address_that_is_not_given_is_one_line(variables, name):
    assert "export both" in str(meet([0], 2, variables | {name: ""})[0])
