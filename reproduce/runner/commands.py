"""How a run becomes a command: as text and words, which depend on nothing but the arguments.

A config names workers; here it is decided how many processes carry them. Imports nothing outside the standard library.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from reproduce.errors import EXIT_LOST, EXIT_PREEMPTED
from reproduce.launchers.ranks import Start
from reproduce.paths import ROOT

# What a killed run loses at most. Writing a checkpoint is on the run's clock: the paper's 74.7 s are to have none.
CHECKPOINT_SECONDS = {"quick": 60, "node": 600, "paper": 600}


def fit(processes: int, workers: int) -> int:
    """The largest number of processes, up to `processes`, that share `workers` evenly."""
    return max(n for n in range(1, min(processes, workers) + 1) if workers % n == 0)


def train_command(
    recipe: Sequence[str], seed: int, out: Path, data: Path, processes: int, python: str = sys.executable,
    checkpoint_seconds: int = CHECKPOINT_SECONDS["quick"], start: Start | None = None, device: str = "cpu",
    engine: Sequence[str] = (),
) -> tuple[list[str], dict[str, str]]:  # fmt: skip
    """The command of one run, to be started in `ROOT`, and what it needs in its environment.

    `recipe`: the words for its config. `start` None: as processes of this machine. `engine`: more of its options, as
    given.
    """
    if start:
        argv, env = start.argv(processes, python, "reproduce.engine.train"), start.environment()
    else:
        module = ["reproduce.engine.spawn", str(processes)] if processes > 1 else ["reproduce.engine.train"]
        argv, env = [python, "-m", *module], {}
    argv += [*recipe, "--seed", str(seed), "--out", short(out), "--data", short(data)]
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


def failure(what: str, argv: list[str], env: dict[str, str]) -> str:
    """What failed, and how to run it again."""
    return f"failed: {what}; to run it again: cd {shlex.quote(str(ROOT))} && {shell_text(argv, env)}"
