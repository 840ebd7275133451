"""Runs a scene in a process of its own, forked from this one, which has imported what the commands need."""

import contextlib
import ctypes
import importlib
import io
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.scene import CANARY, HERE, Scene, changed, lay_out, snapshot
from tests.helpers import ROOT

SECONDS = 60.0
MORE_ADDRESSES = 6 << 30  # bytes of address space beyond this process's: its threads and libraries take some
SAID = 100_000  # characters of each stream that are kept
OWN = ("home/", "tmp/")  # what any command may change


@dataclass(frozen=True)
class Outcome:
    """What became of a scene. `code` is negative for a signal; `here` stands for its folder in all texts."""

    code: int
    out: str
    err: str
    seconds: float
    hung: bool
    memory: int  # bytes at most, more than before
    damaged: tuple[str, ...]
    executed: bool


def run(scene: Scene) -> Outcome:
    """A scene, to its end or to that of its time."""
    with _folder() as here:
        lay_out(scene, here)
        for name in OWN:
            (here / name).mkdir(exist_ok=True)
        before, began = snapshot(here), time.monotonic()
        code, hung, memory, said = call(scene, here, SECONDS)
        took = time.monotonic() - began
        after = snapshot(here)
        damaged = changed(before, after, (*OWN, *scene.writes))
        damaged += [path for path in scene.keeps if code and before.get(path) != after.get(path)]
        out, err = (_text(one, here) for one in said)
        executed = os.path.lexists(here / CANARY)
    return Outcome(code, out, err, took, hung, memory, tuple(damaged), executed)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder in a folder of its own, so that a name with ".." does not leave it."""
    outer = Path(tempfile.mkdtemp(prefix="reproduce-fuzz-"))
    try:
        (outer / "scene").mkdir()
        yield outer / "scene"
    finally:
        for folder, names, _ in os.walk(outer):  # some are not to be listed
            for name in names:
                with contextlib.suppress(OSError):
                    os.chmod(os.path.join(folder, name), 0o700, follow_symlinks=True)
        shutil.rmtree(outer, ignore_errors=True)


def _text(said: bytes, here: Path) -> str:
    return said.decode("utf-8", "backslashreplace").replace(str(here), "here")


def call(scene: Scene, here: Path, seconds: float) -> tuple[int, bool, int, list[bytes]]:
    """Exit code, whether its time was over, the memory it had, and what it said. What it leaves behind is killed."""
    sys.stdout.flush()
    sys.stderr.flush()
    pipes = [os.pipe(), os.pipe()]
    pid = os.fork()
    if not pid:
        _never_returns(scene, here, [write for _, write in pipes])
    for _, write in pipes:
        os.close(write)
    said, hung = _listened(pid, [read for read, _ in pipes], seconds)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)  # if it had no group of its own yet
    _, status, used = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), hung, max(0, used.ru_maxrss * 1024 - _resident()), said


def _listened(pid: int, streams: list[int], seconds: float) -> tuple[list[bytes], bool]:
    """The beginning of what each stream says until the process has ended, and whether it has not."""
    said: dict[int, bytes] = {stream: b"" for stream in streams}
    end, process, waiting = time.monotonic() + seconds, os.pidfd_open(pid), select.poll()
    for descriptor in (process, *streams):
        waiting.register(descriptor, select.POLLIN)
    open_, ended = set(streams), False
    while not ended and time.monotonic() < end:
        ready = [descriptor for descriptor, _ in waiting.poll(1000 * max(0.0, end - time.monotonic()))]
        ended = process in ready and not (open_ & set(ready))  # all that it has said is read first
        for stream in open_ & set(ready):
            if piece := os.read(stream, 65536):
                said[stream] = (said[stream] + piece)[:SAID]
            else:
                waiting.unregister(stream)
                open_.discard(stream)
    for descriptor in (process, *streams):
        os.close(descriptor)
    return list(said.values()), not ended


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


# ---- in the child ---------------------------------------------------------------------------------------------------


def _never_returns(scene: Scene, here: Path, streams: list[int]) -> None:
    code = 70
    try:
        code = _call(scene, here, streams)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _call(scene: Scene, here: Path, streams: list[int]) -> int:
    """The exit code of the command as the interpreter would give it."""
    os.setsid()
    for number, stream in enumerate((os.open(os.devnull, os.O_RDONLY), *streams)):
        os.dup2(stream, number)
    sys.stdout = open(1, "w", encoding=scene.encoding, closefd=False)
    sys.stderr = open(2, "w", encoding=scene.encoding, errors="backslashreplace", closefd=False, buffering=1)
    variables = environment(scene, here)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(here)
    words = [word.replace(HERE, str(here)) for word in scene.words]
    sys.argv = [scene.module, *words]
    for module, name, path in scene.patches:
        setattr(importlib.import_module(module), name, here / path)
    main = importlib.import_module(scene.module).main
    _limit(scene)
    code = _code(main, words)
    with contextlib.suppress(OSError, io.UnsupportedOperation, ValueError):
        sys.stdout.flush()
    return code


def environment(scene: Scene, here: Path) -> dict[str, str]:
    """What a user's shell has at least, with one thread and a cache that all scenes share."""
    base = {"PATH": os.environ.get("PATH", ""), "HOME": str(here / "home"), "TMPDIR": str(here / "tmp"),
            "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(shared_cache()), "PYTHONPATH": str(ROOT),
            "MPLBACKEND": "Agg", "TERM": "dumb"}  # fmt: skip
    given = {name: value.replace(HERE, str(here)) for name, value in scene.environ}
    return {name: value for name, value in (base | given).items() if value != "UNSET"}


def shared_cache() -> Path:
    """Where compiled kernels are kept between scenes."""
    folder = Path(tempfile.gettempdir()) / f"reproduce-fuzz-cache-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _limit(scene: Scene) -> None:
    with open("/proc/self/statm") as file:
        addresses = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (addresses + MORE_ADDRESSES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if scene.file_limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (scene.file_limit,) * 2)
    if os.geteuid() == 0:
        _drop_capabilities()


def _drop_capabilities() -> None:
    """Without them, modes of files hold for this process although it is root's. <linux/capability.h>"""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)())


def _code(main, words: list[str]) -> int:
    try:
        return main(words) or 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
