"""Processes and what they exchange: sums of gradients, flat or in two stages, and a few small collectives.

Weights are never broadcast in a normal run: every process makes the same ones from the seed (paper, technique 6).
"""

import contextlib
import datetime
from collections.abc import Iterator

import torch
import torch.distributed as dist

from reproduce.engine import spawn
from reproduce.engine.device import check_own
from reproduce.engine.dist import rendezvous
from reproduce.engine.dist.place import ALONE, Place
from reproduce.engine.dist.watch import NoWatch, Watch
from reproduce.errors import ConfigError, LostError, NetworkError, Preempted

# renamed in torch 2.14; the old names warn there
all_gather_into = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
reduce_scatter_into = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


class Comm:
    """This process among the others. With one process every collective is the identity and nothing is started.

    `allreduce` says how `reduce_` sums gradients: "flat", one allreduce over all processes, or "two_stage" as the team
    did (facts e): a reduce-scatter within the node, an allreduce of each process's part across the nodes, and an
    all-gather within the node. A node is as many consecutive ranks as `place` says. After `timeout` seconds of waiting
    for the others `watch` ends this process; should it fail, the collectives do after twice as long. Raises
    `ConfigError` if two stages are asked for and the nodes do not hold equally many processes; collectives raise `LostError` if
    another process has died.
    """

    def __init__(
        self, device: torch.device, allreduce: str = "flat", timeout: float = 300.0, place: Place = ALONE
    ):  # fmt: skip
        self.rank, self.world_size, self.node_size = place.rank, place.world_size, place.local_world_size
        self._met = False  # whether all processes have exchanged something
        self.device = device
        self.two_stage = allreduce == "two_stage"
        self.watch: NoWatch | Watch = NoWatch()
        if self.world_size == 1:
            spawn.tell_that_all_met()
            return
        if self.two_stage and self.world_size % self.node_size:
            raise ConfigError(
                f"communication.allreduce = 'two_stage': {self.world_size} processes are not whole nodes of "
                f"{self.node_size}: start equally many on each node, or use 'flat'"
            )
        limit = datetime.timedelta(seconds=timeout)
        store = rendezvous.meet(place, timeout)
        check_own(store, device, place.rank, place.local_rank)
        with self.others("the start of all processes"):
            self._connect(store, 2 * limit)
        self.watch = Watch(store, self.rank, self.world_size, timeout)
        if self.two_stage:
            with self.others("the groups of all processes"):
                self._divide(2 * limit)

    def _connect(self, store: dist.Store, limit: datetime.timedelta) -> None:
        gpu = self.device if self.device.type == "cuda" else None  # given, NCCL connects now, not in the first sum
        dist.init_process_group(
            "nccl" if gpu else "gloo", store=store, rank=self.rank, world_size=self.world_size, timeout=limit,
            device_id=gpu,
        )  # fmt: skip

    def _divide(self, limit: datetime.timedelta) -> None:
        """The processes of this node, and those with our place in their nodes."""
        self._node, _ = dist.new_subgroups(self.node_size, timeout=limit)
        peers = [list(range(local, self.world_size, self.node_size)) for local in range(self.node_size)]
        self._peers, _ = dist.new_subgroups_by_enumeration(peers, timeout=limit)

    @property
    def multiple(self) -> int:
        """`reduce_` needs tensors whose length is a multiple of this: whole 128-byte lines for each of the node."""
        return 32 * self.node_size if self.two_stage else 1

    @contextlib.contextmanager
    def others(self, what: str) -> Iterator[None]:
        """Around everything that waits for other processes; `what` is the same in all.

        Raises `LostError`; `NetworkError` as long as nothing has been exchanged yet.
        """
        try:
            with self.watch.waiting(what):
                yield
            if not self._met and isinstance(self.watch, Watch):
                self._met = True
                spawn.tell_that_all_met()
        except RuntimeError as error:
            if self.world_size == 1:
                raise
            reason = rendezvous.first_line(error)
            if not self._met:
                raise NetworkError(f"rank {self.rank} met the others, but {what} failed ({reason}): see what they say, "
                                   "and which network interface gloo or NCCL takes (GLOO_SOCKET_IFNAME, "
                                   "NCCL_SOCKET_IFNAME)") from error  # fmt: skip
            raise LostError(
                f"rank {self.rank} lost another process while it waited for {what} ({reason}): run the same command "
                "again to go on from the last checkpoint"
            ) from error

    @contextlib.contextmanager
    def results(self, what: str) -> Iterator[None]:
        """As `others`, around collectives whose results are wanted now: those of NCCL have only begun on return."""
        with self.others(what):
            yield
            if self.device.type == "cuda":
                torch.cuda.current_stream(self.device).synchronize()

    def reduce_(self, flat: torch.Tensor) -> dist.Work | None:
        """Sum a one-dimensional tensor of gradients over all processes, in place, by the configured algorithm.

        Flat, it has only begun when this returns, and the work to wait for comes back.
        """
        if self.world_size == 1:
            return None
        if not self.two_stage:
            return dist.all_reduce(flat, async_op=True)
        part = flat.new_empty(len(flat) // self.node_size)
        reduce_scatter_into(part, flat, group=self._node)
        dist.all_reduce(part, group=self._peers)  # type: ignore[arg-type]  # this process is in its group
        all_gather_into(flat, part, group=self._node)
        return None

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over processes, in place; returns `tensor`."""
        if self.world_size > 1:
            with self.results("a sum over all processes"):
                dist.all_reduce(tensor)
        return tensor

    def gather(self, row: torch.Tensor) -> torch.Tensor:
        """The same-shaped tensors of all processes, stacked in the order of ranks, on every process."""
        if self.world_size == 1:
            return row[None]
        table = row.new_empty(self.world_size * row.numel())
        with self.results("a table of all processes"):
            all_gather_into(table, row.reshape(-1).contiguous())
        return table.view(self.world_size, *row.shape)

    def broadcast_(self, tensor: torch.Tensor, root: int) -> torch.Tensor:
        """Copy the root's values to every process, in place; returns `tensor`."""
        if self.world_size > 1:
            with self.results(f"what rank {root} sends"):
                dist.broadcast(tensor, root)
        return tensor

    def broadcast_bytes(self, data: bytes | None) -> bytes | None:
        """Rank 0's bytes, or its None, on every process; what the others pass is ignored."""
        if self.world_size == 1:
            return data
        said = torch.tensor([-1 if data is None else len(data)], device=self.device)
        length = int(self.broadcast_(said, root=0))
        if length < 0:
            return None
        if self.rank == 0:
            assert data is not None, "a length of its own is not negative"
            buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8).to(self.device)
        else:
            buffer = torch.empty(length, dtype=torch.uint8, device=self.device)
        return self.broadcast_(buffer, root=0).cpu().numpy().tobytes()

    def first_to_differ(self, digest: bytes) -> int | None:
        """The lowest rank whose `digest` (equally long everywhere) is not rank 0's; None if all agree."""
        table = self.gather(torch.frombuffer(bytearray(digest), dtype=torch.uint8).to(self.device))
        differs = (table != table[0]).any(1).nonzero()
        return int(differs[0]) if len(differs) else None

    def synchronise(self) -> None:
        """Wait for the device and for all processes; stands on both sides of everything that is timed."""
        with self.others("all processes to get here"):
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)  # what is queued there may wait for the others as well
            if self.world_size > 1:
                dist.barrier()

    def union(self, numbers: set[int]) -> list[int]:
        """The numbers that any process has, in rising order, on every process."""
        if self.world_size == 1:
            return sorted(numbers)
        own = torch.tensor(sorted(numbers), dtype=torch.int64, device=self.device)
        counts = self.gather(torch.tensor([len(own)], device=self.device)).flatten().tolist()
        row = own.new_zeros(max(1, *counts))
        row[: len(own)] = own
        rows = self.gather(row).tolist()
        return sorted({number for found, count in zip(rows, counts) for number in found[:count]})

    def __enter__(self) -> "Comm":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_) -> None:
        if kind is None or issubclass(kind, Preempted):  # what all processes do together
            self.close()
        else:
            self.abandon()

    def close(self) -> None:
        """Disconnect, together with all others. A CUDA graph that holds collectives must have gone: NCCL waits for it."""
        self.watch.close()
        if self.world_size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def abandon(self) -> None:
        """Before this process leaves after an error: disconnecting would wait for others, who do not come."""
        self.watch.stop()
