"""Several hosts on one machine: links keep their rate both ways, and nothing is left behind, however it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from reproduce.errors import NetworkError
from reproduce.supervise import Stopped
from reproduce.trials import netns
from reproduce.trials.hosts import DEVICE, Hosts
from tests.helpers import ROOT

needs_hosts = pytest.mark.needs(netns.why_not())
HARNESS = """
import sys, time
sys.path.insert(0, {root!r})
from reproduce.trials.hosts import Hosts
with Hosts(2) as hosts:
    hosts.start([["sleep", "300"], ["sleep", "300"]])
    print(*hosts.names, hosts.switch, flush=True)
    time.sleep(300)
"""


def rate(hosts: Hosts, routes: dict[int, list[int]], megabytes: float = 4.0) -> float:
    """Mbit/s of all transfers of `routes` (sender: receivers) together, from the moment agreed on to the last end.

    Summed up one by one, those that begin late would count as if they had shared the link all the time.
    """
    start, script = time.time() + 1.5, str(ROOT / "tests/helpers/host_transfer.py")
    commands = []
    for host, address in enumerate(hosts.addresses):
        senders = sum(receivers.count(host) for receivers in routes.values())
        targets = [hosts.addresses[i] for i in routes.get(host, [])]
        commands.append([sys.executable, script, address, str(start), str(senders), str(megabytes), *targets])
    done = hosts.run(commands, timeout=60)
    assert [one.code for one in done] == [0] * hosts.count, done
    ends = [seconds for one in done for seconds in json.loads(one.stdout).values()]
    return 8 * megabytes * len(ends) / max(ends)


# ---- rates ----------------------------------------------------------------------------------------------------------


def limits(hosts: Hosts) -> dict[str, float | None]:
    """Mbit/s the kernel says it lets out of each end of each link; None where it does not limit."""
    found = {}
    for i, name in enumerate(hosts.names):
        for space, device in ((name, DEVICE), (hosts.switch, f"port{i}")):
            said = subprocess.run(["ip", "netns", "exec", space, "tc", "-d", "qdisc", "show", "dev", device],
                                  capture_output=True, text=True, check=True).stdout  # fmt: skip
            rate = re.search(r"\btbf\b.*\brate (\d+)([KMG])bit", said)
            found[f"{i}:{device}"] = rate and float(rate[1]) * {"K": 1e-3, "M": 1, "G": 1e3}[rate[2]]
    return found


@needs_hosts
@pytest.mark.parametrize("mbit", [100, 1000, None])
def test_every_link_has_the_rate_in_either_direction_each_for_itself(mbit):
    with Hosts(2, mbit) as hosts:
        assert limits(hosts) == {end: mbit for end in ("0:eth0", "0:port0", "1:eth0", "1:port1")}


@needs_hosts
@pytest.mark.parametrize("routes", [{0: [1]}, {1: [0], 2: [0]}, {0: [1, 2]}], ids=["one", "to one", "from one"])
def test_a_link_carries_no_more_than_its_rate_whoever_shares_it(routes):
    """It may carry less, on a busy machine; a bucket of tokens lets 2 ms through at once."""
    with Hosts(3, 100) as hosts:
        assert rate(hosts, routes) < 115


# ---- commands -------------------------------------------------------------------------------------------------------


@needs_hosts
def test_every_host_has_its_own_address_and_says_how_it_ended():
    with Hosts(2) as hosts, Hosts(2) as others:
        show = ["sh", "-c", "ip -o -4 address show dev $GLOO_SOCKET_IFNAME; echo $NCCL_SOCKET_IFNAME $X >&2"]
        for harness in (hosts, others):
            done = harness.run([show, show], env={"X": "7"})
            assert [one.code for one in done] == [0, 0]
            for one, address in zip(done, harness.addresses):
                assert f" {address}/24 " in one.stdout and one.stderr == "eth0 7\n"


@needs_hosts
def test_when_one_fails_the_others_are_ended(monkeypatch):
    monkeypatch.setattr("reproduce.trials.hosts.GRACE_SECONDS", 0.5)
    with Hosts(2) as hosts:
        stubborn = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]
        assert [one.code for one in hosts.run([["sh", "-c", "exit 3"], stubborn], timeout=30)] == [3, -signal.SIGKILL]
        give_up = time.monotonic() + 20  # the sleep of the killed shell may have a moment left
        while any(netns.pids(name) for name in hosts.names):
            assert time.monotonic() < give_up
            time.sleep(0.05)


@needs_hosts
def test_a_job_that_does_not_end_is_stopped_and_named():
    with Hosts(2) as hosts:
        with pytest.raises(NetworkError, match=r"hosts \[1\] had not finished after 0.5 s"):
            hosts.run([["true"], ["sleep", "300"]], timeout=0.5)
        assert netns.pids(hosts.names[1]) == []


@needs_hosts
def test_torchrun_ranks_processes_by_host():
    # one write per process: both of a host have the same file
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR")
    show = f"import os; os.write(1, (' '.join(os.environ[k] for k in {names}) + chr(10)).encode())"
    with Hosts(2) as hosts:
        commands = hosts.torchrun_commands("MODULE", [], processes_per_host=2)
        commands = [[*command[:-2], "--no-python", sys.executable, "-c", show] for command in commands]
        done = hosts.run(commands, timeout=120)
        first = hosts.addresses[0]
    assert [one.code for one in done] == [0, 0], done[0].stderr[-2000:]
    printed = [sorted(one.stdout.splitlines()) for one in done]
    assert printed == [[f"0 0 4 {first}", f"1 1 4 {first}"], [f"2 0 4 {first}", f"3 1 4 {first}"]]


# ---- nothing is left behind -----------------------------------------------------------------------------------------


def left(hosts: Hosts) -> list[str]:
    return [name for name in netns.names() if name in (*hosts.names, hosts.switch)]


@needs_hosts
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_removes_everything(error):
    with pytest.raises(error), Hosts(3, 10) as hosts:
        job = hosts.start([["sleep", "300"]] * 3)
        assert len(left(hosts)) == 4
        raise error
    assert left(hosts) == []
    assert [process.wait(5) for process in job.processes] == [-signal.SIGKILL] * 3


@needs_hosts
def test_sigterm_removes_everything():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped), Hosts(1) as hosts:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert left(hosts) == [] and signal.getsignal(signal.SIGTERM) == before


@needs_hosts
def test_a_failure_while_building_removes_what_was_built(monkeypatch):
    def fail(*_):
        raise NetworkError("no such rate")

    monkeypatch.setattr(netns, "limit", fail)
    hosts = Hosts(2, 10)
    with pytest.raises(NetworkError, match="no such rate"):
        hosts.__enter__()
    assert left(hosts) == []


@pytest.mark.serial  # other harnesses remove leftovers, too
@needs_hosts
def test_the_next_harness_removes_what_a_killed_one_left_and_nothing_else():
    program = HARNESS.format(root=str(ROOT))
    killed, alive = (
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    try:
        killed_names, alive_names = killed.stdout.readline().split(), alive.stdout.readline().split()
        orphans, give_up = [], time.monotonic() + 20
        while len(orphans) < 2 and time.monotonic() < give_up:  # `ip netns exec` takes a while to be inside
            orphans = [pid for name in killed_names for pid in netns.pids(name)]
        assert len(orphans) == 2 and len(killed_names) == len(alive_names) == 3
        killed.kill()
        killed.wait()
        assert set(killed_names) <= set(netns.names()), "there was nothing to remove"
        with Hosts(1):
            remaining = netns.names()
            assert not set(killed_names) & set(remaining)
            assert all(netns.start_time(pid) is None for pid in orphans)
            assert set(alive_names) <= set(remaining), "removed the hosts of a harness at work"
        alive.terminate()
        alive.wait(20)
        assert not set(alive_names) & set(netns.names())
    finally:
        for process in (killed, alive):
            process.kill()
            process.wait()
            process.stdout.close()
        netns.remove_leftovers()


def test_a_number_given_to_another_process_does_not_keep_leftovers():
    """The start time tells this process from the one that had its number before."""
    own = netns.start_time(os.getpid())
    assert own is not None and f"-{os.getpid()}-{own}" in netns.prefix_of_this_process()
    child = subprocess.Popen(["true"])
    time.sleep(0.2)
    assert netns.start_time(child.pid) is None, "ended, if not yet collected"
    child.wait()


# ---- bad input ------------------------------------------------------------------------------------------------------


@needs_hosts
@pytest.mark.parametrize(
    ("arguments", "says"),
    [((0,), "must be 1 to"), ((2, 0), "must be 0.1 to"), ((2, -5), "must be 0.1 to"), ((2, 10, -1), "must be 0 to")],
)
def test_senseless_numbers_are_one_line(arguments, says):
    with pytest.raises(NetworkError, match=says) as caught:
        Hosts(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.serial
@needs_hosts
def test_delay_is_added_or_refused():
    if not netns.has_netem():
        with pytest.raises(NetworkError, match="no netem"):
            Hosts(2, 10, delay_ms=5)
        return
    serve = "import socket, sys; socket.create_server((sys.argv[1], 5000)).accept()"
    connect = "import socket, sys, time; time.sleep(1); t = time.time(); socket.create_connection((sys.argv[1], 5000))"
    with Hosts(2, 10, delay_ms=50) as hosts:
        codes = (serve, f"{connect}; print(time.time() - t)")
        commands = [[sys.executable, "-c", code, hosts.addresses[0]] for code in codes]
        assert float(hosts.run(commands, timeout=30)[1].stdout) == pytest.approx(0.1, abs=0.04)  # there and back


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda patch: patch.setattr(netns.shutil, "which", lambda _: None), "install iproute2"),
        (lambda patch: patch.setattr(netns.os, "geteuid", lambda: 1000), "need root"),
    ],
)
def test_where_hosts_cannot_be_made_one_line_says_why(monkeypatch, break_it, says):
    netns.why_not.cache_clear()
    try:
        break_it(monkeypatch)
        with pytest.raises(NetworkError, match=says) as caught:
            Hosts(2)
        assert "\n" not in str(caught.value)
    finally:
        monkeypatch.undo()
        netns.why_not.cache_clear()
