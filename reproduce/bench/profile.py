"""Where the time of an update goes: data, forward, backward, exposed communication, update, host; and which operators.

    python -m reproduce.bench profile [CONFIG] [--data DIR] [--processes 2] [--updates 16]

The trainer and the loader are those of a run. Without --data the images are synthetic and in memory. Writes
results/bench/profile.json, or profile_cuda.json.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from reproduce.bench import contest, process
from reproduce.bench.data import LOCAL_BATCH, counts
from reproduce.bench.jpegs import Pictures, lay_out
from reproduce.engine.spawn import launch
from reproduce.errors import UserError, command
from reproduce.paths import ROOT
from reproduce.recipe import load as configs
from reproduce.supervise import Stopped
from reproduce.words import Parser

CONFIG = ROOT / "paper_configs" / "quick" / "headline_b800_w20.toml"


def parse(argv) -> argparse.Namespace:
    parser = Parser(prog="python -m reproduce.bench profile", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("config", type=Path, nargs="?", default=CONFIG, help="default: the quick tier's headline")
    add("--data", type=Path, metavar="DIR", help="folder with train/ and val/; without it, synthetic images")
    add("--photographs", type=int, metavar="N", help="train on so many generated JPEGs of ImageNet's size, made for it "
        "if need be: with what the loader takes, without any data")  # fmt: skip
    add("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    add("--processes", type=int, default=1, help="on this machine (default: 1)")
    add("--updates", type=int, default=16, help="timed, after three that are not (default: 16)")
    add("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a value of the config")
    add("--out", type=Path, help="default: results/bench/profile.json, or profile_cuda.json")
    given = parser.parse_args(argv)
    for name in ("processes", "updates"):
        if getattr(given, name) < 1:
            raise UserError(f"--{name} {getattr(given, name)}: must be at least 1")
    if given.photographs is not None:
        take_photographs(given)
    elif given.data is not None and not given.data.is_dir():
        raise UserError(f"--data {given.data}: no such folder: leave it out for synthetic images")
    elif given.data is None:
        given.set = ['data.dataset="synthetic"', *given.set]
    return given


def take_photographs(given: argparse.Namespace) -> None:
    """Have the config say what `measure` will lay out."""
    if given.data is not None or given.photographs < 1:
        raise UserError(f"--photographs {given.photographs}: must be at least 1, and takes the place of --data")
    given.data = process.FOLDER / f"photographs_{given.photographs}"
    given.set = [*counts(photographs(given)), "schedule.peak_lr=0.1", *given.set]


def photographs(given: argparse.Namespace) -> Pictures:
    return Pictures(train=given.photographs, val=LOCAL_BATCH)


def measure(given: argparse.Namespace) -> dict:
    """What `timed/profile.py` measured. Raises `UserError` if it failed, `Stopped` if it was stopped."""
    if given.photographs is not None:
        lay_out(given.data, photographs(given))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "measured.json"
        request = {"config": str(given.config), "overrides": given.set, "data": str(given.data or ""),
                   "device": given.device, "updates": given.updates, "out": str(out)}  # fmt: skip
        argv = [sys.executable, "-m", "reproduce.bench.timed.profile", json.dumps(request)]
        code = launch(argv, given.processes)
        if code > 128:
            raise Stopped(code - 128)
        if code or not out.exists():
            raise UserError(f"bench profile: the measurement failed with exit code {code}: see the lines above")
        return json.loads(out.read_text())


@command
def main(argv=None) -> int:
    given = parse(argv)
    configs.load(given.config, given.set)  # before anything is started
    out = given.out or process.FOLDER / contest.file_name("profile", given.device)
    return process.keep(lambda: measure(given), out)
