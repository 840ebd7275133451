"""Staging: the copy is whole or the marker is missing, whatever interrupts it, and no archive writes outside of it."""

import errno
import fcntl
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest

from reproduce.engine.data import folders, stage, staged
from reproduce.errors import DataError
from tests.helpers import ROOT

CLASSES = ("n01", "n02", "n03")


@pytest.fixture
def source(tmp_path):
    """8 images per class to train on, 4 to validate, of different sizes, and what else such folders hold."""
    root = tmp_path / "source"
    for part, count in (("train", 8), ("val", 4)):
        for name in CLASSES:
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                content = hashlib.sha256(f"{part}{name}{number}".encode()).digest() * (10 + number)
                (folder / f"{name}_{number}.JPEG").write_bytes(content)
    (root / "train" / "n01" / "._n01_0.JPEG").write_bytes(b"of another system")
    (root / folders.MARKER).write_text("{}")
    return root


def contents(root: Path) -> dict[str, bytes]:
    """Of all visible files."""
    files = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not f"/{name}".count("/.")}


def fails(source: Path, target: Path, **options) -> str:
    with pytest.raises(DataError) as caught:
        stage.stage(source, target, **options)
    assert "\n" not in str(caught.value)
    assert not (target / staged.ABOUT).exists(), "called finished"
    return str(caught.value)


def test_a_folder_is_copied_whole_and_a_second_call_needs_nothing(tmp_path, source, capsys):
    target, expected = tmp_path / "local", contents(source)
    argv = ["--from", str(source), "--to", str(target), "--jobs", "3"]
    assert stage.main(argv) == 0
    assert contents(target) == expected
    first = capsys.readouterr()
    assert "24 training and 12 validation images" in first.out and "(was there already)" not in first.out
    assert "train  24 images  100 %" in first.err and "images/s" in first.err and "ETA 0:00" in first.err
    about = json.loads((target / staged.ABOUT).read_text())
    size = sum(len(content) for name, content in expected.items() if name != folders.MARKER)
    assert {key: about[key] for key in ("files", "bytes", "train", "val")} == {
        "files": 36, "bytes": size, "train": 24, "val": 12,
    }  # fmt: skip
    shutil.rmtree(source)
    assert stage.main(argv) == 0 and "(was there already)" in capsys.readouterr().out


# ---- interrupted ----------------------------------------------------------------------------------------------------


def count_copies(monkeypatch, fail_after: int | None = None) -> list:
    copied, copyfile = [], shutil.copyfile

    def counted(a, b):
        if fail_after is not None and len(copied) >= fail_after:
            Path(b).write_bytes(b"half a fi")
            raise OSError(errno.ENOSPC, "No space left on device", str(b))
        copied.append(Path(a).name)
        return copyfile(a, b)

    monkeypatch.setattr(shutil, "copyfile", counted)
    return copied


def test_after_a_full_disk_the_same_command_copies_what_is_missing(tmp_path, source, monkeypatch):
    target = tmp_path / "local"
    count_copies(monkeypatch, fail_after=10)
    assert "the disk is full" in fails(source, target, jobs=1)
    kept = contents(target)
    assert len(kept) == 10 and kept.items() <= contents(source).items(), "half a file has the name of a whole one"
    monkeypatch.undo()
    copied = count_copies(monkeypatch)
    stage.stage(source, target)
    assert contents(target) == contents(source)
    assert len(copied) == 37 - 10
    assert sorted(path.name for path in target.iterdir() if path.name.startswith(".")) == [staged.ABOUT, staged.LOCK]


def test_a_file_of_another_size_is_copied_again(tmp_path, source):
    target = interrupted(tmp_path / "local")
    (target / "val/n02").mkdir(parents=True)
    (target / "val/n02/n02_1.JPEG").write_bytes(b"cut off")
    stage.stage(source, target)
    assert contents(target) == contents(source)


def interrupted(target: Path) -> Path:
    """A folder that a stage has begun to fill."""
    (target / stage.PARTIAL).mkdir(parents=True)
    return target


@pytest.mark.parametrize("there", ["data", "one file", "a link"])
def test_a_folder_that_no_stage_made_is_left_as_it_is(tmp_path, source, there):
    """As after --from and --to were exchanged."""
    target = tmp_path / "mine"
    (target / "train/n01").mkdir(parents=True)
    (target / "train/n01/n01_3.JPEG").write_bytes(b"my own")
    if there == "one file":
        shutil.rmtree(target / "train")
        (target / "notes.txt").write_text("my own")
    if there == "a link":
        (target / stage.PARTIAL).symlink_to(source)
    before = contents(target)
    says = fails(source, target)
    assert f"{target}: holds" in says and "name an empty folder with --to" in says
    assert contents(target) == before and contents(source).keys() >= {"train/n01/n01_3.JPEG"}
    assert not (target / staged.LOCK).exists()


def test_a_link_that_leads_to_itself_is_one_line(tmp_path, source):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert str(loop) in fails(loop, tmp_path / "local") and str(loop) in fails(source, loop)


def test_what_systems_leave_in_folders_is_not_copied_and_is_in_nobodys_way(tmp_path, source):
    target, expected = tmp_path / "local", contents(source)
    for folder in (source / "train/@eaDir", source / "val/n01/@eaDir", target / "lost+found"):
        folder.mkdir(parents=True)
        (folder / "a.JPEG").write_bytes(b"a thumbnail")
    stage.stage(source, target)
    shutil.rmtree(target / "lost+found")
    assert contents(target) == expected


def test_no_lock_is_written_through_a_link(tmp_path, source):
    target, victim = tmp_path / "local", tmp_path / "victim"
    target.mkdir()
    victim.write_text("mine")
    (target / staged.LOCK).symlink_to(victim)
    assert str(target / staged.LOCK) in fails(source, target) and victim.read_text() == "mine"


# ---- archives -------------------------------------------------------------------------------------------------------


def archive(path: Path, members: list[tuple[str, bytes | tarfile.TarInfo]]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.name = name
            if isinstance(content, bytes):
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)


@pytest.mark.parametrize("prefix", ["", "train/", "./train/"])
def test_an_archive_unpacks_to_the_same_files(tmp_path, source, prefix, monkeypatch):
    packed = tmp_path / "packed"
    shutil.copytree(source, packed)
    with tarfile.open(packed / "train.tar", "w") as tar:
        tar.add(packed / "train", prefix or ".")  # with its folders and a hidden file
    shutil.rmtree(packed / "train")
    target = interrupted(tmp_path / "local")
    (target / "train/n01").mkdir(parents=True)
    shutil.copyfile(source / "train/n01/n01_3.JPEG", target / "train/n01/n01_3.JPEG")
    before = (target / "train/n01/n01_3.JPEG").stat().st_ino
    about = stage.stage(packed, target)
    assert contents(target) == contents(source) and (about["train"], about["val"]) == (24, 12)
    assert (target / "train/n01/n01_3.JPEG").stat().st_ino == before, "written again"


def link(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("../outside.JPEG", b"x"), ("n01/../../../outside.JPEG", b"x"), ("/{tmp}/outside.JPEG", b"x"),
        ("n01/outside.JPEG", link(tarfile.SYMTYPE)), ("n01/outside.JPEG", link(tarfile.LNKTYPE)),
        ("n01/outside.JPEG", link(tarfile.CHRTYPE)), ("n01/outside.JPEG", link(tarfile.FIFOTYPE)),
        ("outside.JPEG.tar", b"x"),
    ],
)  # fmt: skip
def test_members_that_are_not_files_below_are_refused(tmp_path, source, name, content):
    archive(source / "train.tar", [("n01/a.JPEG", b"x"), (name.format(tmp=tmp_path), content)])
    says = fails(source, tmp_path / "local")
    assert str(source / "train.tar") in says and "outside.JPEG" in says
    assert list(tmp_path.rglob("outside.JPEG")) == []


@pytest.mark.parametrize("damage", ["cut in a member", "cut between members", "a header", "compressed"])
def test_damaged_archives_are_refused(tmp_path, source, damage):
    path = source / "train.tar"
    archive(path, [(f"n01/{number}.JPEG", bytes([number]) * 600) for number in range(1, 6)])
    whole = bytearray(path.read_bytes())
    member = 512 + 1024  # header and two blocks
    if damage == "a header":
        whole[2 * member : 2 * member + 20] = b"\x7f" * 20
    cut = {"cut in a member": 2 * member + 700, "cut between members": 2 * member}.get(damage, len(whole))
    path.write_bytes(bytes(whole[:cut]))
    if damage == "compressed":
        with tarfile.open(path, "w:gz") as tar:
            tar.add(source / "val", "n01")
    assert str(path) in fails(source, tmp_path / "local")


def header(name: bytes, size: bytes = b"00000000001\0", kind: bytes = b"0", magic: bytes = b"ustar\x0000") -> bytes:
    """A header as it comes, of 512 bytes: whatever its fields say, its checksum is right."""
    parts = name.ljust(100, b"\0"), b"0000644\0" * 1, b"0000000\0" * 2, size, b"00000000000\0", b" " * 8, kind
    block = b"".join(parts).ljust(257, b"\0") + magic
    block = block.ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def pax(record: bytes) -> bytes:
    text = b" " + record + b"\n"
    length = len(text) + len(str(len(text) + 2))
    return header(b"pax", b"%011o\0" % (length), b"x") + padded(str(length).encode() + text)


FILE = header(b"n01/a.JPEG") + padded(b"x")
ODD = {
    "negative size": header(b"n01/a.JPEG", b"\xff" * 11 + b"\x00"),
    "large negative size": header(b"n01/a.JPEG", b"\xff" * 8 + b"\x00" * 4),
    "size 2^50": header(b"n01/a.JPEG", b"\x80" + bytes(4) + b"\x04" + bytes(6)),
    "size that another header replaces": pax(b"GNU.sparse.realsize=1") + header(
        b"n01/b.JPEG", (-1536).to_bytes(12, "big", signed=True)
    ),
    "size of letters": header(b"n01/a.JPEG", b"zzzzzzzzzzz\0"),
    "pax size negative": pax(b"size=-1024") + FILE,
    "pax size huge": pax(b"size=99999999999999999999999999") + FILE,
    "pax size not a number": pax(b"size=many") + FILE,
    "pax name with NUL": pax(b"path=n01/a\0b.JPEG") + FILE,
    "pax of 2^33": header(b"pax", b"\x80" + bytes(6) + b"\x02" + bytes(4), b"x") + FILE,
    "long name of negative size": header(b"long", b"\xff" * 11 + b"\x00", b"L") + FILE,
    "thousands of pax headers": pax(b"comment=x") * 3000 + FILE,
    "sparse map of letters": pax(b"GNU.sparse.map=a,b") + FILE,
    "no name": header(b"") + padded(b"x"),
    "dot": header(b".") + padded(b"x"),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_headers_end_in_one_line(tmp_path, source, odd):
    path = source / "train.tar"
    path.write_bytes(FILE + ODD[odd] + bytes(1024))
    assert str(path) in fails(source, tmp_path / "local")
    assert {name for name in contents(tmp_path / "local") if name.startswith("train")} <= {"train/n01/a.JPEG"}


def test_a_member_that_is_larger_than_any_image_is_not_read(tmp_path, source):
    path = source / "train.tar"
    with open(path, "wb") as file:
        file.write(header(b"n01/a.JPEG", b"%011o\0" % (2 << 30)))
        file.truncate(512 + (2 << 30) + 1024)
    assert "more than any image" in fails(source, tmp_path / "local")


# ---- room, and others at work ---------------------------------------------------------------------------------------


def test_space_is_checked_before_anything_is_copied(tmp_path, source, monkeypatch):
    size = sum(path.stat().st_size for part in ("train", "val") for path in (source / part).glob("*/n*"))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=int(0.9 * size)))
    target = tmp_path / "local"
    says = fails(source, target)
    assert "GB free" in says and "GB needed" in says and contents(target) == {}
    shutil.copytree(source / "train", target / "train")  # what is there needs no room
    stage.stage(source, target)
    assert contents(target).keys() >= contents(source).keys()


def test_the_second_of_two_waits_and_then_has_nothing_to_do(tmp_path, source):
    target, staged_before = tmp_path / "local", tmp_path / "before"
    stage.stage(source, staged_before)
    target.mkdir()
    with open(target / staged.LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("process 7 on n1")
        lock.flush()
        command = [sys.executable, "-m", "reproduce.engine.data.stage", "--from", str(source), "--to", str(target)]
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert child.stdout.readline() == f"{target}: waits for process 7 on n1, which stages it\n"
            assert contents(target) == {}
            without_lock = shutil.ignore_patterns(staged.LOCK)
            shutil.copytree(staged_before, target, dirs_exist_ok=True, ignore=without_lock)
            inodes = {path: path.stat().st_ino for path in target.glob("*/*/*")}
            fcntl.flock(lock, fcntl.LOCK_UN)
            out, err = child.communicate(timeout=60)
        finally:
            child.kill()
    assert child.returncode == 0 and "24 training" in out and "images/s" not in err
    assert {path: path.stat().st_ino for path in target.glob("*/*/*")} == inodes


def test_without_locks_several_at_once_do_no_harm(tmp_path, source, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    def slowly(source, target):
        content = Path(source).read_bytes()
        with open(target, "wb", buffering=0) as file:
            for start in range(0, len(content), 100):
                file.write(content[start : start + 100])
                time.sleep(0.001)  # the others' turn

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(shutil, "copyfile", slowly)
    target, failed = tmp_path / "local", []

    def run():
        try:
            stage.stage(source, target, jobs=4)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [] and contents(target) == contents(source)


# ---- the page cache -------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A stand-in for the kernel's file: the cache of this machine is left alone."""
    for name in staged.JOB_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "drop_caches"
    file.write_text("")
    monkeypatch.setattr(staged, "DROP_CACHES", file)
    monkeypatch.setattr(staged.os, "sync", lambda: None)
    return file


def test_the_page_cache_is_cleared_and_the_job_that_did_so_noted(tmp_path, source, cache, capsys, monkeypatch):
    target, argv = tmp_path / "local", ["--from", str(source), "--to", str(tmp_path / "local")]
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert stage.main(argv) == 0 and not staged.page_cache_cleared(target)[0] and cache.read_text() == ""
    assert "page cache" not in capsys.readouterr().out
    assert stage.main([*argv, "--drop-caches"]) == 0
    assert capsys.readouterr().out.endswith("page cache: cleared\n") and cache.read_text() == "3\n"
    assert staged.page_cache_cleared(target)[0]
    monkeypatch.setattr(staged, "CLEARED_SECONDS", 0.0)
    assert not staged.page_cache_cleared(target)[0], "too long ago"
    monkeypatch.undo()
    monkeypatch.setenv("SLURM_JOB_ID", "18")
    assert not staged.page_cache_cleared(target)[0], "by another job"
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert staged.page_cache_cleared(target)[0]
    assert stage.main(argv) == 0 and not staged.page_cache_cleared(target)[0], "this call left it"


def test_where_it_is_not_permitted_it_is_said(tmp_path, source, cache, capsys):
    staged.DROP_CACHES.unlink()
    staged.DROP_CACHES.mkdir()
    target = tmp_path / "local"
    assert stage.main(["--from", str(source), "--to", str(target), "--drop-caches"]) == 0
    assert capsys.readouterr().out.endswith("page cache: left as it is (not permitted)\n")
    cleared, comment = staged.page_cache_cleared(target)
    assert not cleared and "not permitted" in comment
    assert staged.page_cache_cleared(source) == (False, "the page cache is left as it is")


# ---- bad input ------------------------------------------------------------------------------------------------------


def test_what_cannot_be_staged_is_one_line(tmp_path, source, capsys):
    target = tmp_path / "local"
    assert "lies in --from" in fails(source, source / "train" / "local")
    assert "--jobs 0: must be at least 1" in fails(source, target, jobs=0)
    assert "holds neither train.tar nor train/" in fails(tmp_path / "nowhere", target)
    shutil.rmtree(source / "val")
    (source / "val").mkdir()
    assert f"{source / 'val'}: holds no files: complete the source" in fails(source, target)
    assert stage.main(["--from", str(source), "--to", str(target)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    archive(source / "val.tar", [])
    assert f"{source / 'val'}.tar: holds no files" in fails(source, target)
    (tmp_path / "file").write_text("in the way")
    assert "choose another --to" in fails(source, tmp_path / "file" / "local")


@pytest.mark.parametrize("odd", [
    {"train": []}, {"bytes": "many"}, {"source": 3}, {"files": True}, {"page_cache": []},
    {"page_cache": {"node0": "x"}}, {"page_cache": {"node0": {"cleared": True, "at": "now", "job": ""}}},
])  # fmt: skip
def test_what_a_stage_did_not_write_counts_as_nothing(tmp_path, source, odd):
    target = tmp_path / "local"
    about = stage.stage(source, target)
    assert staged.read(target) == about
    (target / staged.ABOUT).write_text(json.dumps(about | odd))
    assert staged.read(target) is None
    with pytest.raises(DataError, match="was not made by a stage"):
        stage.stage(source, target)


def test_a_target_staged_from_elsewhere_is_not_taken_for_this_source(tmp_path, source):
    target = tmp_path / "local"
    stage.stage(source, target)
    shutil.copytree(source, tmp_path / "other")
    with pytest.raises(DataError, match=f"was staged from {source}"):
        stage.stage(tmp_path / "other", target)
