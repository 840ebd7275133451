"""What --list and --dry-run print."""

import shlex

from reproduce.errors import UserError
from reproduce.launchers.ranks import rank_map
from reproduce.paths import ROOT
from reproduce.runner import jobs, machine, needs, script, shape
from reproduce.runner.commands import shell_text
from reproduce.runner.plan import ASSUMED, DEVICES, Plan


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
    print(f"This machine has {machine.gpu_count()} GPUs. Minutes are expected, not measured here.")


def devices_of(tier: str) -> int:
    """The devices a tier's list is for: of a node this one's GPUs, if it has any; else those it is meant for."""
    return (machine.gpu_count() if tier == "node" else 0) or DEVICES[tier]


def table(rows: list[tuple[str, ...]]) -> None:
    for line in columns(rows):
        print(line)


def columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def warn_of_devices(plan: Plan, asked: bool) -> None:
    """--dry-run: a comment where the call without it would be refused."""
    try:
        shape.check_devices(plan, asked)
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
        print(shell_text(*plan.train_command(job, python)) if job in todo else f"# done before: {job}")
    for _, (argv, env) in plan.report_commands(python):
        print(shell_text(argv, env))


def print_preparation(plan: Plan, python: str) -> None:
    print(f"cd {shlex.quote(str(ROOT))}")
    print("bash reproduce/setup.sh run")
    if plan.needs_embedded:
        print(shell_text(*plan.data_command(python)))


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
