"""The peak rates tried on held-out images, ``rates.csv`` in a results folder, and where the logs of variants lie."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reproduce import files
from reproduce.errors import LogError
from reproduce.results import output

FILE = "rates.csv"
COLUMNS = ("subject", "peak_lr", "held_out_top1_percent")


@dataclass(frozen=True)
class Rate:
    """One run of the search. `subject`: a config's name, or REGIME/VARIANT; `top1` in percent, 0 if it diverged."""

    subject: str
    peak_lr: float
    top1: float


def folder_of(results: Path, regime: str, variant: str) -> Path:
    """The results folder of one variant, below that of a tier."""
    return Path(results) / "ablation" / regime / variant


def best(found: Iterable[Rate]) -> float:
    """The rate with the highest accuracy; of equals the lowest."""
    return max(sorted(found, key=lambda one: one.peak_lr), key=lambda one: one.top1).peak_lr


def write(results: Path, found: Iterable[Rate]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(sorted((one.subject, one.peak_lr, one.top1) for one in found))
    output.write(Path(results), FILE, text.getvalue())


def read(results: Path) -> dict[str, list[Rate]]:
    """By subject; empty if there is no file. Raises `LogError` for a file that is not one."""
    path = Path(results) / FILE
    found: dict[str, list[Rate]] = {}
    try:
        for line in csv.DictReader(io.StringIO(files.read_text(path))):
            one = Rate(line["subject"], float(line["peak_lr"]), float(line["held_out_top1_percent"]))
            found.setdefault(one.subject, []).append(one)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise LogError(f"{path}: not a table of rates ({error}): restore it, or make it again") from None
    return found
