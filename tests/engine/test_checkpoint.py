"""Checkpoints on disk: written whole or not at all, every damage found, the older one there when it is needed."""

import hashlib
import io
import math
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reproduce.engine.checkpoint import Checkpoints, unpack
from reproduce.errors import CheckpointError
from tests.helpers import ROOT


def state(seed: int = 0, elements: int = 1000) -> dict:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(elements, generator=generator)
    weights[:3] = torch.tensor([math.nan, -0.0, math.inf])
    half = torch.randn(8, 3, 4, 4, generator=generator).to(torch.bfloat16).to(memory_format=torch.channels_last)
    return {
        "weights": {"a.weight": weights, "b": half},
        "counts": [torch.arange(5), torch.tensor(7)],
        "update": 120, "loss": 0.1 + seed, "events": [["epoch_stop", {"loss": 1e-30, "text": "é"}], None, True],
    }  # fmt: skip


def same(a, b) -> bool:
    """Equal to the last bit, types, shapes and strides included."""
    if isinstance(a, torch.Tensor):
        layout = (a.dtype, a.shape, a.stride())
        return layout == (b.dtype, b.shape, b.stride()) and bytes_of(a) == bytes_of(b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return type(b) is list and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def bytes_of(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def two(folder: Path, elements: int = 1000) -> tuple[Checkpoints, Path, Path]:
    """Two checkpoints: the store, the older file, the newer file."""
    checkpoints = Checkpoints(folder)
    return checkpoints, checkpoints.save(state(1, elements), 10), checkpoints.save(state(2, elements), 20)


def test_round_trip_is_exact_to_the_last_bit(tmp_path):
    checkpoints = Checkpoints(tmp_path / "new" / "folders")
    assert checkpoints.newest() is None and checkpoints.complaints == []
    path = checkpoints.save(state(), 120)
    assert path == tmp_path / "new" / "folders" / "update_00000120.ckpt" and names(path.parent) == [path.name]
    payload, update = Checkpoints(path.parent).newest()
    assert update == 120 and same(unpack(payload), state()) and not same(unpack(payload), state(1))


def test_the_header_is_one_line_anybody_can_check(tmp_path):
    header, payload = Checkpoints(tmp_path).save(state(), 7).read_bytes().split(b"\n", 1)
    magic, version, checksum, length, update = header.decode("ascii").split()
    assert (magic, version, int(length), int(update)) == ("reproduce-checkpoint", "1", len(payload), 7)
    assert checksum == hashlib.sha256(payload + f"{version} {length} {update}".encode()).hexdigest()


def test_only_the_newest_stay(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3)
    for update in (5, 10, 99_999_999, 100_000_000):
        checkpoints.save(state(), update)
    assert names(tmp_path) == ["update_00000010.ckpt", "update_100000000.ckpt", "update_99999999.ckpt"]
    assert checkpoints.newest()[1] == 100_000_000


def test_saving_an_update_again_replaces_it(tmp_path):
    checkpoints, _, newer = two(tmp_path)
    checkpoints.save(state(3), 20)
    assert len(names(tmp_path)) == 2 and same(unpack(checkpoints.newest()[0]), state(3))


# ---- damage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [0, 1, 20, 21, 60, 110, 120, 200, 0.5, -1])
def test_a_truncated_checkpoint_is_named_and_the_previous_one_used(tmp_path, left):
    checkpoints, older, newer = two(tmp_path)
    size = newer.stat().st_size
    os.truncate(newer, {0.5: size // 2, -1: size - 1}.get(left, left))
    payload, update = checkpoints.newest()
    assert update == 10 and same(unpack(payload), state(1))
    [complaint] = checkpoints.complaints
    assert complaint.startswith(f"{newer}: truncated: has ") and f"{older.name} is used instead" in complaint
    if left in (0.5, -1):
        length = size - len(newer.read_bytes().split(b"\n", 1)[0]) - 1
        assert f"of {length:,} bytes" in complaint


def test_one_flipped_bit_anywhere_is_found(tmp_path):
    checkpoints, older, newer = two(tmp_path, elements=64)
    intact = newer.read_bytes()
    header = intact.index(b"\n") + 1
    offsets = [*range(header + 20), *range(header + 20, len(intact), 41), len(intact) - 1]
    for offset in offsets:
        for bit in (1, 32):  # 32 turns a letter into its capital
            damaged = bytearray(intact)
            damaged[offset] ^= bit
            newer.write_bytes(damaged)
            found = checkpoints.newest()
            assert found and found[1] == 10, f"byte {offset} of {intact[:header]}: flipping bit {bit} went unnoticed"
            [complaint] = checkpoints.complaints
            assert newer.name in complaint and older.name in complaint
            if offset >= header:
                assert ": checksum differs; " in complaint
    newer.write_bytes(intact)
    assert checkpoints.newest()[1] == 20 and checkpoints.complaints == []


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"hello", "not a checkpoint"),
        (b"PK\x03\x04" * 100, "not a checkpoint"),
        (b"reproduce-checkpoint 1 abc\nxyz", "its header cannot be read"),
        (b"reproduce-checkpoint 2 " + b"0" * 64 + b" 3 20\nabc", "format 2, this program reads format 1"),
        (b"reproduce-checkpoint 1 " + b"0" * 64 + b" 3 20\nabc", "checksum differs"),
    ],
)
def test_other_files_are_called_what_they_are(tmp_path, content, what):
    checkpoints, _, newer = two(tmp_path)
    newer.write_bytes(content)
    assert checkpoints.newest()[1] == 10
    assert checkpoints.complaints == [f"{newer}: {what}; update_00000010.ckpt is used instead"]


def test_longer_renamed_and_unreadable_files_are_passed_over(tmp_path):
    checkpoints, older, newer = two(tmp_path)
    newer.write_bytes(newer.read_bytes() + b"x")
    (tmp_path / "update_00000030.ckpt").write_bytes(older.read_bytes())
    (tmp_path / "update_00000040.ckpt").mkdir()
    assert checkpoints.newest()[1] == 10
    is_a_folder, renamed, longer = checkpoints.complaints
    assert "cannot be read: Is a directory" in is_a_folder
    assert "is of update 10, not of the one in its name" in renamed and "where its header says" in longer


def test_nothing_intact_says_that_the_run_begins_anew(tmp_path):
    checkpoints, older, newer = two(tmp_path)
    os.truncate(newer, 500)
    os.truncate(older, 400)
    assert checkpoints.newest() is None
    assert [line.endswith("no older one, so the run begins again") for line in checkpoints.complaints] == [True] * 2


def test_a_damaged_file_takes_no_place_of_an_intact_one(tmp_path):
    """After a fall-back two intact files stay, and what lies ahead of the run goes."""
    checkpoints, older, newer = two(tmp_path)
    ahead = tmp_path / "update_00000090.ckpt"
    ahead.write_bytes(b"from a future that was passed over")
    os.truncate(newer, 500)
    assert checkpoints.newest()[1] == 10
    checkpoints.save(state(3), 30)
    assert names(tmp_path) == [older.name, "update_00000030.ckpt"]
    checkpoints.save(state(3), 20)  # the damaged one anew
    assert names(tmp_path) == [older.name, newer.name]


def test_a_folder_that_cannot_be_listed_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot look for checkpoints: Not a directory"):
        Checkpoints(tmp_path / "file").newest()


# ---- killed while writing ------------------------------------------------------------------------------------------

SAVES_AND_HANGS = """
import builtins, os, sys, time
from pathlib import Path
import torch
from reproduce.engine import checkpoint

folder, where = sys.argv[1:]
checkpoints = checkpoint.Checkpoints(Path(folder))
checkpoints.save({"weights": torch.ones(100_000)}, 10)

def hang(*_):
    print("here", flush=True)
    time.sleep(60)

class Slow:
    def __init__(self, file):
        self.file = file
    def __enter__(self):
        return self
    def __exit__(self, *_):
        self.file.close()
    def write(self, data):
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        if len(data) > 1000:
            hang()

if where == "write":
    checkpoint.open = lambda *arguments: Slow(builtins.open(*arguments))
else:
    setattr(os, where, hang)
checkpoints.save({"weights": torch.zeros(100_000)}, 20)
"""


def run_python(code: str, *arguments, **options) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_killed_while_writing_leaves_the_older_one(tmp_path):
    moments = ("write", "fsync", "replace")
    children = {where: run_python(SAVES_AND_HANGS, tmp_path / where, where) for where in moments}
    for where, child in children.items():
        said = child.stdout.readline()
        child.kill()
        errors = child.communicate()[1]
        assert said == "here\n", errors
        assert child.returncode == -signal.SIGKILL
        folder = tmp_path / where
        assert names(folder) == ["update_00000010.ckpt", "update_00000020.ckpt.tmp"]
        checkpoints = Checkpoints(folder)
        payload, update = checkpoints.newest()
        assert update == 10 and checkpoints.complaints == [] and unpack(payload)["weights"].eq(1).all()
        checkpoints.save(state(), 30)
        assert names(folder) == ["update_00000010.ckpt", "update_00000030.ckpt"], "the leftover is still there"


# ---- a full disk ---------------------------------------------------------------------------------------------------

FILLS_THE_DISK = """
import resource, signal, sys
from pathlib import Path
import torch
from reproduce.engine.checkpoint import Checkpoints
from reproduce.errors import CheckpointError

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
checkpoints = Checkpoints(folder)
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for update, elements in ((10, 1000), (20, 2_000_000)):
    try:
        checkpoints.save({"weights": torch.full((elements,), float(update))}, update)
    except CheckpointError as error:
        print(f"update {update}: {error}")
"""


def check_full_disk(folder: Path, limit: int, reason: str) -> None:
    """Save a checkpoint that fits and one of 8 MB that does not into `folder`, at most `limit` bytes a file."""
    out, errors = run_python(FILLS_THE_DISK, folder, limit).communicate(timeout=60)
    assert errors == ""
    assert out == (
        f"update 20: {folder}/update_00000020.ckpt: cannot write the checkpoint: {reason}: "
        f"update_00000010.ckpt is kept: see that {folder} can be written and has room for 8 MB, "
        "then run the same command again\n"
    )
    assert names(folder) == ["update_00000010.ckpt"]
    payload, update = Checkpoints(folder).newest()
    assert update == 10 and unpack(payload)["weights"].eq(10).all()


def test_a_file_size_limit_keeps_the_older_checkpoint(tmp_path):
    check_full_disk(tmp_path, 1_000_000, "File too large")


def test_a_full_disk_keeps_the_older_checkpoint(tmp_path):
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True, text=True)
    if mount.returncode:
        pytest.skip(f"may not mount a small disk here ({mount.stderr.strip()}): the file size limit is tested instead")
    try:
        check_full_disk(tmp_path, 0, "No space left on device")
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_an_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="(?s)^[^\n]*Not a directory[^\n]*$"):
        Checkpoints(tmp_path / "file" / "folder").save(state(), 10)


@pytest.mark.parametrize("kind", ["pipe", "device", "huge"])
def test_only_a_regular_file_as_long_as_it_says_is_read(tmp_path, kind):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(), 10)
    path = tmp_path / "update_00000020.ckpt"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        shutil.copyfile(tmp_path / "update_00000010.ckpt", path)
        os.truncate(path, 30 << 30)
    assert checkpoints.newest()[1] == 10 and path.name in checkpoints.complaints[0]


def test_what_a_file_is_called_is_what_its_content_is_of(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"update": 10}, 20)
    with pytest.raises(CheckpointError, match="its name says update 20, its content 10"):
        unpack(*checkpoints.newest())


def test_no_checkpoint_is_written_through_a_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "update_00000010.ckpt.tmp").symlink_to(victim)
    Checkpoints(tmp_path / "c").save(state(), 10)
    assert victim.read_text() == "mine" and names(tmp_path / "c") == ["update_00000010.ckpt"]


# ---- safe loading --------------------------------------------------------------------------------------------------


class Malicious:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_malicious_payload_is_refused_and_not_executed(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save({"weights": torch.ones(2), "more": Malicious(tmp_path / "executed")}, 10)  # a correct checksum
    payload, _ = checkpoints.newest()
    with pytest.raises(CheckpointError, match="nothing is executed") as refusal:
        unpack(payload)
    assert "\n" not in str(refusal.value) and not (tmp_path / "executed").exists()
    torch.load(io.BytesIO(payload), weights_only=False)
    assert (tmp_path / "executed").exists(), "the payload of this test does nothing"


@pytest.mark.parametrize("name", ["config_hash", "seed", "update", "epoch"])
def test_what_says_whose_a_state_is_has_one_value(tmp_path, name):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save({name: torch.ones(2)}, 10)
    with pytest.raises(CheckpointError, match=f"its {name} is a Tensor"):
        unpack(*checkpoints.newest())


@pytest.mark.parametrize("payload", [b"", b"PK\x03\x04 no archive", pickle.dumps([1])])
def test_a_payload_of_another_kind_is_one_line(payload):
    with pytest.raises(CheckpointError, match="not written by this program") as refusal:
        unpack(payload)
    assert "\n" not in str(refusal.value)
