"""What the tests of LARS share: a network without a forward pass, and every back-end over a network's parameters."""

import torch
from torch import nn

from reproduce.engine.dist.comm import Comm
from reproduce.engine.dist.gradients import make_gradients
from reproduce.engine.optim import make_lars, split_parameters
from reproduce.engine.workers import WorkerBatchNorm2d
from reproduce.recipe.schema import Communication

NORMS_ONLY = "apex, norms only"
BACKENDS = ("foreach", "native", "compiled", "apex", NORMS_ONLY)


class Tiny(nn.Module):
    """Tensors of a few shapes, in modules of the types that decide who is adapted; never run."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, bias=False)
        self.bn = WorkerBatchNorm2d(8, 1e-5, 0.9)
        self.pointwise = nn.Conv2d(8, 16, 1, bias=False)
        self.zeros = nn.Conv2d(4, 4, 1, bias=False)
        self.fc = nn.Linear(16, 10)


def contender(model, backend, constants):
    """A back-end over a network's own parameters and gradients, laid out as in training."""
    gradients = make_gradients(model, Comm(torch.device("cpu")), Communication("cubic:1"))
    return make_lars(backend.partition(",")[0], *split_parameters(model), constants, gradients)
