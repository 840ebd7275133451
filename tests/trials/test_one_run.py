"""A trial's runs end with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.helpers.processes import children_of

TRIAL = """
from reproduce.errors import command
from reproduce.trials import one_run

@command
@one_run.stopped_with_us()
def main(argv):
    one_run.train(["0", "--bind", "127.0.0.1"], "http.server")

raise SystemExit(main())
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_trial_that_is_stopped_stops_its_runs(signum):
    trial = subprocess.Popen([sys.executable, "-c", TRIAL], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    give_up = time.monotonic() + 60
    while not (found := children_of(trial.pid)):
        assert time.monotonic() < give_up, "it started nothing"
        time.sleep(0.02)
    os.kill(trial.pid, signum)
    said = trial.communicate(timeout=60)[1]
    assert trial.returncode == 130 and said == "interrupted: run the same command again to continue\n"
    while Path(f"/proc/{found[0]}").exists():
        assert time.monotonic() < give_up, "the run goes on"
        time.sleep(0.02)
