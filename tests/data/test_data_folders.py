"""The index of a data folder and the lay-out of the embedded set: what is accepted, the one line for what is not."""

import errno
import gzip
import hashlib
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from reproduce.engine.data import embedded, folders
from reproduce.engine.preflight import facts
from reproduce.errors import DataError
from tests.helpers.data import encode, make_config, make_folder, picture


def index(root, tmp_path, **changes):
    return folders.index(root, make_config(tmp_path / "config", **changes).data)


def fails(root, tmp_path, **changes) -> str:
    with pytest.raises(DataError) as caught:
        index(root, tmp_path, **changes)
    message = str(caught.value)
    assert "\n" not in message and str(root) in message
    return message


def test_class_folders(tmp_path):
    root = make_folder(tmp_path / "d")
    (root / "train" / "n01" / "train_001.JPEG").rename(root / "train" / "n01" / "UPPER.JPG")
    (root / "train" / "n01" / "._UPPER.JPG").write_bytes(b"")
    (root / "train" / "n01" / "notes.txt").write_text("no image")
    found = index(root, tmp_path)
    assert found.classes == ["n01", "n02", "n03"]
    assert len(found.train.names) == len(set(found.train.names)) == 24
    assert "train/n01/UPPER.JPG" in found.train.names
    assert all(found.classes[label] == name.split("/")[1] for name, label in zip(found.train.names, found.train.labels))
    assert found.val.names == sorted(found.val.names) and found.val.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 3


def test_training_files_are_numbered_in_a_fixed_mixed_order(tmp_path):
    """Sorted by class, the unshuffled tail would give each worker images of one class."""
    labels = index(make_folder(tmp_path / "d"), tmp_path).train.labels
    assert all(len(set(labels[worker * 6 : worker * 6 + 6].tolist())) > 1 for worker in range(4))


def flat(tmp_path, mapping: str, text: str):
    root = make_folder(tmp_path / "d")
    for number, path in enumerate(sorted((root / "val").glob("*/*")), 1):
        path.rename(root / "val" / f"ILSVRC2012_val_{number:08d}.JPEG")
    for folder in ("n01", "n02", "n03"):
        (root / "val" / folder).rmdir()
    (root / mapping).write_text(text)
    return root


LABELS = [2, 0, 1, 1, 0, 2, 2, 1, 0, 0, 1]
NAMES = [f"ILSVRC2012_val_{number:08d}" for number in range(1, 12)]
MAPPINGS = {
    "val_map.txt": "\n".join(f"{name}.JPEG n0{label + 1}" for name, label in zip(NAMES, LABELS)),
    "val/val.txt": "\n".join(f"{name}.JPEG {label}" for name, label in reversed(list(zip(NAMES, LABELS)))),
    "LOC_val_solution.csv": "ImageId,PredictionString\n"
    + "\n".join(f"{name},n0{label + 1} 1 2 30 40 " for name, label in zip(NAMES, LABELS)),
    "synset_labels.txt": "\n".join(f"n0{label + 1}" for label in LABELS) + "\n",
}


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_flat_validation_folder(tmp_path, mapping):
    found = index(flat(tmp_path, mapping, MAPPINGS[mapping]), tmp_path)
    assert found.val.labels.tolist() == LABELS
    assert found.val.names[0] == "val/ILSVRC2012_val_00000001.JPEG"


@pytest.mark.parametrize(
    ("mapping", "text", "expected"),
    [
        ("notes.txt", "", "no class folders and no mapping"),
        ("val_map.txt", MAPPINGS["val_map.txt"].split("\n", 2)[2], "ILSVRC2012_val_00000001.JPEG, ILSVRC2012_val_0000"),
        ("val_map.txt", MAPPINGS["val_map.txt"].replace("n02", "n77"), "classes that train/ does not have: n77"),
        ("val_map.txt", "one-word-lines\n", "not readable"),
        ("LOC_val_solution.csv", "Id,Prediction\n1,n01\n", "ImageId,PredictionString"),
        ("synset_labels.txt", "n01\nn02\n", "has 2 lines for 11 images"),
    ],
)
def test_flat_validation_folder_errors(tmp_path, mapping, text, expected):
    assert expected in fails(flat(tmp_path, mapping, text), tmp_path)


def test_missing_folder(tmp_path):
    message = fails(tmp_path / "nowhere", tmp_path)
    assert "no such folder" in message and "train/CLASS/*" in message and "--data" in message
    message = fails(tmp_path / "nowhere", tmp_path, data__dataset="fashion_mnist")
    assert "python -m reproduce.engine.data.embedded" in message


def test_classes_that_differ_are_named(tmp_path):
    root = make_folder(tmp_path / "d")
    (root / "val" / "n03").rename(root / "val" / "m99")
    message = fails(root, tmp_path)
    assert "only in train: n03" in message and "only in val: m99" in message
    for name in ("m1", "m2", "m3"):
        (root / "val" / name).mkdir()
    assert "only in val: m1, m2, m3 and 1 more" in fails(root, tmp_path)


@pytest.mark.parametrize(("part", "key"), [("train", "train_images"), ("val", "val_images")])
def test_counts_that_differ_from_the_config(tmp_path, part, key):
    root = make_folder(tmp_path / "d")
    (root / part / "n01" / "one_more.png").write_bytes(encode(picture(0, 40, 40), "PNG"))
    stated = {"train": 24, "val": 11}[part]
    assert f"holds {stated + 1} images, data.{key} states {stated}" in fails(root, tmp_path)
    for path in list((root / part / "n01").iterdir())[:2]:
        path.unlink()
    assert f"holds {stated - 1} images, data.{key} states {stated}" in fails(root, tmp_path)


def test_a_subset_is_of_all_classes_and_the_same_each_time(tmp_path):
    root, part = make_folder(tmp_path / "d"), {"data__subset": True, "data__train_images": 9, "data__val_images": 5}
    found, whole = index(root, tmp_path, **part), index(root, tmp_path)
    assert found.train.names == whole.train.names[:9]
    assert found.val.names == [whole.val.names[i] for i in (0, 2, 4, 6, 8)] and set(found.val.labels) == {0, 1, 2}
    assert found.val.labels.tolist() == [whole.val.labels[i] for i in (0, 2, 4, 6, 8)]
    assert "holds 11 images, data.val_images states 12" in fails(root, tmp_path, **part | {"data__val_images": 12})
    assert "data.train_images states 25" in fails(root, tmp_path, **part | {"data__train_images": 25})


def test_wrong_number_of_classes(tmp_path):
    assert "holds 3 class folders: data.classes is 4" in fails(make_folder(tmp_path / "d"), tmp_path, data__classes=4)


# ---- the embedded set ---------------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Four files as Fashion-MNIST's, with 50 and 20 images."""
    folder, rng = tmp_path / "source", np.random.default_rng(0)
    folder.mkdir()
    digests = {}
    for part, count in (("train", 50), ("t10k", 20)):
        images = b"\0" * 16 + rng.integers(0, 256, (count, 28, 28), dtype=np.uint8).tobytes()
        labels = b"\0" * 8 + bytes(range(10)) * (count // 10)
        for kind, content in (("images-idx3", images), ("labels-idx1", labels)):
            name = f"{part}-{kind}-ubyte.gz"
            (folder / name).write_bytes(gzip.compress(content))
            digests[name] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(embedded, "FILES", digests)
    return folder


EMBEDDED = {
    "data__dataset": "fashion_mnist", "data__val_images": 20, "data__classes": 10, "data__image_size": 28,
    "data__eval_resize": 28, "data__mean": [72.9], "data__std": [90.0], "model__input_channels": 1,
}  # fmt: skip


def test_lay_out_is_lossless_and_indexed(tmp_path, source, capsys):
    out = tmp_path / "data" / "fashion_mnist"
    assert embedded.main(["--out", str(out), "--source", str(source)]) == 0
    assert "50 training and 20 validation images" in capsys.readouterr().out
    pixels = np.frombuffer(gzip.decompress((source / "train-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8)
    with Image.open(out / "train" / "3_dress" / "00013.png") as image:
        assert np.array_equal(np.asarray(image), pixels.reshape(-1, 28, 28)[13])
    whole = index(out, tmp_path, data__train_images=50, **EMBEDDED)
    part = index(out, tmp_path, data__train_images=30, **EMBEDDED)
    assert part.train.names == whole.train.names[:30]
    assert "holds 50 images, data.train_images states 51" in fails(out, tmp_path, data__train_images=51, **EMBEDDED)
    held_out = {**EMBEDDED, "data__evaluate_on": "held_out", "data__val_images": 15}
    chosen_on = index(out, tmp_path, data__train_images=30, **held_out)
    assert chosen_on.train.names == part.train.names, "what is trained on does not depend on it"
    assert chosen_on.val.names == sorted(whole.train.names[-15:])
    assert set(chosen_on.val.names).isdisjoint(part.train.names)
    folder = [name.split("/")[1] for name in chosen_on.val.names]
    assert folder == [chosen_on.classes[label] for label in chosen_on.val.labels]
    message = fails(out, tmp_path, data__train_images=36, **held_out)
    assert "holds 50 images, data.train_images states 36 beside 15 held out" in message


@pytest.mark.parametrize("odd", [{"a": 1}, {"train_images": "x", "val_images": 1, "source": "s"}])
def test_a_marker_of_another_shape_is_of_no_lay_out(tmp_path, source, capsys, odd):
    (tmp_path / "complete.json").write_text(json.dumps(odd))
    assert embedded.main(["--out", str(tmp_path), "--source", str(source)]) == 2
    assert "is not a complete lay-out" in capsys.readouterr().err


def test_lay_out_interrupted_then_rerun(tmp_path, source, monkeypatch):
    out, real, calls = tmp_path / "fashion_mnist", embedded._write, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(embedded, "_write", interrupted)
    assert embedded.main(["--out", str(out), "--source", str(source)]) == 130
    assert not out.exists()
    assert embedded.main(["--out", str(out), "--source", str(source)]) == 0
    assert len(list(out.glob("*/*/*.png"))) == 70
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fashion_mnist", "source"]

    shutil.rmtree(source)  # a third call needs nothing
    assert embedded.main(["--out", str(out), "--source", str(source)]) == 0
    (out / folders.MARKER).unlink()
    assert "its lay-out was cut short" in fails(out, tmp_path, **EMBEDDED)
    with pytest.raises(DataError, match="not a complete lay-out: remove it"):
        embedded.lay_out(out, source)


def test_sources_are_tried_in_turn_and_all_named(tmp_path, source, monkeypatch, capsys):
    def refuse(reason):
        def fetch(scratch):
            raise embedded.Unavailable(reason)

        return fetch

    monkeypatch.setattr(embedded, "INSTALLED", tmp_path / "not-installed")
    monkeypatch.setattr(embedded, "_archive", refuse("no archive"))
    monkeypatch.setattr(embedded, "_torchvision", refuse("no network"))
    assert embedded.main(["--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "--source" in message
    assert all(part in message for part in ("no train-images-idx3-ubyte.gz there", "no archive", "no network"))
    monkeypatch.setattr(embedded, "_torchvision", lambda scratch: embedded._folder(source))
    assert embedded.lay_out(tmp_path / "out")["source"] == "torchvision's download"
    assert json.loads((tmp_path / "out" / folders.MARKER).read_text())["val_images"] == 20


def test_damaged_source_is_refused(tmp_path, source):
    name = "t10k-labels-idx1-ubyte.gz"
    (source / name).write_bytes(gzip.compress(b"\0" * 28))
    with pytest.raises(DataError, match=f"{name} is not the published file"):
        embedded.lay_out(tmp_path / "out", source)
    (source / name).write_bytes((source / name).read_bytes()[:-9])
    with pytest.raises(DataError, match=name):
        embedded.lay_out(tmp_path / "out", source)


def test_target_that_cannot_be_written(tmp_path, source):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        embedded.lay_out(tmp_path / "file" / "out", source)
    with pytest.raises(DataError, match="cannot be written"):
        embedded.lay_out(tmp_path / "file", source)


# ---- folders that are not as stated are described -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["@eaDir", "lost+found", "__MACOSX"])
@pytest.mark.parametrize("part", ["train", "val"])
def test_folders_of_systems_are_no_classes(tmp_path, part, name):
    root = make_folder(tmp_path / "d")
    (root / part / name).mkdir()
    assert index(root, tmp_path).classes == ["n01", "n02", "n03"]


def test_extra_folder_is_named(tmp_path):
    root = make_folder(tmp_path / "d")
    (root / "train" / "backup").mkdir()
    message = fails(root, tmp_path)
    assert "only in train: backup" in message and "no images in backup" in message


def test_stray_folder_beside_flat_images_does_not_hide_the_mapping(tmp_path):
    root = flat(tmp_path, "val_map.txt", MAPPINGS["val_map.txt"])
    (root / "val" / "thumbnails").mkdir()
    assert index(root, tmp_path).val.labels.tolist() == LABELS


def test_images_one_level_too_deep(tmp_path):
    root = make_folder(tmp_path / "d")
    for folder in list((root / "train").iterdir()):
        moved = folder.rename(tmp_path / "moved")
        folder.mkdir()
        moved.rename(folder / folder.name)
    assert "one level too deep, as in n01/n01, n02/n02, n03/n03: move them up" in fails(root, tmp_path)


def test_archives_not_unpacked(tmp_path):
    root = make_folder(tmp_path / "d")
    for folder in list((root / "train").iterdir()):
        shutil.rmtree(folder)
        folder.with_suffix(".tar").write_bytes(b"")
    assert "archives not unpacked: n01.tar, n02.tar, n03.tar: unpack each" in fails(root, tmp_path)


@pytest.mark.parametrize(("part", "keep"), [("train", 0), ("val", 2)])
def test_loose_images(tmp_path, part, keep):
    root = make_folder(tmp_path / "d")
    for folder in list((root / part).iterdir()):
        for path in sorted(folder.iterdir())[keep:]:
            path.rename(root / part / path.name)
        if not keep:
            folder.rmdir()
    expected = {0: "24 images lie loose, directly in it", 2: "5 images lie loose, beside the class folders"}[keep]
    assert expected in fails(root, tmp_path)


@pytest.mark.parametrize("mapping", ["val/val.txt", "LOC_val_solution.csv", "val_map.txt"])
def test_mapping_with_paths_and_byte_order_mark(tmp_path, mapping):
    text = MAPPINGS[mapping].replace("ILSVRC", "val/ILSVRC").replace("\n", "\r\n")
    assert index(flat(tmp_path, mapping, "\ufeff" + text), tmp_path).val.labels.tolist() == LABELS


def test_mapping_of_one_image_to_two_classes(tmp_path):
    text = MAPPINGS["val_map.txt"] + f"\n{NAMES[0]}.JPEG n01\n"
    assert f"gives {NAMES[0]} the classes n03 and n01" in fails(flat(tmp_path, "val_map.txt", text), tmp_path)


def test_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    """The list of a folder is refused here by the call itself: the superuser may list every folder."""
    root = make_folder(tmp_path / "d")
    real = os.scandir

    def refused(path):
        if str(path).endswith("train/n02"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert "train/n02: cannot be listed: Permission denied: make it readable" in fails(root, tmp_path)


def test_folder_that_is_a_link_to_itself(tmp_path):
    root = make_folder(tmp_path / "d")
    (root / "train" / "n04").symlink_to("n04")
    assert "train/n04: cannot be read: Too many levels of symbolic links" in fails(root, tmp_path)


def test_one_class_in_two_unicode_forms(tmp_path):
    root = make_folder(tmp_path / "d")
    (root / "train" / "n01").rename(root / "train" / "caf\u00e9")
    (root / "val" / "n01").rename(root / "val" / "cafe\u0301")
    assert r"the same letters in two Unicode forms, 'caf\xe9' and 'cafe\u0301'" in fails(root, tmp_path)


def test_a_pipe_among_the_images_does_not_hold_the_preflight_up(tmp_path):
    root = make_folder(tmp_path / "d")
    path = sorted((root / "train" / "n01").iterdir())[0]
    path.unlink()
    os.mkfifo(path)
    found = facts.dataset(root, make_config(tmp_path / "config").data, 1000)
    assert found["sample"][f"train/n01/{path.name}"] == "unreadable: is no regular file"


def test_names_that_are_not_utf8_are_taken_by_the_preflight_as_by_the_training(tmp_path):
    root = make_folder(tmp_path / "d")
    for part in ("train", "val"):
        (root / part / "n01").rename(os.fsdecode(os.fsencode(root / part) + b"/caf\xe9"))
    found = facts.dataset(root, make_config(tmp_path / "config").data, 4)
    assert found["error"] == "" and found["classes"] == 3


def test_the_preflight_does_not_wait_for_a_pipe_among_the_images(tmp_path):
    root = make_folder(tmp_path / "d")
    for path in root.glob("train/*/*"):
        path.unlink()
        os.mkfifo(path)
    found = facts.dataset(root, make_config(tmp_path / "config").data, 1000)
    assert {said for name, said in found["sample"].items() if name.startswith("train/")} == {
        "unreadable: is no regular file"
    }
