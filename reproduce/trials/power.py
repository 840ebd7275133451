"""Which size of change can the check see? Trains changed recipes and counts how often `report.check` refuses them.

    python -m reproduce.trials.power --data data/fashion_mnist --out results/power [--seeds 5] [--first 101] [NAME...]

Every change is trained with seeds from --first on, 101 by default, which are not stored (from 1 on they are: then the
first epoch must also be that of the stored run), and its curves are compared as if they were of the unchanged
recipe: what the check would see of a run under a wrong name. Row "none" is the unchanged recipe, so its share is that
of false alarms. Runs that are there already are not trained again. Writes power.md and power.json below OUT. A row says
what was measured and no more: 0 of 5 refused leaves a power of up to 43 %, at 95 %.
"""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from reproduce.errors import UserError, command
from reproduce.events import log_path, read_log
from reproduce.judge import stored
from reproduce.judge.comparator import LEVEL, Comparison, Reference, compare
from reproduce.paths import CONFIGS
from reproduce.recipe import load as configs
from reproduce.results import output
from reproduce.words import Parser

CONFIG = CONFIGS / "quick/regression_b160_w4.toml"
FIRST_SEED = 101  # none of the stored ones
RATES = (0.7, 0.85, 0.95, 1.05, 1.15, 1.3, 2.0)


@dataclass(frozen=True)
class Change:
    """A changed recipe: overrides as --set takes them."""

    name: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One change: how many of `n` runs were refused, and by which tests how often."""

    name: str
    n: int
    refused: int
    tests: dict[str, int]

    def cells(self) -> list[str]:
        by = ", ".join(f"{name} {count}" for name, count in sorted(self.tests.items(), key=lambda pair: -pair[1]))
        low, high = interval(self.refused, self.n)
        return [self.name, f"{self.refused} of {self.n}", f"{100 * low:.0f} to {100 * high:.0f} %", by or "none"]


def changes(config: Path) -> list[Change]:
    """The changes of a recipe, the unchanged one first."""
    loaded = configs.load(config)
    s, o = loaded.schedule, loaded.optimizer
    rates = [Change(f"rate x {factor:g}", (f"schedule.peak_lr={s.peak_lr * factor!r}",)) for factor in RATES]
    return [
        Change("none", ()), *rates,
        Change("no weight decay", ("optimizer.weight_decay=0.0",)),
        Change("weight decay x 2", (f"optimizer.weight_decay={2 * o.weight_decay!r}",)),
        Change("no label smoothing", ("optimizer.label_smoothing=0.0",)),
        Change("momentum - 0.02", (f"optimizer.momentum={round(o.momentum - 0.02, 6)!r}",)),
        Change("warm-up x 0.5", (f"schedule.warmup_epochs={s.warmup_epochs / 2!r}",)),
        Change("no augmentation", (f"data.unaugmented_epochs={s.epochs}",)),
    ]  # fmt: skip


def train(change: Change, config: Path, seed: int, data: Path, out: Path) -> Path:
    """The log of a changed run, which is trained unless it is there. Raises `UserError` if the run fails."""
    folder = out / "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in change.name)
    path = log_path(folder, config.stem, seed)
    if ended(path):
        return path
    argv = [sys.executable, "-m", "reproduce.engine.spawn", "2", str(config), "--seed", str(seed), "--data", str(data),
            "--out", str(folder), *(word for one in change.overrides for word in ("--set", one))]  # fmt: skip
    told = subprocess.run(argv, capture_output=True, text=True)
    if not ended(path):
        last = (told.stderr.strip() or "no word").splitlines()[-1]
        raise UserError(f"{change.name}, seed {seed}: not trained: {last}")
    return path


def ended(path: Path) -> bool:
    """Well, or by diverging, which the check is to notice as well."""
    log = read_log(path)
    return log.complete or log.diverged


def outcome(path: Path, reference: Reference) -> Comparison | None:
    """What the check would say of this run under the reference's name; None for a run that diverged."""
    log = read_log(path)
    return compare(replace(stored.run_of(log), facts=reference.facts), reference, LEVEL) if log.complete else None


def row(change: Change, found: list[Comparison | None]) -> Row:
    tests: dict[str, int] = {}
    for one in found:
        for test in {"divergence"} if one is None else {finding.test for finding in one.findings}:
            tests[test] = tests.get(test, 0) + 1
    refused = sum(one is None or one.verdict.word == "outside" for one in found)
    return Row(change.name, len(found), refused, tests)


def interval(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share, after Wilson."""
    z2 = 1.96**2
    middle, half = (hits + z2 / 2) / (n + z2), 1.96 * (hits * (n - hits) / n + z2 / 4) ** 0.5 / (n + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


def markdown(rows: list[Row], reference: Reference, seeds: range) -> str:
    stored_ones = {run.seed for run in reference.runs} & set(seeds)
    which = "stored" if stored_ones == set(seeds) else "not stored" if not stored_ones else "some of them stored"
    words = f"seeds {seeds[0]} to {seeds[-1]}, {which}"
    head = (
        f"Measured: runs of {reference.name} with one change, compared with {len(reference.runs)} stored runs, each "
        f"test at a level of {LEVEL}; {words}. The row \"none\" counts false alarms.\n"
    )
    table = [["change", "refused", "95 % interval", "tests that failed, in how many runs"], ["---"] * 4]
    table += [one.cells() for one in rows]
    return "\n".join([head, *(f"| {' | '.join(cells)} |" for cells in table), ""])


def reference_of(config: Path) -> Reference:
    """The stored runs on a CPU. Raises `UserError` if there are none."""
    digest = configs.load(config).hash
    found = stored.references().get((digest, "cpu"))
    if found is None:
        raise UserError(f"{config}: no stored curves of recipe {digest} on a CPU: there is nothing to compare with")
    return found


@command
def main(argv=None) -> None:
    parser = Parser(prog="python -m reproduce.trials.power", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the embedded data set")
    parser.add_argument("--out", type=Path, required=True, help="where the runs and the table go")
    parser.add_argument("--config", type=Path, default=CONFIG, help="a recipe with stored curves (default: regression)")
    parser.add_argument("--seeds", type=int, choices=range(1, 101), default=5, metavar="N", help="runs of each change")
    parser.add_argument("--first", type=int, default=FIRST_SEED, metavar="SEED", help="the first seed (default: 101)")
    parser.add_argument("names", nargs="*", metavar="NAME", help='changes, such as "rate x 1.15" (default: all)')
    given = parser.parse_args(argv)
    known = {change.name: change for change in changes(given.config)}
    for name in given.names:
        if name not in known:
            raise UserError(f"{name!r}: no such change: known are {', '.join(known)}")
    reference, rows = reference_of(given.config), []
    seeds = range(given.first, given.first + given.seeds)
    for name in given.names or known:
        paths = [train(known[name], given.config, seed, given.data, given.out) for seed in seeds]
        rows.append(row(known[name], [outcome(path, reference) for path in paths]))
        print(" | ".join(rows[-1].cells()), flush=True)
        facts = {"kind": "measured", "recipe": reference.facts.recipe, "stored": len(reference.runs), "level": LEVEL,
                 "seeds": list(seeds), "rows": [vars(one) for one in rows]}  # fmt: skip
        output.write(given.out, "power.json", output.to_json(facts))
        output.write(given.out, "power.md", markdown(rows, reference, seeds))
    print(f"wrote {given.out / 'power.md'}")


if __name__ == "__main__":
    sys.exit(main())
