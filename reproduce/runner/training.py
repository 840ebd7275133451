"""Does what a plan has: its runs, one after the other, and what draws.

What is done is skipped, what was interrupted goes on.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from reproduce.errors import EXIT_PREEMPTED
from reproduce.paths import ROOT
from reproduce.runner import commands, shape
from reproduce.runner.commands import failure
from reproduce.runner.plan import Job, Plan
from reproduce.runner.show import table
from reproduce.supervise import Foreground, Stopped

SETUP = ["bash", str(ROOT / "reproduce" / "setup.sh")]


def set_up(foreground: Foreground) -> str:
    """The Python that everything else runs on. Raises `SystemExit` if there is none; setup.sh has said why."""
    code, python = foreground.run([*SETUP, "run"], {}, capture=True)
    if code:
        raise SystemExit(code)
    return python.strip()


def planned_python(foreground: Foreground) -> str:
    """The Python that `set_up` would find or build."""
    return foreground.run([*SETUP, "plan"], {}, capture=True)[1].strip()


def execute(plan: Plan, draw_only: bool, publish: bool, only: Sequence[str]) -> int:
    """Train what is missing, unless `draw_only`, and draw, here and now; `publish` the artefacts that `only` names."""
    with Foreground() as foreground:
        python, failed = set_up(foreground), []
        if not draw_only and plan.todo and plan.device == "cuda" and shape.is_here(plan.start):
            code, _ = foreground.run([python, "-m", "reproduce.engine.device", str(plan.most_processes)], {})
            if code:  # it has said why
                return code
        if not draw_only:
            failed = prepare(plan, python, foreground) or train_all(plan, python, foreground)[0]
        for name, (argv, env) in plan.report_commands(python):
            if foreground.run(argv, env)[0]:
                failed.append(failure(name, argv, env))
        if publish and not failed:
            argv, env = plan.publish_command(python, only)
            failed += [failure("publish", argv, env)] if foreground.run(argv, env)[0] else []
    rows: list[tuple[str, ...]] = [("artefact", "state", f"files in {commands.short(plan.out)}")]
    for a in plan.artefacts:
        rows.append((a.name, plan.state(a), " ".join(plan.files(a)) or "none"))
    table(rows)
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


def execute_inside(plan: Plan) -> int:
    """The runs of one job, inside it: its script calls this. 75 if it was stopped and is to be started again."""
    with Foreground() as foreground:
        try:
            failed, stopped = train_all(plan, sys.executable, foreground, inside=True)
        except Stopped:
            return EXIT_PREEMPTED
    for line in failed:
        print(line, file=sys.stderr)
    return EXIT_PREEMPTED if stopped else 1 if failed else 0


class Clock:
    """Elapsed time, and what is left: the expected rest, corrected by how the runs so far compared with theirs."""

    def __init__(self, expected_seconds: float):
        self.began, self.left, self.seen, self.took = time.monotonic(), expected_seconds, 0.0, 0.0

    def finish(self, expected_seconds: float, seconds: float) -> None:
        self.left -= expected_seconds
        self.seen += expected_seconds
        self.took += seconds

    def __str__(self) -> str:
        left = self.left * (self.took / self.seen if self.seen else 1)
        return f"{(time.monotonic() - self.began) / 60:.1f} min gone, about {left / 60:.1f} min to go"


def prepare(plan: Plan, python: str, foreground: Foreground) -> list[str]:
    """Lay out the embedded data if a run will need it; what failed, as `train_all` says it."""
    if not plan.needs_embedded:
        return []
    argv, env = plan.data_command(python)
    return [failure("the embedded data set", argv, env)] if foreground.run(argv, env)[0] else []


def train_all(plan: Plan, python: str, foreground: Foreground, inside: bool = False) -> tuple[list[str], bool]:
    """Do the runs that are not done; what failed, as lines that say how to run it again, and whether to stop here.

    `inside` a job: a run that was stopped from outside is left for the job's next start, and those after it too.
    """
    todo = plan.todo
    failed: list[str] = []
    clock = Clock(sum(job.expected_seconds(plan.tier) for job in todo))
    for number, job in enumerate(plan.jobs, 1):
        label = f"[{number}/{len(plan.jobs)}] {job}"
        if job not in todo:
            say(f"{label}: done before")
            continue
        say(f"{label} ... {clock}")
        argv, env = plan.train_command(job, python)
        if inside:
            say(commands.shell_text(argv, env))
        began = time.monotonic()
        code = train(label, job, plan.out, argv, env, foreground, inside)
        clock.finish(job.expected_seconds(plan.tier), time.monotonic() - began)
        if job.state(plan.out) != "done":  # the log has the last word, whatever the exit code
            if inside and code == EXIT_PREEMPTED:
                return failed, True
            say(f"{label}: FAILED (exit code {code})")
            failed.append(failure(str(job), argv, env))
    return failed, False


def train(
    label: str, job: Job, out: Path, argv: list[str], env: dict[str, str], foreground: Foreground, inside: bool = False
) -> int:
    """Do a run and return its exit code.

    When something other than us stops it, it is started again and goes on, as long as that gets it from one checkpoint
    to another; once without, as it may have been stopped before the first. `inside` a job that was asked to stop, it is
    not.
    """
    stuck = False
    while True:
        before = job.newest_update(out)
        code, _ = foreground.run(argv, env)
        reached = job.newest_update(out)
        if job.state(out) == "done" or not commands.interrupted(code) or (stuck and reached == before):
            return code  # done, though the exit code may say otherwise: killed when all was written
        if inside and code == EXIT_PREEMPTED:
            return code
        stuck = reached == before
        since = "from the beginning" if reached is None else f"from update {reached}"
        say(f"{label}: interrupted (exit code {code}), going on {since}")


def say(text: str) -> None:
    print(text, flush=True)  # so that our lines and the runs' stay in order in a pipe
