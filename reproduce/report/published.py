"""The list of what is published of our measurements, `figures/measured/SHA256SUMS`, and what departs from it.

In the format of sha256sum, so that ``cd figures/measured && sha256sum -c SHA256SUMS`` checks it too.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from reproduce import files
from reproduce.errors import UserError
from reproduce.events import read_log
from reproduce.paths import VARIANT_LOGS

NAME = "SHA256SUMS"
LOGS = ("*/logs/*/result_*.txt", f"*/{VARIANT_LOGS}")
PATTERNS = (*LOGS, "bench/*.json", "bench/c*/*.json", "*/bench/*.json", "*/rates.csv")  # below figures/measured


def listing(folder: Path) -> str:
    """The list of the logs and benchmarks that lie under `folder` now. Raises `UserError` if one cannot be read."""
    return "".join(f"{digest}  {name}\n" for name, digest in digests(folder).items())


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 in hex by path relative to `folder`, in the order of paths."""
    paths = sorted(path for pattern in PATTERNS for path in folder.glob(pattern))
    try:
        return {path.relative_to(folder).as_posix(): _digest(path) for path in paths}
    except OSError as error:
        raise UserError(f"{folder}: a published measurement is not readable: {error}: restore it from git") from None


def _digest(path: Path) -> str:
    return hashlib.sha256(files.read_bytes(path, files.LOG)).hexdigest()


def departures(folder: Path) -> list[str]:
    """One line per file that is gone, changed or not listed; empty if `folder` is as listed."""
    try:
        lines = files.read_text(folder / NAME).splitlines()
    except (OSError, ValueError) as error:
        return [f"{NAME}: {files.why(error)}"]
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    return list(_compared(listed, digests(folder)))


def _compared(listed: dict[str, str], found: dict[str, str]) -> Iterator[str]:
    for name in sorted({*listed, *found}):
        if name not in found:
            yield f"{name}: listed in {NAME}, and gone"
        elif name not in listed:
            yield f"{name}: not listed in {NAME}"
        elif listed[name] != found[name]:
            yield f"{name}: changed since it was listed in {NAME}"


def damaged(folder: Path) -> list[str]:
    """One line per published log that gives no number, with the reason: what contradicts itself is no measurement."""
    logs = (read_log(path) for path in sorted(path for pattern in LOGS for path in folder.glob(pattern)))
    return [f"{log.path.relative_to(folder).as_posix()}: {log.status} log: {log.reason}" for log in logs
            if not log.complete]  # fmt: skip
