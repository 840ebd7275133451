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
    """A run of two processes, in its second epoch or later; (launcher, {rank: pid})."""
    child = start(tmp_path, make_folder(tmp_path / "images", train=160), 2, "--timeout", "4")
    wait_for(log_path(tmp_path, "small", 1), '"epoch_stop"')
    ranks = ranks_of(child.pid)
    assert sorted(ranks) == [0, 1]
    yield child, ranks
    child.kill()
    child.wait()


def test_a_rank_that_dies_ends_the_run_and_is_named(running):
    """Rank 0, which others depend on for more; test_kills.py has it of another."""
    child, ranks = running
    os.kill(ranks[0], signal.SIGKILL)
    code, err = finish(child)
    assert code == EXIT_LOST, err
    assert f"rank 0 (pid {ranks[0]}) died of SIGKILL" in err and "Traceback" not in err
    assert all(gone(pid) for pid in ranks.values())


def test_a_rank_that_hangs_ends_the_run_after_the_timeout_and_is_named(running):
    """Of a whole run; test_watch.py has every rank, and every way to hang."""
    child, ranks = running
    began = time.monotonic()
    os.kill(ranks[1], signal.SIGSTOP)
    code, err = finish(child)
    assert code == EXIT_LOST, err
    assert time.monotonic() - began > 3, "before the --timeout"
    assert "rank 1 has not" in err and "Traceback" not in err
    assert all(gone(pid) for pid in ranks.values())
