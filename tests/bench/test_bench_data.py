"""The benchmark of the data path: the pictures it makes, what it asks for, and a small measurement of all of it."""

import os
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from reproduce.bench import contest, data, process
from reproduce.bench.jpegs import Pictures, lay_out, picture
from reproduce.bench.timed import data as timed
from reproduce.bench.timed import parts, peer_loaders
from reproduce.engine.data import folders
from reproduce.errors import UserError
from reproduce.recipe import load as configs
from tests.helpers.data import HAVE_DALI, make_config

SMALL = Pictures(train=44, val=4, classes=4, height=60, width=80)


# ---- pictures -----------------------------------------------------------------------------------------------------


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*.*")}


def test_pictures_are_as_asked_for_and_always_the_same(tmp_path):
    marker = lay_out(tmp_path / "a", SMALL)
    train = sorted((tmp_path / "a" / "train").glob("*/*"))
    assert [path.parent.name for path in train] == [f"{label:03d}" for label in range(4) for _ in range(11)]
    assert len(list((tmp_path / "a" / "val").glob("*/*"))) == 4
    assert marker["mean_bytes"] == round(sum(path.stat().st_size for path in train) / 44)
    with Image.open(train[0]) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (80, 60), "RGB")
    lay_out(tmp_path / "b", SMALL)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert len(set(contents(tmp_path / "a").values())) == 44 + 4 + 1


def test_pictures_weigh_what_photographs_of_imagenet_do(tmp_path):
    marker = lay_out(tmp_path / "a", Pictures(train=3, val=1, classes=1))
    assert 100_000 < marker["mean_bytes"] < 120_000
    pixels = picture(1, 0, 375, 500).astype(float)
    assert 30 < pixels.std() < 100
    red, _, blue = (np.diff(pixels[:, :, channel], axis=1).ravel() for channel in range(3))
    assert np.corrcoef(red, blue)[0, 1] > 0.7  # colours go together


def test_complete_pictures_are_kept_and_others_replaced(tmp_path):
    root = tmp_path / "a"
    lay_out(root, SMALL)
    (root / "train" / "000" / "00000.jpeg").write_bytes(b"kept")
    lay_out(root, SMALL)
    assert (root / "train" / "000" / "00000.jpeg").read_bytes() == b"kept"
    (root / folders.MARKER).unlink()  # as if cut short
    lay_out(root, SMALL)
    assert (root / "train" / "000" / "00000.jpeg").read_bytes() != b"kept"
    lay_out(root, replace(data.STAND_IN, train=20, val=10))
    assert folders.marker(root)["kind"] == "PNG" and not list(root.rglob("*.jpeg"))
    with Image.open(next(root.rglob("*.png"))) as image:
        assert (image.size, image.mode) == ((28, 28), "L")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="file/a: cannot be written"):
        lay_out(tmp_path / "file" / "a", SMALL)


# ---- the request --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--images", "50"], ["--images", "0"], ["--rounds", "0"]])
def test_bad_options_are_refused(words):
    with pytest.raises(UserError, match="must be a multiple of 40"):
        data.parse(words)


@pytest.fixture
def few(monkeypatch):
    """Small pictures, and a stand-in of two updates."""
    monkeypatch.setattr(data, "Pictures", lambda train, val: Pictures(train, val, 4, height=60, width=80))
    monkeypatch.setattr(data, "STAND_IN", Pictures(80, 10, height=28, width=28, channels=1, kind="PNG"))


def test_the_request_follows_what_is_laid_out(tmp_path, few):
    words = ["--images", "80", "--data", str(tmp_path / "fashion")]
    asked = data.requests(data.parse(words), tmp_path)
    for name in ("large", "quick"):
        config = configs.load(asked[name]["config"], asked[name]["overrides"])
        assert len(folders.index(asked[name]["root"], config.data).train.names) == 80
    assert configs.load(asked["large"]["config"], asked["large"]["overrides"]).global_batch() == 40
    assert "generated pictures" in asked["quick"]["what"] and "500x375" in asked["large"]["what"]
    (tmp_path / "fashion").mkdir()
    (tmp_path / "fashion" / folders.MARKER).write_text("{}")
    asked = data.requests(data.parse(words), tmp_path)
    assert asked["quick"] == {"config": str(data.QUICK), "root": str(tmp_path / "fashion"), "overrides": [],
                              "what": "Fashion-MNIST, 28x28 grey PNG"}  # fmt: skip


# ---- the measurement ----------------------------------------------------------------------------------------------


def test_all_tables_are_measured(tmp_path, few, monkeypatch):
    asked = data.requests(data.parse(["--images", "40", "--rounds", "1", "--data", str(tmp_path / "none")]), tmp_path)
    asked["quick"]["overrides"] += ["batch.workers=2"]
    out = tmp_path / "data.json"
    assert process.run("data", asked, 1, out, with_peers=False) == 0
    result = contest.read(out)
    assert [len(table.rows) for table in result.tables] == [10, 7, 5]
    for table in result.tables:
        contest.check(table)
        assert {"ours", "control", "floor"} <= {row.role for row in table.rows} and "pinned" in table.work
        for row in table.rows:
            needs = "DALI" in row.name and not HAVE_DALI or row.name == "timm"
            assert len(row.values) == 1 or needs and row.note
    training = result.tables[-1]
    memory = training.row("tensors in memory").median
    for row in training.rows[:-1]:
        assert not row.values or row.note.endswith(f"{1 - row.median / memory:.1%}")


def test_what_cannot_take_part_says_why():
    field = timed.Field()
    field.add("one", "ours", lambda: lambda: 2.0)
    field.add("other", "peer", lambda: __import__("no_such_package"), "replaced")
    one, other = field.race(2, "test")
    assert (one.values, other.values) == ((2.0, 2.0), ()) and "no_such_package" in other.note


def test_a_rate_is_of_processor_time(monkeypatch):
    seconds = iter([10.0, 14.0])
    monkeypatch.setattr(parts.time, "process_time", lambda: next(seconds))
    assert parts.rate([3, 5]) == 2.0


def test_pinned_to_one_core_where_that_is_possible(monkeypatch):
    if hasattr(os, "sched_setaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda who: {1, 3})
        asked = []
        monkeypatch.setattr(os, "sched_setaffinity", lambda who, cores: asked.append((who, cores)))
        assert timed.pin() == "pinned to one core" and asked == [(0, {3})]
        monkeypatch.delattr(os, "sched_setaffinity")
    assert timed.pin() == "one thread, not pinned to a core"


@pytest.mark.parametrize("peer", [peer_loaders.torchvision_pil, peer_loaders.torchvision_tensors, peer_loaders.timm])
def test_peers_do_the_same_work(tmp_path, peer):
    lay_out(tmp_path / "a", SMALL)
    settings = make_config(tmp_path, data__crop_area=[1.0, 1.0], data__crop_aspect=[1.333333, 1.333334],
                           data__flip_probability=0.0).data  # fmt: skip
    try:
        batches = peer(tmp_path / "a" / "train", settings, 40)
    except ImportError as error:
        pytest.skip(str(error))
    images, labels = max(batches, key=lambda batch: len(batch[0]))
    assert images.shape == (40, 3, 32, 32) and images.dtype == torch.float32 and set(labels.tolist()) <= set(range(4))
    # The crop is the whole image, so the normalised mean is the mean of the pictures.
    means = [np.mean([picture(1, n, 60, 80)[:, :, c].mean() for n in range(44)]) for c in range(3)]
    levels = images.mean((0, 2, 3)) * torch.tensor(settings.std) + torch.tensor(settings.mean)
    assert (levels - torch.tensor(means)).abs().max() < 12


def test_peers_are_compared_with_our_fastest_row():
    rows = (contest.Row("ours, DALI", "ours", ()), contest.Row("ours, a", "ours", (1.0, 9.0, 2.0)),
            contest.Row("ours, b", "ours", (3.0, 3.0, 1.0)), contest.Row("other", "peer", (7.0,)))  # fmt: skip
    assert timed.fastest(rows) == "ours, b"


def test_our_row_says_what_the_machine_has(monkeypatch):
    said = []
    for has_kernel, has_decoder in ((True, True), (True, False), (False, True)):
        monkeypatch.setattr(timed, "kernel", lambda has=has_kernel: has)
        monkeypatch.setattr(timed, "decoder", lambda has=has_decoder: has)
        said.append(timed.means())
    assert said == ["windows alone decoded by libjpeg-turbo, scaled by our kernel",
                    "whole images decoded by PIL, scaled by our kernel",
                    "whole images decoded by PIL, scaled by PIL"]  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("found", [True, False], ids=["torchcodec", "torchvision"])
def test_tensors_are_decoded_by_torchcodec_or_else_by_torchvision(tmp_path, monkeypatch, found):
    decoders = ModuleType("torchcodec.decoders")
    decoders.decode_image = lambda path, mode: (path, mode)
    monkeypatch.setitem(sys.modules, "torchcodec", ModuleType("torchcodec") if found else None)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders if found else None)
    name, decode = peer_loaders.tensor_decoder("GRAY")
    assert timed.tensors_note().endswith(name)
    if found:
        assert (name, decode("file")) == ("torchcodec", ("file", "GRAY"))
    else:
        Image.new("L", (7, 5), 9).save(tmp_path / "a.png")
        assert name == "torchvision" and torch.equal(decode(str(tmp_path / "a.png")), torch.full((1, 5, 7), 9).byte())


def test_the_share_is_what_is_missing_from_the_rate():
    row = timed.with_share(contest.Row("ours, DALI", "ours", (90.0, 95.0, 94.0)), 100.0)
    assert row.note == "the loader's share of the step: 6.0%"
