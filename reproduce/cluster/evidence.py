"""Public measurements, carried as numbers in ``data``: those the calibration may read, and the paper's team's runs.

`single_node` has runs on one GPU or one node only; a row of any other is refused. `team` is what the paper's own number
is seen against; nothing that fits reads it.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproduce.errors import DataError

FOLDER = Path(__file__).resolve().parent / "data"
KINDS = ("training", "forward", "scaling")
SINGLE_NODE, TEAM = FOLDER / "single_node.csv", FOLDER / "team.csv"


@dataclass(frozen=True)
class Single:
    """`kind` "training": seconds of `epochs` epochs and one evaluation; "forward": of one inference batch;
    "scaling": of one training step, on 1, 2, 4 ... GPUs of a node.

    `fixed_time_of` and `jitter_of`: the stacks whose forward rows say what a batch costs besides its images, and whose
    scaling rows say how far ranks spread; empty where none are public.
    """

    kind: str
    stack: str
    cluster: str
    nodes: int
    gpus: int
    local_batch: int
    epochs: int
    seconds: float
    fixed_time_of: str
    jitter_of: str
    source: str
    run: str


@dataclass(frozen=True)
class Team:
    """A run of the paper's team on the paper's machine; `images_per_second` steady: of the updates only."""

    name: str
    cluster: str
    gpus: int
    local_batch: int
    rule: str
    epochs: int
    updates: int
    evaluations: int
    images_per_second: float
    run_seconds: float
    n: int
    source: str
    about_rule: str


def single_node(path: Path = SINGLE_NODE) -> list[Single]:
    """Raises `DataError` for an unreadable table, and for a row of more than one node."""
    rows = []
    for number, row in enumerate(_rows(path), 2):
        try:
            epochs = int(row["epochs"] or 0)
            numbers = {key: int(row[key]) for key in ("nodes", "gpus", "local_batch")}
            fields: dict[str, Any] = row | numbers | {"epochs": epochs, "seconds": float(row["seconds"])}
            one = Single(**fields)
        except (TypeError, ValueError, KeyError) as error:
            raise DataError(f"{path}, line {number}: not a row of this table: {error}") from None
        if one.nodes != 1 or one.kind not in KINDS:
            raise DataError(f"{path}, line {number}: {one.kind} on {one.nodes} nodes: calibration reads one node only")
        rows.append(one)
    return rows


def team(path: Path = TEAM) -> list[Team]:
    """Raises `DataError` for an unreadable table."""
    rows = []
    for number, row in enumerate(_rows(path), 2):
        try:
            counts = {key: int(row[key]) for key in ("gpus", "local_batch", "epochs", "updates", "evaluations", "n")}
            numbers = {key: float(row[key]) for key in ("images_per_second", "run_seconds")}
            fields: dict[str, Any] = row | counts | numbers
            rows.append(Team(**fields))
        except (TypeError, ValueError, KeyError) as error:
            raise DataError(f"{path}, line {number}: not a row of this table: {error}") from None
    return rows


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{path}: not readable: {error.strerror}: restore it from git") from None
