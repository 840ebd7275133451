"""PyTorch's own reducer as the control for static groups: DistributedDataParallel with its default buckets.

Its first bucket is 1 MiB and the others 25 MiB, laid out again after the first backward pass by the order in which the
gradients arrived; so the groups are its business and cannot be stated in a config.
"""

import warnings
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel

from reproduce.engine.dist.comm import Comm
from reproduce.engine.dist.gradients import CONTROLS
from reproduce.recipe.schema import Communication

HOOKS = {"fp16": default_hooks.fp16_compress_hook, "bf16": default_hooks.bf16_compress_hook}


class ReducerGradients:
    """The interface of `gradients.Gradients` over DistributedDataParallel. The controls go by themselves."""

    def __init__(self, model: nn.Module, comm: Comm, settings: Communication):
        self.comm, self.timeline, self.groups = comm, None, ()
        self.parameters = list(model.parameters())
        self.controls = torch.zeros(CONTROLS, device=self.parameters[0].device)
        self.scale = float(comm.world_size)  # the reducer leaves means over processes
        self.network: Any = model
        if comm.world_size > 1:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "`broadcast_buffers`|.*broadcast_buffers", FutureWarning)
                self.network = DistributedDataParallel(
                    model, broadcast_buffers=False, init_sync=False, gradient_as_bucket_view=True
                )
            if settings.wire in HOOKS:
                self.network.register_comm_hook(None, HOOKS[settings.wire])

    def zero(self) -> None:
        self.controls.zero_()
        torch._foreach_zero_([p.grad for p in self.parameters if p.grad is not None])

    def begin_pass(self, last: bool) -> None:
        if self.comm.world_size > 1:
            self.network.require_backward_grad_sync = last  # what its `no_sync` sets

    def wait(self) -> None:
        """The reducer has waited at the end of backward. On a GPU the host does not wait."""
        if self.comm.world_size > 1:
            with self.comm.others("the gradients of an update"):
                dist.all_reduce(self.controls)

    def largest(self) -> torch.Tensor:
        """float32 [0]: there are no groups."""
        return self.controls[:0]

    def table(self) -> None:
        return None

    def close(self) -> None:
        """Holds nothing open."""
