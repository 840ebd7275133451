"""A window of a JPEG decoded alone is cut from what PIL decodes, to the bit; what is not is left to PIL."""

import io
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

from reproduce.engine.data import jpeg, torchvision_backend
from reproduce.engine.data.jpeg import decoder
from tests.helpers.data import encode, images_of, make_config, picture, samples

CPU = torch.device("cpu")


def has_header() -> bool:
    command = ["cc", "-include", "stdio.h", "-include", "jpeglib.h", "-E", "-x", "c", "/dev/null"]
    return bool(shutil.which("cc")) and subprocess.run(command, capture_output=True).returncode == 0


pytestmark = pytest.mark.needs("" if has_header() else "no libjpeg-turbo to compile with: install libjpeg-dev")


def decoded(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)))


def window(file: bytes, row: list[int], mode: str = "RGB") -> np.ndarray | None:
    found = decoder()(file, row, mode)
    return found[:, :, :3] if found is not None and mode == "RGB" else found


@pytest.mark.parametrize("options", [{"subsampling": "4:4:4"}, {"subsampling": "4:2:2"}, {"subsampling": "4:2:0"},
                                     {"quality": 30}, {"restart_marker_rows": 1}, {"optimize": True}],
                         ids=lambda options: "-".join(map(str, options.values())))  # fmt: skip
def test_windows_at_random_are_cut_from_the_whole(options):
    random = np.random.default_rng(3)
    for number in range(25):
        height, width = random.integers(1, 150, 2).tolist()
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(buffer, "JPEG", **options)
        whole = decoded(buffer.getvalue())
        for _ in range(8):
            top, left = int(random.integers(height)), int(random.integers(width))
            rows, columns = (int(random.integers(1, room + 1)) for room in (height - top, width - left))
            found = window(buffer.getvalue(), [top, left, rows, columns])
            assert np.array_equal(found, whole[top : top + rows, left : left + columns]), (number, top, left)


def test_grey_windows():
    file = encode(picture(1, 90, 130, 1))
    assert np.array_equal(window(file, [11, 30, 50, 70], "L"), decoded(file)[11:61, 30:100])


def damaged(file: bytes) -> bytes:
    """In its lower half, noticed by PIL: what follows is no image data."""
    half = len(file) // 2
    return file[:half] + b"\xff\xd8" * 20 + file[half + 40 :]


@pytest.mark.parametrize(
    ("file", "mode"),
    [
        (encode(picture(1, 60, 80), "PNG"), "RGB"),
        (encode(picture(1, 60, 80).convert("CMYK")), "RGB"),
        (encode(picture(1, 60, 80), progressive=True), "RGB"),
        (encode(picture(1, 60, 80, 1)), "RGB"),
        (encode(picture(1, 60, 80)), "L"),  # PIL makes grey of red, green and blue
        (encode(picture(1, 60, 80))[:-400], "RGB"),
        (damaged(encode(picture(1, 60, 80))), "RGB"),
        (encode(picture(1, 59, 80)), "RGB"),  # not as large as it was measured
        (encode(picture(1, 60, 79)), "RGB"),
        (b"\xff\xd8", "RGB"),
        (b"", "RGB"),
    ],
    ids=["PNG", "CMYK", "progressive", "grey", "colour", "cut", "damaged", "low", "narrow", "short", "empty"],
)
def test_what_is_left_to_pil(file, mode):
    assert window(file, [0, 0, 60, 80], mode) is None
    assert window(encode(picture(2, 60, 80)), [0, 0, 60, 80]) is not None  # and the next one is decoded


# ---- the back-end ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("channels", [3, 1])
def test_with_whole_images_decoded_the_result_is_the_same(tmp_path, monkeypatch, channels, training):
    (data, files, rows), alone = samples(tmp_path, channels, training), []
    watched = lambda *args: alone.append(decoder()(*args)) or alone[-1]  # noqa: E731
    monkeypatch.setattr(torchvision_backend, "decoder", lambda: watched)
    parts = images_of(data, files, *rows)
    monkeypatch.setattr(torchvision_backend, "decoder", lambda: None)
    assert torch.equal(parts, images_of(data, files, *rows))
    assert len(alone) == 5 and all(found is not None for found in alone)


def test_a_run_that_skips_damaged_images_sees_all_of_them(tmp_path):
    file = damaged(encode(picture(1, 200, 80)))
    rows = np.array([(0, 0, 20, 80, 32, 32)]), np.zeros(1, bool)
    for policy, sees in (("error", False), ("skip", True)):
        data = make_config(tmp_path / policy, data__corrupt_images=policy).data
        assert (images_of(data, [file], *rows) is None) == sees


def test_no_compiler_no_decoder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", "/bin/false")
    assert decoder.__wrapped__() is None


@pytest.mark.parametrize("found", [None, np.zeros((70, 90, 4), np.uint8)], ids=["nothing", "other pixels"])
def test_a_decoder_that_does_not_do_as_pil_is_not_used(monkeypatch, found):
    monkeypatch.setattr(jpeg, "_decode", lambda function, file, row, mode: found)
    assert decoder.__wrapped__() is None
