"""How the values marked `tuned_here` were found: four peak rates for every run, one seed, the best final top-1.

    python -m reproduce.trials.tune --data data/fashion_mnist --out results/tuning

Three rates are given; the fourth is one step beyond the best of them where that is the lowest or the highest, else
halfway (on a logarithmic scale) to the better of its neighbours. The seed is one that no published run uses. The choice
is made on the accuracy that is also reported, for LARS and for momentum SGD alike, so both sides are flattered equally;
the embedded set has no third part to choose on. What was found is published as figures/measured/quick/tuning.csv. Runs
that are already complete are kept, so an interrupted search continues. Imports neither torch nor NumPy.
"""

import math
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from reproduce import table
from reproduce.errors import UserError, command, wrote
from reproduce.events import log_path, read_log
from reproduce.paths import ROOT
from reproduce.recipe import load as configs
from reproduce.recipe.runs import QUICK_PANEL
from reproduce.results import output
from reproduce.trials import one_run
from reproduce.words import Parser

SEED = 0
PANEL_RATES = {"lars": (2.5, 6.0, 15.0), "sgd": (0.16, 0.4, 1.0)}
GRID = {
    "quick/headline_b800_w20": (4.0, 8.0, 13.0),
    "quick/baseline_b128_w2": (0.1, 0.2, 0.4),
} | {run: PANEL_RATES[run.split("_")[1]] for run in QUICK_PANEL}
COLUMNS = ("config", "global_batch", "preset", "peak_lr", "seed", "top1_percent")


def search(data: Path, out: Path, run: str, rate: float) -> dict:
    """Train `run` at peak rate `rate` unless that is done; returns a row. Raises `UserError` on failure."""
    path, override = ROOT / f"paper_configs/{run}.toml", f"schedule.peak_lr={rate}"
    config, folder = configs.load(path, [override]), out / f"peak_lr_{rate:g}"
    log_file = log_path(folder, config.run.name, SEED)
    log = read_log(log_file)
    if not (log.complete and log.is_of(config.hash, SEED)):
        words = [str(path), "--seed", str(SEED), "--set", override, "--data", str(data), "--out", str(folder)]
        code, last = one_run.train(words)
        log = read_log(log_file)
        if log.diverged:  # a result: this rate is too high
            print(f"{run} at {rate:g}: {log.reason}", flush=True)
        elif code:
            raise UserError(f"{run} at {rate:g} failed: {last}")
    assert not log.complete or log.top1 is not None, "a complete run of real data has an accuracy"
    top1 = round(100 * log.top1, 2) if log.top1 is not None and log.complete else 0.0  # diverged
    print(f"{run} at {rate:g}: {top1:.2f}", flush=True)
    values = (config.run.name, config.global_batch(), config.optimizer.preset, rate, SEED, top1)
    return dict(zip(COLUMNS, values, strict=True))


def fourth_rate(top1: dict[float, float]) -> float:
    """The next peak rate to try, from the accuracies of three."""
    low, middle, high = sorted(top1)
    best = max(top1, key=top1.__getitem__)
    if best == middle:
        rate = math.sqrt(middle * max(low, high, key=top1.__getitem__))
    else:
        rate = best**2 / middle
    return float(f"{rate:.2g}")


@command
@one_run.stopped_with_us()
def main(argv=None) -> None:
    parser = Parser(prog="python -m reproduce.trials.tune", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the embedded data set")
    parser.add_argument("--out", type=Path, default=Path("results/tuning"))
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one process each")
    args = parser.parse_args(argv)

    def search_all(wanted: list[tuple[str, float]]) -> list[dict]:
        with ThreadPoolExecutor(args.jobs) as pool:
            return list(pool.map(lambda pair: search(args.data, args.out, *pair), wanted))

    rows = search_all([(run, rate) for run, rates in GRID.items() for rate in rates])
    found: dict[str, dict[float, float]] = {run: {} for run in GRID}
    for row in rows:
        found[f"quick/{row['config']}"][row["peak_lr"]] = row["top1_percent"]
    rows += search_all([(run, fourth_rate(top1)) for run, top1 in found.items()])
    rows.sort(key=lambda row: (row["config"], row["peak_lr"]))
    body = table.comma_separated(list(COLUMNS), [[str(value) for value in row.values()] for row in rows])
    wrote(output.write(args.out, "tuning.csv", body))


if __name__ == "__main__":
    sys.exit(main())
