"""What ran the run: hardware, precision and versions, for the head of the log. A log alone says what produced it."""

import importlib.metadata
import platform
from pathlib import Path

import torch

from reproduce.engine.dist.comm import Comm
from reproduce.recipe.load import Config
from reproduce.revision import revision


def describe(config: Config, comm: Comm, precision: str, backend: str) -> dict:
    """The value of the `reproduce_environment` event; no host names or paths, so that logs can be published."""
    return {
        "device": comm.device.type,
        "devices": comm.world_size,
        "world_size": comm.world_size,
        "workers_per_process": config.batch.workers // comm.world_size,
        "precision": precision,
        "tf32": comm.device.type == "cuda" and torch.backends.cudnn.allow_tf32,
        "bn_eval": config.batch.bn_eval,
        "backend": backend,
    } | machine(comm.device, comm.world_size)


def keep_fp32(precision: str) -> None:
    """Have GPUs multiply what is said to be fp32 in fp32, not in TF32, whose mantissa has 10 bits."""
    if precision == "fp32":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


def machine(device: torch.device, processes: int = 1) -> dict:
    """What a measurement was made on and with: hardware, versions, and the revision of this source tree."""
    if device.type == "cuda":
        hardware = f"{processes} x {torch.cuda.get_device_name(device)}, one process each"
    else:
        several = f"{processes} process{'es' if processes > 1 else ''}"
        hardware = f"{_cpu_name()}, {several} x {torch.get_num_threads()} thread(s)"
    return {
        "hardware": hardware,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": importlib.metadata.version("torchvision"),
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
    return "bf16" if {"avx512_bf16", "amx_bf16"} & set(cpuinfo("flags").split()) else "fp32"


def cpuinfo(key: str) -> str:
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
    return cpuinfo("model name") or platform.processor() or platform.machine()


def _revision() -> str | None:
    return revision()
