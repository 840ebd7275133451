"""README.md says by which functions run_all.sh comes to backward(); the call stacks themselves are compared with it."""

import json
import re
import subprocess
import sys

import pytest

from reproduce import run_all, supervise
from reproduce.engine import spawn
from reproduce.runner import plan, training
from tests.helpers import ROOT
from tests.helpers.call_stack import reached

MOST = 8

SMALL = ["data.dataset='synthetic'", "data.train_images=96", "data.val_images=16", "batch.workers=2"]


class Reached(BaseException):
    """The end of a part of the chain."""


def told() -> list[tuple[str, list[str]]]:
    """The rows of README.md's table: a file and its functions."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## From the command to backward()")[1]
    rows = re.findall(r"^\| (\d+) \| `?([^|`]+?)`? \| (.+) \|$", section.split("\n## ")[0], re.MULTILINE)
    assert [int(number) for number, *_ in rows] == list(range(1, len(rows) + 1))
    return [(file, re.findall(r"`(\w+)`", functions)) for _, file, functions in rows]


def calls(rows) -> list[list[str]]:
    return [[file, function] for file, functions in rows for function in functions]


@pytest.fixture
def stops(monkeypatch):
    """Makes the next start of a process whose command has a word raise `Reached`; the stack is in what it returns."""

    def made(module, word) -> list:
        popen, found = subprocess.Popen, []

        def started(argv, *args, **options):
            if word not in argv:
                return popen(argv, *args, **options)
            found.extend(reached())
            raise Reached

        monkeypatch.setattr(module.subprocess, "Popen", started)
        return found

    return made


def test_there_are_few_enough():
    rows = told()
    assert len(rows) == MOST and rows[-1] == ("PyTorch", ["backward"])
    assert "-m reproduce.run_all" in (ROOT / "reproduce" / "run_all.sh").read_text()


def test_from_the_command_to_the_processes(stops, monkeypatch, tmp_path):
    monkeypatch.setattr(training, "SETUP", ["echo", sys.executable])
    monkeypatch.setattr(plan.Plan, "data_command", lambda self, python: (["true"], {}))
    found = stops(supervise, "reproduce.engine.spawn")
    with pytest.raises(Reached):
        run_all.main(["--only", "table1", "--device", "cpu", "--processes", "2", "--out", str(tmp_path)])
    assert found == calls(told()[:4])


def test_from_there_to_each_rank(stops):
    found = stops(spawn, "reproduce.engine.train")
    with pytest.raises(Reached):
        spawn.main(["2", "a.toml"])
    assert found == calls(told()[4:5])


def test_and_in_it_to_backward(tmp_path):
    options = [word for one in SMALL for word in ("--set", one)]
    argv = ["paper_configs/quick/headline_b800_w20.toml", "--data", ".", "--device", "cpu", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "tests.helpers.call_stack", *argv, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == calls(told()[5:7])
