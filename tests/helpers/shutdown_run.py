"""One of two processes of a run whose updates are recorded, with gloo for NCCL and an object for the CUDA graph.

    python -m tests.helpers.shutdown_run OUT end|stop|leak

NCCL waits for every graph that holds its collectives before it disconnects: `dist.destroy_process_group` here ends the
process with code 3 if such an object is alive. "stop": rank 0 gets SIGTERM after some updates. "leak": somebody keeps a
graph. Each process writes which sums it began, in order, to OUT/RANK.json, and the updates replayed among them.
"""

import functools
import json
import os
import signal
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch.distributed as dist

from reproduce.engine import graph, train, vectorised
from reproduce.engine.execution import Execution
from reproduce.engine.optim import compiled as compiled_lars
from tests.helpers import ROOT

CONFIG = ROOT / "paper_configs/quick/headline_b800_w20.toml"
SMALL = ["data.dataset=\"synthetic\"", "batch.workers=2", "batch.local_batch=8", "data.train_images=64",
         "data.val_images=16", "schedule.epochs=4", "schedule.warmup_epochs=1", "schedule.decay_epochs=3",
         "data.unaugmented_epochs=0", "evaluation.every=4", "evaluation.offset=4"]  # fmt: skip
STOPPED_AT = 3  # updates replayed
HANGS = 3  # the exit code that stands for it
ALIVE: weakref.WeakSet = weakref.WeakSet()
KEPT: list = []


class Graph:
    """What a recording is: alive until nobody holds it; replaying does what was recorded."""

    def __init__(self, body: Callable[[], None]):
        self._body, self.replayed = body, 0
        ALIVE.add(self)

    def replay(self) -> None:
        self.replayed += 1
        SEEN["replayed"] += 1
        if SEEN["replayed"] == STOPPED_AT and WHAT == "stop" and os.environ["RANK"] == "0":
            os.kill(os.getpid(), signal.SIGTERM)
        self._body()


SEEN: dict = {"sums": [], "replayed": 0}
WHAT = sys.argv[2] if len(sys.argv) > 2 else ""


def record(body: Callable[[], None]) -> Callable[[], None]:
    made = Graph(body)
    KEPT.extend([made] if WHAT == "leak" else [])
    return made.replay


def noting(all_reduce):
    @functools.wraps(all_reduce)
    def noted(tensor, *args, **kwargs):
        SEEN["sums"].append([tensor.numel(), str(tensor.dtype)])
        return all_reduce(tensor, *args, **kwargs)

    return noted


def destroy(original):
    def checked(*args):
        path = Path(sys.argv[1]) / f"{os.environ['RANK']}.json"
        path.write_text(json.dumps(SEEN))
        if ALIVE:
            os._exit(HANGS)
        original(*args)

    return checked


def main() -> None:
    out, patch = Path(sys.argv[1]), mock.patch.object
    recorded = Execution(lars="compiled", cuda_graph=True)
    argv = [str(CONFIG), "--device", "cpu", "--data", str(out), "--out", str(out / "results")]
    argv += [word for setting in SMALL for word in ("--set", setting)]
    with (
        patch(train, "chosen", lambda *_: (recorded, "auto")), patch(graph, "Recorder", lambda: record),
        patch(vectorised, "compiled", lambda f: f), patch(compiled_lars, "compiled", lambda f: f),
        patch(dist, "all_reduce", noting(dist.all_reduce)),
        patch(dist, "destroy_process_group", destroy(dist.destroy_process_group)),
    ):  # fmt: skip
        sys.exit(train.main(argv))


if __name__ == "__main__":
    main()
