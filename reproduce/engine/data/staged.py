"""What a staged folder says of itself: what it holds, who is at work in it, whether a job cleared the page cache."""

import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reproduce import files, locks
from reproduce.errors import DataError, shown
from reproduce.logged import is_count, is_number
from reproduce.paths import real

PARTS = ("train", "val")
ABOUT = ".staged.json"  # below the folder, written last: what was staged, and what became of the page cache
LOCK = ".staging.lock"  # below the folder
DROP_CACHES = Path("/proc/sys/vm/drop_caches")
JOB_VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID", "JOB_ID")  # Slurm, PBS, Grid Engine
CLEARED_SECONDS = 3600.0  # a page cache that was cleared longer ago has filled again


def staged(target: Path, source: Path | None = None) -> dict | None:
    """What a finished stage wrote last; None if there is none. Raises `DataError` if it came from another source."""
    about = read(target)
    if about is None or not all((target / part).is_dir() for part in PARTS):
        return None
    if source is not None and about["source"] != str(real(source)):
        raise DataError(f"{target}: was staged from {about['source']}: remove it, or choose another --to")
    return about


def read(target: Path) -> dict | None:
    """What a stage wrote last; None if it wrote nothing, or something that is none of ours."""
    try:
        about = files.read_json(target / ABOUT)
        return about if isinstance(about["source"], str) and _ours(about) else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _ours(about: dict) -> bool:
    """Whether its numbers are numbers. Raises what `read` catches for what is of another shape."""
    notes = about.get("page_cache", {}).values()
    whole = all(is_count(about[key], most=2**63) for key in ("files", "bytes", *PARTS))
    return whole and all(isinstance(note["cleared"], bool) and is_number(note["at"]) and isinstance(note["job"], str)
                         for note in notes)  # fmt: skip


def write(target: Path, about: dict) -> None:
    """At once or not at all."""
    files.write_whole(target / ABOUT, files.to_json(about, indent=1))


def own() -> str:
    """Tells what this thread of this process on this node writes from what others do."""
    return f"{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}"


@contextmanager
def locked(target: Path) -> Iterator[bool]:
    """Wait until nobody else stages to `target`; False where that cannot be had. A holder's death frees the lock."""
    with open(locks.opened(target / LOCK), "r+", encoding="utf-8", errors="replace") as file:
        alone, told = True, False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    file.seek(0)
                    who = file.read(200) or "another process"
                    print(shown(f"{target}: waits for {who}, which stages it"), flush=True)
                    told = True
                time.sleep(0.2)
            except OSError as error:
                print(f"{target}: staged without a lock: {error.strerror}", flush=True)
                alone = False
                break
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield alone


# ---- the page cache -------------------------------------------------------------------------------------------------


def drop_caches() -> bool:
    """Have the kernel forget what files hold, so that a run's first reads are its own; False: not permitted."""
    os.sync()  # what is not yet on the disk cannot be forgotten
    try:
        DROP_CACHES.write_text("3\n")
    except OSError:
        return False
    return True


def note_page_cache(target: Path, cleared: bool | None) -> None:
    """Note at a staged target what this job did on this node; None: nothing was asked for. Raises `DataError`."""
    if cleared is None and not (read(target) or {}).get("page_cache"):
        return
    try:
        with locked(target):
            about, host, job = read(target) or {}, socket.gethostname(), _job()
            notes = {at: note for at, note in about.get("page_cache", {}).items() if note["job"] == job and at != host}
            if cleared is not None:
                notes[host] = {"cleared": cleared, "at": time.time(), "job": job}
            write(target, about | {"page_cache": notes})
    except OSError as error:
        raise DataError(f"{target / ABOUT}: cannot be written: {error.strerror}: check its permissions") from None


def page_cache_cleared(target: Path) -> tuple[bool, str]:
    """Whether this job has cleared this node's page cache since it staged `target`; and a comment for the log."""
    note = (read(Path(target)) or {}).get("page_cache", {}).get(socket.gethostname())
    if note is None or note["job"] != _job() or not 0 <= time.time() - note["at"] < CLEARED_SECONDS:
        return False, "the page cache is left as it is"
    if not note["cleared"]:
        return False, "the page cache is left as it is: clearing it was not permitted"
    return True, f"the page cache of rank 0's node was cleared {time.time() - note['at']:.0f} s before"


def _job() -> str:
    """The scheduler's number of this job; empty without a scheduler."""
    return next((os.environ[name] for name in JOB_VARIABLES if os.environ.get(name)), "")
