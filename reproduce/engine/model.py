"""The networks: torchvision's ResNet-50 v1.5 and a small one of basic blocks, initialised as the team did.

Weights are a pure function of (seed, tensor name), drawn by a counter-based generator on the host: every process
makes the same network by itself, without a broadcast (paper, technique 6), and so does every device type and every
number of processes. A test compares the checksums.
"""

import hashlib

import numpy as np
import torch
from torch import nn

from reproduce.engine.workers import WorkerBatchNorm2d
from reproduce.recipe.load import Config


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al., arXiv:1512.03385, figure 2); `narrows` halves the image.

    [N, `inputs`, H, W] to [N, `outputs`, H / stride, W / stride]. torchvision's own, bit for bit; importing
    torchvision takes as long as importing torch, which each process of a quick run would pay for this alone.
    """

    def __init__(self, inputs: int, outputs: int, norm_layer, narrows: bool = False):
        super().__init__()
        stride = 2 if narrows else 1
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = norm_layer(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = norm_layer(outputs)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm_layer(outputs)) if narrows else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class SmallResNet(nn.Module):
    """ResNet-8 for images of about 28 x 28: a strided 3x3 stem and one basic block each of 16, 32 and 64 channels.

    Input [N, C, H, W], output logits [N, classes].
    """

    def __init__(self, channels: int, classes: int, norm_layer):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, stride=2, padding=1, bias=False)
        self.bn1 = norm_layer(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = BasicBlock(16, 16, norm_layer)
        self.layer2 = BasicBlock(16, 32, norm_layer, narrows=True)
        self.layer3 = BasicBlock(32, 64, norm_layer, narrows=True)
        self.fc = nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def build_model(config: Config) -> nn.Module:
    """The network of `config`, uninitialised, in channels_last, with per-worker batch norm in every place."""

    def norm_layer(features: int) -> WorkerBatchNorm2d:
        return WorkerBatchNorm2d(features, eps=config.model.bn_epsilon, ema_momentum=config.model.bn_momentum)

    channels = config.model.input_channels
    if config.model.name == "resnet50":
        from torchvision.models.resnet import Bottleneck, ResNet  # here, as it takes long: see `BasicBlock`

        model: nn.Module = ResNet(Bottleneck, [3, 4, 6, 3], num_classes=config.data.classes, norm_layer=norm_layer)
        if channels != 3:
            model.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    else:
        model = SmallResNet(channels, config.data.classes, norm_layer)
    for block in model.modules() if config.model.zero_gamma else ():
        last = getattr(block, "bn3", getattr(block, "bn2", None))  # only blocks have these
        if isinstance(last, WorkerBatchNorm2d):
            last.first_gamma = 0.0
    return model.to(memory_format=torch.channels_last)


@torch.no_grad()
def initialise(model: nn.Module, seed: int) -> None:
    """Set every parameter from (seed, its name): conv N(0, sqrt(2 / fan_in)), fc N(0, 0.01), gammas 1, the rest 0.

    With model.zero_gamma a block's last gammas are 0 (Goyal et al., arXiv:1706.02677, section 5.1).

    fan_in counts a padding plane too, as the team's initialiser did (facts c). Selected by module type.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.copy_(_normal(seed, f"{name}.weight", module.weight.shape, (2 / fan_in) ** 0.5))
        elif isinstance(module, nn.Linear):
            module.weight.copy_(_normal(seed, f"{name}.weight", module.weight.shape, 0.01))
            module.bias.zero_()
        elif isinstance(module, WorkerBatchNorm2d):
            module.reset_parameters()
            module.weight.fill_(module.first_gamma)


def _normal(seed: int, name: str, shape: torch.Size, std: float) -> torch.Tensor:
    key = int.from_bytes(hashlib.sha256(f"{seed}/weights/{name}".encode()).digest()[:16], "little")
    draws = np.random.Generator(np.random.Philox(key=key)).standard_normal(tuple(shape), dtype=np.float32)
    return torch.from_numpy(draws * np.float32(std))


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 over all parameters as little-endian fp32, in the order of ``named_parameters``."""
    digest = hashlib.sha256()
    for _, parameter in model.named_parameters():
        digest.update(parameter.detach().float().cpu().contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()
