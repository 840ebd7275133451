"""The preflight between hosts of which one has a slow link."""

import socket
import sys

import pytest

from reproduce.trials import netns
from reproduce.trials.hosts import DEVICE, Hosts

MODULE = [sys.executable, "-m", "reproduce.engine.preflight"]


@pytest.mark.serial
@pytest.mark.needs(netns.why_not())
def test_a_slow_link_names_its_host_and_no_other():
    """Against the other hosts alone: no rate was stated."""
    with Hosts(3, 200) as hosts:
        slow = ["dev", DEVICE, "root", "handle", "1:", *netns.tbf(10)]
        netns.tc(hosts.names[1], "qdisc", "replace", *slow)
        commands = []
        for rank in range(3):
            place = {"RANK": rank, "WORLD_SIZE": 3, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1, "MASTER_PORT": 29400}
            place["MASTER_ADDR"] = hosts.addresses[0]
            settings = [f"{name}={value}" for name, value in place.items()]
            commands.append(["env", *settings, *MODULE, "--device", "cpu", "--min-open-files", "16"])
        done = hosts.run(commands, timeout=240)
        address = hosts.addresses[1]
    assert [one.code for one in done] == [2, 2, 2], done
    _, *rows, last = done[0].stdout.splitlines()
    assert len(rows) == 1, rows
    assert rows[0].split("  ")[0] == f"{socket.gethostname()} ({address})"
    assert rows[0].split(")", 1)[1].split()[0] == "1"
    assert "bandwidth to other nodes" in rows[0] and "at least 50 % of the others' median" in rows[0]
