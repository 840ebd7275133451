"""Runs what is missing of a tier, then draws its tables and figures. run_all.py and the scripts of artefacts call this.

Killing it at any moment costs a minute of the run under way: the next call does what is still missing, and a run goes
on from its last checkpoint. Needs only the standard library; the runs and reports use the Python that setup.sh finds or
builds.
"""

import argparse
import contextlib
import dataclasses
import os
import shlex
import sys
from collections.abc import Sequence

from reproduce import gpus, revision
from reproduce.artefact import TIERS, Artefact
from reproduce.errors import EXIT_PREEMPTED, UserError, command
from reproduce.launchers import SCHEDULERS, site
from reproduce.launchers.ranks import Start, rank_map
from reproduce.locks import Lock
from reproduce.runner import jobs, launch, needs, script, shape, submit
from reproduce.runner.launch import ROOT, Foreground, Stopped
from reproduce.runner.options import PROG, check_imagenet, check_output, engine_options, parse
from reproduce.runner.plan import ASSUMED, DEVICES, Plan
from reproduce.runner.training import failure, prepare, say, train_all

SETUP = ["bash", str(ROOT / "reproduce" / "setup.sh")]


# ---- showing ---------------------------------------------------------------------------------------------------


def show(plans: list[Plan]) -> None:
    """--list"""
    rows: list[tuple[str, ...]] = [("artefact", "tier", "runs", "devices", "minutes", "device-hours", "state", "")]
    for plan in plans:
        for a in plan.artefacts:
            runs = plan.jobs_for([a])
            minutes = sum(run.expected_seconds(plan.tier) for run in runs) / 60
            hours = sum(run.device_hours(plan.tier) for run in runs)
            rows.append((a.name, plan.tier, str(len(runs)), ASSUMED[plan.tier][0], f"{minutes:,.1f}", f"{hours:,.1f}",
                         plan.state(a), a.title))  # fmt: skip
    table(rows)
    for plan in plans:
        minutes = sum(job.expected_seconds(plan.tier) for job in plan.jobs) / 60
        print(f"{plan.tier}: {len(plan.jobs)} runs in all, about {minutes:,.0f} minutes on {ASSUMED[plan.tier][0]}")
        for line in needs.lines(plan.tier):
            print(line)
    print(f"This machine has {launch.gpu_count()} GPUs. Minutes are expected, not measured here.")


def devices_of(tier: str) -> int:
    """The devices a tier's list is for: of a node this one's GPUs, if it has any; else those it is meant for."""
    return (launch.gpu_count() if tier == "node" else 0) or DEVICES[tier]


def table(rows: list[tuple[str, ...]]) -> None:
    for line in columns(rows):
        print(line)


def columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def warn_of_devices(plan: Plan, args: argparse.Namespace) -> None:
    """--dry-run: a comment where the call without it would be refused."""
    try:
        check_devices(plan, args)
    except UserError as error:
        print(f"# would be refused here: {error}")


def print_commands(plan: Plan, python: str) -> None:
    """--dry-run: a script that does what a call without it would."""
    todo = plan.todo
    print_preparation(plan, python)
    if todo and plan.tier == "paper" and not plan.start:
        print("# once per GPU, by a launcher that sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT:")
    if plan.start:
        for line in rank_map(plan.processes, plan.start.site):
            print(f"# {line}")
    for job in plan.jobs:
        print(launch.shell_text(*plan.train_command(job, python)) if job in todo else f"# done before: {job}")
    for _, (argv, env) in plan.report_commands(python):
        print(launch.shell_text(argv, env))


def print_preparation(plan: Plan, python: str) -> None:
    print(f"cd {shlex.quote(str(ROOT))}")
    print("bash reproduce/setup.sh run")
    if plan.needs_embedded:
        print(launch.shell_text(*plan.data_command(python)))


def print_jobs(plan: Plan, found: list[jobs.ClusterJob], context: script.Context) -> None:
    """--dry-run with a scheduler: what is asked for, as comments, then a script that writes and submits the jobs."""
    for line in columns(jobs.table(found)):
        print(f"# {line}")
    if not context.account:
        print("# no account is named: add --account NAME if the site asks for one")
    if plan.tier != "quick" and not plan.data.is_dir():
        print(f"# {plan.data} is not there: add --data DIR, the folder that holds train/ and val/")
    print_preparation(plan, context.python)
    print(script.submission(found, context))


# ---- doing --------------------------------------------------------------------------------------------------------


def set_up(foreground: Foreground) -> str:
    """The Python that everything else runs on. Raises `SystemExit` if there is none; setup.sh has said why."""
    code, python = foreground.run([*SETUP, "run"], {}, capture=True)
    if code:
        raise SystemExit(code)
    return python.strip()


def execute(plan: Plan, args: argparse.Namespace) -> int:
    """Train what is missing and draw, here and now."""
    with Foreground() as foreground:
        python, failed = set_up(foreground), []
        if not args.draw and plan.todo and plan.device == "cuda" and shape.is_here(plan.start):
            code, _ = foreground.run([python, "-m", "reproduce.engine.device", str(fitting(plan))], {})
            if code:  # it has said why
                return code
        if not args.draw:
            failed = prepare(plan, python, foreground) or train_all(plan, python, foreground)[0]
        for name, (argv, env) in plan.report_commands(python):
            if foreground.run(argv, env)[0]:
                failed.append(failure(name, argv, env))
        if args.publish and not failed:
            argv = [python, "-m", "reproduce.report.publish", "--tier", plan.tier, "--results", launch.short(plan.out)]
            argv += [word for name in args.only or () for word in ("--only", name)]
            failed += [failure("publish", argv, {})] if foreground.run(argv, {})[0] else []
    rows: list[tuple[str, ...]] = [("artefact", "state", f"files in {launch.short(plan.out)}")]
    for a in plan.artefacts:
        rows.append((a.name, plan.state(a), " ".join(plan.files(a)) or "none"))
    table(rows)
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


def execute_inside(plan: Plan, name: str, nodes: site.Site) -> int:
    """The runs of one job, inside it: its script calls this. 75 if it was stopped and is to be started again."""
    with Foreground() as foreground:
        own = [job for job in jobs.jobs(plan, nodes, plan.processes) if job.name == name]
        plan.jobs = list(own[0].runs) if own else []  # none: all done before
        try:
            failed, stopped = train_all(plan, sys.executable, foreground, inside=True)
        except Stopped:
            return EXIT_PREEMPTED
    for line in failed:
        print(line, file=sys.stderr)
    return EXIT_PREEMPTED if stopped else 1 if failed else 0


def submit_jobs(plan: Plan, args: argparse.Namespace, found: list[jobs.ClusterJob], context: script.Context) -> int:
    """One job per artefact and one that draws, to the scheduler."""
    with Foreground() as foreground:
        failed = prepare(plan, context.python, foreground)
    if failed:
        print(failed[0], file=sys.stderr)
        return 1
    table(jobs.table(found))
    numbers = submit.submit(found, context)
    for name, number in numbers.items():
        say(f"job {name}: {number}")
    say(f"scripts and output in {launch.short(plan.out / 'jobs')}")
    return 0 if not args.wait or submit.wait(numbers, context, say) else 1


def context_of(plan: Plan, args: argparse.Namespace, nodes: site.Site, python: str) -> script.Context:
    """What the job scripts are made from: their calls of the runner repeat what this one was asked for."""
    again = ["--tier", plan.tier, "--launcher", args.launcher, "--cluster", nodes.path, "--seeds", str(args.seeds)]
    again += [word for name in args.only or () for word in ("--only", name)]
    again += ["--with-optional"] if args.with_optional else []
    again += ["--device", args.device] if args.device else []
    again += engine_options(args)
    preflight = plan.tier != "quick" if args.preflight is None else args.preflight
    return script.Context(
        args.launcher, nodes, args.account or "", plan.out, plan.data, python, plan.tier, tuple(again), preflight
    )


def start_of(args: argparse.Namespace, tier: str) -> tuple[Start | None, int | None]:
    """How ranks are started and how many; (None, as asked) for processes of this machine."""
    if args.launcher == "local":
        return None, args.processes or (1 if tier == "paper" else None)
    device = args.device or launch.default_device(tier)
    nodes, hosts = args.nodes or 1, str(args.hostfile.absolute()) if args.hostfile else ""
    where = site.load(args.cluster or ("abci" if args.launcher == "uge" else "local")).filled(args.launcher)
    if args.launcher not in SCHEDULERS and not args.cluster:  # nobody said how many ranks a node has
        ranks = args.processes or nodes * launch.default_processes(device)
        where = dataclasses.replace(where, ranks_per_node=-(-ranks // nodes))
    if args.inside and where.hostfile:
        hosts = os.environ.get(where.hostfile, "")  # else mpirun asks the batch system itself
    ranks = args.processes or nodes * where.ranks_per_node
    return Start(args.launcher, where, nodes, hosts, args.rendezvous or ""), ranks


def device_of(args: argparse.Namespace, tier: str, start: Start | None) -> str:
    """The device asked for, else that of the cluster's nodes, else this machine's."""
    if not args.device and start and (args.cluster or args.launcher in SCHEDULERS):
        return "cuda" if start.site.gpus_per_node else "cpu"
    return args.device or launch.default_device(tier)


@command
def main(argv, artefacts: Sequence[Artefact], prog: str = PROG) -> int:
    """What run_all.sh does, for these artefacts; `prog` is how the user called it."""
    args = parse(argv, artefacts, prog)
    tier = args.tier or "quick"
    options = {name: getattr(args, name) for name in ("only", "data", "out", "seeds", "with_optional")}
    if args.list:
        tiers = (tier,) if args.tier or args.out else TIERS
        show([Plan(t, artefacts, **options, processes=args.processes or devices_of(t)) for t in tiers])
        return 0
    start, ranks = start_of(args, tier)
    plan = Plan(tier, artefacts, **options, processes=ranks, start=start, device=device_of(args, tier, start),
                engine=engine_options(args))  # fmt: skip
    if start and not args.processes and not args.nodes and tier == "paper":
        plan.fill()
    if start and args.nodes and not args.draw:
        shape.check_nodes(start, plan.processes, [job.config for job in plan.jobs])
    try:
        return do(plan, args)
    except Stopped as stopped:
        print(f"stopped by {stopped}: run the same command again to do what is still missing", file=sys.stderr)
        return 128 + stopped.signum


def check_revision() -> None:
    """Raise `UserError` unless logs made now could be published: better now than after days of training."""
    found = revision.revision(ROOT)
    if found is None or found.endswith("-dirty"):
        what = f"has changes that are not committed ({found})" if found else "is no git checkout"
        raise UserError(f"--publish: {ROOT} {what}, and logs of an unknown source tree are not published: commit "
                        "first, or leave --publish out")  # fmt: skip


def check_devices(plan: Plan, args: argparse.Namespace) -> None:
    """Raise `UserError` unless this machine has what the runs need, if they are to be made here."""
    if shape.is_here(plan.start):
        configs = [job.config for job in plan.jobs]
        shape.check_machine(plan.tier, plan.device, bool(args.device), fitting(plan), configs, gpus.gpus())


def fitting(plan: Plan) -> int:
    """The most processes that any of its runs has."""
    return max((launch.fit(plan.processes, job.config.batch.workers) for job in plan.jobs), default=1)


def site_of(plan: Plan) -> site.Site:
    """Of a plan whose runs are jobs of a scheduler, or are inside one; others may have no start."""
    assert plan.start is not None, "a scheduler's jobs have a launcher and a site"
    return plan.start.site


def do(plan: Plan, args: argparse.Namespace) -> int:
    """What the options ask for, on a plan. Raises `UserError` and `Stopped`."""
    scheduled = args.launcher in SCHEDULERS and not args.draw
    if args.inside:
        return execute_inside(plan, args.inside, site_of(plan))
    if scheduled:
        found = jobs.jobs(plan, site_of(plan), plan.processes)
    if args.dry_run:
        with Foreground() as foreground:
            python = foreground.run([*SETUP, "plan"], {}, capture=True)[1].strip()
        if scheduled:
            print_jobs(plan, found, context_of(plan, args, site_of(plan), python))
        else:
            warn_of_devices(plan, args)
            print_commands(plan, python)
        return 0
    if plan.tier != "quick" and not args.draw:
        check_imagenet(plan.data)
    if args.publish and not args.draw and plan.todo:
        check_revision()
    if not args.draw:
        check_devices(plan, args)
    check_output(plan.out)
    if not scheduled:
        alone = not args.draw and plan.todo and shape.is_here(plan.start)  # else nodes give the same command
        with Lock(plan.out / ".run_all.lock", f"run_all.sh --tier {plan.tier}") if alone else contextlib.nullcontext():
            return execute(plan, args)
    with Foreground() as foreground:
        python = set_up(foreground)
    return submit_jobs(plan, args, found, context_of(plan, args, site_of(plan), python))

