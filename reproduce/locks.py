"""One process at a time where two would spoil each other's files.

The lock is the kernel's (flock): it goes with the process that holds it, however that ended, so that none is ever left
behind. On a file system that has no locks nobody can be kept out, and a warning says so. Imports nothing outside the
standard library.
"""

import errno
import json
import os
import socket
import stat
import sys
import time
from pathlib import Path

from reproduce.errors import UserError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
FLAGS |= getattr(os, "O_NONBLOCK", 0)  # nor waiting for the other end of a pipe
PATIENCE = 2.0  # seconds for a process that has just been killed to be gone
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def opened(path: Path) -> int:
    """The descriptor of a lock's file, made if need be, and not through a link somebody else has put there.

    Raises `OSError`."""
    descriptor = os.open(path, FLAGS, 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


class Lock:
    """Held inside its ``with`` block, or from `take` to `free`, and never beyond the end of the process."""

    def __init__(self, path: Path, what: str):
        """`what` is done by the holder, such as "a run of quick/headline, seed 1"."""
        self.path, self._what = path, what
        self._file: int | None = None

    def __enter__(self) -> "Lock":
        self.take()
        return self

    def __exit__(self, *_) -> None:
        self.free()

    def take(self) -> None:
        """Raises `UserError` naming the process that holds it, or the path if it cannot be written."""
        if fcntl is None:
            self._warn("this system has no flock")
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = opened(self.path)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be made: {error.strerror}: choose another --out") from None
        give_up = time.monotonic() + PATIENCE
        while not self._try():
            if time.monotonic() >= give_up:
                raise UserError(f"{self.path.parent}: {self._holder()}: wait for it to end, or choose another --out")
            time.sleep(0.1)

    def _try(self) -> bool:
        assert self._file is not None, "the file is opened before it is locked"
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise UserError(f"{self.path}: cannot be locked: {error.strerror}: choose another --out") from None
            self._warn(f"its file system has no locks ({error.strerror})")
            return True
        told = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T"), "what": self._what}
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(told).encode(), 0)
        return True

    def _holder(self) -> str:
        """Who has it, as far as it has said so."""
        assert self._file is not None, "the file is opened before it is locked"
        try:
            told = json.loads(os.pread(self._file, 4096, 0))
            where = f"process {told['pid']} on {told['host']} since {told['since']}"
            return "".join(c if c.isprintable() else "?" for c in f"{told['what']} is at work here ({where})")
        except (OSError, ValueError, KeyError, TypeError):
            return "another process is at work here"

    def _warn(self, why: str) -> None:
        print(f"warning: {self.path.parent}: {why}, so nobody is kept from writing here too: start one run at a time",
              file=sys.stderr, flush=True)  # fmt: skip

    def free(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
