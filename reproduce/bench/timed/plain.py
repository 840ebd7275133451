"""Training loops as one writes them in PyTorch, and the public networks and optimizers that go into them.

Imports no peer, and nothing of ours, before it is needed: `bench startup` times what each of them imports.
"""

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Optimizer

AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
SMOOTHING = 0.1
# the rates do not matter for the speed; with these, nothing grows without bound on images of noise
RATES: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-5}


class Plain:
    """Zero, forward, loss, backward, optimizer: `step` is one update of all images it was given, which stay in memory.

    Gradients are accumulated over passes of `pass_images` images; batch norm is over the images of a pass.
    """

    def __init__(
        self, network: nn.Module, optimizer: Callable[[nn.Module], Optimizer], images: torch.Tensor,
        labels: torch.Tensor, precision: str = "fp32", channels_last: bool = False, pass_images: int | None = None,
    ):  # fmt: skip
        """images: float32 [N, C, H, W], labels: int64 [N], both on the device. fp16 has its loss scaled."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        device = images.device
        self.network = network.to(device=device).to(memory_format=layout).train()
        self.optimizer = optimizer(self.network)
        self.images = len(images)
        part = pass_images or self.images
        passes = images.contiguous(memory_format=layout).split(part), labels.split(part)
        self._passes = list(zip(*passes, strict=True))
        self._autocast = torch.autocast(device.type, AUTOCAST[precision], enabled=precision != "fp32")
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def step(self) -> None:
        self.optimizer.zero_grad()
        for images, labels in self._passes:
            with self._autocast:
                logits = self.network(images)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=SMOOTHING, reduction="sum") / self.images
            self._scaler.scale(loss).backward()
        self._scaler.step(self.optimizer)
        self._scaler.update()


# ---- networks -------------------------------------------------------------------------------------------------------


def resnet8(channels: int, classes: int) -> nn.Module:
    """The quick tier's network, of torchvision's blocks, with PyTorch's own batch norm and initialisation."""
    from torchvision.models.resnet import BasicBlock

    from reproduce.engine.model import SmallResNet

    def narrowing(inputs: int, outputs: int) -> BasicBlock:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs))
        return BasicBlock(inputs, outputs, stride=2, downsample=shortcut)

    model = SmallResNet(channels, classes, nn.BatchNorm2d)
    model.layer1, model.layer2, model.layer3 = BasicBlock(16, 16), narrowing(16, 32), narrowing(32, 64)
    return model


def torchvision_resnet50() -> nn.Module:
    from torchvision.models import resnet50

    return resnet50()


def timm_resnet50() -> nn.Module:
    import timm

    return timm.create_model("resnet50")


def compiled_timm_resnet50() -> nn.Module:
    return cast(nn.Module, torch.compile(timm_resnet50()))


def data_parallel(network: nn.Module, device: torch.device) -> nn.Module:
    """The network in PyTorch's DistributedDataParallel, in a world of this process alone."""
    import torch.distributed as dist

    if not dist.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    return nn.parallel.DistributedDataParallel(network.to(device))


# ---- optimizers -----------------------------------------------------------------------------------------------------


def sgd(network: nn.Module) -> Optimizer:
    return torch.optim.SGD(network.parameters(), **RATES)


def timm_lars(network: nn.Module) -> Optimizer:
    """timm's Lars as its training script makes it: no decay, and so no trust ratio, for one-dimensional parameters."""
    from timm.optim import create_optimizer_v2

    return create_optimizer_v2(network, opt="lars", **RATES)


# ---- the floor ------------------------------------------------------------------------------------------------------


def training_flop(network: nn.Module, image: torch.Tensor) -> int:
    """Floating-point operations of one image's training, two per multiply-add of convolutions and linear layers.

    image: [1, C, H, W]. Forward, gradient of the weights, and gradient of the inputs but for the layer that the image
    itself goes into. ResNet-50 at 224 x 224: 24.3e9.
    """
    per_layer: list[int] = []

    def count(layer, _inputs, output) -> None:
        per_layer.append(output.numel() * layer.weight[0].numel())  # of a Linear, weight[0] is one output's row

    layers: Iterable[nn.Module] = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    was_training = network.training
    with torch.no_grad():
        network.eval()(image)
    network.train(was_training)
    for handle in handles:
        handle.remove()
    return 2 * (3 * sum(per_layer) - per_layer[0])


class MatrixProducts:
    """As fast as images could go if their multiply-adds ran at the rate of a large matrix product.

    A `step` multiplies matrices of `size` x `size` until about `images` images of `flop` operations each are made up.
    A convolution by an algorithm that saves multiplications can be faster than this.
    """

    def __init__(self, flop: int, images: int, precision: str, device: torch.device, size: int):
        kind = AUTOCAST[precision] or torch.float32
        self._one = torch.randn(size, size, device=device).to(kind)
        self._other, self._result = self._one.clone(), self._one.clone()
        self._times = max(1, round(images * flop / (2 * size**3)))
        self._flop, self.images = flop, self._times * 2 * size**3 / flop

    def step(self) -> None:
        for _ in range(self._times):
            torch.mm(self._one, self._other, out=self._result)

    def note(self, rate: float) -> str:
        """rate: images/s."""
        return f"{rate * self._flop / 1e9:,.0f} GFLOP/s over {self._flop / 1e9:.3g} GFLOP per image"
