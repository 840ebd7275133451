"""The events of an MLPerf log: what one is, and the strict reading of the lines that hold ours."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reproduce import files

PREFIX = ":::MLLOG "
# Ours, beside the MLPerf keys; open-division logs may carry more keys than the rules ask for.
CONFIG, ENVIRONMENT, RESULT = "reproduce_config", "reproduce_environment", "reproduce_result"
RESUMED = "reproduce_resumed"  # value: the environment from here on
LATEST = 4e12  # ms since 1970: the year 2096
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True)
class Event:
    """One thing that happened. `kind` is POINT_IN_TIME, INTERVAL_START or INTERVAL_END, as MLPerf names them."""

    key: str
    value: Any = None  # anything JSON can hold
    metadata: dict = field(default_factory=dict)
    kind: str = "POINT_IN_TIME"
    at: int | None = None  # nanoseconds since the epoch; None: when it is written


def packing(content: bytes) -> str:
    """What a file is packed with, by its first bytes; empty if with nothing known."""
    return next((name for magic, name in PACKED.items() if content.startswith(magic)), "")


def read_events(path: Path) -> list[tuple[float, Event]]:
    """All events of a log as (seconds since the epoch, Event); other lines are skipped, a cut last line too.

    Raises `OSError`, and `ValueError` for a packed file.
    """
    content = files.read_bytes(path, files.LOG)
    if packing(content):
        raise ValueError(f"packed with {packing(content)}: unpack it")
    lines = content.decode("utf-8-sig", "replace").splitlines()
    found = (parsed(line[line.find(PREFIX) + len(PREFIX) :]) for line in lines if PREFIX in line)
    return [one for one in found if one is not None]


def parsed(text: str) -> tuple[float, Event] | None:
    """One event from the JSON of its line; None for what is no event of ours."""
    try:
        entry = files.parse_json(text)
        stamp, key, metadata = entry["time_ms"], entry["key"], entry.get("metadata") or {}
        if not (is_number(stamp) and 0 <= stamp < LATEST and isinstance(key, str) and isinstance(metadata, dict)):
            return None
        return stamp / 1000, Event(key, entry["value"], metadata, str(entry["event_type"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def is_number(value: object) -> bool:
    """A finite number of JSON, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def is_count(value: object, least: int = 0, most: int = 10**12) -> bool:
    """A whole number in a sane range."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
