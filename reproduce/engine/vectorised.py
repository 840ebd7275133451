"""Batch norm over many local batches at once: one pass over the images of all workers, not one per worker.

With a local batch of 40 one worker's images are too few to fill a GPU. Here the workers are an axis of their own, and
two compiled functions, forward and backward, go over everything. Formulas: Ioffe and Szegedy, arXiv:1502.03167.
"""

import functools

import torch


def normalise(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, workers: int, eps: float):
    """(y, mean, variance) of x [workers * local batch, C, H, W], which should be channels_last.

    y has the shape and type of x; mean and (unbiased) variance are float32 [workers, C] and carry no gradient.
    """
    count, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(workers, -1, channels)  # of a channels_last tensor a view
    y, mean, var = _Normalise.apply(rows, weight, bias, eps)
    return y.view(count, height, width, channels).permute(0, 3, 1, 2), mean, var


class _Normalise(torch.autograd.Function):
    """Of [workers, values of a channel in one local batch, C], over the middle axis."""

    @staticmethod
    def forward(ctx, rows, weight, bias, eps):
        y, mean, var, scale = compiled(_forward)(rows, weight, bias, eps)
        ctx.save_for_backward(rows, weight, mean, scale)
        ctx.mark_non_differentiable(mean, var)
        return y, mean, var

    @staticmethod
    def backward(ctx, dy, *_):
        return *compiled(_backward)(dy, *ctx.saved_tensors), None


@functools.cache
def compiled(function):
    """Compiled for each shape it meets; not at import, since loading the compiler takes a second that few runs need."""
    return torch.compile(function, dynamic=False)


def _forward(rows, weight, bias, eps: float):
    x = rows.float()
    var, mean = torch.var_mean(x, 1, correction=0)
    scale = torch.rsqrt(var + eps)
    y = (x - mean[:, None]) * (scale * weight)[:, None] + bias
    n = rows.shape[1]
    return y.to(rows.dtype), mean, var * (n / (n - 1)), scale


def _backward(dy, rows, weight, mean, scale):
    d, normed = dy.float(), (rows.float() - mean[:, None]) * scale[:, None]
    dbias, dweight = d.sum(1), (d * normed).sum(1)
    n = rows.shape[1]
    dx = (weight * scale)[:, None] * (d - (dbias[:, None] + normed * dweight[:, None]) / n)
    return dx.to(dy.dtype), dweight.sum(0), dbias.sum(0)
