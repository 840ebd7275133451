"""Bandwidth of the collective library within each node and between pairs of nodes: NCCL on GPUs, Gloo on CPUs.

Nodes meet in pairs, all pairs at once, with another partner in each round: a slow node is slow with all of its
partners, a good one only with a slow partner. Every pair, and every node by itself, is a process group of its own, so
that what is broken somewhere holds up nobody else.
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store

from reproduce.engine.dist.place import Place

ROUNDS = 3  # partners of a node, at most
GROUP_SECONDS = 20.0  # for one pair, or one node, to make its group and exchange
MAX_SECONDS = GROUP_SECONDS * (ROUNDS + 2)  # for all of them
FIRST_BYTES, MAX_BYTES = 1 << 16, 1 << 27  # of a message
LONG_ENOUGH = 0.05  # seconds: messages grow until one takes as long
REPEATS = 5
GBIT = 1e9 / 8  # bytes


@dataclass(frozen=True)
class Plan:
    """Who exchanges with whom: `nodes` are the ranks by node, `rounds` lists of pairs of nodes."""

    cuda: bool
    nodes: dict[int, list[int]]
    rounds: list[list[tuple[int, int]]]

    @property
    def seconds(self) -> float:
        """That the exchange may take: one turn more than there are, for those that end late."""
        return GROUP_SECONDS * (len(self.rounds) + 2)

    def json(self) -> dict:
        return asdict(self) | {"nodes": list(self.nodes.items())}

    @classmethod
    def of(cls, value: dict) -> "Plan":
        return cls(value["cuda"], dict(value["nodes"]), [[tuple(pair) for pair in pairs] for pairs in value["rounds"]])


def rounds(nodes: list[int], count: int) -> list[list[tuple[int, int]]]:
    """Up to `count` rounds of a round-robin tournament: a node meets another partner in each; odd ones sit out."""
    ring: list[int | None] = list(nodes) + [None] * (len(nodes) % 2)
    found = []
    for _ in range(min(count, len(ring) - 1)):
        half = len(ring) // 2
        pairs = zip(ring[:half], reversed(ring[half:]))
        found.append([(a, b) for a, b in pairs if a is not None and b is not None])
        ring = [ring[0], ring[-1], *ring[1:-1]]
    return found


def plan(nodes: dict[int, list[int]], usable: dict[int, bool], device: str) -> Plan:
    """All nodes whose ranks have what they exchange from; GPUs with `device` "cuda", or "auto" if any rank has one."""
    cuda = device == "cuda" or (device == "auto" and any(usable.values()))
    fit = {node: ranks for node, ranks in nodes.items() if not cuda or all(usable[rank] for rank in ranks)}
    return Plan(cuda, fit, rounds(sorted(fit), ROUNDS))


def measure(plan: Plan, place: Place, store: Store) -> dict:
    """This rank's rates in Gbit/s, or why there is none: {"node": rate, "pairs": [[partner, rate], ...]}.

    "node" is the bus bandwidth of an allreduce over the node's ranks, per rank and direction; None with one rank. A
    pair's is what this rank sends to, and at the same time gets from, the rank with its place in the other node.
    """
    os.environ["TORCH_NCCL_BLOCKING_WAIT"] = "1"  # a timeout raises, where it would else end the process
    rank, node = place.rank, place.first_of_node
    device = torch.device("cuda", place.local_rank) if plan.cuda else torch.device("cpu")
    if plan.cuda:
        torch.cuda.set_device(device)
    own = plan.nodes[node]
    found: dict = {"node": None, "pairs": []}
    if len(own) > 1:
        found["node"] = _exchange(own, own.index(rank), 1, store, f"node/{node}", device)
    for number, pairs in enumerate(plan.rounds):
        for a, b in pairs:
            if node not in (a, b):
                continue
            wide = min(len(plan.nodes[a]), len(plan.nodes[b]))
            index = own.index(rank)
            if index < wide:
                peers, where = [plan.nodes[a][index], plan.nodes[b][index]], f"pair/{number}/{a}/{b}"
                rate = _exchange(peers, peers.index(rank), wide, store, where, device, str(index))
                found["pairs"].append([b if node == a else a, rate])
    return found


def _exchange(
    peers: list[int], index: int, groups: int, store: Store, where: str, device: torch.device, which: str = "",
) -> float | str:  # fmt: skip
    """Gbit/s per rank and direction among `peers`, while `groups` such groups do the same; or why it failed."""
    try:
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", store=PrefixStore(f"{where}/{which}", store), rank=index,
            world_size=len(peers), timeout=timedelta(seconds=GROUP_SECONDS),
        )  # fmt: skip
        try:
            dist.barrier()
            _meet(store, where, groups * len(peers))
            return _rate(len(peers), device)
        finally:
            dist.destroy_process_group()
    except RuntimeError as error:
        return (" ".join(str(error).split()) or type(error).__name__)[:120]


def _meet(store: Store, where: str, count: int) -> None:
    """Wait for all ranks that are to share these links; not for ever."""
    if store.add(f"{where}/ready", 1) == count:
        store.set(f"{where}/go", json.dumps(True))
    store.wait([f"{where}/go"], timedelta(seconds=GROUP_SECONDS))


def _rate(ranks: int, device: torch.device) -> float:
    size = FIRST_BYTES
    while True:
        message = torch.zeros(size // 4, device=device)
        slowest = torch.tensor([_seconds(message, device)], device=device)
        dist.all_reduce(slowest, dist.ReduceOp.MAX)  # all grow alike
        if float(slowest) >= LONG_ENOUGH or size >= MAX_BYTES:
            break
        size *= 2
    seconds = sum(_seconds(message, device) for _ in range(REPEATS))
    # each rank of a ring sends 2 (n - 1) / n times the message
    return REPEATS * size * 2 * (ranks - 1) / ranks / seconds / GBIT


def _seconds(message: torch.Tensor, device: torch.device) -> float:
    began = time.perf_counter()
    dist.all_reduce(message)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
