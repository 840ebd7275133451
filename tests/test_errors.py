"""The boundary of every command: what the user can act on is one line and exit code 2; a bug keeps its traceback."""

import errno
import io
import os
import sys
from pathlib import Path

import pytest

from reproduce import errors
from reproduce.errors import command
from reproduce.words import Parser


def failing(error: Exception):
    @command
    def main(argv=None):
        raise error

    return main


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.EDQUOT, errno.ELOOP, errno.ENAMETOOLONG])
def test_an_error_of_a_path_or_disk_is_one_line(number, capsys):
    assert failing(OSError(number, os.strerror(number), "/data/train"))() == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: /data/train: {os.strerror(number)}: ") and said.count("\n") == 1


def test_a_full_disk_without_a_path_is_one_line(capsys):
    assert failing(OSError(errno.ENOSPC, "No space left on device"))() == 2
    assert capsys.readouterr().err.startswith("error: No space left on device: free space")


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "No such file", "ours.json"), ValueError("a bug")])
def test_a_bug_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        failing(error)()


def test_a_current_folder_that_is_gone_is_one_line(tmp_path, monkeypatch, capsys):
    @command
    def main(argv=None):
        Path("results").absolute()

    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main() == 2 and capsys.readouterr().err.startswith("error: the current folder is gone: change to one")


def test_a_terminal_of_ascii_is_shown_the_codes_of_other_letters(monkeypatch):
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii", write_through=True))
    assert command(lambda argv: print("84 \xb1 1 \udce9"))() == 0
    assert shown.getvalue() == b"84 \\xb1 1 \\udce9\n"


def test_what_is_printed_of_a_path_or_an_error_cannot_act_on_the_terminal(capsys):
    errors.wrote(Path("\x1b[2J\n\udce9"))
    errors.say(errors.UserError("a\x07", "more\nlines"))
    said = capsys.readouterr()
    assert said.out == "wrote \\x1b[2J\\n\\udce9\n" and said.err == "error: a\\x07\n  more\\nlines\n"


def test_a_text_of_several_lines_keeps_them():
    assert errors.shown_lines("a\x1b[2J\n\tb\n") == "a\\x1b[2J\n\\tb\n"


@pytest.mark.parametrize("text", ["--n=\u00b2", "--n=1_0", "--n=", "--n=--", "--n=" + "9" * 40, "--x=nan",
                                  "--x=1e300", "--p="])
def test_numbers_and_paths_of_all_command_lines_have_one_rule(text):
    parser = Parser()
    for name, kind in (("--n", int), ("--x", float), ("--p", Path)):
        parser.add_argument(name, type=kind)
    assert vars(parser.parse_args(["--n=-3", "--x=1.5e3", "--p=a"])) == {"n": -3, "x": 1500.0, "p": Path("a")}
    with pytest.raises(errors.UserError, match=f"argument {text[:3]}"):
        parser.parse_args([text])
