"""Processes and what they exchange: one flat allreduce of gradient sums per update, and a few small collectives.

Weights are never broadcast: every process makes the same ones from the seed (paper, technique 6).
"""

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn

from reproduce.errors import ConfigError


class Comm:
    """This process among the others. With one process every collective is the identity and nothing is started."""

    def __init__(self, device: torch.device):
        self.rank = int(os.environ.get("RANK", 0))
        self.world_size = int(os.environ.get("WORLD_SIZE", 1))
        self.device = device
        if self.world_size > 1:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over processes, in place; returns `tensor`."""
        if self.world_size > 1:
            dist.all_reduce(tensor)
        return tensor

    def broadcast_(self, tensor: torch.Tensor, root: int) -> torch.Tensor:
        """Copy the root's values to every process, in place; returns `tensor`."""
        if self.world_size > 1:
            dist.broadcast(tensor, root)
        return tensor

    def synchronise(self) -> None:
        """Wait for the device and for all processes; stands on both sides of everything that is timed."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        if self.world_size > 1:
            dist.barrier()

    def close(self) -> None:
        if self.world_size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def pick_device(name: str) -> torch.device:
    """The device of this process for "auto", "cpu" or "cuda"; one GPU per process, by LOCAL_RANK.

    Raises `ConfigError` if a GPU is asked for and there are not enough.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    index, available = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if index >= available:
        raise ConfigError(
            f"--device {name}: process {index} of this node has no GPU: {available} found: lower --processes"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


class FlatGradients:
    """All gradients as views of one fp32 buffer, so that one collective carries them without packing.

    Each view keeps its parameter's strides (channels_last stays). The last element of the buffer carries the sum of
    the losses, so that every process sees the same global loss and a non-finite one stops them all together.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]):
        parameters = list(parameters)
        self.buffer = torch.zeros(sum(p.numel() for p in parameters) + 1, device=parameters[0].device)
        offset = 0
        for p in parameters:
            p.grad = torch.as_strided(self.buffer, p.shape, p.stride(), offset)
            offset += p.numel()

    @property
    def loss(self) -> torch.Tensor:
        """0-d view: the sum of the losses of all images seen since `zero`."""
        return self.buffer[-1]

    def zero(self) -> None:
        self.buffer.zero_()

    def all_reduce(self, comm: Comm) -> None:
        comm.sum_(self.buffer)
