"""A folder for what is not yet published, beside what is: removed at the end, or by the next call if this one dies."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = ".publish-"


@contextlib.contextmanager
def staging(figures: Path) -> Iterator[Path]:
    """An empty folder below `figures`. What killed calls left there goes first; a living call's own is locked, and
    stays. Raises `OSError`."""
    for leftover in figures.glob(f"{PREFIX}*"):
        if _abandoned(leftover):
            shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=figures, prefix=PREFIX) as name:
        descriptor = os.open(name, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Path(name)
        finally:
            os.close(descriptor)


def _abandoned(folder: Path) -> bool:
    """Whether no living call has locked a folder; where there are no locks, none has."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # none of ours
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return True
