"""What lies in a data folder, and in words what is odd about it."""

import os
import stat
import unicodedata
from pathlib import Path

from reproduce import files
from reproduce.errors import DataError

EXTENSIONS = (".jpeg", ".jpg", ".png")
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
# What systems leave in folders: Synology, ext4, macOS's archiver, Windows. Hidden entries are left out as well.
SYSTEM_FOLDERS = frozenset(
    ("@eaDir", "#recycle", "lost+found", "__MACOSX", "$RECYCLE.BIN", "System Volume Information")
)


def visible(folder: Path) -> list[os.DirEntry]:
    """What lies in a folder and is neither hidden nor a system's own. Raises `DataError` if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return [one for one in entries if not one.name.startswith(".") and one.name not in SYSTEM_FOLDERS]
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {files.why(error)}: make it readable to this user") from None


def is_folder(path: Path) -> bool:
    """Raises `DataError` where that cannot be told."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {files.why(error)}: make it readable to this user") from None


def class_folders(folder: Path) -> list[str]:
    """Names of the folders, and of links to folders."""
    entries = visible(folder)
    links = [one.name for one in entries if one.is_symlink() and is_folder(folder / one.name)]
    return sorted([one.name for one in entries if one.is_dir(follow_symlinks=False)] + links)


def images(folder: Path) -> list[str]:
    """Names of the image files. Those that macOS leaves beside them, "._name.JPEG", are hidden."""
    return sorted(entry.name for entry in visible(folder) if entry.name.lower().endswith(EXTENSIONS))


def few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def oddities(root: Path, part: str) -> str:
    """What is odd in ROOT/PART, in words, with a remedy each; "" if nothing is. For folders that are not as stated."""
    folder, names = root / part, class_folders(root / part)
    found = [_archives(folder), _loose(folder, part, names)]
    empty = [name for name in names if not images(folder / name)]
    deep = [f"{name}/{inner}" for name in empty for inner in class_folders(folder / name)[:1]]
    deep = [path for path in deep if images(folder / path)]
    if deep:
        found.append(f"images lie one level too deep, as in {few(deep)}: move them up into {part}/CLASS/")
    elif empty:
        found.append(f"no images in {few(empty)}: remove such folders, or complete the copy")
    return "; ".join(filter(None, found))


def _archives(folder: Path) -> str:
    inside = [folder, *(folder / name for name in class_folders(folder)[:3])]
    names = sorted(one.name for place in inside for one in visible(place) if one.name.lower().endswith(ARCHIVES))
    return f"archives not unpacked: {few(names)}: unpack each into a folder of its class" if names else ""


def _loose(folder: Path, part: str, classes: list[str]) -> str:
    loose = images(folder)
    if not loose:
        return ""
    where = "beside the class folders" if classes else "directly in it"
    return f"{len(loose):,} images lie loose, {where}, such as {loose[0]}: sort them into {part}/CLASS/"


def differing_classes(train: list[str], val: list[str]) -> str:
    """How two lists of class folders differ, in words; "" if they do not."""
    lists = {"train": train, "val": val}
    only = {"train": sorted(set(train) - set(val)), "val": sorted(set(val) - set(train))}
    text = "; ".join(f"only in {part}: {few(names)}" for part, names in only.items() if names)
    forms = {part: {unicodedata.normalize("NFC", name): name for name in names} for part, names in lists.items()}
    for name in only["train"]:
        other = forms["val"].get(unicodedata.normalize("NFC", name), name)
        if other != name:
            forms_of = f"{ascii(name)} and {ascii(other)}"
            return f"{text}: the same letters in two Unicode forms, {forms_of}: rename one of them"
    return f"{text}: complete the copy, or remove what is no class" if text else ""
