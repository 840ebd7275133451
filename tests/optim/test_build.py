"""The compiled library: made once, by whatever CC says, and loaded only if nobody else can have put it there."""

import os
import time

import pytest

from reproduce.engine import build
from reproduce.engine.build import NoLibraryError

SOURCE = "int answer(void) { return 42; }\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A C file, and a cache folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    (tmp_path / "answer.c").write_text(SOURCE)
    return tmp_path


def answer(place) -> int:
    return build.library(place / "answer.c", b"").answer()


def replace(path, content: bytes) -> None:
    """Another file of that name: this process has the first one in its memory."""
    path.unlink()
    path.write_bytes(content)


def cached(place) -> list:
    return sorted((place / "cache" / build.CACHE).iterdir())


def test_it_is_made_once(place, monkeypatch):
    assert answer(place) == 42 and len(cached(place)) == 1
    monkeypatch.setenv("CC", "/bin/false")
    assert answer(place) == 42, "made again"
    (place / "answer.c").write_text(SOURCE + "\n")
    with pytest.raises(NoLibraryError, match="CC = '/bin/false' does not make it: exit code 1"):
        answer(place)


def test_the_compiler_may_have_a_wrapper_and_options(place, monkeypatch):
    monkeypatch.setenv("CC", "env gcc -DX='1 2'")
    assert answer(place) == 42


@pytest.mark.parametrize(
    ("change", "made"),
    [
        (lambda path: replace(path, path.read_bytes()[:-100]), 1),  # cut short
        (lambda path: replace(path, b"no library"), 1),
        (lambda path: path.chmod(0o666), 1),  # others can write it
        (lambda path: (path.rename(path.parents[2] / "x.so"), path.symlink_to(path.parents[2] / "x.so")), 1),
        (lambda path: path.parent.chmod(0o777), 1),  # mended: the file is still ours
    ],
)
def test_what_is_not_intact_and_our_own_is_made_anew(place, change, made):
    answer(place)
    (path,) = cached(place)
    change(path)
    assert answer(place) == 42 and len(cached(place)) == made
    found = cached(place)[0].lstat()
    assert build.is_own(found) and build.is_own(path.parent.lstat()) and not os.path.islink(cached(place)[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_another_user_has_put_there_is_not_loaded(place, what):
    (place / "answer.c").write_text("int answer(void) { return 666; }\n")
    answer(place)
    (path,) = cached(place)
    (place / "answer.c").write_text(SOURCE)
    planted = path.with_name(path.name.replace(path.name.split("_")[1], name_of(place)))
    path.rename(planted)
    os.chown(planted if what == "file" else path.parent, 12345, 12345)
    assert answer(place) == 42


def name_of(place) -> str:
    return build.hashlib.sha256((place / "answer.c").read_bytes()).hexdigest()[:16]


@pytest.mark.parametrize("cache", ["/proc/nowhere", "relative"])
def test_without_a_cache_folder_it_is_made_for_this_process(place, monkeypatch, cache):
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.setenv("HOME", "/proc/nowhere")
    assert answer(place) == 42


def test_a_compiler_that_hangs_is_given_up(place, monkeypatch):
    slow = place / "slow"
    slow.write_text("#!/bin/sh\nsleep 100 & wait\n")
    slow.chmod(0o755)
    monkeypatch.setenv("CC", str(slow))
    monkeypatch.setattr(build, "SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(NoLibraryError, match="did not end within"):
        answer(place)
    assert time.monotonic() - began < 20


def test_no_compiler_is_said(place, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoLibraryError, match="none of cc, gcc, clang is installed"):
        answer(place)
    monkeypatch.setenv("CC", "nocc")
    with pytest.raises(NoLibraryError, match="nocc: No such file"):
        answer(place)


def test_the_libraries_it_needs_are_linked(place):
    (place / "answer.c").write_text("int other(void); int answer(void) { return other(); }\n")
    (place / "other.c").write_text("int other(void) { return 7; }\n")
    (place / "libother.so").write_bytes(build.compile_(place / "other.c", place))
    needs = (f"-L{place}", f"-Wl,-rpath,{place}", "-lother")
    assert build.library(place / "answer.c", b"", needs).answer() == 7
    with pytest.raises(NoLibraryError, match="does not make it"):
        build.library(place / "answer.c", b"other", ("-lnone_of_that_name",))
