"""Real Slurm on this machine: one controller and four emulated nodes, n1 to n4, of one processor each.

Every file, socket and port is private: munge's key and socket are named in `AuthInfo`, all else in a configuration that
clients find by SLURM_CONF. The nodes' names are known to the nodes alone, as a cluster's name service would know them:
slurmd, and so every job, runs in a mount namespace with a hosts file of its own. A job that is requeued starts again
after `cred_expire`, of 5 s here and 120 s elsewhere: until then Slurm may still hear of its end.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.needs import missing
from tests.helpers.schedulers.private import free_ports, private_folder, until

PACKAGES = "slurm-wlm munge"
WHY_NOT = missing(["munged", "slurmctld", "slurmd", "srun", "sbatch", "unshare"], PACKAGES, root=True)
NODES = 4

CONFIGURATION = """
ClusterName=rehearsal
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
ReturnToService=1
JobRequeue=1
KillWait=30
MessageTimeout=60
SlurmdTimeout=600
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{node_ports}] CPUs=1
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Slurm:
    """A running cluster; `env` is the environment in which its commands find it."""

    folder: Path
    env: Mapping[str, str]

    def run(self, *argv: str, **options) -> subprocess.CompletedProcess:
        """A command such as "sbatch", to its end, with its output as text."""
        return subprocess.run(argv, env=self.env, capture_output=True, text=True, **options)

    def state(self, job: str) -> str:
        """Such as PENDING, RUNNING or COMPLETED; empty once it is forgotten."""
        return self.run("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}").stdout.strip()

    def wait(self, job: str, *states: str, seconds: float = 300) -> str:
        """Until the job is in one of `states`, which it returns."""
        states = states or ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        return until(lambda: {self.state(job)} & {*states}, lambda: f"{job} {self.state(job)}", seconds).pop()


@contextlib.contextmanager
def slurm() -> Iterator[Slurm]:
    """Start it, wait until all nodes are idle, and leave nothing behind."""
    with private_folder() as private:
        folder = private.folder
        env = os.environ | {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": f"{os.environ['PATH']}:/usr/sbin"}
        cluster = Slurm(folder, env)
        _configure(folder)
        files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munged.pid", "seed-file": "munge.seed"}
        options = ["--foreground", "--force", *(f"--{option}={folder}/{name}" for option, name in files.items())]
        private.start("munged", "munged", *options, env=env)
        until((folder / "munge.socket").exists, private.said)
        private.start("slurmctld", "slurmctld", "-D", env=env)
        for node in range(1, NODES + 1):
            names = 'mount --bind hosts /etc/hosts && exec slurmd -D -N "$0"'
            private.start(f"n{node}", "unshare", "--mount", "sh", "-c", names, f"n{node}", env=env)
        until(lambda: cluster.run("sinfo", "-h", "-N", "-t", "idle").stdout.count("\n") == NODES, private.said)
        yield cluster


def _configure(folder: Path) -> None:
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    (folder / "state").mkdir()
    host = os.uname().nodename.partition(".")[0]
    port, *node_ports = free_ports(1 + NODES)
    ports = {"port": port, "node_ports": ",".join(map(str, node_ports))}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder, host=host, nodes=NODES, **ports))
    names = "".join(f"127.0.0.1 n{node}\n" for node in range(1, NODES + 1))
    (folder / "hosts").write_text(Path("/etc/hosts").read_text() + "\n" + names)
