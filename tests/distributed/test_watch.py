"""The watch: a rank that hangs is named within the timeout, by one of the others, in one line; a slow one goes on."""

import contextlib
import multiprocessing
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from reproduce.engine.dist.watch import NoWatch
from reproduce.engine.spawn import environment
from reproduce.errors import EXIT_LOST, LostError, UserError, command
from tests.helpers import warm, watch_run

pytestmark = pytest.mark.serial

TIMEOUT = 3.0
FIRST = "error: rank (\\d) waited [34] s for the gradients of update 5: "
LAST = ": run the same command again to go on from the last checkpoint, with a longer --timeout if it was only slow\n"


class Group:
    """Ranks forked from a server that has torch imported, with stderr files; whatever is left is killed at the end."""

    def __init__(self, folder: Path, *behaviours: str, timeout: float = TIMEOUT):
        context = warm.context()
        self.errors = [folder / f"stderr_{rank}" for rank in range(len(behaviours))]
        port = free_port()
        self.members = []
        for rank, errors in enumerate(self.errors):
            env = environment(rank, len(behaviours), port) | {"TORCH_CPP_LOG_LEVEL": "ERROR"}
            arguments = (env, str(errors), timeout, list(behaviours))
            self.members.append(context.Process(target=watch_run.forked, args=arguments))
            self.members[-1].start()
        self.began = time.monotonic()

    def first_end(self, within: float) -> tuple[int, int]:
        """Rank and exit code of the first to end, given as many seconds."""
        multiprocessing.connection.wait([member.sentinel for member in self.members], within)
        for rank, member in enumerate(self.members):
            if member.exitcode is not None:
                return rank, member.exitcode
        raise AssertionError(f"nobody ended within {within} s")

    def said(self) -> str:
        return "".join(path.read_text() for path in self.errors)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for member in self.members:
            member.kill()
            member.join()


def free_port() -> int:
    import socket

    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Has the server import torch, so that it does not count in the tests."""
    with Group(tmp_path_factory.mktemp("import"), "good", timeout=60) as group:
        assert group.first_end(60) == (0, 0), group.said()


HANGS = [
    (["good", "stop", "good"], r"rank 1 has not been heard of for [2-5] s \(last at update [45] of 12\)"),
    (["good", "good", "wedge"], r"rank 2 has not been heard of for [2-5] s \(last at update [45] of 12\)"),
    (["good", "good", "compute"], r"rank 2 is still at update 5 of 12 \(computing\)"),
    (["compute", "good", "good"], r"rank 0 is still at update 5 of 12 \(computing\)"),
    (["good", "elsewhere", "good"], "rank 1 waits for something else"),
    (["network", "network", "network"], "all ranks wait for it, so it is the network between them"),
    (["stop", "good", "good"], r"rank 0 has not answered for [1-5] s \(it, or the launcher on its host, .*\)"),
    (["good", "stop", "compute", "good"], r"rank 1 has not been heard of .*, rank 2 is still at update 5 of .*"),
    (["good", *["compute"] * 6], r"rank 1 is still .*, rank 4 is still at .* \(computing\) and 2 more ranks"),
]


@dataclass
class End:
    """How a group ended: the first to leave, after how many seconds, all exit codes, and what was said."""

    rank: int
    took: float
    codes: list[int]
    said: str


def hang(folder: Path, *behaviours: str) -> End:
    with Group(folder, *behaviours) as group:
        rank, code = group.first_end(TIMEOUT + 20)
        took = time.monotonic() - group.began
        time.sleep(2)  # what the launcher gives the others
        return End(rank, took, [code], group.said())


def to_the_end(folder: Path, *behaviours: str, pause: float = 0) -> End:
    """All ranks leave by themselves; `pause`: seconds for which the whole job is stopped in between."""
    with Group(folder, *behaviours) as group:
        time.sleep(1.5)
        for signum, seconds in ((signal.SIGSTOP, pause), (signal.SIGCONT, 0)) if pause else ():
            for member in group.members:
                os.kill(member.pid, signum)
            time.sleep(seconds)
        for member in group.members:
            member.join(60)
        return End(-1, time.monotonic() - group.began, [member.exitcode for member in group.members], group.said())


SLOW = ["good", "good", f"compute {TIMEOUT - 0.5}"]
SUSPENDED = ["good", "good", "compute 2"]
SPOKEN = ["good", "good", "compute"]


@pytest.fixture(scope="module")
def ends(tmp_path_factory, imported):
    """What is known of each group's end, by its name, as a future.

    Four run at a time: they mostly wait, but more that start together would keep each other waiting.
    """
    with ThreadPoolExecutor(4) as pool:

        def begin(scene, behaviours: list[str], **options):
            return pool.submit(scene, tmp_path_factory.mktemp("group"), *behaviours, **options)

        found = {" ".join(behaviours): begin(hang, behaviours) for behaviours, _ in HANGS}
        found["slow"] = begin(to_the_end, SLOW)
        found["suspended"] = begin(to_the_end, SUSPENDED, pause=TIMEOUT + 1)
        found["spoken"] = begin(to_the_end, SPOKEN)
        yield found


@pytest.mark.parametrize(("behaviours", "why"), HANGS)
def test_the_rank_that_hangs_is_named(ends, behaviours, why):
    end = ends[" ".join(behaviours)].result()
    assert end.codes == [EXIT_LOST], end.said
    assert behaviours[end.rank] in ("good", "network") and end.took > TIMEOUT
    assert re.fullmatch(FIRST + why + LAST, end.said), end.said
    assert int(re.match(FIRST, end.said)[1]) == end.rank


def test_a_slow_rank_is_left_alone(ends):
    end = ends["slow"].result()
    assert end.codes == [0, 0, 0] and end.said == ""


def test_a_job_suspended_as_a_whole_goes_on(ends):
    """The time it was stopped is no waiting."""
    end = ends["suspended"].result()
    assert end.codes == [0, 0, 0] and end.said == "" and end.took > TIMEOUT + 1


def test_once_one_has_spoken_all_leave_with_the_same_code(ends):
    """Those that do not speak a little later, the one that held them up among them, should it be alive."""
    end = ends["spoken"].result()
    assert end.codes == [EXIT_LOST] * 3
    assert end.said.count("\n") == 1


def test_one_process_has_nobody_to_wait_for():
    watch = NoWatch()
    watch.doing("update 1 of 2")
    with watch.waiting("the gradients of update 1"):
        pass
    watch.close()


def test_a_loss_has_an_exit_code_of_its_own(capsys):
    def main(error):
        raise error

    assert command(main)(LostError("rank 3 is gone")) == EXIT_LOST == 76
    assert command(main)(UserError("bad input")) == 2
    assert capsys.readouterr().err == "error: rank 3 is gone\nerror: bad input\n"
