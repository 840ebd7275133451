"""What ran the run: hardware, precision and versions, for the head of the log. A log alone says what produced it."""

import platform
import subprocess
from pathlib import Path

import torch
import torchvision

from reproduce.config import Config
from reproduce.engine.comm import Comm


def describe(config: Config, comm: Comm, precision: str, backend: str) -> dict:
    """The value of the `reproduce_environment` event; no host names or paths, so that logs can be published."""
    processes = f"{comm.world_size} process{'es' if comm.world_size > 1 else ''}"
    if comm.device.type == "cuda":
        hardware = f"{comm.world_size} x {torch.cuda.get_device_name(comm.device)}, one process each"
    else:
        hardware = f"{_cpu_name()}, {processes} x {torch.get_num_threads()} thread(s)"
    return {
        "device": comm.device.type,
        "hardware": hardware,
        "devices": comm.world_size,
        "world_size": comm.world_size,
        "workers_per_process": config.batch.workers // comm.world_size,
        "precision": precision,
        "bn_eval": config.batch.bn_eval,
        "backend": backend,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "revision": _revision(),
    }


def compute_precision(config: Config, device: torch.device) -> str:
    """`precision.compute` with "auto" resolved to the best the device has: fp16 or bf16 on GPUs, bf16 or fp32 on CPUs.

    A CPU counts as having bf16 when it multiplies it (AVX512_BF16 or AMX); elsewhere it would be emulated and slow.
    """
    if config.precision.compute != "auto":
        return config.precision.compute
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    return "bf16" if {"avx512_bf16", "amx_bf16"} & set(_cpuinfo("flags").split()) else "fp32"


def _cpuinfo(key: str) -> str:
    """A field of the first processor in Linux's /proc/cpuinfo; empty where there is none."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    except OSError:
        pass
    return ""


def _cpu_name() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _revision() -> str | None:
    """The commit of this source tree, with "-dirty" if it has changes; None outside a git checkout."""
    root = Path(__file__).resolve().parents[2]
    try:
        describe = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
        return subprocess.run(describe, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
