"""Holds a contest in a process of its own, and keeps, shows and writes down what it found."""

import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from reproduce import files
from reproduce.bench import contest, peers
from reproduce.errors import UserError, wrote
from reproduce.paths import ROOT
from reproduce.runner.options import check_output
from reproduce.supervise import Foreground, Stopped

FOLDER = ROOT / "results" / "bench"


def hold(name: str, request: dict, threads: int, with_peers: bool = True, seconds: float = math.inf) -> dict:
    """What `reproduce.bench.timed.NAME` found on a request, both JSON values.

    Raises `UserError` if it failed, or took longer than `seconds`.
    """
    env = {"OMP_NUM_THREADS": str(threads)}
    folder = peers.folder() if with_peers else None
    if folder is not None:
        env["PYTHONPATH"] = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory() as temporary, Foreground() as foreground:
        out = Path(temporary) / "found.json"
        text = json.dumps(request | {"out": str(out)})
        try:
            argv = [sys.executable, "-m", f"reproduce.bench.timed.{name}", text]
            code, _ = foreground.run(argv, env, seconds=seconds)
        except TimeoutError:
            raise UserError(f"bench {name}: the measurement was not done after {seconds:.0f} s") from None
        if code or not out.exists():
            raise UserError(f"bench {name}: the measurement failed with exit code {code}: see the lines above")
        return json.loads(out.read_text())


def run(name: str, request: dict, threads: int, out: Path | None = None, with_peers: bool = True) -> int:
    """Hold a contest whose process returns a `contest.Result` as JSON, show it, and write it to `out`.

    The default is a file of the request's "device", so that a GPU's result does not replace a CPU's.
    """
    file = out or FOLDER / contest.file_name(name, request.get("device", "cpu"))
    return keep(lambda: hold(name, request, threads, with_peers), file)


def keep(measure: Callable[[], dict], out: Path) -> int:
    """Have a `contest.Result` measured, as JSON values, add its minutes, write and show it; returns the exit code."""
    out = out.absolute()
    check_output(out.parent)
    began = time.monotonic()
    try:
        found = measure()
    except Stopped as stopped:
        print(f"stopped by {stopped}: nothing was written; run the same command again", file=sys.stderr)
        return 128 + stopped.signum
    minutes = round((time.monotonic() - began) / 60, 1)
    result = contest.parse(found)
    result = replace(result, about=result.about | {"minutes": minutes})
    write(out, result.to_json())
    print(result.markdown())
    wrote(out)
    return 0


def write(path: Path, text: str) -> None:
    """At once or not at all: a half-written result would be published."""
    try:
        files.write_whole(path, text)
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror}: choose another --out") from None
