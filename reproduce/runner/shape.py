"""How many ranks on how many nodes and devices: what was asked for, together, and whether this machine holds it.

Imports nothing outside the standard library.
"""

from collections.abc import Iterable

from reproduce import gpus
from reproduce.errors import UserError
from reproduce.gpus import Gpus
from reproduce.launchers import SCHEDULERS
from reproduce.launchers.ranks import Start
from reproduce.recipe.load import Config
from reproduce.runner import commands, machine
from reproduce.runner.plan import Plan

PROCESSES_PER_CORE = 8  # more on a CPU only wait for one another, and a thousand leave no memory


def check_nodes(start: Start, processes: int, configs: Iterable[Config]) -> None:
    """Raise `UserError` unless `processes` fill the nodes asked for and share every config's workers evenly.

    A config of fewer workers than processes takes as many as share them; torchrun needs as many on every node.
    """
    nodes, room = start.nodes, start.nodes * start.site.ranks_per_node
    if processes < nodes:
        raise UserError(f"--processes {processes}: fewer than --nodes {nodes}: every node needs one at least")
    if processes > room:
        raise UserError(f"--processes {processes}: --nodes {nodes} hold {room}, "
                        f"{start.site.ranks_per_node} on each of {start.site.cluster}: ask for more nodes")  # fmt: skip
    for config in configs if nodes > 1 else ():
        workers, ranks = config.batch.workers, commands.fit(processes, config.batch.workers)
        uneven = start.launcher == "torchrun" and ranks % nodes
        if (workers >= processes and ranks != processes) or uneven:
            possible = [n for n in divisors(workers) if n % nodes == 0 and n <= room]
            remedy = (f"--processes {max(possible)}" if possible else
                      "--nodes " + " or ".join(str(n) for n in divisors(workers) if n <= 2 * nodes))  # fmt: skip
            raise UserError(f"--nodes {nodes}: the {workers:,} workers of {config.run.name} cannot be shared evenly by "
                            f"{processes} processes on {nodes} nodes: try {remedy}")  # fmt: skip


def divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def is_here(start: Start | None) -> bool:
    """Whether all ranks run on this machine."""
    return start is None or (start.launcher not in SCHEDULERS and start.nodes == 1 and not start.hosts)


def check_devices(plan: Plan, asked: bool) -> None:
    """Raise `UserError` unless this machine has what the runs need, if they are to be made here."""
    if is_here(plan.start):
        configs = [job.config for job in plan.jobs]
        check_machine(plan.tier, plan.device, asked, plan.most_processes, configs, gpus.gpus())


def check_machine(tier: str, device: str, asked: bool, processes: int, configs: list[Config], found: Gpus) -> None:
    """Raise `UserError` unless this machine has the devices for `processes` of a run.

    `asked`: for this device by name; without, tier quick goes to the CPU of a machine without GPUs.
    """
    if not configs:
        return
    workers = max(config.batch.workers for config in configs)
    if device == "cpu":
        cores = machine.cores()
        if processes > PROCESSES_PER_CORE * cores:
            raise UserError(f"{processes:,} processes on the {cores} cores of this machine: at most "
                            f"{PROCESSES_PER_CORE} on each: lower --processes, or name --nodes")  # fmt: skip
        return
    if found.fault:
        raise UserError(f"the GPUs of this machine cannot be used: {found.fault}: mend the driver (a reboot after its "
                        "update often does), or add --device cpu")  # fmt: skip
    if tier == "paper" and found.count < workers:
        raise UserError(
            f"--tier paper needs {workers:,} GPUs and this machine has {found.count}: --tier node emulates them on one "
            "node; on a cluster, add --launcher slurm, uge, pbs, openmpi or torchrun with --nodes"
        )
    if not found.count:
        seen = "CUDA_VISIBLE_DEVICES shows none of its GPUs" if found.hidden or found.machine else "has no GPU"
        what = "--device cuda" if asked else f"--tier {tier}"
        raise UserError(f"{what} needs a GPU and this machine {seen}: add --device cpu to train on its CPU")
    if processes > found.count:
        raise UserError(f"{processes:,} processes and {found.count} GPUs that can be seen: lower --processes: one has "
                        "one GPU")  # fmt: skip
