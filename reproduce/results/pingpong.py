"""Latency and bandwidth between two hosts, as `reproduce.bench.pingpong` measured them."""

import statistics
from dataclasses import dataclass
from pathlib import Path

from reproduce import files
from reproduce.errors import LogError
from reproduce.logged import is_number

FILE = "bench/pingpong.json"  # below a results folder
COMMAND = "python -m reproduce.bench pingpong"
SMALL = 4096  # bytes, at most: a message that is all latency


@dataclass(frozen=True)
class Link:
    """A link at a rate (`mbit` None: unlimited), from one-way times."""

    mbit: float | None
    latency: float  # seconds
    bandwidth: float  # bytes/s

    @property
    def rate(self) -> str:
        return "unlimited" if self.mbit is None else f"{self.mbit:g} Mbit/s"


def read(results: Path) -> list[Link] | None:
    """The links below a results folder, None if not measured. Raises `LogError` for a file that is not one of ours."""
    path = Path(results) / FILE
    try:
        facts = files.read_json(path)
        if (facts["benchmark"], facts["kind"]) != ("pingpong", "measured"):
            raise ValueError("not a measurement of this benchmark")
        return [as_link(facts["sizes"], one) for one in facts["rates"]]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LogError(f"{path}: not readable: {error.strerror}: check its permissions") from None
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise LogError(f"{path}: not a result of '{COMMAND}' ({reason}): delete it and measure again") from None


def as_link(sizes: list[int], one: dict) -> Link:
    """From the medians over the rounds; raises ValueError for times that are none."""
    seconds = [statistics.median(found) for found in one["seconds"]]
    small = [took for size, took in zip(sizes, seconds, strict=True) if size <= SMALL]
    if not small or not 0 < min(small) < seconds[-1]:
        raise ValueError("no times of small messages and of a large one")
    if one["mbit"] is not None and not is_number(one["mbit"]):
        raise ValueError(f"mbit = {one['mbit']!r}")
    return Link(one["mbit"], min(small), sizes[-1] / (seconds[-1] - min(small)))
