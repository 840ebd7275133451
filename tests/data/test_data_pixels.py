"""Decoding less changes no pixel: images kept decoded, windows decoded alone, validation tensors made once."""

import numpy as np
import pytest
import torch

from reproduce.engine.data.images import ImageFiles
from reproduce.engine.data.pixels import Pixels
from reproduce.errors import DataError
from tests.helpers.data import BACKENDS, NEEDS_DALI, VALUES, encode, make_folder, picture, updates

GREY = {"data__mean": [72.9], "data__std": [90.0], "model__input_channels": 1}
BOTH = [{}, GREY]


@pytest.fixture
def limit(monkeypatch):
    """A function that sets how many bytes of a split may be kept, from now on."""

    def set_limit(value):
        for module in ("pixels", "loader"):
            monkeypatch.setattr(f"reproduce.engine.data.{module}.KEEP_BYTES", value)

    return set_limit


def uniform(root, kind="PNG", size=(40, 56), **options):
    """An image folder of one size, not square."""
    for label, name in enumerate(("n01", "n02", "n03")):
        for part, count in (("train", 8), ("val", (4, 4, 3)[label])):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                image = picture(100 * label + number + 10 * (part == "val"), *size)
                (root / part / name / f"{number}.{kind.lower()}").write_bytes(encode(image, kind, **options))
    return root


def everything(loader):
    """Two passes over an augmented epoch, the un-augmented tail and the validation set, in one list."""
    found = [pair for _ in range(2) for epoch in (0, 3) for pair in updates(loader.train_epoch(epoch)).values()]
    return found + [batch[:2] for _ in range(2) for batch in loader.val_batches()]


def same(some, others):
    some, others = list(some), list(others)
    return len(some) == len(others) and all(map(torch.equal, sum(map(list, some), []), sum(map(list, others), [])))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("colours", BOTH, ids=["colour", "grey"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_what_is_kept_is_what_is_decoded_anew(opened, tmp_path, limit, backend, colours, kind):
    root = uniform(tmp_path / "d", kind)
    kept = everything(opened(root, backend=backend, **colours))
    limit(0)
    assert same(kept, everything(opened(root, backend=backend, **colours)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_file_is_decoded_once(opened, tmp_path, backend, monkeypatch):
    from reproduce.engine.data import loader as module

    asked = []

    class Counted(Pixels):
        def __init__(self, images, channels, decode):
            train = images == 24
            super().__init__(images, channels, lambda files: (asked.extend(files) if train else None) or decode(files))

    monkeypatch.setattr(module, "Pixels", Counted)
    loader = opened(uniform(tmp_path / "d"), backend=backend)
    for epoch in (0, 1, 3):
        assert len(updates(loader.train_epoch(epoch))) == 2
    assert len(asked) >= 24 and len(set(asked)) == 24
    # A shard that wraps may bring an image twice into one chunk; after the first epoch none is asked for again.
    first = len(asked)
    list(loader.train_epoch(2))
    assert len(asked) == first


def test_images_of_several_sizes_are_not_kept(opened, tmp_path):
    loader = opened(make_folder(tmp_path / "d"))
    list(loader.train_epoch(0))
    assert loader._train.pixels.of(np.array([0]), [b""], np.array([[40, 40]])) is None


def test_a_large_set_is_not_kept(limit):
    sizes = np.array([[4, 5]])
    limit(4 * 5 * 3 * 7)
    assert Pixels(7, 3, lambda files: [np.ones((4, 5, 3), np.uint8)]).of(np.array([6]), [b""], sizes).all()
    assert Pixels(8, 3, lambda files: [np.ones((4, 5, 3), np.uint8)]).of(np.array([6]), [b""], sizes) is None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("damage", ["inside", "cut short"])
def test_damage_is_found_the_same_way(opened, tmp_path, limit, backend, damage):
    root = uniform(tmp_path / "d")
    path = root / "train" / "n02" / "3.png"
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 20 if damage == "inside" else len(data)] = b""
    path.write_bytes(data)
    with pytest.raises(DataError, match="3.png: cannot be decoded"):
        list(opened(root, backend=backend).train_epoch(0))
    keeps = opened(root, backend=backend, data__corrupt_images="skip")
    kept = everything(keeps)
    limit(0)
    decodes = opened(root, backend=backend, data__corrupt_images="skip")
    assert same(kept, everything(decodes))
    assert keeps.bad == decodes.bad and len(keeps.bad[0]) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_file_that_does_not_decode_spoils_no_later_one(opened, tmp_path, backend):
    decode = opened(make_folder(tmp_path / "d"), backend=backend)._backend.decode
    whole = encode(picture(1, 40, 56), "PNG")
    assert decode([whole, b"no image"]) is None
    (found,) = decode([whole])
    assert (found == np.asarray(picture(1, 40, 56))).all()


@NEEDS_DALI
@pytest.mark.filterwarnings("ignore:dali-cpu failed")
def test_torchvision_decodes_anew_what_dali_failed_on(opened, tmp_path, monkeypatch):
    loader = opened(uniform(tmp_path / "d"), backend="dali")
    monkeypatch.setattr(loader._backend, "stream", lambda jobs: ((job, None) for job in jobs))
    loader._train = loader._train._replace(pixels=Pixels(24, 3, lambda files: [np.zeros((40, 56, 3))] * len(files)))
    expected = updates(opened(tmp_path / "d").train_epoch(0))
    assert same(updates(loader.train_epoch(0)).values(), expected.values())


def test_rows_are_normalised_as_pixels_are(opened, tmp_path):
    """To the bit: a run goes on from the checkpoint of an earlier version."""
    root = uniform(tmp_path / "d")
    levels = updates(opened(root, data__mean=[0.0] * 3, data__std=[1.0] * 3).train_epoch(0))
    mean, std = (torch.tensor(VALUES[f"data.{name}"])[:, None, None] for name in ("mean", "std"))
    for update, (images, _) in updates(opened(root).train_epoch(0)).items():
        assert torch.equal(images, (levels[update][0] - mean) / std)


@NEEDS_DALI
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}], ids=["420", "444", "progressive"])
def test_a_window_decoded_alone_is_cut_from_the_whole(opened, tmp_path, limit, options):
    limit(0)
    root = uniform(tmp_path / "d", "JPEG", (150, 200), **options)
    window, whole = (opened(root, backend="dali", data__corrupt_images=policy) for policy in ("error", "skip"))
    assert same(everything(window), everything(whole))


def test_a_file_cut_short_is_noticed_before_a_window_is(tmp_path):
    """A back-end that decodes only the upper rows would never know."""
    names = []
    for kind in ("JPEG", "PNG"):
        data = encode(picture(1, 60, 80), kind)
        for name, content in ((f"{kind}_whole", data), (f"{kind}_padded", data + b"\0"), (f"{kind}_cut", data[:-40])):
            (tmp_path / name).write_bytes(content)
            names.append(name)
    files, numbers = ImageFiles(tmp_path, names, "skip"), np.arange(len(names))
    assert (files.sizes(numbers, files.read(numbers)) == (60, 80)).all()
    assert {names[number] for number in files.bad} == {"JPEG_cut", "PNG_cut"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_validation_tensors_of_a_small_set_are_made_once(opened, tmp_path, limit, backend):
    root = make_folder(tmp_path / "d")

    def twice(loader, between=lambda: None):
        first = list(loader.val_batches())
        list(loader.train_epoch(0))
        second = list(loader.val_batches())
        assert all(torch.equal(x, y) for a, b in zip(first, second, strict=True) for x, y in zip(a[:2], b[:2]))
        return [a[0] is b[0] for a, b in zip(first, second, strict=True)]

    limit(11 * 3 * 32 * 32 * 4)
    assert twice(opened(root, backend=backend)) == [True, True]
    limit(11 * 3 * 32 * 32 * 4 - 1)
    assert twice(opened(root, backend=backend)) == [False, False]


def test_a_validation_pass_left_early_keeps_nothing(opened, tmp_path):
    loader = opened(make_folder(tmp_path / "d"))
    next(loader.val_batches())
    assert sum(len(numbers) for _, _, numbers in loader.val_batches()) == 11
