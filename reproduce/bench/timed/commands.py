"""Whole commands of the package as a campaign's steps: a run that is stopped and goes on, and the quick headline.

The request's "what" names a function here.
"""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from reproduce.bench.contest import Row, Table
from reproduce.bench.timed.entry import serve
from reproduce.errors import EXIT_PREEMPTED, TrainingError
from reproduce.events import RunLog, log_path, read_events, read_log
from reproduce.paths import ROOT
from reproduce.recipe import load as configs

EMBEDDED = ROOT / "data" / "fashion_mnist"  # where tier quick has it; 70,000 files, made if they are not there
PATIENCE = 300.0  # seconds for a run to reach its first epoch's end


class Training:
    """A config trained by `reproduce.engine.train` into a folder, one process."""

    def __init__(self, request: dict, device: torch.device, out: Path, data: Path):
        self.config = configs.load(request["config"], request["overrides"])
        self.log = log_path(out, self.config.run.name, 1)
        self._argv = [sys.executable, "-m", "reproduce.engine.train", request["config"], "--device", device.type,
                      "--out", str(out), "--data", str(data)]  # fmt: skip
        self._argv += [word for one in request["overrides"] for word in ("--set", one)]

    def start(self) -> subprocess.Popen:
        return subprocess.Popen(self._argv, cwd=ROOT, stdin=subprocess.DEVNULL)

    def whole(self) -> RunLog:
        """Train to the end. Raises `TrainingError` if it does not get there."""
        code = self.start().wait()
        log = read_log(self.log)
        if code or not log.complete:
            raise TrainingError(f"{self.config.run.name}: ended with exit code {code}: {log.reason}")
        return log

    def stopped(self) -> float:
        """Begin, send SIGTERM after an epoch, and return the seconds that the run then took to save and leave."""
        child, give_up = self.start(), time.monotonic() + PATIENCE
        try:
            while not self._epochs() and child.poll() is None and time.monotonic() < give_up:
                time.sleep(0.05)
            child.send_signal(signal.SIGTERM)
            began = time.monotonic()
            code = child.wait(60)
        finally:
            child.kill()
        if code != EXIT_PREEMPTED:
            raise TrainingError(f"{self.config.run.name}: exit code {code} after SIGTERM, not {EXIT_PREEMPTED}")
        return time.monotonic() - began

    def _epochs(self) -> int:
        events = read_events(self.log) if self.log.exists() else []
        return sum(event.key == "epoch_stop" for _, event in events)


def interrupted(request: dict, device: torch.device) -> list[Table]:
    """A run is stopped by SIGTERM, goes on, and is compared with one that was not."""
    with tempfile.TemporaryDirectory() as folder:
        one = Training(request, device, Path(folder) / "undisturbed", Path())
        other = Training(request, device, Path(folder) / "stopped", Path())
        undisturbed, left = one.whole(), other.stopped()
        resumed = other.whole()
    same = undisturbed.result["weights_sha256"] == resumed.result["weights_sha256"]
    if not same and device.type == "cpu":
        raise TrainingError(f"{one.config.run.name}: stopped by SIGTERM and resumed, it ended at other weights than "
                            "undisturbed")  # fmt: skip
    # a GPU's libraries choose algorithms by trial, in every process again; parity compares with the choice fixed
    end = "to the weights of an undisturbed run, every bit equal" if same else "to weights that differ in their bits"
    rows = (Row("from SIGTERM to the end of the process", "ours", (left,), f"with a checkpoint; then resumed {end}"),
            Row("undisturbed run", "ours", (undisturbed.run_seconds,)))  # fmt: skip
    work = f"{one.config.run.name}, {one.config.total_updates} updates"
    return [Table("SIGTERM and resume", work, "s", None, rows)]


def headline(request: dict, device: torch.device) -> list[Table]:
    """The quick tier's headline run, and what report.check says of it."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "results"
        lay_out = [sys.executable, "-m", "reproduce.engine.data.embedded", "--out", str(EMBEDDED)]
        subprocess.run(lay_out, cwd=ROOT, check=True)
        training = Training(request, device, out, EMBEDDED)
        log = training.whole()
        check = [sys.executable, "-m", "reproduce.report.check", str(out)]
        done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    verdict = (done.stdout + done.stderr).strip().splitlines() or ["it said nothing"]
    note = f"report.check, exit code {done.returncode}: {verdict[-1]}"[:300]
    work = f"{training.config.run.name}, {training.config.total_updates} updates, seed 1"
    top1 = (100 * log.top1,) if log.top1 else ()
    return [Table("Quick headline", work, "s", None, (Row("run_start to run_stop", "ours", (log.run_seconds,), note),)),
            Table("Its accuracy", work, "%", None, (Row("top-1", "ours", top1),))]  # fmt: skip


def measure(request: dict, device: torch.device) -> list[Table]:
    return {"interrupted": interrupted, "headline": headline}[request["what"]](request, device)


if __name__ == "__main__":
    serve("commands", measure)
