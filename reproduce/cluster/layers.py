"""The work of ResNet-50 v1.5, layer by layer: what the model of a step counts. No torch.

He et al. 2016, with the stride in the 3x3 convolution (v1.5). The tensors are those of the engine's network, in its
order of definition: `recipe/grouping.py` divides both by the same rules, and a test holds the two lists equal.
"""

import functools
from dataclasses import dataclass

from reproduce.recipe.grouping import Tensor

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # width of the bottleneck, blocks
EXPANSION = 4  # a block's output is so many times as wide as its bottleneck
CLASSES = 1000


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution, batch norm (with its ReLU and addition) or the classifier; counts per image.

    A convolution is a matrix product of `rows` (output pixels of an image) x `depth` by `depth` x `columns`.
    """

    name: str
    kind: str  # "conv" | "norm" | "fc"
    tensors: tuple[Tensor, ...]
    inputs: int  # elements read
    outputs: int  # elements written
    rows: int = 0
    columns: int = 0
    depth: int = 0
    input_rows: int = 0  # pixels of the input: the rows of the product that gives the gradient of the input
    channels: int = 0  # of the input: its columns

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the forward pass, per image."""
        return self.rows * self.columns * self.depth

    @functools.cached_property
    def weights(self) -> int:
        return sum(tensor.elements for tensor in self.tensors)


@functools.lru_cache
def resnet50(image_size: int = 224, channels: int = 3) -> tuple[Layer, ...]:
    """The layers in the order of the forward pass, which is that of definition; backward goes the other way.

    `image_size` in pixels, square; `channels` of the input (4: with the team's zero plane).
    """
    layers: list[Layer] = []

    def conv(name: str, norm: str, size: int, inputs: int, outputs: int, kernel: int, stride: int = 1) -> int:
        """Adds a convolution and its batch norm; the side of what comes out."""
        side = (size + 2 * (kernel // 2) - kernel) // stride + 1
        weight = Tensor(f"{name}.weight", outputs * inputs * kernel**2, False)
        layers.append(Layer(name, "conv", (weight,), inputs * size**2, outputs * side**2, side**2, outputs,
                            inputs * kernel**2, size**2, inputs))  # fmt: skip
        scale_and_shift = tuple(Tensor(f"{norm}.{part}", outputs, True) for part in ("weight", "bias"))
        layers.append(Layer(norm, "norm", scale_and_shift, outputs * side**2, outputs * side**2))
        return side

    size = (conv("conv1", "bn1", image_size, channels, 64, 7, 2) + 1) // 2  # a max pool halves it again
    wide = 64
    for stage, (width, blocks) in enumerate(STAGES, 1):
        for block in range(blocks):
            stride, name = 2 if stage > 1 and block == 0 else 1, f"layer{stage}.{block}"
            conv(f"{name}.conv1", f"{name}.bn1", size, wide, width, 1)
            inner = conv(f"{name}.conv2", f"{name}.bn2", size, width, width, 3, stride)
            conv(f"{name}.conv3", f"{name}.bn3", inner, width, EXPANSION * width, 1)
            if block == 0:
                conv(f"{name}.downsample.0", f"{name}.downsample.1", size, wide, EXPANSION * width, 1, stride)
            wide, size = EXPANSION * width, inner
    classifier = (Tensor("fc.weight", wide * CLASSES, False), Tensor("fc.bias", CLASSES, False))
    return (*layers, Layer("fc", "fc", classifier, wide, CLASSES, 1, CLASSES, wide, 1, wide))


def tensors(layers: tuple[Layer, ...]) -> list[Tensor]:
    """All parameters, in the order of definition."""
    return [tensor for layer in layers for tensor in layer.tensors]


def places(layers: tuple[Layer, ...]) -> list[int]:
    """For each of `tensors`, the place of its layer: once backward has passed it, the gradient is ready."""
    return [place for place, layer in enumerate(layers) for _ in layer.tensors]
