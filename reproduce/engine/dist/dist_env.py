"""Where this process stands among the others, by the variables of whichever launcher started it.

    launcher      variables
    torchrun      RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT; so `reproduce.engine.spawn`
    Open MPI      OMPI_COMM_WORLD_RANK, _SIZE, _LOCAL_RANK, _LOCAL_SIZE
    PALS          PALS_RANKID, PMI_SIZE, PALS_LOCAL_RANKID, PALS_LOCAL_SIZE
    MPICH         PMI_RANK, PMI_SIZE, MPI_LOCALRANKID, MPI_LOCALNRANKS; so Intel MPI, and all that start by Hydra
    Slurm (srun)  SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID, SLURM_STEP_TASKS_PER_NODE, SLURM_NODEID

torchrun's win over all others, one by one, and those of MPI over Slurm's: mpirun starts its daemons by srun, so that a
rank of MPI sees the place of its daemon, too. `adopt` fills in torchrun's for the rest of the engine. Imports nothing
outside the standard library.
"""

import os
import zlib
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from reproduce.engine.dist.hostlist import HostListError, expand, tasks_per_node
from reproduce.environ import whole_number
from reproduce.errors import ConfigError

TORCH = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
OPEN_MPI = tuple(f"OMPI_COMM_WORLD_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE"))
PALS = ("PALS_RANKID", "PMI_SIZE", "PALS_LOCAL_RANKID", "PALS_LOCAL_SIZE")
MPICH = ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS")
# Step ids from here on are no steps of ranks, but the batch script (…fffb) and salloc's shell (…fffa).
FIRST_SPECIAL_STEP = 0xFFFFFFF0
# Below the ports that Linux hands out by itself (32768 and up), so that nobody holds ours by chance.
FIRST_PORT, PORTS = 20000, 12000
# What distinguishes two jobs that share a node, where there is no Slurm step: any text will do.
JOB_IDS = ("PMIX_NAMESPACE", "PALS_APID", "PBS_JOBID", "LSB_JOBID", "SLURM_JOB_ID", "JOB_ID")


@dataclass(frozen=True)
class Place:
    """One process among `world_size`, `local_world_size` of them on its node. A node that is not known is None."""

    launcher: str  # alone, torchrun, environment (torchrun's variables by another hand), openmpi, pals, mpich, slurm
    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1
    node: int | None = 0
    nodes: int | None = 1
    master_addr: str | None = None  # None, and no port, for a process that is alone
    master_port: int | None = None


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


def adopt(environ: MutableMapping[str, str] = os.environ) -> Place:
    """Find this process's place and fill in the variables of torchrun that are missing, unless it is alone.

    Raises `ConfigError` as `find` does; nothing is filled in then.
    """
    place = find(environ)
    if place.world_size > 1:
        for name in (*TORCH, "MASTER_ADDR", "MASTER_PORT"):
            environ[name] = str(getattr(place, name.lower()))
    return place


def find(environ: Mapping[str, str] = os.environ) -> Place:
    """This process's place. Raises `ConfigError` if the variables are no numbers, contradict one another, or do not say
    where the processes of several nodes are to meet."""
    own, launched = _words(environ, "environment", TORCH), _launched(environ)
    if environ.get("TORCHELASTIC_RUN_ID"):
        own = replace(own, launcher="torchrun")
    if own.rank is None and launched is None:
        if own.world_size and own.world_size.value > 1:
            raise ConfigError(f"{own.world_size} without RANK: which of them this process is must be known: unset it, "
                              "or start the processes by torchrun, srun or mpirun")  # fmt: skip
        return Place("alone")
    if launched and own.rank is None and own.world_size and _value(own.world_size) != _value(launched.world_size):
        raise ConfigError(f"{own.world_size} but {launched.world_size}: they must agree: unset WORLD_SIZE")
    words = _completed(own, launched)
    _check(words)
    return _place(words, environ)


def rank(environ: Mapping[str, str] = os.environ) -> str | None:
    """The rank as the launcher spells it, None for a process that is alone.

    For who is to speak of an error, even if it is one of these variables: raises none.
    """
    try:
        place = find(environ)
        return str(place.rank) if place.world_size > 1 else None
    except ConfigError:
        names = ("RANK", OPEN_MPI[0], PALS[0], MPICH[0], "SLURM_PROCID")
        return next((environ[name] for name in names if environ.get(name)), None)


def check_consecutive(place: Place, environ: Mapping[str, str] = os.environ) -> None:
    """Raises `ConfigError` unless the ranks of this process's node follow one another, as two-stage reductions need.

    Slurm tells every process of a node who the others are; elsewhere only those in a wrong place see it.
    """
    here = [int(one) for one in environ.get("SLURM_GTIDS", "").split(",") if one.isdigit()]
    if place.launcher == "slurm" and len(here) == place.local_world_size:
        consecutive = here == list(range(here[0], here[0] + len(here)))
        found = f"this node has the ranks {environ['SLURM_GTIDS']}"
    else:
        consecutive = (place.rank - place.local_rank) % place.local_world_size == 0
        found = f"rank {place.rank} is process {place.local_rank} of the {place.local_world_size} on its node"
    if not consecutive:
        raise ConfigError(f"communication.allreduce = 'two_stage': {found}: the ranks of a node must follow one "
                          "another: start them with srun --distribution=block or mpirun --map-by slot")  # fmt: skip


# ---- what the launchers say -----------------------------------------------------------------------------------------


def _launched(environ: Mapping[str, str]) -> LauncherVariables | None:
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
        raise ConfigError(f"{words.rank} without {_names(words.launcher)[1]}: a rank needs the number of processes: "
                          "set WORLD_SIZE, or unset it")  # fmt: skip
    return words


def _names(launcher: str) -> tuple[str, ...]:
    slurm = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE")
    return {"openmpi": OPEN_MPI, "pals": PALS, "mpich": MPICH, "slurm": slurm}.get(launcher, TORCH)


def _words(environ: Mapping[str, str], launcher: str, names: tuple[str, ...], node: str = "") -> LauncherVariables:
    rank, size, local_rank, local_size = (_said(environ, name) for name in names)
    return LauncherVariables(launcher, rank, size, local_rank, local_size, _said(environ, node))


def _slurm(environ: Mapping[str, str]) -> LauncherVariables | None:
    """What srun says to its tasks. A batch script that runs without srun is one process, not a rank of its job."""
    step = _said(environ, "SLURM_STEP_ID") or _said(environ, "SLURM_STEPID")
    if not step or step.value >= FIRST_SPECIAL_STEP:
        return None
    node, counts = _said(environ, "SLURM_NODEID"), _tasks(environ)
    local_world_size = None
    if node and counts:
        if node.value >= len(counts[1]):
            raise ConfigError(f"{node} but {counts[0]} = {environ[counts[0]]}: the step has {len(counts[1])} nodes: "
                              "start it again by srun")  # fmt: skip
        local_world_size = Variable(counts[0], counts[1][node.value])
    return LauncherVariables(
        "slurm", _said(environ, "SLURM_PROCID"),
        _said(environ, "SLURM_STEP_NUM_TASKS") or _said(environ, "SLURM_NTASKS"),
        _said(environ, "SLURM_LOCALID"), local_world_size, node, _said(environ, "SLURM_STEP_NUM_NODES"),
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


def _said(environ: Mapping[str, str], name: str) -> Variable | None:
    value = whole_number(name, environ)
    return None if value is None else Variable(name, value)


def _value(said: Variable | None) -> int:
    assert said is not None, "a launcher that is listened to says its rank and its world size"
    return said.value


# ---- one place of them ----------------------------------------------------------------------------------------------


def _completed(own: LauncherVariables, launched: LauncherVariables | None) -> LauncherVariables:
    """The variables of torchrun, with the launcher's for those that are missing if both speak of the same process."""
    if not launched:
        return own
    same_rank = own.rank is None or own.rank.value == _value(launched.rank)
    same_size = own.world_size is None or own.world_size.value == _value(launched.world_size)
    if not (same_rank and same_size):
        return own  # such as torchrun under srun: one task per node, and a rank per GPU
    fields = ("rank", "world_size", "local_rank", "local_world_size", "node", "nodes")
    launcher = own.launcher if own.launcher == "torchrun" else launched.launcher
    return LauncherVariables(launcher, *(getattr(own, field) or getattr(launched, field) for field in fields))


def _check(words: LauncherVariables) -> None:
    if not words.world_size:
        raise ConfigError(f"{words.rank} without WORLD_SIZE: a rank needs the number of processes: set it, or unset "
                          "RANK")  # fmt: skip
    if _value(words.rank) >= words.world_size.value:
        raise ConfigError(f"{words.rank} but {words.world_size}: ranks count from 0, so they must be lower than the "
                          "number of processes: start all of them again")  # fmt: skip
    if words.world_size.value == 1:
        return
    names = _names(words.launcher)
    if bool(words.local_rank) != bool(words.local_world_size) or not (words.local_rank or names is TORCH):
        there = words.local_rank or words.local_world_size or words.rank
        absent = names[2] if not words.local_rank else names[3]
        raise ConfigError(f"{there} without {absent}: a process must know its place on its node: set LOCAL_RANK and "
                          "LOCAL_WORLD_SIZE")  # fmt: skip
    if not words.local_rank:
        return  # one process per node, as containers are started
    if words.local_rank.value >= _value(words.local_world_size):
        raise ConfigError(f"{words.local_rank} but {words.local_world_size}: local ranks count from 0, so they must be "
                          "lower than the number of processes on the node: start all of them again")  # fmt: skip
    if _value(words.local_world_size) > words.world_size.value:
        raise ConfigError(f"{words.local_world_size} but {words.world_size}: a node cannot have more processes than "
                          "there are: start all of them again")  # fmt: skip


def _place(words: LauncherVariables, environ: Mapping[str, str]) -> Place:
    size, rank = _value(words.world_size), _value(words.rank)
    if size == 1:
        return Place(words.launcher)
    local_rank = words.local_rank.value if words.local_rank else 0
    local_size = words.local_world_size.value if words.local_world_size else 1
    whole = size % local_size == 0 and (rank - local_rank) % local_size == 0  # as far as this process can see
    node = words.node.value if words.node else rank // local_size if whole else None
    nodes = words.nodes.value if words.nodes else size // local_size if whole else None
    place = Place(words.launcher, rank, size, local_rank, local_size, node, nodes)
    return replace(place, master_addr=_master_addr(place, environ), master_port=_master_port(place, environ))


def _master_addr(place: Place, environ: Mapping[str, str]) -> str:
    """Where rank 0 is: as given, here if all are here, or on the first node of a Slurm step."""
    if given := environ.get("MASTER_ADDR"):
        return given
    if place.local_world_size == place.world_size:
        return "127.0.0.1"
    nodes = environ.get("SLURM_STEP_NODELIST", "") if place.launcher == "slurm" else ""
    if not nodes:
        raise ConfigError(f"MASTER_ADDR is not set: {place.world_size:,} processes, {place.local_world_size} of them "
                          "on this node, must know where to meet: export the name of the node of rank 0")  # fmt: skip
    try:
        return expand(nodes)[0]
    except HostListError as error:
        raise ConfigError(f"SLURM_STEP_NODELIST = {nodes}: {error}: export MASTER_ADDR, the node of rank 0") from None


def _master_port(place: Place, environ: Mapping[str, str]) -> int:
    """The port to meet at: as given, or one that follows from the job, so that two jobs may share a node."""
    if given := _said(environ, "MASTER_PORT"):
        if not 1 <= given.value <= 65535:
            raise ConfigError(f"{given}: must be a port from 1 to 65535: set it right, or unset it")
        return given.value
    if place.launcher == "slurm":  # neighbours, such as the steps of a job, never meet
        job, step = (environ.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
        number = 16 * int(job) + int(step) if job.isdigit() and step.isdigit() else zlib.crc32(job.encode())
    else:
        number = zlib.crc32(next((environ[name] for name in JOB_IDS if environ.get(name)), "").encode())
    return FIRST_PORT + number % PORTS
