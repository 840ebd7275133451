"""Trains the quick regression with the mathematics broken; run by tests/engine/test_mutations.py, or by hand:

    python -m tests.helpers.mutation_run --data data/fashion_mnist --out results/mutations ["sign of decay" ...]

One process for all the named mutations (default: all; "none" is the intact code), whose logs go to OUT/NAME/. Prints
what `reproduce.report.check` makes of each.
"""

import argparse
from contextlib import nullcontext
from pathlib import Path

from reproduce.engine import train
from reproduce.events import log_path, read_log
from reproduce.judge import stored
from reproduce.judge.check import checked_together
from reproduce.recipe import load as configs
from tests.helpers import ROOT
from tests.mutations import MUTATIONS, named

CONFIG = ROOT / "paper_configs/quick/regression_b160_w4.toml"
SEED = 1  # a stored one, so that the first epoch is compared with that very run
NONE = "none"


def run(name: str, data: Path, out: Path, config: Path = CONFIG, seed: int = SEED) -> None:
    """Train with mutation `name`; a run that diverges leaves an aborted log."""
    with nullcontext() if name == NONE else named(name).applied():
        where = ["--data", str(data), "--out", str(folder(out, name))]
        train.main([str(config), "--seed", str(seed), *where, "--restart"])


def folder(out: Path, name: str) -> Path:
    return out / "".join(c if c.isalnum() or c in ".-" else "_" for c in name)


def caught_by(name: str, out: Path, references: dict, config: Path = CONFIG, seed: int = SEED) -> list[str]:
    """What of the regression catches the run of `name`: "loss", "accuracy", "divergence", with their tests."""
    log = read_log(log_path(folder(out, name), config.stem, seed))
    if log.status == "aborted":
        return ["divergence"]
    ((_, outcome, _),) = checked_together([log.path], references)
    if outcome.verdict.word not in ("reproduced", "outside"):
        raise ValueError(f"{name}: {outcome.verdict}")  # nothing was tested
    return [f"{'loss' if 'train loss' in one.quantity else 'accuracy'} ({one.test})" for one in outcome.findings]


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the embedded data set")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args(argv)
    configs.load(args.config)  # an unreadable one is one line, not one per mutation
    references = stored.references()
    for name in args.names or [NONE, *(mutation.name for mutation in MUTATIONS)]:
        run(name, args.data, args.out, args.config, args.seed)
        found = caught_by(name, args.out, references, args.config, args.seed)
        print(f"{name}: {', '.join(found) or 'not caught'}", flush=True)


if __name__ == "__main__":
    main()
