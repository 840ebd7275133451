"""Evaluates a checkpoint with each of the four sets of batch-norm statistics; `evaluation` says what they are.

    python -m reproduce.engine.evaluate paper_configs/quick/headline_b800_w20.toml --checkpoint DIR --data DIR

One process is enough, whatever number wrote the checkpoint. The config must be the run's own, overrides included.
"""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

from reproduce.engine import checkpoint
from reproduce.engine.data.loader import AnyLoader, open_loader
from reproduce.engine.device import pick_device
from reproduce.engine.dist.binding import bind
from reproduce.engine.dist.comm import Comm
from reproduce.engine.dist.ending import one_of_many
from reproduce.engine.dist.place import Place
from reproduce.engine.environment import compute_precision
from reproduce.engine.evaluation import epoch_trained, evaluate
from reproduce.engine.state import REMEDY
from reproduce.engine.trainer import Trainer
from reproduce.errors import CheckpointError, DataError, command, shown
from reproduce.logged import is_count
from reproduce.recipe import load as configs
from reproduce.recipe.schema import BN_EVAL
from reproduce.words import Parser


class Row(NamedTuple):
    """What one set of statistics classifies."""

    bn_eval: str
    correct: int
    images: int
    chosen: bool  # the config evaluates with this one


def four_ways(trainer: Trainer, loader: AnyLoader) -> list[Row]:
    """A row for each of `recipe.BN_EVAL`. Raises `DataError` for data without true labels or with images missing."""
    if not loader.has_accuracy:
        raise DataError(f"{trainer.config.path}: data.dataset = 'synthetic': noise has no accuracy to evaluate")
    return [Row(how, *evaluate(trainer, loader, how), how == trainer.config.batch.bn_eval) for how in BN_EVAL]


def table(rows: list[Row]) -> str:
    lines = [f"{'bn_eval':<13}{'correct':>10}{'images':>10}{'top-1':>10}"]
    for row in rows:
        mark = "  <- the config's" if row.chosen else ""
        lines.append(f"{row.bn_eval:<13}{row.correct:>10,}{row.images:>10,}{row.correct / row.images:>10.2%}{mark}")
    return "\n".join(lines)


def header(trainer: Trainer, seed: int, precision: str) -> str:
    config = trainer.config
    data = f"{config.data.dataset}, {config.data.val_images:,} validation images"
    epoch = epoch_trained(config, trainer.update) + 1
    progress = f"update {trainer.update:,} of {config.total_updates:,}, epoch {epoch} of {config.schedule.epochs}"
    return (
        f"{config.run.name}, config {config.hash}, seed {seed}: {progress}\n"
        f"{config.batch.workers:,} workers; {data}; {precision} on {trainer.comm.device.type}"
    )


def saved_state(path: Path) -> dict:
    """The state in a checkpoint file, or in the newest intact one of a folder. Raises `CheckpointError`."""
    if not path.is_dir():
        try:
            return checkpoint.unpack(checkpoint.read(path), checkpoint.update_of(path))
        except checkpoint.Damaged as damage:
            raise CheckpointError(f"{path}: {damage}: take another checkpoint") from None
    store = checkpoint.Checkpoints(path)
    found = store.newest()
    for complaint in store.complaints:
        print(shown(complaint), file=sys.stderr)
    if found is None:
        raise CheckpointError(f"{path}: holds no intact checkpoint: take the folder a run writes them to")
    return checkpoint.unpack(*found)


@command
def main(argv=None) -> None:
    parser = Parser(prog="python -m reproduce.engine.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="the run's file in paper_configs/")
    parser.add_argument("--checkpoint", type=Path, required=True, help="a checkpoint, or a folder: its newest")
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and val/")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--backend", choices=("auto", "dali", "torchvision"), default="auto", help="data back-end")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="as the run was given")
    args = parser.parse_args(argv)
    with one_of_many() as place:
        run(args, place)


def run(args: argparse.Namespace, place: Place) -> None:
    """One process of an evaluation; raises `UserError`."""
    config, state = configs.load(args.config, args.set), saved_state(args.checkpoint)
    bind(place.local_rank)
    comm = Comm(pick_device(args.device, place.local_rank), place=place)
    seed = state.get("seed", -1)
    if not is_count(seed, most=2**63):
        raise CheckpointError(f"{args.checkpoint}: the checkpoint names no seed: {REMEDY}")
    with comm:
        precision = compute_precision(config, comm.device)
        trainer = Trainer(config, seed, comm, precision)
        trainer.load_state(state)
        loader = open_loader(
            config, args.data, seed, trainer.workers, comm.rank, comm.world_size, comm.device, args.backend
        )
        rows = four_ways(trainer, loader)
        loader.close()
        trainer.close()
    if comm.rank == 0:
        print(f"{header(trainer, seed, precision)}\n\n{table(rows)}")


if __name__ == "__main__":
    sys.exit(main())
