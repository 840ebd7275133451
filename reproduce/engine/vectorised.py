"""Batch norm over many local batches at once: one pass over the images of all workers, not one per worker.

With a local batch of 40 one worker's images are too few to fill a GPU. Here the workers are an axis of their own, and
two compiled functions, forward and backward, go over everything. Formulas: Ioffe and Szegedy, arXiv:1502.03167.
"""

import functools
import inspect

import torch

SHAPES = 64  # that a compiled function may meet: ResNet-50 has 12 of each size of a pass
LAYOUT = torch.channels_last


def normalise(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, table: torch.Tensor, eps: float):
    """Normalise x [workers * local batch, C, H, W], which should be channels_last.

    The result is no view, so that what follows may work on it in place. `table` float32 [2, workers, C] is filled with
    the means and the unbiased variances; no gradient comes from it.
    """
    return _Normalise.apply(x, weight, bias, table, eps)


def _rows(x: torch.Tensor, workers: int) -> torch.Tensor:
    """x [workers * local batch, C, H, W] as [workers, values of a channel in one local batch, C]; a view."""
    return x.permute(0, 2, 3, 1).view(workers, -1, x.shape[1])


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, table, eps):
        workers, x = table.shape[1], x.contiguous(memory_format=LAYOUT)
        y = torch.empty_like(x)
        mean, scale = compiled(_forward)(_rows(y, workers), table, _rows(x, workers), weight, bias, eps)
        ctx.save_for_backward(x, weight, mean, scale)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, weight, mean, scale = ctx.saved_tensors
        dy, dx = dy.contiguous(memory_format=LAYOUT), torch.empty_like(x)
        given = (_rows(t, len(mean)) for t in (dx, dy, x))
        return dx, *compiled(_backward)(*given, weight, mean, scale), None, None


@functools.cache
def compiled(function):
    """Compiled for each shape it meets, up to `SHAPES`; PyTorch's own limit is 8, beyond which it compiles no more.

    Not at import, since loading the compiler takes a second that few runs need. ``fullgraph`` makes an error of what
    would otherwise run uncompiled without a word. The limit is an argument where there is one: settings of
    ``torch._dynamo.config`` do not reach the thread in which backward runs on a GPU.
    """
    limit = {"recompile_limit": SHAPES}
    if not limit.keys() <= inspect.signature(torch.compile).parameters.keys():
        torch._dynamo.config.recompile_limit = limit.pop("recompile_limit")  # an older PyTorch, with one for all
    return torch.compile(function, dynamic=False, fullgraph=True, **limit)


def _forward(y, table, rows, weight, bias, eps: float):
    """Writes y and the table."""
    x = rows.float()
    var, mean = torch.var_mean(x, 1, correction=0)
    scale = torch.rsqrt(var + eps)
    y.copy_((x - mean[:, None]) * (scale * weight)[:, None] + bias)
    n = rows.shape[1]
    table[0].copy_(mean)
    table[1].copy_(var * (n / (n - 1)))
    return mean, scale


def _backward(dx, dy, rows, weight, mean, scale):
    """Writes dx."""
    d, normed = dy.float(), (rows.float() - mean[:, None]) * scale[:, None]
    dbias, dweight = d.sum(1), (d * normed).sum(1)
    n = rows.shape[1]
    dx.copy_((weight * scale)[:, None] * (d - (dbias[:, None] + normed * dweight[:, None]) / n))
    return dweight.sum(0), dbias.sum(0)
