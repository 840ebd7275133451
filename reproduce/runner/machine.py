"""What this machine offers a run: GPUs, cores, and the device and number of processes taken without a wish.

Imports nothing outside the standard library.
"""

import os

from reproduce import gpus


def gpu_count() -> int:
    """NVIDIA GPUs that a process on this machine may use; 0 without a working driver."""
    return gpus.gpus().count


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_device(tier: str) -> str:
    """A GPU wherever there should be one: tier quick alone is meant for a CPU too."""
    found = gpus.gpus()
    return "cuda" if found.count or found.fault or tier != "quick" else "cpu"


def default_processes(device: str = "cuda") -> int:
    """One process per GPU; on a CPU two, or one on a single core: what the quick tier is sized for."""
    return (gpu_count() if device == "cuda" else 0) or min(2, cores())
