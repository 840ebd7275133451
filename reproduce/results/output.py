"""What the scripts share: the command line, the folders they read and write, and how they say what is missing."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reproduce import files
from reproduce.artefact import TIERS, Artefact
from reproduce.errors import UserError, shown, wrote
from reproduce.paths import ROOT
from reproduce.results.measured import Measurement
from reproduce.words import Parser

SCALED_DOWN = "scaled down: NOT the paper's experiment"
DATA_SETS = {"imagenet": "ImageNet", "fashion_mnist": "Fashion-MNIST", "synthetic": "synthetic images",
             "generated": "generated images, NOT ImageNet"}  # fmt: skip


@dataclass(frozen=True)
class Options:
    tier: str
    results: Path
    out: Path


def options(artefact: Artefact, argv=None) -> Options:
    """Parse the command line of a script that only draws; `--results` and `--out` are relative to the current folder.

    Raises `UserError` if the results folder cannot be read or the output folder cannot be made.
    """
    parser = Parser(prog=f"python {artefact.script}", description=artefact.title)
    parser.add_argument("--draw", action="store_true", help="train nothing: draw from the logs there are")
    parser.add_argument("--tier", choices=TIERS, default="quick", help="which runs to show (default: quick)")
    parser.add_argument("--results", type=Path, help="folder that holds logs/ (default: results/TIER)")
    parser.add_argument("--out", type=Path, help="where to write (default: the results folder)")
    given = parser.parse_args(argv)
    results = results_folder(given.results or given.out, given.tier)
    return Options(given.tier, results, given.out or results)


def results_folder(given: Path | None, tier: str) -> Path:
    """The folder named, or the tier's own. Raises `UserError` if it cannot be read."""
    results = given or ROOT / "results" / tier
    try:
        os.listdir(results)
    except OSError as error:
        remedy = f"run 'bash reproduce/run_all.sh --tier {tier}' first, or name a folder with --results"
        raise UserError(f"{results}: results folder not readable: {error.strerror}: {remedy}") from None
    return results


def about(measurements: Iterable[Measurement], tier: str) -> str:
    """What a figure or row was measured on, in words: tier, data sets and, for quick, that it is scaled down."""
    parts = [f"tier {tier}", data_sets(measurements)]
    return "; ".join([*parts, SCALED_DOWN] if tier == "quick" else parts)


def data_sets(measurements: Iterable[Measurement]) -> str:
    return ", ".join(sorted({DATA_SETS.get(m.config.data.dataset, m.config.data.dataset) for m in measurements}))


def write(out: Path, name: str, content: str | bytes) -> Path:
    """Write a file of text or bytes, whole or not at all. Raises `UserError` if that cannot be."""
    path = Path(out) / name
    try:
        return files.write_whole(path, content)
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror}: choose another --out") from None


def to_json(value: dict) -> str:
    return files.to_json(value)


def announce(paths: Iterable[Path], measurements: Iterable[Measurement]) -> None:
    """Print the files written, then a line per missing measurement and per log left out."""
    for path in paths:
        wrote(path)
    for m in measurements:
        if m.missing:
            print(shown(f"{m.run}: {m.missing}"))
        for item in m.left_out if m.logs else m.left_out[1:]:
            print(shown(f"{m.run}: left out {item.log}: {item.reason}"))
