"""Kills a small run at random moments, lets it go on, and compares its end with that of an undisturbed run, bit by bit.

    python -m reproduce.bench kills --runs 50 [--processes 2] [--seed 1]

Each run trains the quick tier's network on a thousand images of the embedded data set, saves a checkpoint several times
a second, is killed with SIGKILL once to three times (a rank or the launcher; while it starts, trains, or writes a
checkpoint) and started again until it is done. Weights, losses of all epochs and accuracies must then be those of the
undisturbed run. Writes kills.json.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from reproduce import files
from reproduce.engine.data.folders import MARKER
from reproduce.errors import UserError, command
from reproduce.events import RESULT, checkpoint_folder, log_path, read_events, read_log
from reproduce.paths import ROOT
from reproduce.recipe import load as configs
from reproduce.results import output
from reproduce.runner.commands import short
from reproduce.runner.options import check_output
from reproduce.runner.training import say
from reproduce.trials.attempts import LAUNCHER, Attempt, Kill, Pace
from reproduce.words import Parser

CONFIG = ROOT / "paper_configs" / "quick" / "headline_b800_w20.toml"
TRAIN, VAL = 80, 20  # images of each of ten classes
SMALL = [
    "batch.workers=4", f"data.train_images={10 * TRAIN}", f"data.val_images={10 * VAL}", "schedule.epochs=8",
    "schedule.warmup_epochs=2", "schedule.decay_epochs=6", "evaluation.every=2", "evaluation.offset=2",
]  # fmt: skip
CHECKPOINT_SECONDS = 0.15  # every second or third of 40 updates
MAX_STARTS = 10  # of one run: some must get through
MOMENTS = {"starting": 0.1, "training": 0.45, "writing": 0.45}
STORY = ("epoch_start", "epoch_stop", "eval_accuracy", RESULT)  # what must be the same


def parse(argv) -> argparse.Namespace:
    parser = Parser(prog="python -m reproduce.bench kills", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--runs", type=int, default=50, help="default: 50")
    add("--processes", type=int, default=2, help="of each run: 1, 2 or 4 (default: 2)")
    add("--seed", type=int, default=1, help="of the random kills, and of the training (default: 1)")
    add("--data", type=Path, default=ROOT / "data" / "fashion_mnist", help="default: data/fashion_mnist")
    add("--out", type=Path, default=ROOT / "results" / "bench" / "kills.json", help="default: results/bench/kills.json")
    given = parser.parse_args(argv)
    if given.runs < 1:
        raise UserError(f"--runs {given.runs}: must be at least 1")
    if given.processes not in (1, 2, 4):
        raise UserError(f"--processes {given.processes}: must be 1, 2 or 4, to share four workers evenly")
    if not sys.platform.startswith("linux"):
        raise UserError("bench kills finds its victims in /proc: it needs Linux")
    return given


def lay_out(data: Path, out: Path) -> None:
    """Make `out` a small data set: links to the first images of each class of the embedded one."""
    if not (data / MARKER).is_file():
        remedy = "run python -m reproduce.engine.data.embedded --out DIR"
        raise UserError(f"--data {data}: does not hold the embedded data set: {remedy}")
    for part, count in (("train", TRAIN), ("val", VAL)):
        for folder in sorted(path for path in (data / part).iterdir() if path.is_dir()):
            (out / part / folder.name).mkdir(parents=True)
            for image in sorted(folder.iterdir())[:count]:
                (out / part / folder.name / image.name).symlink_to(image.resolve())
    shutil.copy(data / MARKER, out)


def draw_kills(rng: random.Random, processes: int) -> list[Kill]:
    """The kills of one run, in turn: mostly one, at most three."""
    kills = []
    for _ in range(rng.choices((1, 2, 3), (6, 3, 1))[0]):
        moment = rng.choices(list(MOMENTS), list(MOMENTS.values()))[0]
        # rank 0 writes; when another rank dies it has some milliseconds left, and is done
        victims = (LAUNCHER, 0) if moment == "writing" else (LAUNCHER, *range(processes))
        kills.append(Kill(rng.choice(victims) if processes > 1 else LAUNCHER, moment, rng.random()))
    return kills


@dataclass
class Run:
    """What became of one run: its kills, in words, and how it differs from the undisturbed one, if it does."""

    kills: list[str] = field(default_factory=list)
    seen: Counter = field(default_factory=Counter)  # at what the kills struck
    starts: int = 0
    story: list | None = None  # None: it did not get to its end
    difference: str = ""


class Trial:
    """The command of a run and the folder where it happens."""

    def __init__(self, folder: Path, data: Path, processes: int, seed: int):
        self.folder, self.alone = folder, processes == 1
        config = configs.load(CONFIG, SMALL)
        self.hash, self.updates = config.hash, sum(config.epoch_updates())
        self.log = log_path(folder, config.run.name, seed)
        self.checkpoints = checkpoint_folder(folder, config.run.name, seed)
        engine = ["reproduce.engine.spawn", str(processes)] if processes > 1 else ["reproduce.engine.train"]
        self.argv = [sys.executable, "-m", *engine, str(CONFIG), "--seed", str(seed), "--data", str(data)]
        self.argv += ["--out", str(folder), "--checkpoint-every", str(CHECKPOINT_SECONDS), "--backend", "torchvision"]
        self.argv += ["--device", "cpu", *(part for override in SMALL for part in ("--set", override))]

    def start(self) -> Attempt:
        env = {"OMP_NUM_THREADS": "1"}  # so that sums are made in the same order whatever else runs
        return Attempt(self.argv, env, self.log, self.checkpoints, self.folder.with_suffix(".said"))

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def undisturbed(self) -> tuple[list, Pace]:
        """The story of a run that is left alone, and its pace. Raises `UserError` if it fails."""
        self.clear()
        with self.start() as attempt:
            attempt.wait_for(attempt.training)
            startup = time.monotonic() - attempt.began_at
            if attempt.wait() or not read_log(self.log).complete:
                raise UserError(f"the undisturbed run failed: {attempt.said.read_text()[-500:].strip()}")
        training = read_log(self.log).run_seconds
        checkpoints = max(1, int(training / CHECKPOINT_SECONDS))
        return story(self.log), Pace(startup, training, checkpoints, self.updates)

    def disturbed(self, kills: list[Kill], pace: Pace) -> Run:
        """A run from its beginning, killed as told, to its end."""
        self.clear()
        run, kills = Run(), list(kills)
        while run.starts < MAX_STARTS:
            run.starts += 1
            with self.start() as attempt:
                struck = bool(kills) and attempt.strike(kills[0], pace)
                code = attempt.wait()
            if read_log(self.log).complete:
                since, expected = attempt.resumed_after(), attempt.first_update
                if since == expected:
                    run.story = story(self.log)
                else:
                    run.difference = f"went on from {since}, not from {expected}"
                return run
            if not struck:
                run.difference = f"exit code {code}: {attempt.said.read_text()[-300:].strip()}"
                return run
            self._note(run, kills.pop(0))
        run.difference = f"not done after {MAX_STARTS} starts"
        return run

    def _note(self, run: Run, kill: Kill) -> None:
        """Add what a kill struck, from what the dead left."""
        names = [path.name for path in self.checkpoints.glob("*")] if self.checkpoints.exists() else []
        places = []
        if any(name.endswith(".tmp") for name in names):
            places.append("while writing a checkpoint")
        if not any(name.endswith(".ckpt") for name in names):
            places.append("before the first checkpoint")
        events = read_events(self.log) if self.log.exists() else []
        marks = [event.key for _, event in events if event.key in ("epoch_start", "epoch_stop")]
        if marks and marks[-1] == "epoch_start":
            places.append("in the middle of an epoch")
        places = places or ["between epochs"]
        run.seen.update(places)
        victim = f"rank {kill.victim}" if kill.victim != LAUNCHER else "all" if self.alone else "the launcher"
        run.kills.append(f"{victim} {' and '.join(places)}")


def story(log: Path) -> list:
    """What a run computed: losses, accuracies and the weights' hash, with all their digits."""
    events = [event for _, event in read_events(log) if event.key in STORY]
    return [[event.key, event.value, {k: v for k, v in event.metadata.items() if k != "lineno"}] for event in events]


def difference(expected: list, found: list) -> str:
    """The first place where two stories differ; empty if they are the same."""
    for one, other in zip(expected, found):
        if one != other:
            return f"{one[0]}: {json.dumps(other[1:])} instead of {json.dumps(one[1:])}"
    return "" if len(expected) == len(found) else f"{len(found)} events instead of {len(expected)}"


def report(given: argparse.Namespace, trial: Trial, expected: list, runs: list[Run], minutes: float) -> dict:
    environment = read_log(trial.log).environment
    seen = sum((run.seen for run in runs), Counter())
    return {
        "benchmark": "kills", "runs": len(runs), "survived": sum(run.story is not None for run in runs),
        "divergences": sum(run.story is not None and bool(run.difference) for run in runs),
        "kills": sum(len(run.kills) for run in runs), "struck": dict(sorted(seen.items())),
        "processes": given.processes, "seed": given.seed, "updates": trial.updates, "config_hash": trial.hash,
        "weights_sha256": expected[-1][1]["weights_sha256"], "minutes": round(minutes, 1),
        **{key: environment.get(key) for key in ("hardware", "precision", "python", "torch", "revision")},
        "cores": os.cpu_count(),
        "each": [{"kills": run.kills, "starts": run.starts, "difference": run.difference} for run in runs],
    }  # fmt: skip


def trials(given: argparse.Namespace, folder: Path) -> dict:
    rng, began = random.Random(given.seed), time.monotonic()
    lay_out(given.data, folder / "data")
    trial = Trial(folder / "run", folder / "data", given.processes, given.seed)
    expected, pace = trial.undisturbed()
    say(f"undisturbed: {pace.startup:.1f} s to start, {pace.training:.1f} s to train {pace.updates} updates")
    runs: list[Run] = []
    while len(runs) < given.runs:
        run = trial.disturbed(draw_kills(rng, given.processes), pace)
        if not run.kills and run.story is not None:
            continue  # it was done before the first kill
        if run.story is not None:
            run.difference = difference(expected, run.story)
        runs.append(run)
        say(f"[{len(runs)}/{given.runs}] killed {'; then '.join(run.kills)}: {run.difference or 'same end'}")
    return report(given, trial, expected, runs, (time.monotonic() - began) / 60)


@command
def main(argv=None) -> int:
    given = parse(argv)
    check_output(given.out.absolute().parent)
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        result = trials(given, Path(folder))
    output.write(given.out.parent, given.out.name, files.to_json(result, indent=1))
    struck = ", ".join(f"{count} {place}" for place, count in result["struck"].items())
    print(f"{result['kills']} kills: {struck}; {result['minutes']} min; wrote {short(given.out.absolute())}")
    print(f"runs survived {result['survived']}/{result['runs']}, divergences {result['divergences']}")
    return 0 if result["survived"] == result["runs"] and not result["divergences"] else 1
