"""A rank that dies or hangs ends the whole run in a stated time, is named, and leaves nobody behind."""

import os
import signal
import time
from pathlib import Path

import pytest

from reproduce.errors import EXIT_LOST
from reproduce.events import log_path
from reproduce.trials.attempts import ranks_of
from tests.helpers.data import make_folder
from tests.helpers.runs import finish, start, wait_for


def gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.fixture
def running(tmp_path):
    """A run of four processes, in its second epoch or later; (launcher, {rank: pid})."""
    child = start(tmp_path, make_folder(tmp_path / "images", train=160), 4, "--timeout", "4")
    wait_for(log_path(tmp_path, "small", 1), '"epoch_stop"')
    ranks = ranks_of(child.pid)
    assert sorted(ranks) == [0, 1, 2, 3]
    yield child, ranks
    child.kill()
    child.wait()


@pytest.mark.parametrize("rank", [0, 2])
def test_a_rank_that_dies_ends_the_run_at_once_and_is_named(running, rank):
    child, ranks = running
    began = time.monotonic()
    os.kill(ranks[rank], signal.SIGKILL)
    code, err = finish(child)
    assert code == EXIT_LOST, err
    assert time.monotonic() - began < 8
    assert f"rank {rank} (pid {ranks[rank]}) died of SIGKILL" in err and "Traceback" not in err
    assert all(gone(pid) for pid in ranks.values())


@pytest.mark.parametrize("rank", [0, 3])
def test_a_rank_that_hangs_ends_the_run_after_the_timeout_and_is_named(running, rank):
    child, ranks = running
    began = time.monotonic()
    os.kill(ranks[rank], signal.SIGSTOP)
    code, err = finish(child)
    assert code == EXIT_LOST, err
    assert 3 < time.monotonic() - began < 20
    assert f"rank {rank} has not" in err and "Traceback" not in err
    assert all(gone(pid) for pid in ranks.values())
