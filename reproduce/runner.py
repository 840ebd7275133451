"""Runs what is missing of a tier, then draws its tables and figures. `bash reproduce/run_all.sh` calls this.

Killing it at any moment costs a minute of the run under way: the next call does what is still missing, and a run goes
on from its last checkpoint. Needs only the standard library; the runs and reports use the Python that setup.sh finds or
builds.
"""

import argparse
import contextlib
import difflib
import os
import shlex
import sys
import time
from pathlib import Path

from reproduce import launch
from reproduce.artefacts import ARTEFACTS, TIERS, artefact
from reproduce.errors import UserError, command
from reproduce.launch import ROOT, Foreground, Stopped
from reproduce.plan import ASSUMED, Job, Plan

SETUP = ["bash", str(ROOT / "reproduce" / "setup.sh")]


# ---- options ------------------------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UserError(f"{message} (--help lists the options)")


def parse(argv) -> argparse.Namespace:
    parser = Parser(prog="bash reproduce/run_all.sh", description=__doc__.split("\n")[0], allow_abbrev=False)
    add = parser.add_argument
    add("--tier", help="quick: embedded data, two cores (default). node: ImageNet, all workers emulated on one node. "
        "paper: ImageNet on as many GPUs as workers")  # fmt: skip
    add("--only", action="append", metavar="NAME", help="this artefact only; may be repeated")
    add("--list", action="store_true", help="show artefacts, runs, expected minutes and state; run nothing")
    add("--dry-run", action="store_true", help="print every command as it would be run; run and create nothing")
    add("--data", type=Path, metavar="DIR", help="node, paper: ImageNet, with train/ and val/. quick: where the "
        "embedded data is laid out (default: data)")  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="results folder (default: results/TIER)")
    add("--seeds", type=int, default=1, metavar="N", help="train seeds 1 to N (default: 1)")
    add("--processes", type=int, metavar="N", help="processes per run (default: one per GPU; on a CPU two); fewer "
        "where N does not divide a config's workers")  # fmt: skip
    add("--with-optional", action="store_true", help="also the runs an artefact shows only if they are there")
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        name = unknown[0].partition("=")[0]
        raise UserError(f"unknown option {name}{nearest(name, parser._option_string_actions)}")
    for tier in {args.tier} - {None, *TIERS}:
        raise UserError(f"--tier {tier}: no such tier{nearest(tier, TIERS)}")
    for name in set(args.only or ()) - {a.name for a in ARTEFACTS}:
        raise UserError(f"--only {name}: no such artefact{nearest(name, [a.name for a in ARTEFACTS])}")
    for name in args.only or () if args.tier else ():
        tiers = artefact(name).runs
        if args.tier not in tiers:
            raise UserError(f"--only {name}: not of --tier {args.tier}: add --tier {' or '.join(tiers)}")
    for option, value in (("--seeds", args.seeds), ("--processes", args.processes)):
        if value is not None and value < 1:
            raise UserError(f"{option} {value}: must be at least 1")
    return args


def nearest(name: str, known) -> str:
    close = difflib.get_close_matches(name, list(known), 1, 0.3)
    return f": did you mean {close[0]}?" if close else f": known are {', '.join(known)}"


def check_output(out: Path) -> None:
    """Raise `UserError` unless results can be written: better now than after the first run."""
    probe = out / ".probe"
    try:
        out.mkdir(parents=True, exist_ok=True)
        with open(probe, "wb", buffering=0) as file:
            file.write(b"\0" * 65536)
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"{out}: cannot write results: {error.strerror}: choose another --out or make room") from None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


def check_imagenet(data: Path) -> None:
    for part in ("train", "val"):
        if not (data / part).is_dir():
            raise UserError(f"--data {data}: has no folder {part}/: give the folder that holds train/ and val/")


def check_devices(jobs: list[Job]) -> None:
    workers, gpus = max(job.config.batch.workers for job in jobs), launch.gpu_count()
    if gpus < workers:
        raise UserError(
            f"--tier paper needs {workers:,} GPUs and this machine has {gpus}: --tier node emulates them on one node; "
            "on a cluster, start the commands of --dry-run through its scheduler"
        )


# ---- showing ---------------------------------------------------------------------------------------------------


def show(plans: list[Plan]) -> None:
    """--list"""
    rows = [("artefact", "tier", "runs", "devices", "minutes", "state", "")]
    for plan in plans:
        for a in plan.artefacts:
            jobs = plan.jobs_for([a])
            minutes = sum(job.expected_seconds(plan.tier) for job in jobs) / 60
            rows.append((a.name, plan.tier, str(len(jobs)), ASSUMED[plan.tier][0], f"{minutes:,.1f}",
                         plan.state(a), a.title))  # fmt: skip
    table(rows)
    for plan in plans:
        minutes = sum(job.expected_seconds(plan.tier) for job in plan.jobs) / 60
        print(f"{plan.tier}: {len(plan.jobs)} runs in all, about {minutes:,.0f} minutes on {ASSUMED[plan.tier][0]}")
    print(f"This machine has {launch.gpu_count()} GPUs. Minutes are expected, not measured here.")


def table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def print_commands(plan: Plan, python: str) -> None:
    """--dry-run: a script that does what a call without it would."""
    print(f"cd {shlex.quote(str(ROOT))}")
    print("bash reproduce/setup.sh run")
    todo = plan.todo
    if todo and plan.tier == "quick":
        print(launch.shell_text(*plan.data_command(python)))
    if todo and plan.tier == "paper":
        print("# once per GPU, by the scheduler, which sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT:")
    for job in plan.jobs:
        print(launch.shell_text(*plan.train_command(job, python)) if job in todo else f"# done before: {job}")
    for a in plan.artefacts:
        print(launch.shell_text(*plan.report_command(a, python)))


# ---- doing --------------------------------------------------------------------------------------------------------


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


def train_all(plan: Plan, python: str, foreground: Foreground) -> list[str]:
    """Do the runs that are not done; what failed, as lines that say how to run it again."""
    todo, failed = plan.todo, []
    if todo and plan.tier == "quick":
        argv, env = plan.data_command(python)
        if foreground.run(argv, env)[0]:
            return [failure("the embedded data set", argv, env)]
    clock = Clock(sum(job.expected_seconds(plan.tier) for job in todo))
    for number, job in enumerate(plan.jobs, 1):
        label = f"[{number}/{len(plan.jobs)}] {job}"
        if job not in todo:
            say(f"{label}: done before")
            continue
        say(f"{label} ... {clock}")
        argv, env = plan.train_command(job, python)
        began = time.monotonic()
        code = train(label, job, plan.out, argv, env, foreground)
        clock.finish(job.expected_seconds(plan.tier), time.monotonic() - began)
        if job.state(plan.out) != "done":  # the log has the last word, whatever the exit code
            say(f"{label}: FAILED (exit code {code})")
            failed.append(failure(str(job), argv, env))
    return failed


def train(label: str, job: Job, out: Path, argv: list[str], env: dict[str, str], foreground: Foreground) -> int:
    """Do a run and return its exit code.

    When something other than us stops it, it is started again and goes on, as long as that gets it from one checkpoint
    to another; once without, as it may have been stopped before the first.
    """
    stuck = False
    while True:
        before = job.newest_update(out)
        code, _ = foreground.run(argv, env)
        reached = job.newest_update(out)
        if job.state(out) == "done" or not launch.interrupted(code) or (stuck and reached == before):
            return code  # done, though the exit code may say otherwise: killed when all was written
        stuck = reached == before
        since = "from the beginning" if reached is None else f"from update {reached}"
        say(f"{label}: interrupted (exit code {code}), going on {since}")


def failure(what: str, argv: list[str], env: dict[str, str]) -> str:
    return f"failed: {what}; to run it again: cd {shlex.quote(str(ROOT))} && {launch.shell_text(argv, env)}"


def say(text: str) -> None:
    print(text, flush=True)  # so that our lines and the runs' stay in order in a pipe


def execute(plan: Plan) -> int:
    with Foreground() as foreground:
        code, python = foreground.run([*SETUP, "run"], {}, capture=True)
        if code:
            return code  # setup.sh has said why
        python = python.strip()
        failed = train_all(plan, python, foreground)
        for a in plan.artefacts:
            argv, env = plan.report_command(a, python)
            if foreground.run(argv, env)[0]:
                failed.append(failure(a.script, argv, env))
    rows = [("artefact", "state", f"files in {launch.short(plan.out)}")]
    for a in plan.artefacts:
        rows.append((a.name, plan.state(a), " ".join(plan.files(a)) or "none"))
    table(rows)
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


@command
def main(argv=None) -> int:
    args = parse(argv)
    tier = args.tier or "quick"
    options = {name: getattr(args, name) for name in ("only", "data", "out", "seeds", "processes", "with_optional")}
    if args.list:
        show([Plan(t, **options) for t in ((tier,) if args.tier or args.out else TIERS)])
        return 0
    if tier != "quick" and args.data is None:
        raise UserError(f"--tier {tier} needs ImageNet: add --data DIR, a folder with train/ and val/")
    plan = Plan(tier, **options)
    try:
        if args.dry_run:
            with Foreground() as foreground:
                print_commands(plan, foreground.run([*SETUP, "plan"], {}, capture=True)[1].strip())
            return 0
        if tier != "quick":
            check_imagenet(plan.data)
        if tier == "paper":
            check_devices(plan.jobs)
        check_output(plan.out)
        return execute(plan)
    except Stopped as stopped:
        print(f"stopped by {stopped}: run the same command again to do what is still missing", file=sys.stderr)
        return 128 + stopped.signum


if __name__ == "__main__":
    sys.exit(main())
