"""Ties a process to the processors and the network adapter next to its GPU, as the team did.

On the paper's machine a node has two sockets, two adapters and four GPUs: local ranks 0 and 1 belong to NUMA node 0 and
mlx5_0, 2 and 3 to NUMA node 1 and mlx5_1 (facts e):

    export REPRODUCE_NUMA=0,0,1,1 REPRODUCE_HCA=mlx5_0,mlx5_0,mlx5_1,mlx5_1

Imports nothing outside the standard library.
"""

import os
import re
from collections.abc import MutableMapping
from pathlib import Path

from reproduce.errors import ConfigError

NODES = Path("/sys/devices/system/node")
THREADS = Path("/proc/self/task")


def bind(local_rank: int, environ: MutableMapping[str, str] = os.environ, nodes: Path = NODES) -> dict:
    """Bind this process as REPRODUCE_NUMA and REPRODUCE_HCA say; entry `local_rank` of either is its own.

    Returns what was done for the log, such as ``{"numa": 0, "cpus": "0-19", "hca": "mlx5_0"}``; empty if neither
    variable is set. A NCCL_IB_HCA that is set already stays. Raises `ConfigError` for a list that is malformed or too
    short, and for a NUMA node that this machine or the scheduler does not give us.
    """
    facts = {}
    if numa := _entry("REPRODUCE_NUMA", r"\d+", "a number, as in 0,0,1,1", local_rank, environ):
        facts = {"numa": int(numa), "cpus": cpu_list(_bind_to(int(numa), nodes))}
    if hca := _entry("REPRODUCE_HCA", r"\w+(:\d+)?", "an adapter, as in mlx5_0,mlx5_0:1", local_rank, environ):
        # "=" is NCCL's sign for this very one: mlx5_1 alone means mlx5_10 as well
        facts["hca"] = environ.setdefault("NCCL_IB_HCA", f"={hca}").lstrip("=")
    return facts


def _entry(name: str, form: str, example: str, local_rank: int, environ: MutableMapping[str, str]) -> str:
    """This process's entry of a list, empty if there is no list."""
    text = environ.get(name, "")
    if not text:
        return ""
    entries = text.split(",")
    for entry in entries:
        if not re.fullmatch(form, entry, re.ASCII):
            raise ConfigError(f"{name} = {text}: {entry!r} is not {example}: set it right, or unset it")
    if local_rank >= len(entries):
        raise ConfigError(f"{name} = {text}: has no entry for local rank {local_rank}: give one for each process of a "
                          "node")  # fmt: skip
    return entries[local_rank]


def _bind_to(numa: int, nodes: Path) -> set[int]:
    """Restrict every thread of this process to the processors of a NUMA node, and return these.

    Memory needs no call of its own: Linux takes a page from the node of the thread that touches it first.
    """
    try:
        there = parse_cpu_list((nodes / f"node{numa}" / "cpulist").read_text())
    except OSError:
        known = sorted(int(path.name[4:]) for path in nodes.glob("node[0-9]*"))
        raise ConfigError(f"REPRODUCE_NUMA: this machine has no NUMA node {numa}, only {', '.join(map(str, known))}: "
                          "set it right, or unset it") from None  # fmt: skip
    allowed = os.sched_getaffinity(0)
    if not there & allowed:
        raise ConfigError(f"REPRODUCE_NUMA: NUMA node {numa} has the processors {cpu_list(there)}, and the scheduler "
                          f"allows {cpu_list(allowed)}: start with srun --cpu-bind=none or mpirun --bind-to none, or "
                          "unset it")  # fmt: skip
    for thread in THREADS.iterdir():  # libraries have started theirs when they were imported
        os.sched_setaffinity(int(thread.name), there & allowed)
    return there & allowed


def parse_cpu_list(text: str) -> set[int]:
    """The processors of a list in the kernel's form, such as "0-19,40-59"."""
    cpus: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cpus |= set(range(int(first), int(last or first) + 1))
    return cpus


def cpu_list(cpus: set[int]) -> str:
    """The kernel's form of a set of processors."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and cpu == parts[-1][1] + 1:
            parts[-1][1] = cpu
        else:
            parts.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
