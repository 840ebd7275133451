"""The watch under launchers: who hangs is named in one line, and the job ends with the code of a loss.

Not alone on the machine, so with more patience than tests/distributed/test_watch.py has.
"""

import os
import signal
import subprocess
import sys

import pytest

from reproduce.errors import EXIT_LOST
from tests.helpers import ROOT
from tests.helpers.processes import children_of

TIMEOUT = 8.0
LAUNCHER = "import sys; from reproduce.engine.spawn import launch; sys.exit(launch([sys.executable, *sys.argv[1:]], 3))"
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node=3", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]


def under(launcher: list[str], *behaviours: str) -> subprocess.Popen:
    command = [sys.executable, *launcher, "-m", "tests.helpers.watch_run", str(TIMEOUT), *behaviours]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("stopped", "says"), [(0, "rank 0 has not answered"), (1, "rank 1 has not been heard of")])
def test_under_our_launcher(stopped, says):
    job = under(["-c", LAUNCHER], *["stop" if rank == stopped else "good" for rank in range(3)])
    said = job.communicate(timeout=120)[1]
    assert job.returncode == EXIT_LOST
    assert said.startswith("error: rank ") and says in said and said.count("\n") == 1


def test_under_torchrun():
    """Its agent, not rank 0, keeps the store."""
    job = under(TORCHRUN, "stop", "good", "good")
    try:
        line = next(line for line in job.stderr if line.startswith("error: "))
        assert "rank 0 has not been heard of for " in line
    finally:
        # the agent would wait 30 s for the stopped one
        for pid in children_of(job.pid):
            os.kill(pid, signal.SIGKILL)
        job.communicate(timeout=60)
