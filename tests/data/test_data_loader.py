"""The loader of a process: the same batches however many processes there are, resumed anywhere, exact counts."""

import itertools
import threading

import pytest
import torch

from reproduce.engine.data import jobs
from reproduce.engine.data.ahead import Pass, Passes
from reproduce.errors import DataError
from tests.helpers.data import BACKENDS, encode, make_folder, picture, updates


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("data") / "d")


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(x, y) for k in a for x, y in zip(a[k], b[k]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_chunks(opened, folder, backend):
    loader = opened(folder, backend=backend, model__input_channels=4)
    assert loader.backend == {"dali": "dali-cpu"}.get(backend, backend)
    assert loader.has_accuracy and loader.bad == (set(), set())
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
        val, train = (batch[:2] for batch in loader.val_batches()), (chunk[2:4] for chunk in loader.train_epoch(0))
        for images, labels in itertools.chain(val, train):
            assert torch.allclose(images, 50.0 * labels[:, None, None, None].expand_as(images), atol=0.01)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_each_validation_image_once(opened, folder, world_size, backend):
    found, counted = [], []
    for rank in range(world_size):
        loader = opened(folder, rank=rank, world_size=world_size, backend=backend, chunk=3)
        for images, labels, numbers in loader.val_batches():
            assert len(images) == len(labels) == len(numbers) <= 3
            counted += numbers.tolist()
            found += [(image.sum().item(), label) for image, label in zip(images, labels.tolist())]
    assert len(found) == len({round(total, 2) for total, _ in found}) == 11
    assert [label for _, label in found] == [0] * 4 + [1] * 4 + [2] * 3
    assert counted == list(range(11))


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


def taken(loader, epoch: int) -> dict:
    """An epoch's updates as the trainer takes them: it asks for nothing behind the last chunk."""
    chunks, found = loader.train_epoch(epoch), []
    while not found or not (found[-1].last and found[-1].update == 1):
        found.append(next(chunks))
    return updates(found)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_next_epoch_is_read_while_the_last_update_of_one_is_taken(opened, folder, backend, monkeypatch):
    loader, read = opened(folder, backend=backend), threading.Event()
    prepare = jobs.prepare

    def watched(request, data):
        if request.at.of == Pass(1):
            read.set()
        return prepare(request, data)

    monkeypatch.setattr(jobs, "prepare", watched)
    taken(loader, 0)
    assert read.wait(60), "the end of an epoch ends the reading ahead"
    assert same(taken(loader, 1), updates(opened(folder, backend=backend).train_epoch(1)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_is_read_in_one_go_and_is_the_same_as_epoch_by_epoch(opened, folder, backend, monkeypatch):
    started, begin = [], Passes._begin
    monkeypatch.setattr(Passes, "_begin", lambda self, wanted: (started.append(wanted), begin(self, wanted))[1])
    loader, run, val = opened(folder, backend=backend, chunk=6), [], []
    for epoch in range(4):
        run.append(taken(loader, epoch))
        if epoch in (1, 3):  # evaluated; the second time from memory
            val.append(list(loader.val_batches()))
    assert started == [Pass(0)]
    assert [numbers.tolist() for _, _, numbers in val[0]] == [[*range(6)], [*range(6, 11)]] and len(val[1]) == 2
    for epoch, found in enumerate(run):
        assert same(found, updates(opened(folder, backend=backend, chunk=6).train_epoch(epoch)))
    (images, *_), *_ = opened(folder, backend=backend, chunk=6).val_batches()
    assert torch.equal(images, val[0][0][0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.filterwarnings("ignore:dali-cpu failed")
def test_a_last_batch_that_is_left_out_takes_nothing_of_the_next_epoch(opened, tmp_path, backend):
    root = make_folder(tmp_path / "d")
    for path in sorted((root / "val" / "n03").iterdir()):
        path.write_bytes(path.read_bytes()[:200])
    changes = {"backend": backend, "data__corrupt_images": "skip"}
    loader = opened(root, **changes)
    taken(loader, 1)
    assert [numbers.tolist() for _, _, numbers in loader.val_batches()] == [[*range(8)]]
    assert same(taken(loader, 2), updates(opened(root, **changes).train_epoch(2)))


def test_unknown_backend(opened, folder):
    with pytest.raises(DataError, match="must be one of auto, dali, torchvision"):
        opened(folder, backend="pillow")


def test_a_large_set_is_read_without_a_cache(opened, folder, monkeypatch):
    cached = updates(opened(folder).train_epoch(0))
    monkeypatch.setattr("reproduce.engine.data.images.CACHE_BYTES", 0)
    assert same(updates(opened(folder).train_epoch(0)), cached)


def test_synthetic(opened, tmp_path):
    loader = opened(tmp_path / "nowhere", data__dataset="synthetic", model__input_channels=4, rank=1, world_size=2)
    assert not loader.has_accuracy and loader.backend == "synthetic" and loader.bad == (set(), set())
    first, second = (updates(loader.train_epoch(epoch)) for epoch in (0, 3))
    assert same(first, second) and len(first) == 2
    images, labels = first[0]
    assert images.shape == (16, 4, 32, 32) and not images[:, 3].any() and images[:, :3].std() > 0.9
    assert 0 <= labels.min() and labels.max() < 3
    (batch,) = loader.val_batches()
    assert [len(part) for part in batch] == [6, 6, 6] and batch[2].tolist() == [5, 6, 7, 8, 9, 10]
