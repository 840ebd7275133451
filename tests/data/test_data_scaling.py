"""The C kernel gives PIL's pixels, to the bit, and the torchvision back-end the same images with it and without."""

import numpy as np
import pytest
import torch
from PIL import Image

from reproduce.engine.data import scaling, torchvision_backend, windows
from reproduce.engine.data.scaling import Scaler, kernel
from reproduce.engine.data.torchvision_backend import TorchvisionBackend
from tests.helpers.data import encode, images_of, job, make_config, picture, samples

CPU = torch.device("cpu")


def noise(height: int, width: int, channels: int, seed: int = 1) -> Image.Image:
    shape = (height, width, channels) if channels == 3 else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def by_pil(image: Image.Image, row: list[int], offset: list[int], flip: bool, size: int) -> np.ndarray:
    top, left, height, width, *resized = row
    image = image.crop((left, top, left + width, top + height)).resize(resized[::-1], Image.Resampling.BILINEAR)
    image = image.crop((offset[1], offset[0], offset[1] + size, offset[0] + size))
    found = np.atleast_3d(np.asarray(image))
    return found[:, ::-1] if flip else found


def by_kernel(image, row, offset, flip, size, kept=False) -> np.ndarray:
    channels = len(image.getbands())
    found = np.zeros((1, size, size, channels), np.uint8)
    scaler = Scaler(kernel(), found, np.array([row]), np.array([offset]), np.array([flip]))
    if kept:
        scaler.pixels(0, np.asarray(image)[None])
    else:
        scaler.picture(0, image)
    return found[0]


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize(
    ("row", "size", "offset"),
    [
        ([0, 0, 90, 130, 40, 40], 40, [0, 0]),  # smaller
        ([5, 7, 85, 33, 40, 40], 40, [0, 0]),  # tall: PIL may begin along the columns
        ([80, 3, 10, 90, 40, 40], 40, [0, 0]),
        ([11, 12, 13, 14, 61, 61], 61, [0, 0]),  # larger
        ([20, 30, 40, 40, 40, 40], 40, [0, 0]),  # as it is
        ([0, 0, 90, 130, 32, 46], 28, [2, 9]),  # the centre of it
        ([0, 0, 90, 20, 144, 32], 28, [58, 2]),
        ([89, 129, 1, 1, 5, 5], 5, [0, 0]),
        ([2, 2, 80, 120, 1, 1], 1, [0, 0]),
    ],
)
def test_the_kernel_equals_pil(channels, row, size, offset):
    image = noise(90, 130, channels)
    for flip in (False, True):
        expected = by_pil(image, row, offset, flip, size)
        for kept in (False, True):
            assert np.array_equal(by_kernel(image, row, offset, flip, size, kept), expected)


def test_windows_at_random_equal_pils():
    random = np.random.default_rng(2)
    for number in range(150):
        height, width = random.integers(1, 200, 2).tolist()
        top, left = int(random.integers(height)), int(random.integers(width))
        window = [top, left, *(int(random.integers(1, room + 1)) for room in (height - top, width - left))]
        size, more = int(random.integers(1, 90)), random.integers(0, 9, 2).tolist()
        row, offset = [*window, size + more[0], size + more[1]], [int(random.integers(room + 1)) for room in more]
        image = noise(height, width, 3 if number % 2 else 1, number)
        assert np.array_equal(by_kernel(image, row, offset, False, size), by_pil(image, row, offset, False, size)), row


def test_a_picture_in_several_blocks_of_memory(monkeypatch):
    """PIL has no address for those; it happens from 16 MB on."""
    before = Image.core.get_block_size()
    try:
        Image.core.set_block_size(4096)
        image = noise(90, 130, 3)
    finally:
        Image.core.set_block_size(before)
    with pytest.raises(ValueError):
        image.__arrow_c_array__()
    row = [3, 5, 60, 70, 20, 20]
    assert np.array_equal(by_kernel(image, row, [0, 0], True, 20), by_pil(image, row, [0, 0], True, 20))


# ---- the back-end ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("channels", [3, 1])
def test_without_the_kernel_the_images_are_the_same(tmp_path, monkeypatch, channels, training):
    data, files, rows = samples(tmp_path, channels, training)
    with_it = images_of(data, files, *rows)
    monkeypatch.setattr(torchvision_backend, "kernel", lambda: None)
    assert torch.equal(with_it, images_of(data, files, *rows))


def test_the_kernel_is_what_the_back_end_uses(tmp_path, monkeypatch):
    data, filled = make_config(tmp_path).data, []
    assert kernel()  # its probe fills some, too
    picture_ = Scaler.picture
    monkeypatch.setattr(torchvision_backend, "decoder", lambda: None)
    monkeypatch.setattr(Scaler, "picture", lambda self, *args: filled.append(args[0]) or picture_(self, *args))
    rows = windows.centre_geometry(np.array([(60, 80)] * 3), data)
    images_of(data, [encode(picture(1, 60, 80))] * 3, *rows)
    assert sorted(filled) == [0, 1, 2]


def test_no_compiler_no_kernel(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", "/bin/false")
    assert kernel.__wrapped__() is None


def test_a_kernel_that_does_not_do_as_pil_is_not_used(monkeypatch):
    resize = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda self, size, how: resize(self, size, Image.Resampling.BICUBIC))
    assert kernel.__wrapped__() is None


def test_the_order_of_the_passes_is_that_of_the_pil_here():
    """One of the two orders differs from it in the rounding: the probe can tell."""
    found = kernel()
    other = found._replace(may_start_down=not found.may_start_down)
    assert scaling._does_as_pil(found) and not scaling._does_as_pil(other)


def test_bytes_that_are_normalised_elsewhere_give_the_same(tmp_path):
    """As on a GPU, to which the bytes go."""
    data, found = make_config(tmp_path).data, []
    rows = windows.centre_geometry(np.array([(60, 80)] * 3), data)
    for kind in (np.float32, np.uint8):
        backend = TorchvisionBackend(data, CPU, threads=1)
        assert backend._kind == np.float32
        backend._kind = kind
        ((_, images),) = backend.stream(iter([job([encode(picture(number, 60, 80)) for number in range(3)], *rows)]))
        backend.close()
        found.append(images)
    assert torch.equal(*found)
