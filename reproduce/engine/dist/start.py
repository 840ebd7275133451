"""The start of training: the same weights in every process, and proof of it (paper, technique 6)."""

import time

import torch
from torch import nn

from reproduce.engine.dist.comm import Comm
from reproduce.engine.model import initialise, weights_sha256
from reproduce.errors import TrainingError


def start_equal(model: nn.Module, seed: int, comm: Comm, how: str) -> dict:
    """Initialise the network on the device of `comm` and check that every process holds the same weights.

    `how` is "same_seed", where every process draws them from the seed, or, as the control, "broadcast", where rank 0
    does and sends them. Returns the seconds of both parts, for the log. Raises `TrainingError` naming the first rank
    that differs from rank 0.
    """
    comm.synchronise()
    began = time.perf_counter()
    if how == "same_seed" or comm.rank == 0:
        initialise(model, seed)
    model.to(comm.device)
    if how == "broadcast":
        broadcast_weights(model, comm)
    comm.synchronise()
    initialised = time.perf_counter()
    check_equal(model, comm)
    checked = time.perf_counter()
    return {"initialisation": how, "seconds": initialised - began, "check_seconds": checked - initialised}


@torch.no_grad()
def broadcast_weights(model: nn.Module, comm: Comm) -> None:
    """Rank 0's parameters into every process, as one message."""
    parameters = list(model.parameters())
    flat = comm.broadcast_(torch.cat([p.reshape(-1) for p in parameters]), root=0)
    for p, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        p.copy_(part.view(p.shape))


def check_equal(model: nn.Module, comm: Comm) -> str:
    """The SHA-256 of the weights, once every process has rank 0's.

    Raises `TrainingError`, on every process, naming the first rank whose weights are not.
    """
    digest = weights_sha256(model)
    rank = comm.first_to_differ(bytes.fromhex(digest))
    if rank is not None:
        raise TrainingError(
            f"rank {rank} does not hold the weights of rank 0, the first of them to differ: start every process with "
            "the same config, seed, and versions of torch and NumPy, and test that rank's device"
        )
    return digest
