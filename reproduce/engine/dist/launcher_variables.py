"""What launchers say to the processes they start, each by variables of its own.

    launcher      variables
    torchrun      RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT; so `reproduce.engine.spawn`
    Open MPI      OMPI_COMM_WORLD_RANK, _SIZE, _LOCAL_RANK, _LOCAL_SIZE
    PALS          PALS_RANKID, PMI_SIZE, PALS_LOCAL_RANKID, PALS_LOCAL_SIZE
    MPICH         PMI_RANK, PMI_SIZE, MPI_LOCALRANKID, MPI_LOCALNRANKS; so Intel MPI, and all that start by Hydra
    Slurm (srun)  SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID, SLURM_STEP_TASKS_PER_NODE, SLURM_NODEID

torchrun's win over all others, one by one, and those of MPI over Slurm's: mpirun starts its daemons by srun, so that a
rank of MPI sees the place of its daemon, too. `reproduce.engine.dist.place` makes one place of them. Imports nothing
outside the standard library.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from reproduce.engine.dist.hostlist import HostListError, tasks_per_node
from reproduce.environ import whole_number
from reproduce.errors import ConfigError

TORCH = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
OPEN_MPI = tuple(f"OMPI_COMM_WORLD_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE"))
PALS = ("PALS_RANKID", "PMI_SIZE", "PALS_LOCAL_RANKID", "PALS_LOCAL_SIZE")
MPICH = ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS")
# Step ids from here on are no steps of ranks, but the batch script (…fffb) and salloc's shell (…fffa).
FIRST_SPECIAL_STEP = 0xFFFFFFF0


class Variable(NamedTuple):
    """A number and the variable that says it."""

    name: str
    value: int

    def __str__(self) -> str:
        return f"{self.name} = {self.value}"


@dataclass(frozen=True)
class LauncherVariables:
    """What one launcher says, as far as it does."""

    launcher: str
    rank: Variable | None = None
    world_size: Variable | None = None
    local_rank: Variable | None = None
    local_world_size: Variable | None = None
    node: Variable | None = None
    nodes: Variable | None = None


def own(environ: Mapping[str, str]) -> LauncherVariables:
    """torchrun's variables, which other launchers and users set as well."""
    words = _words(environ, "environment", TORCH)
    return replace(words, launcher="torchrun") if environ.get("TORCHELASTIC_RUN_ID") else words


def spelled_rank(environ: Mapping[str, str] = os.environ) -> str | None:
    """The rank as the launcher spells it, whatever else is wrong with its variables; None without one."""
    names = ("RANK", OPEN_MPI[0], PALS[0], MPICH[0], "SLURM_PROCID")
    return next((environ[name] for name in names if environ.get(name)), None)


def launched(environ: Mapping[str, str]) -> LauncherVariables | None:
    """What the launcher that started this very process says; None if there was none."""
    words = _words(environ, "openmpi", OPEN_MPI)
    if not words.rank:
        words = _words(environ, "pals", PALS, node="PALS_NODEID")
    if not words.rank:
        words = _words(environ, "mpich", MPICH)
        slurm = _slurm(environ)
        if slurm and not words.local_rank:  # srun --mpi=pmi2 sets PMI_RANK, but not Hydra's local ones
            words = slurm
    if not words.rank:
        return None
    if not words.world_size:
        raise ConfigError(f"{words.rank} without {names(words.launcher)[1]}: a rank needs the number of processes: "
                          "set WORLD_SIZE, or unset it")  # fmt: skip
    return words


def names(launcher: str) -> tuple[str, ...]:
    """A launcher's variables of rank, world size, local rank and local world size."""
    slurm = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE")
    return {"openmpi": OPEN_MPI, "pals": PALS, "mpich": MPICH, "slurm": slurm}.get(launcher, TORCH)


def _words(environ: Mapping[str, str], launcher: str, names: tuple[str, ...], node: str = "") -> LauncherVariables:
    rank, size, local_rank, local_size = (said(environ, name) for name in names)
    return LauncherVariables(launcher, rank, size, local_rank, local_size, said(environ, node))


def _slurm(environ: Mapping[str, str]) -> LauncherVariables | None:
    """What srun says to its tasks. A batch script that runs without srun is one process, not a rank of its job."""
    step = said(environ, "SLURM_STEP_ID") or said(environ, "SLURM_STEPID")
    if not step or step.value >= FIRST_SPECIAL_STEP:
        return None
    node, counts = said(environ, "SLURM_NODEID"), _tasks(environ)
    local_world_size = None
    if node and counts:
        if node.value >= len(counts[1]):
            raise ConfigError(f"{node} but {counts[0]} = {environ[counts[0]]}: the step has {len(counts[1])} nodes: "
                              "start it again by srun")  # fmt: skip
        local_world_size = Variable(counts[0], counts[1][node.value])
    return LauncherVariables(
        "slurm", said(environ, "SLURM_PROCID"),
        said(environ, "SLURM_STEP_NUM_TASKS") or said(environ, "SLURM_NTASKS"),
        said(environ, "SLURM_LOCALID"), local_world_size, node, said(environ, "SLURM_STEP_NUM_NODES"),
    )  # fmt: skip


def _tasks(environ: Mapping[str, str]) -> tuple[str, list[int]] | None:
    """The tasks of each node of a Slurm step, and the variable that says so."""
    for name in ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"):
        if text := environ.get(name):
            try:
                return name, tasks_per_node(text)
            except HostListError as error:
                raise ConfigError(f"{name} = {text}: {error}: start the step again by srun") from None
    return None


def said(environ: Mapping[str, str], name: str) -> Variable | None:
    """A variable, None if it is not set. Raises `ConfigError` unless it is a whole number."""
    number = whole_number(name, environ)
    return None if number is None else Variable(name, number)


def value(variable: Variable | None) -> int:
    assert variable is not None, "a launcher that is listened to says its rank and its world size"
    return variable.value
