"""Times messages there and back between two processes, by the sends and receives that Gloo's collectives are made of.

Started once per process by `python -m reproduce.bench pingpong`, through torchrun, with a request as JSON:

    python -m reproduce.bench.timed.pingpong '{"sizes": [4, 1048576], "rounds": 10, "out": ...}'

Rank 0 writes the seconds one way, half of there and back, of every message.
"""

import json
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from reproduce.engine.environment import machine
from reproduce.errors import command


def one_way(message: torch.Tensor, rank: int) -> float:
    """Seconds from one process to the other."""
    dist.barrier()
    began = time.perf_counter()
    if rank == 0:
        dist.send(message, 1)
        dist.recv(message, 1)
    else:
        dist.recv(message, 0)
        dist.send(message, 0)
    return (time.perf_counter() - began) / 2


def measure(sizes: list[int], rounds: int, rank: int) -> list[list[float]]:
    """Seconds by size and round; the sizes take turns, and the first round does not count."""
    messages = [torch.zeros(size, dtype=torch.uint8) for size in sizes]
    seconds: list[list[float]] = [[] for _ in sizes]
    for number in range(rounds + 1):
        for found, message in zip(seconds, messages):
            took = one_way(message, rank)
            if number:
                found.append(took)
    return seconds


@command
def main(argv=None) -> None:
    request = json.loads((sys.argv[1:] if argv is None else argv)[0])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    try:
        rank = dist.get_rank()
        seconds = measure(request["sizes"], request["rounds"], rank)
        if rank == 0:
            result = {"seconds": seconds, "about": machine(torch.device("cpu"))}
            Path(request["out"]).write_text(json.dumps(result))
        dist.barrier()
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
