"""Whole files: what is read is a regular file of a sane size, what is written is there whole or not at all.

Every reader here raises `OSError` for a file that cannot be had, and `ValueError` for one that does not hold what it
should; `why` says either in a few words, for the one line that the caller's own error is.
"""

import contextlib
import errno
import fcntl
import json
import math
import os
import secrets
import stat
import sys
import tomllib
from pathlib import Path
from typing import Any

SMALL = 16 << 20  # bytes: configs, side-car files, everything a person writes
LOG = 256 << 20  # bytes: the longest public log has 90 MB
IMAGE = 256 << 20  # bytes: the largest of ImageNet has 15 MB
LEVELS = 100  # of nested JSON: no log and no side-car file has ten
PARTIAL = ".partial"
ATTEMPTS = 5


def why(error: Exception) -> str:
    """The reason of an `OSError` or `ValueError` in one line."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(words.split())[:300]


def read_bytes(path: Path, limit: int = SMALL) -> bytes:
    """The content of a regular file of at most `limit` bytes. Raises `OSError`."""
    descriptor, size = regular(path)
    try:
        content = b"" if size > limit else _all(descriptor, size, limit)
        if max(size, len(content)) > limit:
            raise OSError(errno.EFBIG, f"is larger than {limit >> 20} MB", str(path))
        return content
    finally:
        os.close(descriptor)


def regular(path: Path) -> tuple[int, int]:
    """A regular file opened to be read, and its bytes. Raises `OSError`; a pipe or device does not block it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    facts = os.fstat(descriptor)
    if stat.S_ISREG(facts.st_mode):
        return descriptor, facts.st_size
    os.close(descriptor)
    if stat.S_ISDIR(facts.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "is no regular file", str(path))


def _all(descriptor: int, size: int, limit: int) -> bytes:
    """What a file that states its size holds; of one beyond `limit`, somewhat more than that. Often a single read."""
    content = os.read(descriptor, size + 1)
    while len(content) != size and len(content) <= limit and (more := os.read(descriptor, 1 << 20)):
        content += more  # one that grows, or one of /proc, which states no size
    return content


def read_text(path: Path, limit: int = SMALL, errors: str = "strict") -> str:
    """A file of UTF-8, with or without a byte order mark, line ends as "\\n". Raises `OSError`, `ValueError`."""
    try:
        text = read_bytes(path, limit).decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path, limit: int = SMALL) -> Any:
    """Raises `OSError`, `ValueError`."""
    return parse_json(read_text(path, limit))


def read_toml(path: Path, limit: int = SMALL) -> dict:
    """Raises `OSError`, `ValueError`."""
    return parse_toml(read_text(path, limit))


def parse_json(text: str) -> Any:
    """Strict JSON: NaN, Infinity and numbers beyond a float are refused. Raises nothing but `ValueError`."""
    with _only_value_errors():
        return STRICT.decode(text)


def parse_toml(text: str) -> dict:
    """Raises nothing but `ValueError`. The format has nan and inf; a rule for the value refuses them."""
    with _only_value_errors():
        found = tomllib.loads(text)
        repr(found)  # hexadecimal numbers may have more digits than can be printed
        return found


def to_json(value: object, indent: int | None = 2) -> str:
    """JSON that every parser reads, with a final line end: what is not finite is null."""
    return json.dumps(finite(value), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def finite(value: object, levels: int = LEVELS) -> Any:
    """`value` with None for every number in it that is NaN or infinite, and for what lies deeper than `levels`."""
    if (isinstance(value, float) and not math.isfinite(value)) or not levels:
        return None
    if isinstance(value, dict):
        return {key: finite(inner, levels - 1) for key, inner in value.items()}
    return [finite(inner, levels - 1) for inner in value] if isinstance(value, list | tuple) else value


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write a file whole or not at all, and make its folder. Raises `OSError`; the old file is then as it was.

    The content goes to a file of another name beside `path`, which a rename puts in its place. A link at `path` is
    replaced and never followed, and a device or a pipe is refused: a rename would take the place of /dev/null. What
    calls that died have left beside it is removed. Halves of surrogate pairs, which UTF-8 cannot hold, are written as
    \\uNNNN.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    for _ in range(ATTEMPTS):
        _remove_leftovers(path)
        if _written(path, data):
            return path
    raise OSError(errno.EAGAIN, "other processes remove the file while it is written", str(path))


def _written(path: Path, data: bytes) -> bool:
    """False if another process took the new file for a leftover before it was locked."""
    partial = path.parent / f"{_stem(path)}{secrets.token_hex(4)}{PARTIAL}"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with open(descriptor, "wb") as file:
            with contextlib.suppress(OSError):  # where there are no locks, nobody removes it either
                fcntl.flock(file, fcntl.LOCK_EX)  # says that this call lives
            file.write(data)
            file.flush()
            os.fsync(descriptor)  # network file systems say only here that the disk is full
            _keep_mode(path, descriptor)
            if not partial.exists():
                return False
            os.replace(partial, path)
            return True
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _stem(path: Path) -> str:
    return f".{path.name[:50]}."


def _keep_mode(path: Path, descriptor: int) -> None:
    with contextlib.suppress(OSError):
        mode = os.lstat(path).st_mode
        if stat.S_ISREG(mode):
            os.fchmod(descriptor, stat.S_IMODE(mode))


def _remove_leftovers(path: Path) -> None:
    """Remove partial files for `path` that no process has locked."""
    start = _stem(path)
    for name in os.listdir(path.parent):
        if name.startswith(start) and name.endswith(PARTIAL):
            with contextlib.suppress(OSError):
                _remove_unlocked(path.parent / name)


def _remove_unlocked(leftover: Path) -> None:
    descriptor = os.open(leftover, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "wb"):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        leftover.unlink()


@contextlib.contextmanager
def _only_value_errors():
    """Parsers raise more than they say: for nesting, for whole numbers of thousands of digits."""
    try:
        yield
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError as error:
        if "integer string conversion" in str(error):
            limit = sys.get_int_max_str_digits()
            raise ValueError(f"holds a whole number of more than {limit:,} digits") from None
        raise


def _no_constant(name: str) -> float:
    raise ValueError(f"holds {name}, which is no number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"holds {text[:20]}, which is beyond every float")
    return number


STRICT = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
