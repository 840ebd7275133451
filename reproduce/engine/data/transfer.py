"""How batches get from the thread that makes them to the one that trains: on a GPU, without either waiting.

The thread that makes them has a stream of its own: on the one training uses, a copy would wait for all updates queued
there. Not yet run on a GPU; the tests run it with stand-ins for streams.
"""

import contextlib

import torch
from torch import Tensor


class Transfer:
    """For one pair of threads; on a CPU it does nothing but move labels nowhere."""

    def __init__(self, device: torch.device):
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def making(self) -> contextlib.AbstractContextManager:
        """Around all that makes batches, in the thread that does."""
        return contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def put(self, host: Tensor) -> Tensor:
        """A tensor of the host's on the device; the host does not wait, so it goes by pinned memory."""
        return host if self._stream is None else host.pin_memory().to(self._device, non_blocking=True)

    def made(self) -> torch.cuda.Event | None:
        """The moment at which all that was begun so far is there; for `take`."""
        return None if self._stream is None else self._stream.record_event()

    def take(self, made: torch.cuda.Event | None, *tensors: Tensor) -> None:
        """In the thread that trains, before it uses `tensors`: its stream waits, and their memory is kept for it."""
        if made is None:
            return
        training = torch.cuda.current_stream(self._device)
        training.wait_event(made)
        for tensor in tensors:
            tensor.record_stream(training)
