"""A training run in a process of its own, on one thread, for trials that train many at a time."""

import os
import subprocess
import sys
from collections.abc import Sequence

from reproduce.paths import ROOT


def train(words: Sequence[str], module: str = "reproduce.engine.train") -> tuple[int, str]:
    """Exit code and last line on stderr of ``python -m MODULE WORDS...``."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", module, *words], env=env, stderr=subprocess.PIPE, text=True)
    return done.returncode, (done.stderr.strip().splitlines() or ["no word"])[-1]
