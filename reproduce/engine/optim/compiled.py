"""LARS as two compiled passes over one flat buffer of weights, one of momenta and the gradients' own.

All three are laid out alike, every tensor beginning on a row of its own (`gradients.ROW` elements): so a pass is one
kernel over all rows, whatever the tensors, and what differs by tensor is a column of numbers, one for each row.
"""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from reproduce.engine.dist.gradients import ROW, Gradients
from reproduce.engine.optim.foreach import Lars, trust_ratios
from reproduce.engine.vectorised import compiled
from reproduce.errors import ConfigError


class CompiledLars(Lars):
    """As `Lars`, by torch.compile. The weights move into a flat buffer: build it when the model is on its device.

    `hyper` [4] holds learning rate, weight decay, momentum and gradient scale on the device: `set` writes and `update`
    reads it, so that a CUDA graph may hold `update`. Raises `ConfigError` without static groups.
    """

    name = "compiled"

    def __init__(self, weights, others, constants, gradients):
        super().__init__(weights, others, constants)
        if not isinstance(gradients, Gradients):
            raise ConfigError("LARS back-end compiled: needs static groups: with PyTorch's DDP use foreach")
        device = gradients.buffer.device
        self.hyper = torch.zeros(4, device=device)
        rows = len(gradients.buffer) // ROW
        self._g = gradients.buffer.view(rows, ROW)
        self._w, self._v = torch.zeros_like(self._g), torch.zeros_like(self._g)
        # a row of padding or controls, of no tensor, belongs to the tensor after the last, which is never adapted
        tensor_of_row, rows_of = torch.full((rows,), len(self.parameters)), []
        for number, p in enumerate(self.parameters):
            begin = gradients.begins[id(p)]
            first, end = begin // ROW, -(-(begin + p.numel()) // ROW)
            rows_of.append(range(first, end))
            tensor_of_row[first:end] = number
            self._move(p, number, begin)
        self._stages = [stage.to(device) for stage in stages([*rows_of, range(0)], rows)]
        self._tensor_of_row = tensor_of_row.to(device)
        self._adapts = (torch.arange(len(self.parameters) + 1) < self.adapted).to(device)

    @torch.no_grad()
    def _move(self, p: torch.nn.Parameter, number: int, begin: int) -> None:
        w, v = (torch.as_strided(flat, p.shape, p.stride(), begin) for flat in (self._w, self._v))
        w.copy_(p)
        p.data = w
        self.momenta[number] = v

    def set(self, lr: float, weight_decay: float, momentum: float, gradient_scale: float) -> None:
        for place, value in zip(self.hyper, (lr, weight_decay, momentum, gradient_scale)):
            place.fill_(value)  # unlike a copy from the host, never makes a GPU's host wait

    @torch.no_grad()
    def update(self) -> None:
        lr, weight_decay, momentum, scale = self.hyper.unbind()
        s, decay = self._of_tensors(lr, weight_decay, scale)
        convention = self.c.preset.convention
        inner = s * lr if convention == "A" else s if convention == "B" else torch.ones_like(s)
        outer = torch.ones_like(s) if convention == "A" else s * lr if convention == "C" else torch.ones_like(s) * lr
        columns = torch.stack([inner, outer, decay])[:, self._tensor_of_row, None].unbind()
        compiled(_nesterov if self.c.nesterov else _update)(self._w, self._v, self._g, *columns, momentum, scale)

    def _of_tensors(self, lr, weight_decay, scale) -> tuple[torch.Tensor, torch.Tensor]:
        """(s, decay) of every tensor, and of the rows of none: [tensors + 1]."""
        decay = torch.where(self._adapts, weight_decay, 0.0)
        if not self.c.preset.adapts:
            return torch.ones_like(decay), decay
        w_norm, g_norm = self._sums(torch.stack(compiled(_squares)(self._w, self._g)).double()).sqrt()
        s, usable = trust_ratios(self.c, w_norm, g_norm * scale, lr, weight_decay)
        if not self.c.preset.decays_unadapted:
            decay = torch.where(usable, decay, 0.0)
        return torch.where(self._adapts, s, 1.0), decay


    def _sums(self, rows: torch.Tensor) -> torch.Tensor:
        """[2, tensors + 1]: the sums over each tensor's rows, of [2, rows], added up in one order on every device.

        A GPU's `index_add_` adds in the order in which threads arrive, and processes would drift apart.
        """
        for stage in self._stages:
            rows = F.pad(rows, (0, 1))[:, stage].sum(2)
        return rows


WIDTH = 64  # rows, and then sums of rows, that are added at a time


def stages(groups: Sequence[range], count: int) -> list[torch.Tensor]:
    """How `count` numbers are added up by group: tables [sums, at most so many of each] of what to add.

    The first adds `WIDTH` neighbours of one group at a time, the second all of a group's sums. A place that adds
    nothing points behind the last number, where there is to be a zero.
    """
    parts = [group[first : first + WIDTH] for group in groups for first in range(0, len(group), WIDTH)]
    ends = list(itertools.accumulate((-(-len(group) // WIDTH) for group in groups), initial=0))
    return [_table(parts, count), _table([range(a, b) for a, b in zip(ends, ends[1:])], len(parts))]


def _table(groups: Sequence[range], nothing: int) -> torch.Tensor:
    table = torch.full((len(groups), max(map(len, groups))), nothing)
    for row, group in zip(table, groups):
        row[: len(group)] = torch.arange(group.start, group.stop)
    return table


def _squares(w: torch.Tensor, g: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of squares of rows."""
    return w.square().sum(1), g.square().sum(1)


def _update(w, v, g, inner, outer, decay, momentum, scale) -> None:
    v.mul_(momentum).add_(inner * (g * scale + decay * w))
    w.sub_(outer * v)


def _nesterov(w, v, g, inner, outer, decay, momentum, scale) -> None:
    d = inner * (g * scale + decay * w)
    v.mul_(momentum).add_(d)
    w.sub_(outer * (momentum * v + d))
