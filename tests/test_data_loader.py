"""The loader of a process: the same batches however many processes there are, exact counts, corrupt files named."""

import importlib.util
import itertools

import pytest
import torch
from data_helpers import encode, make_config, make_folder, picture

from reproduce.engine.data.loader import open_loader
from reproduce.errors import DataError

HAVE_DALI = importlib.util.find_spec("nvidia") is not None and importlib.util.find_spec("nvidia.dali") is not None
NEEDS_DALI = pytest.mark.skipif(not HAVE_DALI, reason="DALI is not installed")
BACKENDS = [pytest.param("dali", marks=NEEDS_DALI), "torchvision"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("data") / "d")


@pytest.fixture
def opened(tmp_path):
    """`open_loader` with defaults, closed at the end of the test."""
    loaders = []

    def open_(root, workers=range(4), rank=0, world_size=1, seed=1, backend="torchvision", chunk=8, **changes):
        config = make_config(tmp_path, **changes)
        loader = open_loader(config, root, seed, workers, rank, world_size, "cpu", backend, chunk)
        loaders.append(loader)
        return loader

    yield open_
    for loader in loaders:
        loader.close()


def updates(chunks) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
    """Images and labels of each update, its chunks joined."""
    joined = {}
    for update, parts in itertools.groupby(chunks, lambda chunk: chunk.update):
        parts = list(parts)
        joined[update] = torch.cat([p.images for p in parts]), torch.cat([p.labels for p in parts])
    return joined


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(x, y) for k in a for x, y in zip(a[k], b[k]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_chunks(opened, folder, backend):
    loader = opened(folder, backend=backend, model__input_channels=4)
    assert loader.backend == {"dali": "dali-cpu"}.get(backend, backend)
    assert loader.has_accuracy and loader.skipped == 0
    chunks = list(loader.train_epoch(0))
    assert [(c.update, c.workers, c.last) for c in chunks] == [
        (0, range(0, 2), False), (0, range(2, 4), True), (1, range(0, 2), False), (1, range(2, 4), True),
    ]  # fmt: skip
    for chunk in chunks:
        assert chunk.images.shape == (8, 4, 32, 32) and chunk.images.dtype == torch.float32
        assert chunk.images.is_contiguous(memory_format=torch.channels_last)
        assert chunk.labels.shape == (8,) and chunk.labels.dtype == torch.int64
        assert not chunk.images[:, 3].any() and chunk.images[:, :3].std() > 0.3
    assert len({chunk.images.data_ptr() for chunk in chunks}) == 4  # kept chunks are not overwritten


@pytest.mark.parametrize("backend", BACKENDS)
def test_batches_do_not_depend_on_the_process_split(opened, folder, backend):
    for epoch in (0, 3):  # augmented, and the un-augmented tail
        whole = updates(opened(folder, backend=backend).train_epoch(epoch))
        halves = [updates(opened(folder, part, backend=backend).train_epoch(epoch)) for part in (range(2), range(2, 4))]
        joined = {u: tuple(torch.cat(pair) for pair in zip(halves[0][u], halves[1][u])) for u in whole}
        assert same(whole, joined)
        assert same(whole, updates(opened(folder, backend=backend, chunk=100).train_epoch(epoch)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_epoch_resumes_at_any_update(opened, folder, backend):
    loader = opened(folder, backend=backend, chunk=4, batch__local_batch=2)
    whole = updates(loader.train_epoch(1))
    assert len(whole) == 3
    for first in range(3):
        assert same(updates(loader.train_epoch(1, first)), {u: whole[u] for u in range(first, 3)})
    assert not same(updates(loader.train_epoch(2)), whole)


def test_labels_belong_to_the_images(opened, tmp_path):
    root = tmp_path / "d"
    for label, name in enumerate(("n01", "n02", "n03")):
        for part, count in (("train", 8), ("val", (4, 4, 3)[label])):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                solid = picture(0, 40, 40).point(lambda _, label=label: 50 * label)
                (root / part / name / f"{number}.png").write_bytes(encode(solid, "PNG"))
    plain = {"data__mean": [0.0, 0.0, 0.0], "data__std": [1.0, 1.0, 1.0]}
    for backend in ("torchvision", "auto"):
        loader = opened(root, backend=backend, **plain)
        for images, labels in itertools.chain(loader.val_batches(), (c[2:4] for c in loader.train_epoch(0))):
            assert torch.allclose(images, 50.0 * labels[:, None, None, None].expand_as(images), atol=0.01)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_each_validation_image_once(opened, folder, world_size, backend):
    found = []
    for rank in range(world_size):
        for images, labels in opened(folder, rank=rank, world_size=world_size, backend=backend, chunk=3).val_batches():
            assert len(images) == len(labels) <= 3
            found += [(image.sum().item(), label) for image, label in zip(images, labels.tolist())]
    assert len(found) == len({round(total, 2) for total, _ in found}) == 11
    assert [label for _, label in found] == [0] * 4 + [1] * 4 + [2] * 3


def test_batch_size_phases(opened, folder):
    loader = opened(folder, batch__local_batch=[[0, 2], [2, 3]])
    assert [len(list(loader.train_epoch(epoch))) for epoch in (0, 2)] == [3, 4]
    assert [len(chunk.labels) for chunk in loader.train_epoch(2)] == [6, 6, 6, 6]


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_abandoned_iterator_leaves_nothing_behind(opened, folder, backend):
    loader = opened(folder, backend=backend, chunk=4)
    whole = updates(loader.train_epoch(0))
    stale = loader.train_epoch(1)
    next(stale)
    assert same(updates(loader.train_epoch(0)), whole)
    with pytest.raises(RuntimeError, match="this iterator has ended"):
        next(stale)


# ---- damaged files ------------------------------------------------------------------------------------------------

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
def test_a_damaged_file_is_skipped_and_counted(opened, damaged, folder, kind, backend):
    root, _ = damaged(kind)
    clean = updates(opened(folder, backend=backend).train_epoch(0))
    loader = opened(root, backend=backend, data__corrupt_images="skip")
    for _ in range(2):  # met for the first time, and known
        found = updates(loader.train_epoch(0))
        changed = [
            (update, slot) for update in clean for slot in range(16)
            if (found[update][0][slot] - clean[update][0][slot]).abs().max() > 0.1
        ]  # fmt: skip
        assert loader.skipped == 1
        assert {len(images) for images, _ in found.values()} == {16}
        # the image is met once, or twice in a shard that wraps; only its own slots change
        assert 1 <= len(changed) <= 2
        for update, slot in changed:
            worker = slot // 4
            successor = worker * 4 + (slot + 1) % 4
            assert found[update][1][slot] == clean[update][1][successor]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_damaged_validation_file_is_left_out(opened, damaged, backend):
    root, path = damaged("truncated", "val")
    loader = opened(root, backend=backend, data__corrupt_images="skip", chunk=1)
    assert sum(len(labels) for _, labels in loader.val_batches()) == 10
    assert sum(len(labels) for _, labels in loader.val_batches()) == 10
    assert loader.skipped == 1


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


@pytest.mark.skipif(not HAVE_DALI, reason="DALI is not installed")
def test_what_only_dali_cannot_decode_goes_to_torchvision(opened, tmp_path):
    root = make_folder(tmp_path / "d")
    path = sorted((root / "train" / "n02").iterdir())[1]
    path.write_bytes(encode(picture(3, 50, 60), "GIF"))
    expected = updates(opened(root, backend="torchvision").train_epoch(0))
    loader = opened(root, backend="dali")
    with pytest.warns(UserWarning, match="dali-cpu failed on the batch"):
        found = updates(loader.train_epoch(0))
    assert loader.skipped == 0
    assert all(torch.allclose(found[u][0], expected[u][0], atol=0.2) for u in expected)


def test_unknown_backend(opened, folder):
    with pytest.raises(DataError, match="must be one of auto, dali, torchvision"):
        opened(folder, backend="pillow")


def test_a_large_set_is_read_without_a_cache(opened, folder, monkeypatch):
    cached = updates(opened(folder).train_epoch(0))
    monkeypatch.setattr("reproduce.engine.data.images.CACHE_BYTES", 0)
    assert same(updates(opened(folder).train_epoch(0)), cached)


# ---- synthetic ----------------------------------------------------------------------------------------------------


def test_synthetic(opened, tmp_path):
    loader = opened(tmp_path / "nowhere", data__dataset="synthetic", model__input_channels=4, rank=1, world_size=2)
    assert not loader.has_accuracy and loader.backend == "synthetic" and loader.skipped == 0
    first, second = (updates(loader.train_epoch(epoch)) for epoch in (0, 3))
    assert same(first, second) and len(first) == 2
    images, labels = first[0]
    assert images.shape == (16, 4, 32, 32) and not images[:, 3].any() and images[:, :3].std() > 0.9
    assert 0 <= labels.min() and labels.max() < 3
    assert sum(len(labels) for _, labels in loader.val_batches()) == 6
