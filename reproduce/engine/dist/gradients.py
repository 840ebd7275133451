"""Gradients in static groups: each group's allreduce starts while backward still computes the next one's.

Paper, techniques 8 and 9; the team's rule and order: facts e. Every process derives the same groups from the same
network (`grouping.divide`), so nothing is negotiated: a group is sent once its last gradient is there and all groups
before it have been sent. Only the last pass of an update sends; earlier passes add to the same buffer.
"""

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import cast

import torch
from torch import nn

from reproduce.engine.dist.comm import Comm
from reproduce.engine.dist.groups import tensors_of
from reproduce.recipe.grouping import divide
from reproduce.recipe.schema import Communication

WIRE = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
LOSS, SAVE, STOP = range(3)  # the controls: what else every process must know after an update
CONTROLS = 3
ROW = 512  # elements; every tensor begins at a multiple of it, so that no row of the buffer belongs to two


def make_gradients(model: nn.Module, comm: Comm, settings: Communication) -> "Gradients":
    """The gradients of a network under a config's [communication]; sets every parameter's `.grad`."""
    if settings.groups == "ddp":
        from reproduce.engine.dist.reducer import ReducerGradients

        return cast(Gradients, ReducerGradients(model, comm, settings))  # of its interface
    return Gradients(model, comm, settings)


class Gradients:
    """All gradients as views of one flat fp32 buffer in the order in which groups are sent.

    Each view keeps its parameter's strides (channels_last stays) and begins on a row of its own. The buffer ends with
    the batch-norm group, always summed in fp32, and the controls, which travel with it: the sum of the losses, so that
    every process sees the same global loss and a non-finite one stops them all together, and how many processes ask to
    save or to stop.

    An update: `zero`, then per pass `begin_pass`, `network(images)`, backward, and at the end `wait`. `timeline`, if
    set to a list, collects (name, group, nanoseconds): "ready", "send" and "done" of every group.
    """

    scale = 1.0  # the sums, as `wait` leaves them, times this are sums over all processes

    def __init__(self, model: nn.Module, comm: Comm, settings: Communication):
        self.network: Callable = model
        self.comm, self.overlap = comm, settings.overlap
        self.timeline: list[tuple[str, int, int]] | None = None
        self.groups = divide(tensors_of(model), settings.groups)
        self.begins: dict[int, int] = {}  # id of a parameter -> where its gradient begins
        self.buffer, self._slices = self._lay_out(list(model.parameters()), WIRE[settings.wire])
        self.controls = self.buffer[-CONTROLS:]
        self._missing, self._next, self._armed = [0] * len(self.groups), len(self.groups), False
        several = comm.world_size > 1
        self._sender = (_Stream if comm.device.type == "cuda" else _Thread)(self._begin) if several else None

    def _lay_out(self, parameters: list[nn.Parameter], wire: torch.dtype):
        """The buffer and, for each group, (its slice, its copy on the wire or None if that is the slice itself)."""
        bounds, offset, whole = [], 0, math.lcm(ROW, self.comm.multiple)
        for number, group in enumerate(self.groups):
            begin = offset
            for i in group.ids:
                self.begins[id(parameters[i])] = offset
                offset = up_to(ROW, offset + parameters[i].numel())  # what is left out stays zero
            offset = up_to(whole, offset + (CONTROLS if number + 1 == len(self.groups) else 0))
            bounds.append((begin, offset))
        buffer, slices = torch.zeros(offset, device=parameters[0].device), []
        for number, (group, (begin, end)) in enumerate(zip(self.groups, bounds)):
            for i in group.ids:
                p = parameters[i]
                p.grad = torch.as_strided(buffer, p.shape, p.stride(), self.begins[id(p)])
                p.register_post_accumulate_grad_hook(lambda _, number=number: self._arrived(number))
            full = number + 1 == len(self.groups) or wire == torch.float32  # the last: batch norm and the controls
            flat = buffer[begin:end]
            slices.append((flat, None if full else torch.empty_like(flat, dtype=wire)))
        return buffer, slices

    def zero(self) -> None:
        self.buffer.zero_()

    def begin_pass(self, last: bool) -> None:
        """Call before the forward pass of each chunk; `last` makes its backward pass send the groups."""
        if last and self.comm.world_size > 1:
            self._missing, self._next, self._armed = [len(group.ids) for group in self.groups], 0, self.overlap

    def _arrived(self, number: int) -> None:
        if not self._armed:
            return
        self._missing[number] -= 1
        if self._missing[number] == 0:
            self._note("ready", number)
        # in the fixed order, whatever the order in which backward finished them
        while self._next < len(self.groups) and self._missing[self._next] == 0:
            self._send()

    def _send(self) -> None:
        assert self._sender is not None, "only several processes send"
        self._sender.put(self._next)
        self._next += 1

    def wait(self) -> None:
        """Send what has not been sent, and return when the buffer holds the sums over all processes.

        On a GPU the host does not wait: later work on the current stream does.
        """
        if self._sender is None:
            return
        self._armed = False
        while self._next < len(self.groups):
            self._send()
        with self.comm.others("the gradients of an update"):
            self._sender.wait()

    def largest(self) -> torch.Tensor:
        """float32 [groups]: the largest magnitude in each group as it is; not finite if one of them is not."""
        return torch.stack(torch._foreach_norm([flat for flat, _ in self._slices], math.inf))

    def _begin(self, number: int) -> Callable[[], None]:
        """Begin to sum a group; what comes back ends it."""
        flat, wire = self._slices[number]
        self._note("send", number)
        if wire is not None:
            wire.copy_(flat)
        work = self.comm.reduce_(flat if wire is None else wire)

        def end() -> None:
            if work is not None:
                work.wait()  # with NCCL the stream waits, not the host
            if wire is not None:
                flat.copy_(wire)
            self._note("done", number)

        return end

    def _note(self, name: str, number: int) -> None:
        if self.timeline is not None:
            self.timeline.append((name, number, time.perf_counter_ns()))

    def table(self) -> list[list[int]]:
        """[tensors, elements, bytes on the wire] of each group as sent, for the log."""
        return [
            [len(group.ids), group.elements, group.elements * (flat if wire is None else wire).element_size()]
            for group, (flat, wire) in zip(self.groups, self._slices)
        ]

    def close(self) -> None:
        if self._sender is not None:
            self._sender.close()


def up_to(multiple: int, count: int) -> int:
    """`count`, rounded up to a multiple."""
    return -(-count // multiple) * multiple


IN_FLIGHT = 2  # groups at a time: while one adds up, the other keeps the link busy; gloo has two threads


class _Thread:
    """Begins what is put, in order, and ends it, beside backward. For CPUs: gloo's calls block."""

    def __init__(self, begin: Callable[[int], Callable[[], None]]):
        self._begin = begin
        self._error: Exception | None = None
        self._queue: queue.Queue = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="gradients", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        flying: deque[Callable[[], None]] = deque()
        while True:
            if flying and (len(flying) == IN_FLIGHT or self._queue.empty()):
                self._try(flying.popleft())
                self._queue.task_done()
            elif (item := self._queue.get()) is None:
                return
            else:
                flying.append(self._try(self._begin, item) or _nothing)

    def _try(self, step: Callable, *arguments):
        """Do it, unless an earlier step has failed: a lost process. The error is raised where the update waits."""
        try:
            return step(*arguments) if self._error is None else None
        except Exception as error:
            self._error = error

    def put(self, item: int) -> None:
        self._queue.put(item)

    def wait(self) -> None:
        self._queue.join()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self._queue.put(None)
        if self._error is None:
            self._thread.join()


def _nothing() -> None:
    pass


class _Stream:
    """Does all at once on a stream of its own, behind what the current stream has done so far. For GPUs."""

    def __init__(self, begin: Callable[[int], Callable[[], None]]):
        self._begin, self._stream = begin, torch.cuda.Stream(priority=-1)

    def put(self, item: int) -> None:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            self._begin(item)()

    def wait(self) -> None:
        torch.cuda.current_stream().wait_stream(self._stream)

    def close(self) -> None:
        """Holds nothing open."""
