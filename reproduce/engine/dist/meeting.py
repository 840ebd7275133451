"""Where rank 0 listens for the others: as given, or as follows from the job. Standard library only."""

import zlib
from collections.abc import Mapping

from reproduce.engine.dist.hostlist import HostListError, expand
from reproduce.engine.dist.launcher_variables import said
from reproduce.environ import text
from reproduce.errors import ConfigError

LOOPBACK = "127.0.0.1"
# Below the ports that Linux hands out by itself (32768 and up), so that nobody holds ours by chance.
FIRST_PORT, PORTS = 20000, 12000
# What distinguishes two jobs that share a node, where there is no Slurm step: any text will do.
JOB_IDS = ("PMIX_NAMESPACE", "PALS_APID", "PBS_JOBID", "LSB_JOBID", "SLURM_JOB_ID", "JOB_ID")


def address(launcher: str, world_size: int, local_world_size: int, environ: Mapping[str, str]) -> str:
    """The host of rank 0: as given, this one if all are here, or the first node of a Slurm step. Raises `ConfigError`."""
    if given := text("MASTER_ADDR", environ):
        return given
    if local_world_size == world_size:
        return LOOPBACK
    nodes = environ.get("SLURM_STEP_NODELIST", "") if launcher == "slurm" else ""
    if not nodes:
        raise ConfigError(f"MASTER_ADDR is not set: {world_size:,} processes, {local_world_size} of them "
                          "on this node, must know where to meet: export the name of the node of rank 0")  # fmt: skip
    try:
        return expand(nodes)[0]
    except HostListError as error:
        raise ConfigError(f"SLURM_STEP_NODELIST = {nodes}: {error}: export MASTER_ADDR, the node of rank 0") from None


def port(launcher: str, environ: Mapping[str, str]) -> int:
    """As given, or one that follows from the job, so that two jobs may share a node. Raises `ConfigError`."""
    if given := said(environ, "MASTER_PORT"):
        if not 1 <= given.value <= 65535:
            raise ConfigError(f"{given}: must be a port from 1 to 65535: set it right, or unset it")
        return given.value
    if launcher == "slurm":  # neighbours, such as the steps of a job, never meet
        job, step = (environ.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
        number = 16 * int(job) + int(step) if job.isdigit() and step.isdigit() else zlib.crc32(job.encode())
    else:
        number = zlib.crc32(next((environ[name] for name in JOB_IDS if environ.get(name)), "").encode())
    return FIRST_PORT + number % PORTS
