"""Public loaders that make the same batches as ours: random resized crop, flip, normalisation to float32.

`make(folder, data, batch)` gives an iterable of (images, labels), an epoch each time it is iterated over; `data` is a
config's `Data`. All work in the calling process, which has one core: workers of their own could only be slower.
"""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import io, transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import InterpolationMode, v2


def fractions(values: tuple[float, ...]) -> tuple[float, ...]:
    """Pixel statistics on the scale of 0 to 1, where these packages want them."""
    return tuple(value / 255 for value in values)


def torchvision_pil(folder: Path, data, batch: int) -> DataLoader:
    """The transforms of torchvision's and PyTorch's own training scripts, on PIL images."""
    transform = transforms.Compose([
        transforms.RandomResizedCrop(data.image_size, data.crop_area, data.crop_aspect, InterpolationMode.BILINEAR),
        transforms.RandomHorizontalFlip(data.flip_probability),
        transforms.ToTensor(),
        transforms.Normalize(fractions(data.mean), fractions(data.std)),
    ])  # fmt: skip
    files = ImageFolder(str(folder), transform, loader=partial(_open, mode="L" if len(data.mean) == 1 else "RGB"))
    return DataLoader(files, batch, shuffle=True, num_workers=0)


def _open(path: str, mode: str) -> Image.Image:
    with Image.open(path) as image:
        return image.convert(mode)


def tensor_decoder(mode: str) -> tuple[str, Callable[[str], torch.Tensor]]:
    """Which package decodes files to tensors uint8 [C, H, W] for torchvision, and how; `mode` is "RGB" or "GRAY".

    torchvision's own decoders are deprecated since 0.29 in favour of torchcodec's, which are as fast.
    """
    try:
        from torchcodec.decoders import decode_image
    except (ImportError, OSError, RuntimeError):  # not installed, or not for this torch: it loads libraries
        return "torchvision", partial(_decode_by_torchvision, mode=io.ImageReadMode[mode])
    return "torchcodec", partial(decode_image, mode=mode)


def _decode_by_torchvision(path: str, mode: io.ImageReadMode) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return io.decode_image(path, mode)


def torchvision_tensors(folder: Path, data, batch: int) -> DataLoader:
    """The second version of the transforms, on decoded tensors. Raises ImportError where nothing decodes to them."""
    _, decode = tensor_decoder("GRAY" if len(data.mean) == 1 else "RGB")
    transform = v2.Compose([
        v2.RandomResizedCrop(data.image_size, data.crop_area, data.crop_aspect, InterpolationMode.BILINEAR),
        v2.RandomHorizontalFlip(data.flip_probability),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(fractions(data.mean), fractions(data.std)),
    ])  # fmt: skip
    files = ImageFolder(str(folder), transform, loader=decode)
    try:
        files.loader(files.samples[0][0])
    except RuntimeError as error:
        raise ImportError(f"this torchvision decodes no images itself: {error}") from None
    return DataLoader(files, batch, shuffle=True, num_workers=0)


def timm(folder: Path, data, batch: int):
    """timm's loader and transforms as its training script sets them up, colour jitter off. Raises ImportError."""
    from timm.data import ImageDataset, create_loader

    size = (len(data.mean), data.image_size, data.image_size)
    return create_loader(
        ImageDataset(str(folder)), size, batch, is_training=True, scale=data.crop_area, ratio=data.crop_aspect,
        hflip=data.flip_probability, color_jitter=None, interpolation="bilinear", mean=fractions(data.mean),
        std=fractions(data.std), num_workers=0, persistent_workers=False, device=torch.device("cpu"),
    )  # fmt: skip
