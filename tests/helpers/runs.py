"""Whole runs of a small config as a user starts them, to be interrupted."""

import os
import subprocess
import sys
import time
from pathlib import Path

from reproduce.events import RESUMED, log_path, read_events
from tests.helpers import ROOT, warm
from tests.helpers.data import make_config, make_folder

SLOW = {  # long enough to be interrupted: 4 epochs of 20 updates
    "data__image_size": 16, "data__eval_resize": 18, "batch__workers": 4, "batch__local_batch": 6,
    "data__train_images": 480, "schedule__epochs": 4, "evaluation__every": 1, "evaluation__offset": 1,
    "data__crop_area": [0.5, 1.0], "schedule__peak_lr": 0.05, "data__val_images": 11,
    "optimizer__preset": "fujitsu_mlperf06", "optimizer__trust_coefficient": 0.01, "optimizer__epsilon": 1e-9,
}  # fmt: skip


def start(out: Path, images: Path, processes: int, *arguments: str, **changes) -> subprocess.Popen | warm.Warm:
    make_config(out, **(SLOW | changes))
    return begin(out, images, processes, *arguments)


def begin(out: Path, images: Path, processes: int, *arguments: str) -> subprocess.Popen | warm.Warm:
    """Train OUT/small.toml. One process begins warm; several are those of the engine's launcher, each from nothing."""
    given = [str(out / "small.toml"), "--data", str(images), "--out", str(out), *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if processes == 1:
        return warm.Warm("reproduce.engine.train", given, env)
    command = [sys.executable, "-m", "reproduce.engine.spawn", str(processes), *given]
    return subprocess.Popen(command, env=env, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def finish(child: subprocess.Popen | warm.Warm) -> tuple[int, str]:
    try:
        _, err = child.communicate(timeout=120)
    finally:
        child.kill()
    return child.returncode, err


def outcome(out: Path) -> list:
    """Everything in the log that does not depend on the clock."""
    events = [event for _, event in read_events(log_path(out, "small", 1))]
    kept = [(e.key, e.value, {k: v for k, v in e.metadata.items() if k not in ("file", "lineno")}) for e in events]
    return [entry for entry in kept if entry[0] not in (RESUMED, "reproduce_environment")]


def wait_for(path: Path, text: str) -> None:
    give_up = time.monotonic() + 90
    while not (path.exists() and text in path.read_text()):
        assert time.monotonic() < give_up, f"{path} never said {text}"
        time.sleep(0.02)


TINY = {
    "data__image_size": 16, "data__eval_resize": 18, "batch__workers": 2, "batch__local_batch": 6,
    "schedule__epochs": 3, "evaluation__every": 2, "evaluation__offset": 1, "data__crop_area": [0.5, 1.0],
    "schedule__peak_lr": 0.05,
}  # fmt: skip


def train(tmp_path, processes=1, data=None, **changes) -> subprocess.CompletedProcess:
    """Train a tiny config on 24 JPEGs in `processes` processes."""
    make_config(tmp_path, **(TINY | changes))
    child = begin(tmp_path, data or make_folder(tmp_path / "images"), processes)
    code, err = finish(child)
    return subprocess.CompletedProcess(child.args, code, stderr=err)
