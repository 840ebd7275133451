"""A campaign's first step: which device and versions these are, and whether the smallest update runs at all."""

import subprocess
import time

import torch

from reproduce.bench.contest import Row, Table
from reproduce.bench.timed.contenders import Ours
from reproduce.bench.timed.entry import serve
from reproduce.bench.timed.turns import seconds
from reproduce.engine.environment import compute_precision
from reproduce.recipe import load as configs

SMI = ["nvidia-smi", "--query-gpu=driver_version,power.limit,clocks.max.sm", "--format=csv,noheader", "--id=0"]


def facts(device: torch.device) -> str:
    """Of a GPU: driver, libraries, architecture and memory, in a line."""
    if device.type == "cpu":
        return f"{torch.get_num_threads()} thread(s), no GPU asked for"
    major, minor = torch.cuda.get_device_capability(device)
    memory = torch.cuda.get_device_properties(device).total_memory / 1e9
    nccl = ".".join(map(str, torch.cuda.nccl.version()))
    built = " ".join(torch.cuda.get_arch_list())
    libraries = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, NCCL {nccl}"
    return f"driver {driver()}; {libraries}; sm_{major}{minor} of {built}; {memory:.0f} GB"


def driver() -> str:
    """Version, power limit and highest clock, by nvidia-smi."""
    try:
        done = subprocess.run(SMI, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return "not known"
    return done.stdout.strip() or "not known"


def measure(request: dict, device: torch.device) -> list[Table]:
    """request: "config", "overrides", "updates"."""
    config = configs.load(request["config"], request["overrides"])
    began = time.perf_counter()
    ours = Ours(config, device, compute_precision(config, device))
    built = 1e3 * (time.perf_counter() - began)
    first, *rest = [1e3 * seconds(ours.step, device) for _ in range(1 + request["updates"])]
    rows = [Row("update after the first", "ours", tuple(rest), f"{ours.images} images"),
            Row("first update", "ours", (first,)), Row("network and data made", "ours", (built,))]  # fmt: skip
    return [Table("A tiny update", facts(device), "ms", None, tuple(rows))]


if __name__ == "__main__":
    serve("device", measure)
