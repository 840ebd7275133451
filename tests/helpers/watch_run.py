"""For test_watch.py: a process of a run in name only, which sums a number over all ranks in each of its updates.

Started with RANK etc. set, as `python -m tests.helpers.watch_run TIMEOUT BEHAVIOUR...`, with a behaviour for each rank.
"""

import ctypes
import os
import signal
import sys
import time

import torch
import torch.distributed as dist

from reproduce.engine.dist.watch import Watch

UPDATES, ODD_UPDATE = 12, 5


def member(timeout: float, behaviours: list[str]) -> None:
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group("gloo")
    watch = Watch(dist.distributed_c10d._get_default_store(), rank, size, timeout)
    for update in range(1, UPDATES + 1):
        watch.doing(f"update {update} of {UPDATES}")
        if update == ODD_UPDATE:
            misbehave(watch, *behaviours[rank].split())
        time.sleep(0.2)
        total = torch.ones(1)
        with watch.waiting(f"the gradients of update {update}"):
            try:
                dist.all_reduce(total)
            except RuntimeError:  # another has left; `train` waits a little, too, for the launcher to end it
                time.sleep(1000)
        assert total == size
    watch.close()
    dist.barrier()
    dist.destroy_process_group()


def misbehave(watch: Watch, what: str, seconds: str = "1000") -> None:
    if what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif what == "compute":
        time.sleep(float(seconds))
    elif what == "wedge":  # asleep with the interpreter locked: no other thread runs
        ctypes.PyDLL(None).sleep(int(seconds))
    elif what == "elsewhere":
        time.sleep(2.5)  # so that the others lose patience first, also where several groups run
        with watch.waiting("something else"):
            time.sleep(float(seconds))
    elif what == "network":  # not what it seems: every rank is in the same collective, and nothing moves
        with watch.waiting(f"the gradients of update {ODD_UPDATE}"):
            time.sleep(float(seconds))
    elif what != "good":
        raise ValueError(what)


def forked(environment: dict[str, str], errors: str, timeout: float, behaviours: list[str]) -> None:
    """`member` in a process that was forked with everything imported; its stderr goes to the file `errors`."""
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.environ.update(environment)
    member(timeout, behaviours)


if __name__ == "__main__":
    member(float(sys.argv[1]), sys.argv[2:])
