"""Starts the processes of a run on this machine, hands signals on to them, and leaves none behind.

    python -m reproduce.engine.spawn 2 paper_configs/quick/headline_b800_w20.toml --seed 1 --data data/fashion_mnist

All arguments after the number of processes go to `reproduce.engine.train`, or to the module after -m. torchrun, srun
and mpirun start the same modules just as well. Not torchrun here: it keeps the exit codes of processes it passed a
signal to, and leaves them behind when it is killed itself. Imports nothing outside the standard library.
"""

import contextlib
import ctypes
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time

from reproduce import environ
from reproduce.errors import EXIT_LOST, EXIT_PREEMPTED, EXIT_USER_ERROR, UserError, command
from reproduce.supervise import handling

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
GRACE_SECONDS = 30  # for a checkpoint, once a signal was passed on or a process said that it was asked to stop
SETTLE_SECONDS = 5  # for the others to end by themselves, once one has failed in another way
KILL_SECONDS = 2  # from SIGTERM to SIGKILL, which ends a stopped process too
# All has been said then, and no checkpoint can be agreed on any more: the others, killed at once, could only repeat it.
FINAL = (EXIT_USER_ERROR, EXIT_LOST)
TRAIN = "reproduce.engine.train"
POLL_SECONDS = 0.05
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
LOST = "run the same command again to go on from the last checkpoint"
NEVER_MET = "that was before all ranks had met: see what it said, and what the system's log (dmesg) says of it"
MET = "REPRODUCE_MET"  # the number of a pipe on which a rank says that all have met


@command
def main(argv=None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if not argv or not re.fullmatch("[1-9][0-9]{0,5}", argv[0]):
        raise UserError("usage: python -m reproduce.engine.spawn PROCESSES [-m MODULE] CONFIG [OPTIONS of it]")
    module, rest = (argv[2], argv[3:]) if argv[1:2] == ["-m"] and len(argv) > 2 else (TRAIN, argv[1:])
    return launch([sys.executable, "-u", "-m", module, *rest], int(argv[0]))


def launch(argv: list[str], processes: int) -> int:
    """Run `argv` as each of `processes` ranks, wait for all of them and return the exit code of the whole.

    0 if all ended well; else 2 if any found a user error or died before all had met, else that of the first that
    failed: its own, `EXIT_LOST` if it died of a signal, or 128 + N if that was signal N, passed on by us. Raises
    `UserError` if one cannot be started.
    """
    received: list[int] = []
    heard = [signum for signum in FORWARDED if signal.getsignal(signum) != signal.SIG_IGN]  # as nohup has SIGHUP
    ranks = Ranks()
    # the port is bound until the end, so that nobody is given it before rank 0 listens
    with handling(heard, lambda signum, _: received.append(signum)), socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        try:
            for rank in range(processes):
                ranks.start(argv, environment(rank, processes, reserved.getsockname()[1]))
            while ranks.running():
                while received:
                    ranks.forward(received.pop(0))
                ranks.end_if_due()
                time.sleep(POLL_SECONDS)
        finally:
            ranks.send(signal.SIGKILL)  # nobody is left, unless we are here by an exception
            ranks.close()
    return ranks.exit_code()


def tell_that_all_met() -> None:
    """Called by a rank: from now on one that dies was lost. Nothing happens where another launcher started it."""
    said = os.environ.pop(MET, "")
    with contextlib.suppress(OSError, ValueError):
        if stat.S_ISFIFO(os.fstat(int(said)).st_mode):
            os.write(int(said), b"1")
            os.close(int(said))


def environment(rank: int, processes: int, port: int) -> dict[str, str]:
    """What `torch.distributed` reads, as torchrun sets it; nothing of a torchrun that this was started by."""
    size = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1"}
    threads = {"OMP_NUM_THREADS": str(environ.omp_threads() or 1)}
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_PORT": str(port)}
    return {**environ.without("TORCHELASTIC_"), **threads, **size, **place}


class Ranks:
    """The processes of a run, by rank, and what became of them."""

    def __init__(self):
        self._alive: dict[int, subprocess.Popen] = {}
        self._hears, self._tells = os.pipe()
        os.set_blocking(self._hears, False)
        self._met = False  # all ranks, once
        self._sent: set[int] = set()
        self._forwarded = 0
        self._codes: list[int] = []  # of those that failed, in the order we learnt of it
        self._end_at = float("inf")  # when what is still running gets the next of
        self._last_signals = [signal.SIGTERM, signal.SIGKILL]

    def start(self, argv: list[str], env: dict[str, str]) -> None:
        # a session of its own: Ctrl-C in a terminal reaches a rank once, through us
        rank, told = int(env["RANK"]), {MET: str(self._tells)}
        try:
            child = subprocess.Popen(
                argv, env=env | told, start_new_session=True, preexec_fn=_dies_with_us(), pass_fds=[self._tells]
            )
        except OSError as error:
            raise UserError(f"cannot start process {rank}: {error.strerror}: start fewer processes") from None
        self._alive[rank] = child

    def running(self) -> bool:
        """Whether any process is; takes note of those that have ended."""
        ended = {rank: child for rank, child in self._alive.items() if child.poll() is not None}
        for rank, child in sorted(ended.items(), key=lambda item: _cause_first(item[1].returncode)):
            del self._alive[rank]
            self._note(rank, child.pid, child.returncode)
        return bool(self._alive)

    def _note(self, rank: int, pid: int, code: int) -> None:
        if code == 0:
            return
        if -code in self._sent:
            code = 128 + self._forwarded if self._forwarded else 0  # else ended by us, as another had failed
        elif code < 0:
            met = self._have_met()
            if not self._codes:  # those after the first died because of it
                what = f"{signal_name(-code)}: {LOST if met else NEVER_MET}"
                print(f"error: rank {rank} (pid {pid}) died of {what}", file=sys.stderr, flush=True)
            code = EXIT_LOST if met else EXIT_USER_ERROR
        if code:
            self._codes.append(code)
            self._end_within(GRACE_SECONDS if code == EXIT_PREEMPTED else SETTLE_SECONDS)
            if code in FINAL:
                self.send(signal.SIGKILL)

    def _have_met(self) -> bool:
        try:
            self._met = self._met or bool(os.read(self._hears, 1))
        except BlockingIOError:
            pass
        return self._met

    def close(self) -> None:
        os.close(self._hears)
        os.close(self._tells)

    def forward(self, signum: int) -> None:
        self._forwarded = self._forwarded or signum
        self.send(signum)
        self._end_within(GRACE_SECONDS)

    def _end_within(self, seconds: float) -> None:
        self._end_at = min(self._end_at, time.monotonic() + seconds)

    def end_if_due(self) -> None:
        if self._last_signals and time.monotonic() >= self._end_at:
            self.send(self._last_signals.pop(0))
            self._end_at = time.monotonic() + KILL_SECONDS

    def send(self, signum: int) -> None:
        self._sent.add(signum)
        for child in self._alive.values():
            child.send_signal(signum)  # knows when the process is gone

    def exit_code(self) -> int:
        return EXIT_USER_ERROR if EXIT_USER_ERROR in self._codes else next(iter(self._codes), 0)


def signal_name(signum: int) -> str:
    return {s.value: s.name for s in signal.Signals}.get(signum, f"signal {signum}")


def _cause_first(code: int) -> int:
    """Where a return code sorts among those that were learnt of together: user errors, signals, the rest."""
    return 0 if code == EXIT_USER_ERROR else 1 if code < 0 else 2


def _dies_with_us():
    """What a child does between fork and exec: have the kernel kill it when we are gone, however that came about."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def die_with_parent():
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it had died before we asked
            os._exit(EXIT_LOST)

    return die_with_parent


if __name__ == "__main__":
    sys.exit(main())
