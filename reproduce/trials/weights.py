"""Several hosts on one machine train the quick config to the same weights as one process, but for rounding.

    python -m reproduce.bench weights [--hosts 4] [--mbit 1000] [--updates 8] [--data data/fashion_mnist]

The first updates of the headline recipe, with its 20 workers, at the rates it begins with and in single precision:
once by one process, once by torchrun on the hosts. The last checkpoints are compared. Rounding differs, as sums are
taken in another order, and training amplifies it: 1e-6 after 8 updates, 1e-5 after 16, 1e-2 after 32 at the full rate.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from reproduce.errors import TrainingError, UserError, command
from reproduce.paths import ROOT
from reproduce.recipe import load as configs
from reproduce.supervise import Stopped
from reproduce.trials.hosts import Hosts, failure
from reproduce.words import Parser

CONFIG = ROOT / "paper_configs" / "quick" / "headline_b800_w20.toml"
RELATIVE = 1e-5
MAX_SECONDS = 1800


def parse(argv) -> argparse.Namespace:
    parser = Parser(prog="python -m reproduce.bench weights", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--hosts", type=int, default=4, help="network namespaces (default: 4)")
    add("--processes-per-host", type=int, default=1, help="default: 1")
    add("--mbit", type=float, default=1000.0, help="rate of the links in Mbit/s (default: 1000)")
    add("--updates", type=int, default=8, help="default: 8")
    add("--data", type=Path, default=ROOT / "data" / "fashion_mnist", help="default: %(default)s")
    add("--seed", type=int, default=1)
    add("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a value of the config")
    given = parser.parse_args(argv)
    if given.updates < 2 or given.processes_per_host < 1:
        raise UserError("--updates must be at least 2 and --processes-per-host at least 1")
    return given


def beginning(updates: int) -> list[str]:
    """Overrides that make a run of the first `updates` updates of the config: one short epoch of its warm-up."""
    whole = configs.load(CONFIG)
    rate = whole.schedule.peak_lr * (updates - 1) / whole.updates_at(whole.schedule.warmup_epochs)
    last = 1 / updates  # of an epoch: the schedule wants to decay
    return [
        f"data.train_images={updates * whole.global_batch()}", "data.unaugmented_epochs=0", "schedule.epochs=1",
        f"schedule.warmup_epochs={1 - last}", f"schedule.decay_epochs={last}", f"schedule.peak_lr={rate}",
        'precision.compute="fp32"',
    ]  # fmt: skip


def train_both(given: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """Train by one process and on hosts; returns their checkpoint folders. Raises `UserError` if a run fails."""
    overrides = [*beginning(given.updates), *given.set]
    name = configs.load(CONFIG, overrides).run.name
    options = [str(CONFIG), "--data", str(given.data.absolute()), "--seed", str(given.seed)]
    options += [word for text in overrides for word in ("--set", text)]
    outs = folder / "one", folder / "hosts"
    with Hosts(given.hosts, given.mbit) as hosts, Hosts(1) as alone:  # alone too, so that it ends with us, however
        for harness, processes, out in ((alone, 1, outs[0]), (hosts, given.processes_per_host, outs[1])):
            began = time.monotonic()
            where = f"{harness.count} host(s) of {processes} process(es)"
            print(f"training on {where} ...", file=sys.stderr, flush=True)
            words = [*options, "--out", str(out)]
            why = failure(harness.torchrun("reproduce.engine.train", words, processes, timeout=MAX_SECONDS))
            if why:
                raise TrainingError(f"{where}: {why}")
            print(f"trained on {where} in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    one, other = (out / "checkpoints" / name / f"seed_{given.seed}" for out in outs)
    return one, other


def compare(one: Path, other: Path) -> tuple[int, float, str]:
    """(updates taken, the largest difference of a tensor, its name) between the last checkpoints of two folders.

    A difference is a norm, relative to that of the tensor together with its weight or bias: a bias of batch norm
    starts at zero, so that its own norm is no measure. Raises `UserError` if the two are not of equal updates.
    """
    from reproduce.engine.checkpoint import Checkpoints, unpack

    first, second = (Checkpoints(folder).newest() for folder in (one, other))
    if first is None or second is None or first[1] != second[1]:
        raise UserError(f"{one}, {other}: no checkpoints of equally many updates: the runs were cut short")
    ours, theirs = (unpack(payload)["weights"] for payload, _ in (first, second))
    squares: dict[str, float] = {}
    for name, tensor in ours.items():
        pair = name.rpartition(".")[0]
        squares[pair] = squares.get(pair, 0.0) + tensor.double().norm().item() ** 2
    differences = {
        name: (theirs[name] - tensor).double().norm().item() / squares[name.rpartition(".")[0]] ** 0.5
        for name, tensor in ours.items()
    }
    worst = max(differences, key=differences.__getitem__)
    return first[1], differences[worst], worst


@command
def main(argv=None) -> int:
    given = parse(argv)
    try:
        with tempfile.TemporaryDirectory() as folder:
            updates, difference, name = compare(*train_both(given, Path(folder)))
    except Stopped as stopped:
        print(f"stopped by {stopped}: run the same command again", file=sys.stderr)
        return 128 + stopped.signum
    verdict = "the same weights" if difference <= RELATIVE else "DIFFERENT weights"
    who = f"{given.hosts} hosts x {given.processes_per_host} process(es) and one process"
    print(f"{who}, {updates} updates of {CONFIG.stem}: {verdict}: largest relative difference of a tensor "
          f"{difference:.1e} ({name}), limit {RELATIVE:g}")  # fmt: skip
    return 0 if difference <= RELATIVE else 1
