"""Checkpoints as files: written whole or not at all, checked when read, the newest few kept. Knows nothing of training.

A file is one ASCII header line and a payload:

    reproduce-checkpoint 1 SHA256 BYTES UPDATE\\n   format version, checksum, length of the payload, updates taken
    ...                                            the payload: what `torch.save` writes

The checksum is over the payload followed by "VERSION BYTES UPDATE", so that no byte of a file can change unnoticed.
"""

import contextlib
import hashlib
import io
import os
import re
import warnings
from pathlib import Path

import torch

from reproduce import files
from reproduce.errors import CheckpointError

MAGIC, VERSION = b"reproduce-checkpoint", 1
HEADER = re.compile(MAGIC + rb" (\d{1,9}) ([0-9a-f]{64}) (\d{1,18}) (\d{1,18})\n")
HEADER_LIMIT = 256  # bytes; no header is longer
NAME = re.compile(r"update_(\d{8,})\.ckpt")
TEMPORARY = ".tmp"
HEAD = {"config_hash": str, "seed": int, "update": int, "epoch": int}  # of a state


class Damaged(Exception):
    """A file that is not an intact checkpoint; says what is wrong with it."""


class Checkpoints:
    """The checkpoints of one run: a folder of ``update_00000120.ckpt`` files, the newest `keep` of them kept.

    One process writes to a folder; any may read.
    """

    def __init__(self, folder: Path, keep: int = 2):
        if keep < 1:
            raise ValueError(f"keep = {keep}: at least one checkpoint must be kept")
        self.folder, self.keep = Path(folder), keep
        self.complaints: list[str] = []
        self._damaged: set[Path] = set()

    def save(self, state: dict, update: int) -> Path:
        """Write `state`, nested dicts and lists of tensors, numbers and strings, as of `update` updates taken.

        Whatever happens meanwhile, the file is there whole or not at all, and the older ones are untouched until it is
        safely on disk. Then only the newest `keep` up to this one stay; later ones go too: a run that saves an earlier
        update has passed them over. Raises `CheckpointError`, with the older checkpoints as they were.
        """
        payload = io.BytesIO()
        torch.save(state, payload)
        path = self.folder / file_name(update)
        temporary = path.with_name(path.name + TEMPORARY)
        with payload.getbuffer() as data:  # a view: the payload is in memory once
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._remove_temporaries()  # of a killed process; they may be what fills the disk
                _write(temporary, [_header(data, update), data])
                os.replace(temporary, path)
                _sync_folder(self.folder)
            except OSError as error:
                raise self._failure(path, error, len(data)) from None
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink()
        self._damaged.discard(path)
        self._remove_old(update)
        return path

    def newest(self) -> tuple[bytes, int] | None:
        """(payload, updates taken) of the newest intact checkpoint, None if there is none.

        Afterwards `complaints` has a line for each damaged file that was passed over. Raises `CheckpointError` if the
        folder cannot be listed.
        """
        passed_over, found = [], None
        for path, update in self._files():
            try:
                found = read(path), update
                break
            except Damaged as damage:
                passed_over.append(f"{path}: {damage}")
                self._damaged.add(path)
        instead = f"{path.name} is used instead" if found else "there is no older one, so the run begins again"
        self.complaints = [f"{line}; {instead}" for line in passed_over]
        return found

    def _files(self) -> list[tuple[Path, int]]:
        """The checkpoints with their updates, newest first, by name alone. Raises `CheckpointError`."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(
                f"{self.folder}: cannot look for checkpoints: {error.strerror}: make it a folder that can be read, "
                "or move it away"
            ) from None
        updates = {name: int(match[1]) for name in names if (match := NAME.fullmatch(name))}
        return [(self.folder / name, updates[name]) for name in sorted(updates, key=updates.__getitem__, reverse=True)]

    def _remove_old(self, update: int) -> None:
        kept = [path for path, u in self._files() if u <= update and path not in self._damaged][: self.keep]
        for path, _ in self._files():
            if path not in kept:
                with contextlib.suppress(OSError):  # one too many does no harm
                    path.unlink()

    def _remove_temporaries(self) -> None:
        for path in self.folder.glob(f"*.ckpt{TEMPORARY}"):
            with contextlib.suppress(OSError):
                path.unlink()

    def _failure(self, path: Path, error: OSError, size: int) -> CheckpointError:
        there = self._files()
        older = f"{there[0][0].name} is kept" if there else "there is no older one"
        return CheckpointError(
            f"{path}: cannot write the checkpoint: {error.strerror}: {older}: see that {path.parent} can be written "
            f"and has room for {max(1, round(size / 1e6)):,} MB, then run the same command again"
        )


def file_name(update: int) -> str:
    return f"update_{update:08d}.ckpt"


def update_of(path: Path) -> int:
    """The update in the name of a file that `read` has taken."""
    return int(path.stem.removeprefix("update_"))


def read(path: Path) -> bytes:
    """The payload of a checkpoint, verified. Raises `Damaged`."""
    try:
        descriptor, size = files.regular(path)
        with open(descriptor, "rb") as file:
            header = file.readline(HEADER_LIMIT)
            length, update, digest = _said(header, size - len(header))
            payload = file.read(length)
    except OSError as error:
        raise Damaged(f"cannot be read: {error.strerror}") from None
    if len(payload) < length:
        raise Damaged(f"truncated: has {len(payload):,} of {length:,} bytes")
    if _checksum(payload, update) != digest:
        raise Damaged("checksum differs")
    if path.name != file_name(update):
        raise Damaged(f"is of update {update}, not of the one in its name")
    return payload


def _said(header: bytes, there: int) -> tuple[int, int, bytes]:
    """A header's length of the payload, of which so many bytes are there, its updates and its checksum."""
    if not header.startswith(MAGIC[: len(header)]):
        raise Damaged("not a checkpoint")
    if len(header) < HEADER_LIMIT and not header.endswith(b"\n"):
        raise Damaged(f"truncated: has {len(header)} bytes, not even its header")
    match = HEADER.fullmatch(header)
    if not match:
        raise Damaged("its header cannot be read")
    version, length, update = int(match[1]), int(match[3]), int(match[4])
    if version != VERSION:
        raise Damaged(f"format {version}, this program reads format {VERSION}")
    if there < length:
        raise Damaged(f"truncated: has {there:,} of {length:,} bytes")
    if there > length:
        raise Damaged(f"has {there:,} bytes where its header says {length:,}")
    return length, update, match[2]


def unpack(payload: bytes, update: int | None = None) -> dict:
    """The state in a payload, on the CPU. Raises `CheckpointError`, also if it is not of `update`.

    Nothing in a payload is ever executed: only tensors, numbers, strings and their containers load.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # remarks on foreign formats: refusing them says enough
            state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler's own, but also any other on bytes that another program made up
        raise _foreign(type(error).__name__) from None
    if not isinstance(state, dict):
        raise _foreign(f"holds a {type(state).__name__}")
    for key, kind in HEAD.items():  # which callers compare: tensors have no single answer
        if key in state and type(state[key]) is not kind:
            raise _foreign(f"its {key} is a {type(state[key]).__name__}")
    if update is not None and state.get("update") != update:
        raise _foreign(f"its name says update {update}, its content {str(state.get('update'))[:20]}")
    return state


def _foreign(what: str) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint was not written by this program ({what}): only tensors, numbers, strings, lists and dicts "
        "are loaded, nothing is executed: delete it and run again"
    )


def _header(payload, update: int) -> bytes:
    return b"%s %d %s %d %d\n" % (MAGIC, VERSION, _checksum(payload, update), len(payload), update)


def _checksum(payload, update: int) -> bytes:
    digest = hashlib.sha256(payload)
    digest.update(b"%d %d %d" % (VERSION, len(payload), update))
    return digest.hexdigest().encode("ascii")


def _write(path: Path, parts: list) -> None:
    """Write and wait until the disk has it: a full one may say so only then."""
    with open(path, "xb") as file:  # a new one: not through a link that somebody has put there
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, on file systems that can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
