"""The public packages that benchmarks are compared with, in a folder of their own: no run of ours ever sees them."""

import subprocess
import sys
from pathlib import Path

from reproduce.paths import ROOT

FOLDER = ROOT / ".peers"
PINS = Path(__file__).with_name("peers.txt")
DONE = "pins"  # a copy of `PINS` as installed, written last


def folder() -> Path | None:
    """Where the peers lie, installed now if need be; None, with a word to the user, if they cannot be.

    Without what they depend on: torch and torchvision are ours, and nothing else is used here. A peer that happens to
    be installed beside our own packages takes part also where this fails.
    """
    if installed():
        return FOLDER
    print(f"installing the peers into {FOLDER.relative_to(ROOT)}", file=sys.stderr, flush=True)
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check",
            "--upgrade", "--target", str(FOLDER), "--requirement", str(PINS)]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        print(f"the peers could not be installed ({why}): those not found elsewhere are missing", file=sys.stderr)
        return None
    (FOLDER / DONE).write_text(PINS.read_text())
    return FOLDER


def installed() -> bool:
    try:
        return (FOLDER / DONE).read_text() == PINS.read_text()
    except OSError:
        return False
