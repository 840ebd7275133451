"""Hands a plan's jobs in, remembers their numbers, and waits for them if asked."""

import shlex
import subprocess
import time
from pathlib import Path

from reproduce import files
from reproduce.errors import UserError
from reproduce.launchers.scheduler import SCHEDULERS, Scheduler
from reproduce.runner.jobs import REPORT, ClusterJob
from reproduce.runner.script import Context, script

SUBMITTED = "submitted.json"
POLL_SECONDS = 5
PATIENCE = 3  # a scheduler may be slow to list a job it has just taken


def submit(found: list[ClusterJob], context: Context) -> dict[str, str]:
    """Write the job scripts and submit them, in order; returns the jobs' numbers by name.

    Raises `UserError` if jobs of an earlier call are still there, or the scheduler refuses one; those submitted before
    stay, and the line says how to cancel them.
    """
    scheduler, folder = SCHEDULERS[context.launcher], context.out / "jobs"
    left = [number for number in remembered(folder, context.launcher).values() if known(number, scheduler)]
    if left:
        raise UserError(f"{folder}: jobs of an earlier call are still there: wait for them, or: "
                        f"{scheduler.cancel} {' '.join(left)}")  # fmt: skip
    texts = {job.name: script(job, context) for job in found}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            files.write_whole(folder / f"{name}.sh", text)
            for suffix in ("exit", "exit.new", "attempts"):  # the script is not to write through links either
                (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot write the job scripts: {error.strerror}: choose another --out") from None
    numbers: dict[str, str] = {}
    for job in found:
        try:
            numbers[job.name] = _hand_in(job, [numbers[name] for name in job.after], scheduler, folder)
        except UserError as error:
            rest = f"; submitted before: {scheduler.cancel} {' '.join(numbers.values())} cancels" if numbers else ""
            raise UserError(f"{error}{rest}") from None
        finally:
            _remember(folder, context.launcher, numbers)
    return numbers


def _hand_in(job: ClusterJob, after: list[str], scheduler: Scheduler, folder: Path) -> str:
    argv = scheduler.submission(f"{job.name}.sh", after)
    done = _ask(argv, folder)
    number = scheduler.number(done.stdout) if done.returncode == 0 else ""
    if not number:
        said = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        raise UserError(f"{scheduler.title} refused {job.name} ({shlex.join(argv)}): {said}")
    return number


def _ask(argv: list[str], folder: Path | None = None) -> subprocess.CompletedProcess:
    try:
        return subprocess.run(argv, cwd=folder, capture_output=True, text=True, errors="replace", timeout=300)
    except FileNotFoundError:
        raise UserError(f"{argv[0]}: not found: run this on a login node, or choose another --launcher") from None
    except OSError as error:
        raise UserError(f"{argv[0]}: cannot be started: {error.strerror}: see what it is on PATH") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{shlex.join(argv)}: no answer in 300 s: is the scheduler up?") from None


def known(number: str, scheduler: Scheduler) -> bool:
    """Whether a job is still queued or runs."""
    done = _ask([word.replace("{job}", number) for word in scheduler.known])
    return done.returncode == 0 and bool(done.stdout.strip())


def remembered(folder: Path, launcher: str) -> dict[str, str]:
    """Numbers by name of the jobs submitted before by the same launcher. Raises `UserError` if that cannot be told."""
    path = folder / SUBMITTED
    try:
        told = files.read_json(path)
        jobs = dict(told["jobs"]) if told["launcher"] == launcher else {}
        if not all(SCHEDULERS[launcher].number(number) == number for number in jobs.values()):
            raise ValueError("no numbers of jobs")
        return jobs
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: does not say which jobs were submitted: see that none is left in the queue, then "
                        "remove the file") from None  # fmt: skip


def _remember(folder: Path, launcher: str, numbers: dict[str, str]) -> None:
    text = files.to_json({"launcher": launcher, "jobs": numbers})
    files.write_whole(folder / SUBMITTED, text)


def wait(numbers: dict[str, str], context: Context, say) -> bool:
    """Wait until the last job has ended; whether all ended well. What each ends with is said as it comes."""
    scheduler, folder = SCHEDULERS[context.launcher], context.out / "jobs"
    told, gone = set(), 0
    while True:
        for name in numbers:
            ended = _exit_code(folder / f"{name}.exit")
            if ended is not None and name not in told:
                told.add(name)
                say(f"job {name} ({numbers[name]}): {'done' if ended == 0 else f'FAILED (exit code {ended})'}")
        if REPORT in told:
            for name in numbers.keys() - told:
                say(f"job {name} ({numbers[name]}): FAILED (ended without an exit code)")
            return all(_exit_code(folder / f"{name}.exit") == 0 for name in numbers)
        gone = 0 if any(known(number, scheduler) for number in numbers.values()) else gone + 1
        if gone > PATIENCE:
            rest = ", ".join(f"{name} ({numbers[name]})" for name in numbers if name not in told)
            raise UserError(f"{folder}: gone from the queue without an end: {rest}: see the output files there")
        time.sleep(POLL_SECONDS)


def _exit_code(path: Path) -> int | None:
    try:
        return int(files.read_text(path))
    except (OSError, ValueError):
        return None
