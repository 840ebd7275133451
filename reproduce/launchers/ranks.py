"""What starts the ranks of a run: torchrun, mpirun or srun; and where each rank then is."""

import os
import socket
from dataclasses import dataclass

from reproduce.launchers.site import Site

CARRIED = ("MASTER_ADDR", "MASTER_PORT", "PYTHONPATH")  # every job script sets these


@dataclass(frozen=True)
class Start:
    """How ranks are started: by which launcher (not "local"), how many per node, and on which hosts.

    `hosts` is a file of hosts for mpirun, empty where it knows them itself; `rendezvous` (HOST:PORT) is torchrun's,
    where more than one node is asked for.
    """

    launcher: str
    site: Site
    nodes: int = 1
    hosts: str = ""
    rendezvous: str = ""

    def argv(self, ranks: int, python: str, module: str, per_node: int | None = None) -> list[str]:
        """The command that starts `module` as so many ranks; its own arguments follow.

        `per_node` None: as many on a node as the site has ranks there.
        """
        per_node = min(ranks, per_node or self.site.ranks_per_node)
        if self.launcher == "slurm":
            return [*self.srun(ranks, per_node), python, "-m", module]
        if self.launcher in ("openmpi", "uge", "pbs"):
            return [*self.mpirun(ranks, per_node), python, "-m", module]
        return [*self.torchrun(ranks, python), "-m", module]

    def srun(self, ranks: int, per_node: int) -> list[str]:
        """One rank that ends badly ends the step; the engine binds its ranks to processors itself."""
        shape = [f"--nodes={-(-ranks // per_node)}", f"--ntasks={ranks}", f"--ntasks-per-node={per_node}"]
        return ["srun", *shape, "--kill-on-bad-exit=1", "--cpu-bind=none", *self.site.ranks]

    def mpirun(self, ranks: int, per_node: int) -> list[str]:
        """Nodes are filled one after the other, so that a node's ranks follow one another; bound by the engine."""
        named = [word for name in self.carried for word in ("-x", name)]
        where = ["--hostfile", self.hosts] if self.hosts else []
        return ["mpirun", "-np", str(ranks), "--map-by", f"ppr:{per_node}:node", "--bind-to", "none", *where, *named,
                *self.site.ranks]  # fmt: skip

    @property
    def carried(self) -> list[str]:
        """The variables mpirun is told to pass on to further hosts; srun and torchrun pass on all."""
        here = self.launcher == "openmpi"  # nobody but the user has set anything
        others = [name for name in (*CARRIED, "OMP_NUM_THREADS") if name in os.environ] if here else CARRIED
        return list(dict.fromkeys([*self.environment(), *others]))

    def torchrun(self, ranks: int, python: str) -> list[str]:
        if self.nodes == 1:
            shape = ["--standalone", f"--nproc-per-node={ranks}"]
        else:
            shape = [f"--nnodes={self.nodes}", f"--nproc-per-node={ranks // self.nodes}", "--rdzv-backend=c10d",
                     f"--rdzv-endpoint={self.rendezvous}", "--rdzv-id=reproduce"]  # fmt: skip
        return [python, "-m", "torch.distributed.run", *shape]

    def environment(self) -> dict[str, str]:
        """What the ranks find: the site's variables, the binding, and for mpirun over hosts the address of rank 0's."""
        found = dict(self.site.environment) | binding(self.site)
        if self.launcher == "openmpi" and self.hosts:
            found["MASTER_ADDR"] = os.environ.get("MASTER_ADDR") or socket.gethostname()
        return found


def binding(site: Site) -> dict[str, str]:
    """For `reproduce.engine.dist.binding`: NUMA node and adapter by local rank."""
    lists = {"REPRODUCE_NUMA": site.numa, "REPRODUCE_HCA": site.hca}
    return {name: ",".join(map(str, values)) for name, values in lists.items() if values}


def rank_map(ranks: int, site: Site) -> list[str]:
    """Where every rank is, in words; the first two nodes stand for the others."""
    per_node = min(ranks, site.ranks_per_node)
    lines = []
    for rank in range(min(ranks, 2 * per_node)):
        local = rank % per_node
        parts = [f"rank {rank}: node {rank // per_node}, local rank {local}"]
        parts += [f"GPU {local}"] if site.gpus_per_node else []
        parts += [f"NUMA node {site.numa[local]}"] if site.numa else []
        parts += [f"adapter {site.hca[local]}"] if site.hca else []
        lines.append(", ".join(parts))
    if ranks > 2 * per_node:
        lines.append(f"and so on, up to rank {ranks - 1} on node {(ranks - 1) // per_node}")
    return lines
