"""Where this process stands among the others: found once, by the variables of whichever launcher started it, and
passed on to all that need it. Imports nothing outside the standard library.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from reproduce.engine.dist import meeting
from reproduce.engine.dist.launcher_variables import TORCH, LauncherVariables, launched, names, own, value
from reproduce.errors import ConfigError


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
    agent_store: bool = False  # whether torchrun keeps a store at that port

    @property
    def here(self) -> bool:
        """Whether all processes are on this machine."""
        return self.local_world_size == self.world_size

    @property
    def first_of_node(self) -> int:
        """The rank of the first process on this node, where those of a node follow one another."""
        return self.rank - self.local_rank


ALONE = Place("alone")


def find(environ: Mapping[str, str] = os.environ) -> Place:
    """This process's place. Raises `ConfigError` if the variables are no numbers, contradict one another, or do not say
    where the processes of several nodes are to meet."""
    set_here, by_launcher = own(environ), launched(environ)
    if set_here.rank is None and by_launcher is None:
        if set_here.world_size and set_here.world_size.value > 1:
            raise ConfigError(f"{set_here.world_size} without RANK: which of them this process is must be known: unset it, "
                              "or start the processes by torchrun, srun or mpirun")  # fmt: skip
        return ALONE
    if by_launcher and set_here.rank is None and set_here.world_size:
        if set_here.world_size.value != value(by_launcher.world_size):
            raise ConfigError(f"{set_here.world_size} but {by_launcher.world_size}: they must agree: unset WORLD_SIZE")
    words = _completed(set_here, by_launcher)
    _check(words)
    return _place(words, environ)


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


def _completed(own: LauncherVariables, launched: LauncherVariables | None) -> LauncherVariables:
    """The variables of torchrun, with the launcher's for those that are missing if both speak of the same process."""
    if not launched:
        return own
    same_rank = own.rank is None or own.rank.value == value(launched.rank)
    same_size = own.world_size is None or own.world_size.value == value(launched.world_size)
    if not (same_rank and same_size):
        return own  # such as torchrun under srun: one task per node, and a rank per GPU
    fields = ("rank", "world_size", "local_rank", "local_world_size", "node", "nodes")
    launcher = own.launcher if own.launcher == "torchrun" else launched.launcher
    return LauncherVariables(launcher, *(getattr(own, field) or getattr(launched, field) for field in fields))


def _check(words: LauncherVariables) -> None:
    if not words.world_size:
        raise ConfigError(f"{words.rank} without WORLD_SIZE: a rank needs the number of processes: set it, or unset "
                          "RANK")  # fmt: skip
    if value(words.rank) >= words.world_size.value:
        raise ConfigError(f"{words.rank} but {words.world_size}: ranks count from 0, so they must be lower than the "
                          "number of processes: start all of them again")  # fmt: skip
    if words.world_size.value == 1:
        return
    spelled = names(words.launcher)
    if bool(words.local_rank) != bool(words.local_world_size) or not (words.local_rank or spelled is TORCH):
        there = words.local_rank or words.local_world_size or words.rank
        absent = spelled[2] if not words.local_rank else spelled[3]
        raise ConfigError(f"{there} without {absent}: a process must know its place on its node: set LOCAL_RANK and "
                          "LOCAL_WORLD_SIZE")  # fmt: skip
    if not words.local_rank:
        return  # one process per node, as containers are started
    if words.local_rank.value >= value(words.local_world_size):
        raise ConfigError(f"{words.local_rank} but {words.local_world_size}: local ranks count from 0, so they must be "
                          "lower than the number of processes on the node: start all of them again")  # fmt: skip
    if value(words.local_world_size) > words.world_size.value:
        raise ConfigError(f"{words.local_world_size} but {words.world_size}: a node cannot have more processes than "
                          "there are: start all of them again")  # fmt: skip


def _place(words: LauncherVariables, environ: Mapping[str, str]) -> Place:
    size, rank = value(words.world_size), value(words.rank)
    if size == 1:
        return Place(words.launcher)
    local_rank = words.local_rank.value if words.local_rank else 0
    local_size = words.local_world_size.value if words.local_world_size else 1
    whole = size % local_size == 0 and (rank - local_rank) % local_size == 0  # as far as this process can see
    node = words.node.value if words.node else rank // local_size if whole else None
    nodes = words.nodes.value if words.nodes else size // local_size if whole else None
    address = meeting.address(words.launcher, size, local_size, environ)
    port, agent = meeting.port(words.launcher, environ), environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return Place(words.launcher, rank, size, local_rank, local_size, node, nodes, address, port, agent)
