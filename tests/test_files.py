"""Whole files: what is refused when reading, and what a failed or hostile write leaves behind."""

import errno
import fcntl
import json
import os
import subprocess
import sys

import pytest

from reproduce import files


@pytest.mark.parametrize("text", [
    '{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}', "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "", '{"a": 1',
])  # fmt: skip
def test_json_that_is_none_is_a_value_error_in_one_line(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        files.read_json(path)
    assert "\n" not in files.why(error.value)


@pytest.mark.parametrize("text", [
    "a = " + "9" * 5000, "a = 0x" + "f" * 5000, "a = " + "[" * 100_000, "a = ", "a = 1\na = 2",
])  # fmt: skip
def test_toml_that_is_none_is_a_value_error(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(ValueError):
        files.read_toml(path)


def test_a_byte_order_mark_and_line_ends_of_another_system_are_read(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes("\ufeffa = 1\r\nb = '''x\r\ny'''\r\n".encode())
    assert files.read_toml(path) == {"a": 1, "b": "x\ny"}


def test_what_is_not_utf8_says_where(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"ab\xff")
    with pytest.raises(ValueError, match="byte 2 is 0xff"):
        files.read_text(path)


def test_only_regular_files_of_a_sane_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 40)
    for path, reason in ((tmp_path / "pipe", "no regular file"), ("/dev/zero", "no regular file"),
                         (tmp_path, "Is a directory"), (tmp_path / "sparse", "larger than 16 MB")):  # fmt: skip
        with pytest.raises(OSError) as error:
            files.read_bytes(path)
        assert reason in files.why(error.value)


def test_json_is_written_without_what_no_parser_reads():
    text = files.to_json({"a": [float("nan"), 1.5], "b": (float("inf"),)})
    assert json.loads(text) == {"a": [None, 1.5], "b": [None]}
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    assert files.to_json([deep, 1.5]).endswith("  1.5\n]\n")


def test_halves_of_pairs_are_written_as_they_are_spelled(tmp_path):
    path = files.write_whole(tmp_path / "a.json", files.to_json({"hardware": "\ud800"}))
    assert json.loads(path.read_text(encoding="utf-8")) == {"hardware": "\ud800"}


def test_a_write_replaces_a_link_and_follows_none(tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "table1.md"
    victim.write_text("mine")
    path.symlink_to(victim)
    files.write_whole(path, "new")
    assert (victim.read_text(), path.read_text(), path.is_symlink()) == ("mine", "new", False)


def test_a_write_keeps_the_mode_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "deep" / "a.md"
    files.write_whole(path, "one")
    path.chmod(0o640)
    files.write_whole(path, b"two")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o640)
    assert list(path.parent.iterdir()) == [path]


FULL = """
import resource, sys
from reproduce import files
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    files.write_whole(sys.argv[1], "x" * 5000)
except OSError as error:
    print(files.why(error))
"""


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("old")
    said = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True)
    assert said.stdout.strip() == "File too large", said.stderr
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


KILLED = """
import os, sys
from reproduce import files
os.replace = lambda *names: os.kill(os.getpid(), 9)
files.write_whole(sys.argv[1], "new")
"""


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_kept(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("old")
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)]).returncode == -9
    dead = [one for one in tmp_path.iterdir() if one != path]
    assert len(dead) == 1 and path.read_text() == "old"
    living = tmp_path / f".a.md.00{files.PARTIAL}"
    with open(living, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        files.write_whole(path, "new")
    assert path.read_text() == "new" and set(tmp_path.iterdir()) == {path, living}


def test_a_file_system_without_locks_is_written_to_as_well(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert files.write_whole(tmp_path / "a.md", "new").read_text() == "new"


def test_a_device_or_a_pipe_is_not_replaced(tmp_path):
    """As root, a rename would put a file in the place of /dev/null, for everybody."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("/dev/null")
    for path in (pipe, link):
        with pytest.raises(OSError, match="is not a regular file"):
            files.write_whole(path, "new")
    assert pipe.is_fifo() and link.is_symlink() and sorted(os.listdir(tmp_path)) == ["link", "pipe"]
