"""Linux network namespaces, links and rates, by iproute2's `ip` and `tc`.

A namespace is named after the process that made it, by number and start time, so that those of a process that was
killed can be told from those in use, even after its number was given to another. Needs root.
"""

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from reproduce.errors import NetworkError

PREFIX = "reproduce-hosts"
OWNED = re.compile(rf"{PREFIX}-(?P<pid>\d+)-(?P<started>\d+)-[\w-]+")
REMEDY = "needs root and, in a container, the right to make network namespaces (docker run --privileged)"
QUEUE_BYTES = 8_000_000  # what waits for a link; longer than what senders have under way, so that nothing is dropped
BURST_SECONDS, LEAST_BURST = 2e-3, 131_072


def prefix_of_this_process() -> str:
    """What the names of this process's namespaces begin with."""
    return f"{PREFIX}-{os.getpid()}-{start_time(os.getpid())}"


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it has ended, collected by its parent or not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


# ---- namespaces -----------------------------------------------------------------------------------------------------


@functools.cache
def why_not() -> str:
    """Why this process cannot make hosts, with the remedy; empty where it can."""
    if not shutil.which("ip") or not shutil.which("tc"):
        return "several hosts on one machine need Linux's ip and tc: install iproute2 (apt-get install iproute2)"
    if os.geteuid() != 0:
        return "several hosts on one machine need root, to make network namespaces: run as root (sudo)"
    try:
        with _probe() as name:
            tc(name, "qdisc", "add", "dev", "lo", "root", *tbf(100))
    except NetworkError as error:
        return str(error)
    return ""


@functools.cache
def has_netem() -> bool:
    """Whether this kernel can delay packets (`tc ... netem`). Raises `NetworkError` where `why_not` says so."""
    if why_not():
        raise NetworkError(why_not())
    with _probe() as name:
        try:
            tc(name, "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
        except NetworkError:
            return False
    return True


@contextlib.contextmanager
def _probe():
    name = f"{prefix_of_this_process()}-probe"
    add(name)
    try:
        yield name
    finally:
        remove([name])


def add(name: str) -> None:
    """Make a namespace. Raises `NetworkError`."""
    _run(["ip", "netns", "add", name])


def remove(names: list[str]) -> None:
    """Delete namespaces with everything in them: processes are killed, links go with their ends. Never fails."""
    give_up = time.monotonic() + 10
    while kill(names) and time.monotonic() < give_up:
        time.sleep(0.05)
    for name in names:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def kill(names: list[str]) -> int:
    """SIGKILL every process in these namespaces; how many there were."""
    found = [pid for name in names for pid in pids(name)]
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(found)


def pids(name: str) -> list[int]:
    """The processes in a namespace; none if there is no such namespace."""
    done = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
    return [int(pid) for pid in done.stdout.split()]


def names(prefix: str = PREFIX) -> list[str]:
    """All namespaces of this machine whose names begin with `prefix`."""
    listed = _run(["ip", "netns", "list"]).splitlines()  # some lines end in " (id: 3)"
    return [line.split()[0] for line in listed if line.startswith(prefix)]


def remove_leftovers() -> list[str]:
    """Remove, and return the names of, the namespaces whose process is no more."""
    left = []
    for name in names():
        owner = OWNED.fullmatch(name)
        if owner and start_time(int(owner["pid"])) != int(owner["started"]):
            left.append(name)
    remove(left)
    return left


# ---- links ----------------------------------------------------------------------------------------------------------


def tbf(mbit: float) -> list[str]:
    """The queueing discipline that holds a link to `mbit` Mbit/s: a token bucket.

    The bucket is what may pass at once after a pause. It must hold the 64 kB segments Linux hands to a virtual link,
    which would else be cut up packet by packet (at 1 Gbit/s, 16 kB reached 60 % of the rate), and 2 ms of the rate,
    for timers that come late while the cores compute (0.5 ms reached 50 to 80 % then, 2 ms 88 to 96 %). It must be
    small beside the transfers timed: it hides 3 % of 4 MB at 100 Mbit/s and 6 % at 1 Gbit/s, and headers take 4.4 %.
    """
    burst = max(LEAST_BURST, int(mbit * 1e6 / 8 * BURST_SECONDS))
    return ["tbf", "rate", f"{mbit * 1e6:.0f}bit", "burst", f"{burst}b", "limit", f"{QUEUE_BYTES + burst}b"]


def limit(name: str, device: str, mbit: float | None, delay_ms: float = 0.0) -> None:
    """Limit what leaves by a device of a namespace, and delay it; None leaves the rate alone."""
    if mbit is not None:
        tc(name, "qdisc", "add", "dev", device, "root", "handle", "1:", *tbf(mbit))
    if delay_ms:
        place = ["root"] if mbit is None else ["parent", "1:1"]
        tc(name, "qdisc", "add", "dev", device, *place, "netem", "delay", f"{delay_ms}ms", "limit", "100000")


def ip(name: str, *arguments: str) -> None:
    """`ip` inside a namespace. Raises `NetworkError`."""
    _run(["ip", "-netns", name, *arguments])


def tc(name: str, *arguments: str) -> None:
    """`tc` inside a namespace. Raises `NetworkError`."""
    _run(["tc", "-netns", name, *arguments])


def _run(argv: list[str]) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    except OSError as error:
        raise NetworkError(f"{argv[0]}: {error.strerror}: install iproute2 (apt-get install iproute2)") from None
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.split()) or f"exit code {error.returncode}"
        raise NetworkError(f"{' '.join(argv)}: {said}: this {REMEDY}") from None
