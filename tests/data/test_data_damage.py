"""Damaged image files: named in one line, or left out and counted where the config allows it."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from reproduce.engine.data.images import substituted
from reproduce.errors import DataError
from tests.helpers.data import BACKENDS, encode, make_folder, updates

DAMAGE = {
    "truncated": lambda data: data[: len(data) // 2],
    "zero bytes": lambda data: b"",
    "no image header": lambda data: b"not an image" * 20,
}


@pytest.fixture
def damaged(tmp_path):
    """A function that damages one file of a fresh folder and returns (root, path)."""

    def damage(kind, part="train"):
        root = make_folder(tmp_path / "d")
        path = sorted((root / part / "n02").iterdir())[1]
        path.write_bytes(DAMAGE[kind](path.read_bytes()))
        return root, path

    return damage


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_named(opened, damaged, kind, part, backend):
    root, path = damaged(kind, part)
    loader = opened(root, backend=backend)
    with pytest.raises(DataError) as caught:
        list(loader.train_epoch(0) if part == "train" else loader.val_batches())
    message = str(caught.value)
    assert message.startswith(f"{path}: cannot be decoded: ") and "\n" not in message
    assert kind in message and 'corrupt_images = "skip"' in message


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_skipped_and_counted(opened, damaged, tmp_path, kind, backend):
    root, _ = damaged(kind)
    clean = updates(opened(make_folder(tmp_path / "clean"), backend=backend).train_epoch(0))
    loader = opened(root, backend=backend, data__corrupt_images="skip")
    for _ in range(2):  # met for the first time, and known
        found = updates(loader.train_epoch(0))
        changed = [
            (update, slot) for update in clean for slot in range(16)
            if (found[update][0][slot] - clean[update][0][slot]).abs().max() > 0.1
        ]  # fmt: skip
        assert sum(map(len, loader.bad)) == 1
        assert {len(images) for images, _ in found.values()} == {16}
        # the image is met once, or twice in a shard that wraps; only its own slots change
        assert 1 <= len(changed) <= 2
        for update, slot in changed:
            worker = slot // 4
            successor = worker * 4 + (slot + 1) % 4
            assert found[update][1][slot] == clean[update][1][successor]


def test_the_substitute_is_the_next_good_one_of_the_row():
    numbers, bad = np.array([[1, 2, 3, 4], [3, 5, 6, 7], [8, 9, 10, 4]]), [2, 3, 4]
    expected = [[1, 1, 1, 1], [5, 5, 6, 7], [8, 9, 10, 8]]
    assert substituted(numbers, ~np.isin(numbers, bad)).tolist() == expected
    assert substituted(numbers[:1], ~np.isin(numbers[:1], [2])).tolist() == [[1, 3, 3, 4]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_damaged_validation_file_is_left_out(opened, damaged, backend):
    root, path = damaged("truncated", "val")
    loader = opened(root, backend=backend, data__corrupt_images="skip", chunk=1)
    for _ in range(2):  # met for the first time, and known
        numbers = [number for batch in loader.val_batches() for number in batch[2]]
        assert numbers == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert sum(map(len, loader.bad)) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_of_damaged_files_is_an_error(opened, damaged, backend):
    root, _ = damaged("truncated")
    for path in (root / "train").glob("*/*"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="a whole batch of one worker is corrupt"):
        list(opened(root, backend=backend, data__corrupt_images="skip").train_epoch(0))


def test_a_file_that_vanished_is_named(opened, tmp_path):
    root = make_folder(tmp_path / "d")
    loader = opened(root)
    path = sorted((root / "train" / "n01").iterdir())[0]
    path.unlink()
    with pytest.raises(DataError, match=f"{path.name}: cannot be read: No such file"):
        list(loader.train_epoch(0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_image_that_is_too_large_is_said_to_be_too_large(opened, tmp_path, monkeypatch, backend):
    root = make_folder(tmp_path / "d")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    sorted((root / "train" / "n02").iterdir())[1].write_bytes(encode(Image.new("L", (200, 200)), "PNG"))
    with pytest.raises(DataError, match=r"the image is too large: .* pixels"):
        list(opened(root, backend=backend).train_epoch(0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_grey_of_16_bits_is_its_upper_8_bits_on_both_back_ends(opened, tmp_path, backend):
    root = make_folder(tmp_path / "d")
    path = sorted((root / "val" / "n01").iterdir())[0]
    path.write_bytes(encode(Image.fromarray(np.full((60, 60), 100 * 256 + 17, np.uint16)), "PNG"))
    images, _, numbers = next(iter(opened(root, backend=backend).val_batches()))
    grey = images[numbers.tolist().index(0)] * torch.tensor([58.4, 57.1, 57.4])[:, None, None]
    assert (grey + torch.tensor([123.7, 116.3, 103.5])[:, None, None] - 100).abs().max() < 1.01


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["pipe", "device", "huge"])
def test_only_regular_files_of_a_sane_size_are_read(opened, tmp_path, kind, backend):
    root = make_folder(tmp_path / "d")
    path = sorted((root / "val" / "n02").iterdir())[0]
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with open(path, "wb") as file:
            file.truncate(30 << 30)
    with pytest.raises(DataError, match=f"{path.name}: cannot be read: is (no regular file|larger than 256 MB)"):
        list(opened(root, backend=backend).val_batches())


def test_a_file_that_starts_another_program_is_not_opened(opened, tmp_path):
    """PIL has EPS rendered by Ghostscript, whatever the file is called."""
    root = make_folder(tmp_path / "d")
    path = sorted((root / "val" / "n02").iterdir())[0]
    Image.new("RGB", (40, 40)).save(path, "EPS")
    with pytest.raises(DataError, match=f"{path.name}: cannot be decoded: no image header"):
        list(opened(root, backend="torchvision").val_batches())
