"""A scene: a folder with files, links and pipes, and one command that is called in it. Plain data, kept as JSON."""

import base64
import dataclasses
import hashlib
import json
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HERE = "{here}"  # in words, variables and targets: the scene's folder
CANARY = "canary"  # a file of this name in the folder: a planted command has been executed
VICTIM = "victims/kept.txt"  # nobody may change it
HASHED = 16 << 20  # bytes; of larger files only the size is compared


@dataclass(frozen=True)
class Entry:
    """Something at a path below the folder: a file, a folder, a link to `target`, a fifo, a file of so many zeros."""

    path: str
    kind: str = "file"  # folder, link, fifo, zeros
    content: bytes = b""
    target: str = ""
    size: int = 0
    mode: int | None = None


@dataclass(frozen=True, repr=False)
class Scene:
    """`fault` names what is wrong with the input, for the counts; the rest is what a run of it may and may not do."""

    surface: str
    fault: str
    module: str
    words: tuple[str, ...]
    entries: tuple[Entry, ...] = ()
    environ: tuple[tuple[str, str], ...] = ()
    must: str = "either"  # be refused, be accepted, or either
    names: tuple[str, ...] = ()  # one of them must be in what a refusal says
    writes: tuple[str, ...] = ()  # what may be new or change, as beginnings of paths below the folder
    keeps: tuple[str, ...] = ()  # of these, what must stay as it was if the command fails
    codes: tuple[int, ...] = (2,)  # exit codes of a refusal
    chatty: bool = False  # says more than one line when it refuses, such as a line for each log
    patches: tuple[tuple[str, str, str],
                   ...] = ()  # (module, name, path): constants that name this checkout's own files
    file_limit: int = 0  # bytes a file may have, which is what a full disk looks like; 0: no limit
    memory: int = 1 << 30  # bytes more than before
    encoding: str = "utf-8"  # of the terminal

    def __repr__(self) -> str:
        return f"{self.surface}: {self.fault}"  # hypothesis asks for it, and files are long

    def _repr_pretty_(self, printer, _) -> None:
        printer.text(repr(self))

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), default=_plain, indent=1)


def from_json(text: str) -> Scene:
    found = json.loads(text)
    entries = [Entry(**one | {"content": base64.b64decode(one["content"])}) for one in found.pop("entries")]
    lists = {name: tuple(tuple(one) if isinstance(one, list) else one for one in value)
             for name, value in found.items() if isinstance(value, list)}  # fmt: skip
    return Scene(**found | lists, entries=tuple(entries))


def _plain(value: bytes) -> str:
    return base64.b64encode(value).decode()


def lay_out(scene: Scene, here: Path) -> None:
    """Make the folder what the scene says. What cannot be, such as a file below a file, is left out."""
    for one in (Entry(VICTIM, content=b"whole\n"), *scene.entries):
        path = here / one.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _make(one, path, here)
        except (OSError, ValueError):
            continue
    for one in scene.entries:
        if one.mode is not None and not (here / one.path).is_symlink() and (here / one.path).exists():
            os.chmod(here / one.path, one.mode)


def _make(one: Entry, path: Path, here: Path) -> None:
    if one.kind == "folder":
        path.mkdir(parents=True, exist_ok=True)
    elif one.kind == "link":
        path.symlink_to(one.target.replace(HERE, str(here)))
    elif one.kind == "fifo":
        os.mkfifo(path)
    elif one.kind == "zeros":
        with open(path, "wb") as file:
            file.truncate(one.size)
    else:
        path.write_bytes(one.content.replace(HERE.encode(), os.fsencode(here)))


def snapshot(here: Path) -> dict[str, tuple]:
    """Everything below the folder by path: its type, and its content's digest or where it leads."""
    found = {}
    for folder, folders, names in os.walk(here):
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            found[os.path.relpath(path, here)] = _state(path)
    return found


def _state(path: str) -> tuple:
    try:
        facts = os.lstat(path)
        if stat.S_ISLNK(facts.st_mode):
            return "link", os.readlink(path)
        if not stat.S_ISREG(facts.st_mode):
            return (stat.S_IFMT(facts.st_mode),)
        if facts.st_size > HASHED:
            return "file", facts.st_size
        with open(path, "rb") as file:
            return "file", hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        return "gone", error.errno


def changed(before: dict[str, tuple], after: dict[str, tuple], allowed: Iterable[str]) -> list[str]:
    """Paths that are gone, changed or new, but for those that may be."""
    differing = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    return [path for path in differing if not any(_below(path, one) for one in allowed)]


def _below(path: str, start: str) -> bool:
    return path == start.rstrip("/") or path.startswith(start) or start.startswith(f"{path}/")
