"""Which size of mistake can the check see? Trains with mistakes in the engine and counts how often they are refused.

    python -m reproduce.trials.power --data data/fashion_mnist --out results/power [--epochs 1] [--seeds 3] [--first 1]
        [NAME...]

Every mistake (`faulty`) is trained with seeds from --first on. From 1 on they are stored: then the first epoch must
also be that of the stored run. From 101 on they are not. With --epochs only so many are trained, and nothing but the
first epoch of a stored seed is compared. The log names the unchanged recipe, so that statistics alone can tell. Row
"none" is the unchanged engine, so its share is that of false alarms. Runs that are there already are not trained again.
Writes power.md and power.json below OUT. A row says what was measured and no more: 0 of 5 refused leaves a power of up
to 43 %, at 95 %.
"""

import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from reproduce.errors import UserError, command, wrote
from reproduce.events import log_path, read_events, read_log
from reproduce.judge import stored
from reproduce.judge.comparator import LEVEL, apart, compare
from reproduce.judge.deviations import TWIN, unlike_twin
from reproduce.judge.power import UNCHANGED, Row, markdown
from reproduce.judge.runs import Reference
from reproduce.paths import CONFIGS
from reproduce.recipe import load as configs
from reproduce.results import output
from reproduce.trials import one_run
from reproduce.trials.faulty import FAULTS
from reproduce.words import Parser

CONFIG = CONFIGS / "quick/regression_b160_w4.toml"
FIRST_SEED = 101  # none of the stored ones


def train(fault: str, config: Path, seed: int, data: Path, out: Path, epochs: int) -> Path:
    """The log of a run with a mistake, which is trained unless it is there. Raises `UserError` if the run fails."""
    folder = out / "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in fault)
    path = log_path(folder, config.stem, seed)
    if done(path, epochs):
        return path
    words = [fault, str(epochs), str(config), "--seed", str(seed), "--data", str(data), "--out", str(folder)]
    _, last = one_run.train([*words, "--restart"], "reproduce.trials.faulty")
    if not done(path, epochs):
        raise UserError(f"{fault}, seed {seed}: not trained: {last}")
    return path


def done(path: Path, epochs: int) -> bool:
    """Whether a run has ended, or, where fewer epochs than the recipe's were asked for, has those."""
    log = read_log(path)
    if log.complete or log.diverged:
        return True
    if not log.config or epochs >= log.config["recipe"]["schedule"]["epochs"]:
        return False  # one that was stopped between its last epoch and its end is none
    return sum(event.key == "epoch_stop" for _, event in read_events(path)) >= epochs


def outcome(path: Path, reference: Reference) -> list[str]:
    """The tests that a run fails: all of them, or that of the first epoch for one that was cut short."""
    log = read_log(path)
    if log.diverged:
        return ["divergence"]
    run = stored.run_of(log)
    if log.complete:
        return sorted({finding.test for finding in compare(run, reference, LEVEL).findings})
    twins, others = apart(run, reference)
    if not twins:
        raise UserError(f"{path}: seed {run.seed} is not stored, and a run cut short is compared with nothing else: "
                        "give --first 1, or leave --epochs out")  # fmt: skip
    return [finding.test for finding in unlike_twin(run, twins, others)]


def shift(path: Path, reference: Reference) -> float | None:
    """As in `Row.shifts`, of one run; None if it diverged within the first epoch."""
    run = stored.run_of(read_log(path))
    twins, others = apart(run, reference)
    losses = [known.loss[1] for known in others.runs]
    if 1 not in run.loss:
        return None
    return (run.loss[1] - (twins[0].loss[1] if twins else statistics.fmean(losses))) / statistics.stdev(losses)


def row(fault: str, paths: Sequence[Path], reference: Reference) -> Row:
    found = [outcome(path, reference) for path in paths]
    tests = Counter(test for one in found for test in one)
    shifts = [moved for path in paths if (moved := shift(path, reference)) is not None]
    return Row(fault, len(found), sum(map(bool, found)), dict(tests), shifts)


def reference_of(config: Path) -> Reference:
    """The stored runs on a CPU. Raises `UserError` if there are none."""
    digest = configs.load(config).hash
    found = stored.references().get((digest, "cpu"))
    if found is None:
        raise UserError(f"{config}: no stored curves of recipe {digest} on a CPU: there is nothing to compare with")
    return found


@command
@one_run.stopped_with_us()
def main(argv=None) -> None:
    parser = Parser(prog="python -m reproduce.trials.power", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the embedded data set")
    parser.add_argument("--out", type=Path, required=True, help="where the runs and the table go")
    parser.add_argument("--config", type=Path, default=CONFIG, help="a recipe with stored curves (default: regression)")
    parser.add_argument("--seeds", type=int, choices=range(1, 101), default=5, metavar="N", help="runs of each change")
    parser.add_argument("--first", type=int, default=FIRST_SEED, metavar="SEED", help="the first seed (default: 101)")
    parser.add_argument("--epochs", type=int, metavar="N", help="epochs of each run (default: the recipe's)")
    parser.add_argument("names", nargs="*", metavar="NAME", help='mistakes, such as "rate x 1.15" (default: all)')
    given = parser.parse_args(argv)
    for name in given.names:
        if name not in (UNCHANGED, *FAULTS):
            raise UserError(f"{name!r}: no such mistake: known are {', '.join((UNCHANGED, *FAULTS))}")
    reference, rows = reference_of(given.config), []
    epochs = given.epochs or configs.load(given.config).schedule.epochs
    seeds = range(given.first, given.first + given.seeds)
    for name in given.names or (UNCHANGED, *FAULTS):
        paths = [train(name, given.config, seed, given.data, given.out, epochs) for seed in seeds]
        rows.append(row(name, paths, reference))
        print(" | ".join(rows[-1].cells()), flush=True)
        facts = about(reference, paths[0]) | {"epochs": epochs, "seeds": list(seeds), "rows": [*map(vars, rows)]}
        output.write(given.out, "power.json", output.to_json(facts))
        output.write(given.out, "power.md", markdown(facts))
    wrote(given.out / "power.md")


def about(reference: Reference, path: Path) -> dict:
    log = read_log(path)
    return {"benchmark": "power", "kind": "measured", "name": reference.name, "recipe": reference.facts.recipe,
            "level": LEVEL, "twin": TWIN, "stored_seeds": [run.seed for run in reference.runs],
            "hardware": log.environment.get("hardware"), "revision": log.environment.get("revision")}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
