"""Runs what is missing of a tier, then draws its tables and figures. run_all.py and the scripts of artefacts call this.

Killing it at any moment costs a minute of the run under way: the next call does what is still missing, and a run goes
on from its last checkpoint. Needs only the standard library; the runs and reports use the Python that setup.sh finds or
builds.
"""

import argparse
import contextlib
import dataclasses
import os
import sys
from collections.abc import Sequence

from reproduce import revision
from reproduce.artefact import TIERS, Artefact
from reproduce.errors import UserError, command
from reproduce.launchers import SCHEDULERS, site
from reproduce.launchers.ranks import Start
from reproduce.locks import Lock
from reproduce.paths import ROOT
from reproduce.runner import jobs, machine, script, shape, submit
from reproduce.runner.commands import short
from reproduce.runner.options import PROG, check_imagenet, check_output, engine_options, parse
from reproduce.runner.plan import Plan
from reproduce.runner.show import devices_of, print_commands, print_jobs, show, table, warn_of_devices
from reproduce.runner.training import execute, execute_inside, planned_python, prepare, say, set_up
from reproduce.supervise import Foreground, Stopped


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
    say(f"scripts and output in {short(plan.out / 'jobs')}")
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
    device = args.device or machine.default_device(tier)
    nodes, hosts = args.nodes or 1, str(args.hostfile.absolute()) if args.hostfile else ""
    where = site.load(args.cluster or ("abci" if args.launcher == "uge" else "local")).filled(args.launcher)
    if args.launcher not in SCHEDULERS and not args.cluster:  # nobody said how many ranks a node has
        ranks = args.processes or nodes * machine.default_processes(device)
        where = dataclasses.replace(where, ranks_per_node=-(-ranks // nodes))
    if args.inside and where.hostfile:
        hosts = os.environ.get(where.hostfile, "")  # else mpirun asks the batch system itself
    ranks = args.processes or nodes * where.ranks_per_node
    return Start(args.launcher, where, nodes, hosts, args.rendezvous or ""), ranks


def device_of(args: argparse.Namespace, tier: str, start: Start | None) -> str:
    """The device asked for, else that of the cluster's nodes, else this machine's."""
    if not args.device and start and (args.cluster or args.launcher in SCHEDULERS):
        return "cuda" if start.site.gpus_per_node else "cpu"
    return args.device or machine.default_device(tier)


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


def site_of(plan: Plan) -> site.Site:
    """Of a plan whose runs are jobs of a scheduler, or are inside one; others may have no start."""
    assert plan.start is not None, "a scheduler's jobs have a launcher and a site"
    return plan.start.site


def do(plan: Plan, args: argparse.Namespace) -> int:
    """What the options ask for, on a plan. Raises `UserError` and `Stopped`."""
    scheduled = args.launcher in SCHEDULERS and not args.draw
    if args.inside:
        own = [job for job in jobs.jobs(plan, site_of(plan), plan.processes) if job.name == args.inside]
        plan.jobs = list(own[0].runs) if own else []  # none: all done before
        return execute_inside(plan)
    if scheduled:
        found = jobs.jobs(plan, site_of(plan), plan.processes)
    if args.dry_run:
        with Foreground() as foreground:
            python = planned_python(foreground)
        if scheduled:
            print_jobs(plan, found, context_of(plan, args, site_of(plan), python))
        else:
            warn_of_devices(plan, bool(args.device))
            print_commands(plan, python)
        return 0
    if plan.tier != "quick" and not args.draw:
        check_imagenet(plan.data)
    if args.publish and not args.draw and plan.todo:
        check_revision()
    if not args.draw:
        shape.check_devices(plan, bool(args.device))
    check_output(plan.out)
    if not scheduled:
        alone = not args.draw and plan.todo and shape.is_here(plan.start)  # else nodes give the same command
        with Lock(plan.out / ".run_all.lock", f"run_all.sh --tier {plan.tier}") if alone else contextlib.nullcontext():
            return execute(plan, args.draw, args.publish, args.only or ())
    with Foreground() as foreground:
        python = set_up(foreground)
    return submit_jobs(plan, args, found, context_of(plan, args, site_of(plan), python))

