"""What there is to stage: the files of a folder, or the members of a tar, one after the other."""

import shutil
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from reproduce.engine.data.listing import SYSTEM_FOLDERS, class_folders, visible
from reproduce.errors import DataError
from reproduce.files import IMAGE, why

BUFFER_BYTES = 16 << 20  # a tar is read in large steps: parallel file systems are slow with small ones
BLOCK = 512  # of a tar; two blocks of zeros end it
HEADER_BYTES = 1 << 20  # of which a long name or link may be
DAMAGE = (tarfile.TarError, ValueError, LookupError, ArithmeticError, EOFError, RecursionError)


@dataclass(frozen=True)
class Piece:
    """A file: where it goes below the target, its bytes, and how its content is put at a path; None: it is there."""

    name: str
    size: int
    put: Callable[[Path], object] | None


class Headers:
    """An archive as tarfile may read it: headers only, none of which is large, from a file of a known size."""

    def __init__(self, file: BinaryIO):
        self.tell, self.seek, self._file = file.tell, file.seek, file

    def read(self, size: int) -> bytes:
        if not 0 <= size <= HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._file.read(size)


class Folder:
    """The visible files below ``ROOT/PART`` and its class folders, listed by `pool`: sizes cost a request each."""

    def __init__(self, root: Path, part: str, pool: Executor):
        self.root = root
        self._files = [file for files in pool.map(self._list, self._folders(part)) for file in files]
        self.size = sum(size for _, size in self._files)
        if not self._files:
            raise DataError(f"{root / part}: holds no files: complete the source")

    def _folders(self, part: str) -> list[str]:
        return [part, *(f"{part}/{name}" for name in class_folders(self.root / part))]

    def _list(self, folder: str) -> list[tuple[str, int]]:
        files = [entry for entry in visible(self.root / folder) if entry.is_file()]
        return sorted((f"{folder}/{entry.name}", entry.stat().st_size) for entry in files)

    def pieces(self, there: Callable[[str, int], bool]) -> Iterator[Piece]:
        """All files; `there` tells whether one of a name and a size need not be copied."""
        for name, size in self._files:
            yield file_piece(self.root, name, size, there)


def file_piece(root: Path, name: str, size: int, there: Callable[[str, int], bool]) -> Piece:
    return Piece(name, size, None if there(name, size) else lambda path: shutil.copyfile(root / name, path))


class Tar:
    """The members of an uncompressed tar, as ``PART/CLASS/NAME``, read once from its beginning to its end.

    They may stand below ``PART/`` in the archive or not. Raises `DataError` for an archive that is cut off or damaged,
    and for members that are no files or folders below it: none of them is ever written.
    """

    def __init__(self, path: Path, part: str):
        self.path, self.part, self.size = path, part, path.stat().st_size
        with open(path, "rb") as file:
            file.seek(max(0, self.size - 2 * BLOCK))
            if self.size % BLOCK or file.read() != bytes(2 * BLOCK):
                raise DataError(f"{path}: does not end as a tar does: cut off or compressed: make it again by tar -cf")

    def pieces(self, there: Callable[[str, int], bool]) -> Iterator[Piece]:
        """As `Folder.pieces`; contents are read in order, here."""
        with open(self.path, "rb", buffering=BUFFER_BYTES) as file:
            for member in self._members(file):
                name = self._name(member)
                if name is None:
                    continue
                content = None if there(name, member.size) else self._content(file, member)
                yield Piece(name, member.size, None if content is None else _writer(content))

    def _members(self, file: BinaryIO) -> Iterator[tarfile.TarInfo]:
        """The headers, in order. `tarfile` raises all of `DAMAGE` for what it cannot make sense of."""
        try:
            with tarfile.open(fileobj=Headers(file), mode="r:") as archive:  # type: ignore[call-overload]
                while (member := archive.next()) is not None:
                    if not 0 <= member.size <= self.size - member.offset_data:
                        raise tarfile.ReadError(f"a member of {member.size:,} bytes")
                    if archive.offset < member.offset_data:  # by a size that a later header has replaced
                        raise tarfile.ReadError("a member that ends before it begins")
                    # a million of them would fill a gigabyte; the types of the library leave `members` out
                    archive.members.clear()  # type: ignore[attr-defined]
                    yield member
                file.seek(archive.offset)  # a damaged header ends the reading as well, without a word
                if any(file.read(BLOCK)):
                    raise tarfile.ReadError("damaged")
        except DAMAGE as error:
            raise DataError(f"{self.path}: not readable as a tar: {why(error)}: make it again by tar -cf") from None

    def _content(self, file: BinaryIO, member: tarfile.TarInfo) -> bytes:
        if member.size > IMAGE:
            raise DataError(f"{self.path}: member {member.name!r} has {member.size:,} bytes, more than any image: make "
                            "the archive again, of the images alone")  # fmt: skip
        file.seek(member.offset_data)
        return file.read(member.size)

    def _name(self, member: tarfile.TarInfo) -> str | None:
        """Where a member goes; None for folders, which come with their files, and for hidden files."""
        path = PurePosixPath(member.name)
        where = f"{self.path}: member {member.name[:200]!r}"
        if "\0" in member.name:
            raise DataError(f"{where} has a name that no file can have: make the archive again")
        if path.is_absolute() or ".." in path.parts:
            raise DataError(f"{where} leads out of the folder: make the archive again, from inside the data's folder")
        if member.isdir():
            return None
        if not member.isreg() or member.issparse():
            raise DataError(f"{where} is not a plain file: make the archive again, of the images alone (tar -h)")
        if path.name.startswith(".") or not SYSTEM_FOLDERS.isdisjoint(path.parts):
            return None
        if not path.parts:
            raise DataError(f"{where} is a file without a name: make the archive again")
        if path.suffix == ".tar":  # ILSVRC's own archive holds one per class
            raise DataError(f"{where} is an archive itself: make one of the images, as {self.part}/CLASS/NAME")
        parts = path.parts[1:] if path.parts[0] == self.part else path.parts
        return "/".join((self.part, *parts))


def _writer(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)
