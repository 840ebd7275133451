"""The device of a process: a GPU where there is one to be used, a CPU where there is none or it is asked for.

    python -m reproduce.engine.device 8     says in one line why eight processes cannot have a GPU each; else nothing

A machine whose GPUs PyTorch cannot use is no machine without GPUs: training would take days on its CPU without a word.
"""

import os
import re
import socket
import sys
import warnings
from collections.abc import Iterable

import torch
from torch.distributed import Store

from reproduce import environ, gpus
from reproduce.errors import ConfigError, command

DEVICES = ("auto", "cpu", "cuda")
ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)(\d)([af]?)")


def pick_device(name: str = "auto", local_rank: int = 0) -> torch.device:
    """The device of this process for one of `DEVICES`; one GPU for each process of a node.

    "auto" is a GPU wherever the machine has GPUs that are not hidden. Raises `ConfigError`, with the driver's own
    reason, where they cannot be used or there are fewer than processes.
    """
    if name == "cpu":
        return torch.device("cpu")
    if not _usable():
        found = gpus.gpus()
        if name == "auto" and not found.count and not found.fault:
            return torch.device("cpu")
        raise ConfigError(f"--device {name}: {reason(found)}: mend that, or add --device cpu")
    index = index_of(torch.cuda.device_count(), local_rank)
    if unfit := misfit(index):
        raise ConfigError(f"--device {name}: {unfit}, or add --device cpu")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def index_of(available: int, local_rank: int) -> int:
    """Which of the GPUs this process sees is its own. Raises `ConfigError` if there is none for it.

    By its place on the node; the only one for a process that sees no other, as Slurm's --gpus-per-task has it. That
    no two processes share it then, `check_own` finds out.
    """
    if local_rank >= available != 1:
        raise ConfigError(f"process {local_rank} of this node has no GPU: {available} can be seen: lower --processes, "
                          "or see CUDA_VISIBLE_DEVICES")  # fmt: skip
    return local_rank if local_rank < available else 0


def check_own(store: Store, device: torch.device, rank: int, local_rank: int) -> None:
    """Raise `ConfigError` if a lower rank of this node has the same GPU; they tell one another through `store`."""
    if device.type != "cuda":
        return
    mine = f"{socket.gethostname()} {getattr(torch.cuda.get_device_properties(device), 'uuid', device.index)}"
    store.set(f"gpu/{rank}", mine)
    for other in range(rank - local_rank, rank):
        if store.get(f"gpu/{other}").decode() == mine:
            raise ConfigError(f"ranks {other} and {rank} have the same GPU: start one process per GPU, or give each "
                              "its own by CUDA_VISIBLE_DEVICES")  # fmt: skip


def misfit(index: int) -> str:
    """Why this build of PyTorch cannot compute on a GPU that the driver offers; empty if it can."""
    capability, built = torch.cuda.get_device_capability(index), torch.cuda.get_arch_list()
    if runs_on(capability, built):
        return ""
    return (f"{torch.cuda.get_device_name(index)} (sm_{capability[0]}{capability[1]}): PyTorch {torch.__version__} is "
            f"built for {', '.join(built)} only: install a build for it, see environment.yml")  # fmt: skip


def runs_on(capability: tuple[int, int], built: Iterable[str]) -> bool:
    """Whether code for one of the architectures runs on a GPU of this compute capability.

    Machine code runs on the same major version from its minor version on, that of one architecture ("sm_90a") on that
    alone; intermediate code ("compute_90") is compiled for all later ones (CUDA programming guide, "compatibility").
    """
    for name in built:
        if match := ARCHITECTURE.fullmatch(name):
            kind, major, minor, suffix = match[1], int(match[2]), int(match[3]), match[4]
            same = major == capability[0] and (minor == capability[1] if suffix == "a" else minor <= capability[1])
            if same or (kind == "compute" and not suffix and (major, minor) <= tuple(capability)):
                return True
    return False


def reason(found: gpus.Gpus) -> str:
    """Why no GPU can be used here, in the driver's own words where it has any."""
    if found.hidden:
        return f"CUDA_VISIBLE_DEVICES = {os.environ.get('CUDA_VISIBLE_DEVICES')!r} hides every GPU"
    if found.fault:
        return f"the GPUs of this machine cannot be used: {found.fault}"
    if not found.machine:
        return "this machine has no GPU that nvidia-smi lists"
    if not found.count:
        return f"CUDA_VISIBLE_DEVICES = {os.environ.get('CUDA_VISIBLE_DEVICES')!r} names no GPU of this machine"
    return f"nvidia-smi lists {found.machine} GPUs, but PyTorch {torch.__version__} cannot use them: {torch_says()}"


def _usable() -> bool:
    with warnings.catch_warnings(action="ignore"):  # it warns of what `reason` says
        return torch.cuda.is_available() and torch.cuda.device_count() > 0


def torch_says() -> str:
    """Why PyTorch has no GPU, in its own words."""
    try:
        with warnings.catch_warnings(action="ignore"):
            torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return " ".join(str(error).split()).split(". Please ")[0].rstrip(".")
    return "it gives no reason"


@command
def main(argv=None) -> None:
    given = sys.argv[1:] if argv is None else argv
    if len(given) != 1:
        raise ConfigError("usage: python -m reproduce.engine.device PROCESSES")
    wanted = environ.whole_number("processes", {"processes": given[0]}) or 1
    pick_device("cuda")
    if wanted > torch.cuda.device_count():
        raise ConfigError(f"{wanted} processes: PyTorch sees {torch.cuda.device_count()} GPUs: lower --processes")


if __name__ == "__main__":
    sys.exit(main())
