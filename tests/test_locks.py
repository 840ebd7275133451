"""Two processes that would write the same files exclude each other, and a killed one leaves no lock behind."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from reproduce import locks
from reproduce.errors import UserError
from reproduce.locks import Lock
from tests.helpers import ROOT

HOLD = """
import sys, time
from pathlib import Path
from reproduce.locks import Lock
Lock(Path(sys.argv[1]), "a run of x").take()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.2)


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of tmp_path."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.communicate()


def test_the_second_is_told_who_the_first_is_and_may_come_when_it_was_killed(tmp_path, holder):
    with pytest.raises(UserError, match=rf"a run of x is at work here \(process {holder.pid} on .* since .*\): wait"):
        Lock(tmp_path / "lock", "another").take()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with Lock(tmp_path / "lock", "another"):
        with pytest.raises(UserError, match=f"another is at work here .process {os.getpid()} "):
            Lock(tmp_path / "lock", "a third").take()
    Lock(tmp_path / "lock", "a third").take()


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, capsys):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    Lock(tmp_path / "lock", "x").take()
    assert "its file system has no locks (No locks available), so nobody is kept from" in capsys.readouterr().err


def test_a_planted_link_or_pipe_is_not_opened(tmp_path):
    (tmp_path / "mine").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(UserError, match="choose another --out"):
            Lock(tmp_path / name, "x").take()
    assert (tmp_path / "mine").read_text() == "kept"


@pytest.mark.parametrize("text", ["", "[]", '{"pid": 1}', "{\x00"])
def test_a_holder_that_says_nothing_is_another_process(tmp_path, text):
    with Lock(tmp_path / "lock", "x"):
        (tmp_path / "lock").write_text(text)
        with pytest.raises(UserError, match="another process is at work here"):
            Lock(tmp_path / "lock", "y").take()
