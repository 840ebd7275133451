"""DALI and torchvision make the same pixels from the same files, and torchvision's are its own transforms'.

Tolerance, in grey levels of 255. Both scale in two passes that round to whole levels, in different arithmetic:
inside the picture they may differ by one level, and do in a tenth to a fifth of the values. On the outermost ring of
pixels the kernel overhangs the window; PIL leaves the overhang out and renormalises, DALI repeats the edge pixel, so
there the difference grows with the shrinking factor and the detail at the edge: at most two levels at the paper's 224,
up to 16 where 375 pixels shrink to 28, a few levels in the mean.
"""

import importlib
import io
import struct
import zlib

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as F
from PIL import Image
from torchvision.transforms import InterpolationMode

from reproduce.engine.data import windows
from reproduce.engine.data.plan import AUGMENT, uniforms
from reproduce.engine.data.torchvision_backend import TorchvisionBackend
from tests.helpers.data import BACKENDS, NEEDS_DALI, encode, job, make_config, picture

CPU = torch.device("cpu")
SIZES = np.array([(375, 500), (500, 333), (64, 97), (31, 240), (240, 29), (128, 128), (401, 299), (28, 28)])
GREY = {"data__mean": [72.9], "data__std": [90.0], "model__input_channels": 1}
RESOLUTIONS = {224: 256, 28: 32}


def case(tmp_path, kind, channels, image_size, training):
    grey = {} if channels == 3 else GREY
    data = make_config(tmp_path, data__image_size=image_size, data__eval_resize=RESOLUTIONS[image_size], **grey).data
    files = [encode(picture(i, *size, channels), kind) for i, size in enumerate(SIZES.tolist())]
    if training:
        draws = uniforms(3, AUGMENT, (), (len(SIZES), windows.DRAWS))
        return data, job(files, *windows.train_geometry(SIZES, draws, data))
    return data, job(files, *windows.centre_geometry(SIZES, data))


def execute(backend, work) -> torch.Tensor:
    ((_, images),) = backend.stream(iter([work]))
    backend.close()
    return images


def grey_levels(images: torch.Tensor, data) -> torch.Tensor:
    return images * torch.tensor(data.std) + torch.tensor(data.mean)


@NEEDS_DALI
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("image_size", RESOLUTIONS)
@pytest.mark.parametrize(("kind", "channels"), [("JPEG", 3), ("JPEG", 1), ("PNG", 3), ("PNG", 1)])
def test_dali_equals_torchvision(tmp_path, kind, channels, image_size, training):
    dali = importlib.import_module("reproduce.engine.data.dali")
    data, work = case(tmp_path, kind, channels, image_size, training)
    assert not training or 0 < work.flips.sum() < len(SIZES)
    ours = execute(dali.DaliBackend(data, CPU, threads=1, max_batch=16), work)
    reference = execute(TorchvisionBackend(data, CPU, threads=2), work)
    assert ours.shape == reference.shape == (len(SIZES), image_size, image_size, channels)
    assert ours.dtype == reference.dtype == torch.float32
    difference = (grey_levels(ours, data) - grey_levels(reference, data)).abs()
    assert difference[:, 1:-1, 1:-1].max() < 1.01
    assert difference.max() < (2.01 if image_size == 224 else 20)
    assert difference.mean() < 0.35


@pytest.mark.parametrize("image_size", RESOLUTIONS)
def test_torchvision_training_is_its_resized_crop(tmp_path, image_size):
    data, work = case(tmp_path, "JPEG", 3, image_size, training=True)
    found = execute(TorchvisionBackend(data, CPU, threads=2), work)
    for encoded, row, flip, image in zip(work.encoded, work.geometry.tolist(), work.flips, found):
        picture_ = Image.open(io.BytesIO(encoded))
        expected = F.resized_crop(picture_, *row[:4], [image_size] * 2, InterpolationMode.BILINEAR)
        expected = F.normalize(
            F.pil_to_tensor(F.hflip(expected) if flip else expected).float(), data.mean, data.std
        )  # fmt: skip
        assert torch.allclose(image.permute(2, 0, 1), expected, atol=1e-6)


@pytest.mark.parametrize("image_size", RESOLUTIONS)
def test_torchvision_evaluation_is_its_resize_and_centre_crop(tmp_path, image_size):
    data, work = case(tmp_path, "PNG", 3, image_size, training=False)
    found = execute(TorchvisionBackend(data, CPU, threads=1), work)
    for encoded, image in zip(work.encoded, found):
        expected = F.resize(Image.open(io.BytesIO(encoded)), RESOLUTIONS[image_size], InterpolationMode.BILINEAR)
        expected = F.pil_to_tensor(F.center_crop(expected, image_size)).float()
        assert torch.allclose(image.permute(2, 0, 1), F.normalize(expected, data.mean, data.std), atol=1e-6)


def test_only_images_of_another_mode_are_copied(tmp_path, monkeypatch):
    converted, before = [], Image.Image.convert

    def watched(self, mode=None, *args, **kwargs):
        converted.append((self.mode, mode))
        return before(self, mode, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "convert", watched)
    data = make_config(tmp_path, data__image_size=28, data__eval_resize=32).data
    backend = TorchvisionBackend(data, CPU, threads=1)
    files = [encode(picture(1, 40, 50, channels), "JPEG") for channels in (3, 1)]
    converted.clear()
    assert [image.shape for image in backend.decode(files)] == [(40, 50, 3), (40, 50, 3)]
    backend.close()
    assert converted == [("L", "RGB")]


@pytest.mark.parametrize("backend", BACKENDS)
def test_exif_orientation_is_ignored(tmp_path, backend):
    """ImageNet's few rotated files are trained on as stored, by both back-ends alike."""
    data, work = case(tmp_path, "JPEG", 3, 28, training=False)
    image, exif = picture(1, 60, 90), Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    plain, turned = (job([encode(image, **extra)], *windows.centre_geometry(SIZES[:1] * 0 + (60, 90), data))
                     for extra in ({}, {"exif": exif}))  # fmt: skip
    if backend == "dali":
        dali = importlib.import_module("reproduce.engine.data.dali")
        results = [execute(dali.DaliBackend(data, CPU, 1, 16), work) for work in (plain, turned)]
    else:
        results = [execute(TorchvisionBackend(data, CPU, 1), work) for work in (plain, turned)]
    assert torch.equal(*results)


def odd_kinds() -> dict[str, bytes]:
    """The same scene in all that image files of a data set may be."""
    scene, grey = picture(4, 90, 120), picture(4, 90, 120, 1)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 256 + 77)
    veil = Image.fromarray(np.tile(np.linspace(0, 255, 120).astype(np.uint8), (90, 1)))
    palette = scene.quantize(64)
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "jpeg": encode(scene, "JPEG"), "grey.jpeg": encode(grey, "JPEG"),
        "cmyk.jpeg": encode(scene.convert("CMYK"), "JPEG"),
        "progressive.jpeg": encode(scene, "JPEG", progressive=True), "rgb.jpeg": encode(scene, "JPEG", keep_rgb=True),
        "turned.jpeg": encode(scene, "JPEG", exif=exif), "turned.png": encode(scene, "PNG", exif=exif),
        "png": encode(scene, "PNG"), "grey.png": encode(grey, "PNG"), "deep.png": encode(deep, "PNG"),
        "colour16.png": png16(np.asarray(scene)), "interlaced.png": adam7(np.asarray(grey)),
        "palette.png": encode(palette, "PNG"), "clear_palette.png": encode(palette, "PNG", transparency=3),
        "clear_grey.png": encode(grey, "PNG", transparency=128),
        "clear.png": encode(scene, "PNG", transparency=(1, 2, 3)),
        "bits.png": encode(grey.convert("1"), "PNG"), "la.png": encode(Image.merge("LA", (grey, veil)), "PNG"),
        "rgba.png": encode(Image.merge("RGBA", (*scene.split(), veil)), "PNG"), "gif": encode(scene, "GIF"),
        "bmp": encode(scene, "BMP"), "tiff": encode(scene, "TIFF"), "webp": encode(scene, "WEBP", lossless=True),
    }  # fmt: skip


def png(width: int, height: int, bits: int, colour: int, interlaced: int, rows: bytes) -> bytes:
    """A PNG as PIL does not write it."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    sums = (struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts)
    chunks = (struct.pack(">I", len(data)) + kind + data + crc for (kind, data), crc in zip(parts, sums))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def png16(pixels: np.ndarray) -> bytes:
    rows = (pixels.astype(">u2") * 256 + 77).astype(">u2").reshape(len(pixels), -1)
    return png(pixels.shape[1], pixels.shape[0], 16, 2, 0, b"".join(b"\0" + row.tobytes() for row in rows))


def adam7(pixels: np.ndarray) -> bytes:
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    parts = (pixels[top::down, left::right] for top, left, down, right in passes)
    rows = b"".join(b"\0" + row.tobytes() for part in parts for row in part)
    return png(pixels.shape[1], pixels.shape[0], 8, 0, 1, rows)


@NEEDS_DALI
@pytest.mark.parametrize(("colours", "most"), [({}, 1.01), (GREY, 2.01)], ids=["rgb", "grey"])
def test_every_kind_of_image_is_the_same_on_both_back_ends(opened, tmp_path, colours, most):
    """Where colours become grey, that is rounded too."""
    kinds = odd_kinds()
    for part in ("train", "val"):
        for name, content in kinds.items():
            path = tmp_path / part / "n01" / f"{name}.{'png' if 'png' in name else 'JPEG'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    count = {"data__train_images": len(kinds), "data__val_images": len(kinds), "data__classes": 1,
             "batch__local_batch": 2, "data__image_size": 64, "data__eval_resize": 72, **colours}  # fmt: skip
    seen = {}
    for backend in ("dali", "torchvision"):
        batches = list(opened(tmp_path, backend=backend, **count).val_batches())
        seen[backend] = torch.cat([images for images, _, _ in batches])
    data = make_config(tmp_path / "c", **count).data
    scale = torch.tensor(data.std).view(1, -1, 1, 1)
    worst = ((seen["dali"] - seen["torchvision"]).abs() * scale)[..., 1:-1, 1:-1].amax((1, 2, 3))
    differing = {name: round(level.item(), 1) for name, level in zip(sorted(kinds), worst) if level > most}
    assert not differing, "grey levels of 255"
