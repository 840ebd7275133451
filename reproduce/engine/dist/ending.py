"""How one process of many ends: what it says, and that it leaves without waiting for the others."""

import contextlib
import os
import time
import traceback
from collections.abc import Iterator

from reproduce.engine.dist.launcher_variables import spelled_rank
from reproduce.engine.dist.place import Place, find
from reproduce.errors import LostError, NetworkError, Preempted, UserError, of_system, say

LATER = 5.0  # seconds after which an error of one process alone is said


@contextlib.contextmanager
def one_of_many() -> Iterator[Place]:
    """Around all that a process does, with its place. After an error a process of a launcher's leaves at once.

    It says one line, and its exit code is the error's.

    An ordinary end of the interpreter would disconnect, which with NCCL waits for processes that do not come.
    """
    rank = spelled_rank()  # who is to speak of an error, even if it is one of these variables
    try:
        place = find()
        rank = str(place.rank) if place.world_size > 1 else None
        yield place
    except Exception as error:
        if rank is None:
            raise
        said = of_system(error) if isinstance(error, OSError) else error
        if not isinstance(said, UserError):
            traceback.print_exc()
            os._exit(1)
        _say(said, first=rank == "0")
        os._exit(said.exit_code)


def _say(error: UserError, first: bool) -> None:
    # Most errors strike every process alike. The first speaks and leaves at once, which makes the launcher end the
    # others before they repeat it; an error of one process alone is still said, a little later. What killed another
    # process the launcher knows better than any of them.
    preempted = isinstance(error, Preempted)
    if isinstance(error, LostError | NetworkError) or not (first or preempted):
        time.sleep(LATER)
    if first or not preempted:
        say(error)
