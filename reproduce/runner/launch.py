"""How a run becomes a command on this machine, and how commands are started, waited for and stopped.

A config names workers; here it is decided how many processes carry them. Imports nothing outside the standard library.
"""

import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from reproduce import gpus
from reproduce.errors import EXIT_LOST, EXIT_PREEMPTED
from reproduce.launchers.ranks import Start
from reproduce.paths import ROOT

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What a killed run loses at most. Writing a checkpoint is on the run's clock: the paper's 74.7 s are to have none.
CHECKPOINT_SECONDS = {"quick": 60, "node": 600, "paper": 600}
# engine/spawn.py gives its processes 30 s for a last checkpoint when told to stop, and then kills those that are left
GRACE_SECONDS = 45
# srun kills its ranks at a SIGTERM, and mpirun a second after it; SIGUSR1 they pass on, and the ranks save a checkpoint
FORWARDED_SIGNALS = {"srun": signal.SIGUSR1, "mpirun": signal.SIGUSR1}


def gpu_count() -> int:
    """NVIDIA GPUs that a process on this machine may use; 0 without a working driver."""
    return gpus.gpus().count


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_device(tier: str) -> str:
    """A GPU wherever there should be one: tier quick alone is meant for a CPU too."""
    found = gpus.gpus()
    return "cuda" if found.count or found.fault or tier != "quick" else "cpu"


def default_processes(device: str = "cuda") -> int:
    """One process per GPU; on a CPU two, or one on a single core: what the quick tier is sized for."""
    return (gpu_count() if device == "cuda" else 0) or min(2, cores())


def fit(processes: int, workers: int) -> int:
    """The largest number of processes, up to `processes`, that share `workers` evenly."""
    return max(n for n in range(1, min(processes, workers) + 1) if workers % n == 0)


def train_command(
    recipe: Sequence[str], seed: int, out: Path, data: Path, processes: int, python: str = sys.executable,
    checkpoint_seconds: int = CHECKPOINT_SECONDS["quick"], start: Start | None = None, device: str | None = None,
    engine: Sequence[str] = (),
) -> tuple[list[str], dict[str, str]]:  # fmt: skip
    """The command of one run, to be started in `ROOT`, and what it needs in its environment.

    `recipe`: the words for its config. `start` None: as processes of this machine. `device` None: what tier quick has
    by default. `engine`: more of its options, as given.
    """
    if start:
        argv, env = start.argv(processes, python, "reproduce.engine.train"), start.environment()
    else:
        module = ["reproduce.engine.spawn", str(processes)] if processes > 1 else ["reproduce.engine.train"]
        argv, env = [python, "-m", *module], {}
    argv += [*recipe, "--seed", str(seed), "--out", short(out), "--data", short(data)]
    device = device or default_device("quick")
    argv += ["--checkpoint-every", str(checkpoint_seconds), "--device", device]
    argv += engine
    # processes share the cores; more threads than cores would have them wait for one another
    return argv, env if start or device == "cuda" else {"OMP_NUM_THREADS": "1"}


def interrupted(code: int) -> bool:
    """Whether an exit code says that a run was stopped from outside and goes on if it is started again."""
    return code in (EXIT_PREEMPTED, EXIT_LOST) or code < 0 or code > 128


def short(path: Path) -> str:
    """A path as seen from `ROOT`, where commands run."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def shell_text(argv: list[str], env: dict[str, str]) -> str:
    """The command as one would type it."""
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in env.items()), shlex.join(argv)])


class Stopped(Exception):
    """Somebody asked us to end: SIGINT, SIGTERM, or the terminal closed."""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class Foreground:
    """Starts commands one after the other, each in a process group of its own.

    Inside the ``with`` block a stop signal ends the running command with all its processes; then `Stopped` is raised.
    """

    def __init__(self):
        self._signum = None

    def __enter__(self):
        self._before = {signum: signal.signal(signum, self._note) for signum in STOP_SIGNALS}
        return self

    def __exit__(self, *_):
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _note(self, signum, _frame):
        self._signum = self._signum or signum  # acted on in `run`: raising here could lose a child just started

    def run(
        self, argv: list[str], env: dict[str, str], capture: bool = False, seconds: float = math.inf,
        log: IO | None = None,
    ) -> tuple[int, str]:  # fmt: skip
        """Exit code and, with `capture`, the (short) standard output; otherwise that goes where ours goes, or to `log`.

        Raises `Stopped`, TimeoutError if it took longer than `seconds`, and FileNotFoundError if there is no such
        program.
        """
        self._raise_if_stopped()
        give_up = time.monotonic() + seconds
        child = subprocess.Popen(
            argv, cwd=ROOT, env=os.environ | env, start_new_session=True, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if capture else log, stderr=log,
        )  # fmt: skip
        try:
            while child.poll() is None and self._signum is None and time.monotonic() < give_up:
                time.sleep(0.1)
        finally:
            late = child.poll() is None
            if late:
                _end(child, FORWARDED_SIGNALS.get(argv[0], signal.SIGTERM), GRACE_SECONDS if self._signum else 10)
        self._raise_if_stopped()
        if late:
            raise TimeoutError
        return child.returncode, child.communicate()[0] or ""

    def _raise_if_stopped(self) -> None:
        if self._signum is not None:
            raise Stopped(self._signum)


def _end(child: subprocess.Popen, signum: signal.Signals, grace: float) -> None:
    """End a child and its process group: politely first, and after so many seconds at once."""
    os.killpg(child.pid, signum)
    give_up = time.monotonic() + grace
    while child.poll() is None and time.monotonic() < give_up:
        time.sleep(0.1)
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
