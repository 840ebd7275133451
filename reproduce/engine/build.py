"""Makes a shared library of a C file with the machine's own compiler, once per machine; and loads nobody else's.

A library is kept in the user's cache folder under a name that holds the SHA-256 of its content. It counts only there,
with that content, in a folder and a file that are the user's own and that nobody else can write. Where there is no such
folder it is made for this process alone.
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reproduce import environ
from reproduce.engine.environment import cpuinfo
from reproduce.errors import ConfigError

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ["-O3", "-std=c11", "-fno-math-errno", "-shared", "-fPIC"]
# the first that compiles: not every compiler knows its own processor, or threads
EXTRAS: tuple[list[str], ...] = (["-march=native", "-fopenmp"], ["-fopenmp"], ["-march=native"], [])
SECONDS = 60  # for all attempts: a compiler may wait for a licence or a file system for ever
CACHE = "yaasgd"


class NoLibraryError(Exception):
    """Why there is none, in a few words."""


def function(source: Path, name: str, needs: Sequence[str] = ()) -> Any:
    """A function of the library of a C file, for this machine's processor. Raises `NoLibraryError`."""
    try:
        return getattr(library(source, processor(), needs), name)
    except (ConfigError, AttributeError) as error:  # a variable that breaks a rule, such as CC; a library without it
        raise NoLibraryError(str(error)) from None


def library(source: Path, about: bytes, needs: Sequence[str] = ()) -> ctypes.CDLL:
    """The library of a C file; `about` says what else it depends on, such as the processor. Raises `NoLibraryError`.

    `needs` are the linker's options for the libraries it uses.
    """
    name = f"{source.stem}_{hashlib.sha256(source.read_bytes() + about).hexdigest()[:16]}"
    folder = own_folder()
    try:
        if folder:
            return ctypes.CDLL(str(kept(folder, name) or put(compile_(source, folder, needs), folder, name)))
        with tempfile.TemporaryDirectory() as scratch:
            return ctypes.CDLL(str(put(compile_(source, Path(scratch), needs), Path(scratch), name)))
    except OSError as error:
        raise NoLibraryError(f"{folder or tempfile.gettempdir()}: {error.strerror or error}") from None


def processor() -> bytes:
    """What this machine's is: a library made for one may not run on another that shares a home folder."""
    return f"{platform.machine()} {platform.processor()} {cpuinfo('flags') or cpuinfo('Features')}".encode()


def own_folder() -> Path | None:
    """The cache folder, made if it is not there; None if it cannot be one that this user alone can write."""
    cache = environ.cache_folder()
    if cache is None:
        return None
    folder = cache / CACHE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & 0o022:
            folder.chmod(0o700)  # made under a umask that lets others write; what they put there is not theirs to give
            found = folder.lstat()
    except OSError:
        return None
    return folder if stat.S_ISDIR(found.st_mode) and is_own(found) and os.access(folder, os.W_OK) else None


def is_own(found: os.stat_result) -> bool:
    """Whether a file is this user's, and nobody else can write it."""
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def kept(folder: Path, name: str) -> Path | None:
    """The library of that name, if there is an intact one of our own. One that is not goes, where we may remove it."""
    for path in sorted(folder.glob(f"{name}_*.so")):
        with contextlib.suppress(OSError):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and is_own(found) and path.name == file_name(name, path.read_bytes()):
                return path
            path.unlink()
    return None


def file_name(name: str, content: bytes) -> str:
    return f"{name}_{hashlib.sha256(content).hexdigest()[:32]}.so"


def put(content: bytes, folder: Path, name: str) -> Path:
    """Write it whole or not at all: other processes may be doing the same."""
    path = folder / file_name(name, content)
    descriptor, temporary = tempfile.mkstemp(dir=folder)  # mode 600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    return path


def compile_(source: Path, folder: Path, needs: Sequence[str] = ()) -> bytes:
    """What the compiler makes of it. Raises `NoLibraryError`, with the compiler's own first complaint."""
    named = environ.compiler()
    first = next(filter(shutil.which, COMPILERS), None)
    if not (named or first):
        raise NoLibraryError(f"none of {', '.join(COMPILERS)} is installed")
    compiler, give_up = named or [str(first)], time.monotonic() + SECONDS
    complaint = ""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made, said = Path(scratch) / "made.so", Path(scratch) / "said"
        for extra in EXTRAS:
            command = [*compiler, *FLAGS, *extra, str(source), "-o", str(made), *needs, "-lm"]
            if (code := run(command, said, give_up - time.monotonic())) == 0 and made.is_file():
                return made.read_bytes()
            lines = said.read_text(errors="replace").strip().splitlines() or [f"exit code {code}"]
            complaint = complaint or next((line for line in lines if "error" in line.lower()), lines[0]).strip()[:160]
    what = f"CC = {' '.join(compiler)!r}" if named else compiler[0]
    raise NoLibraryError(f"{what} does not make it: {complaint}")


def run(command: list[str], said: Path, seconds: float) -> int:
    """The exit code of a command, what it prints in the file `said`. Raises `NoLibraryError` if it does not end."""
    with open(said, "wb") as file:
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
        except OSError as error:
            raise NoLibraryError(f"{command[0]}: {error.strerror}") from None
    try:
        return child.wait(max(0.1, seconds))
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # what a wrapper has started, too
        child.wait()
        raise NoLibraryError(f"{command[0]} did not end within {SECONDS} s") from None
