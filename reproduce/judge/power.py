"""Which mistakes the comparator sees: what `python -m reproduce.trials.power` measured, as a table and in words."""

from dataclasses import dataclass
from pathlib import Path

from reproduce import files, table
from reproduce.errors import LogError

FILE = "quick/bench/power.json"  # below figures/measured
COMMAND = "python -m reproduce.trials.power --data data/fashion_mnist --out results/power --epochs 1 --first 1"
MISSING = f"missing: nothing measured; to measure: `{COMMAND}`\n"
HEADER = ["mistake", "refused", "95 % interval", "shift", "tests that failed, in how many runs"]
UNCHANGED = "none"


@dataclass(frozen=True)
class Row:
    """One mistake: how many of `n` runs were refused, and by which tests how often.

    `shifts`: per run, the loss of the first epoch minus that of the stored run with its seed (for a seed that is not
    stored, minus the mean), in units of the spread between seeds.
    """

    name: str
    n: int
    refused: int
    tests: dict[str, int]
    shifts: list[float]

    def cells(self) -> list[str]:
        by = ", ".join(f"{name} {count}" for name, count in sorted(self.tests.items(), key=lambda pair: -pair[1]))
        low, high = interval(self.refused, self.n)
        moved = f"{min(self.shifts):+.2f} to {max(self.shifts):+.2f}" if self.shifts else "none"
        return [self.name, f"{self.refused} of {self.n}", f"{100 * low:.0f} to {100 * high:.0f} %", moved, by or "none"]


def interval(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share, after Wilson."""
    z2 = 1.96**2
    middle, half = (hits + z2 / 2) / (n + z2), 1.96 * (hits * (n - hits) / n + z2 / 4) ** 0.5 / (n + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


def read(folder: Path) -> dict | None:
    """What was measured, from `FILE` below a folder such as figures/measured; None if nothing was.

    Raises `LogError` for a file that is none of this trial's.
    """
    path = Path(folder) / FILE
    try:
        facts = files.read_json(path)
        if (facts["benchmark"], facts["kind"]) != ("power", "measured"):
            raise ValueError("not a measurement of this trial")
        markdown(facts)
        return facts
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LogError(f"{path}: not a result of {COMMAND.partition(' --')[0]}: {error}: restore it from git") from None


def markdown(facts: dict) -> str:
    """The table, with a sentence on what it is of."""
    seeds, stored_ones = facts["seeds"], facts["stored_seeds"]
    which = "stored" if set(seeds) <= set(stored_ones) else "not all of them stored"
    head = (
        f"Measured ({facts['hardware']}): runs of {facts['name']} with one mistake in the engine, {facts['epochs']} "
        f"epoch(s), compared with {len(stored_ones)} stored runs; seeds {seeds[0]} to {seeds[-1]}, {which}. The row "
        f"`{UNCHANGED}` counts false alarms. The shift is that of the first epoch's loss, in units of the spread "
        f"between seeds; the test of the same seed refuses what is beyond {facts['twin']:g}.\n"
    )
    return f"{head}\n{table.markdown(HEADER, [Row(**one).cells() for one in facts['rows']])}"


def table_block(folder: Path) -> str:
    facts = read(folder)
    return markdown(facts) if facts else MISSING


def sentence_block(folder: Path) -> str:
    """In words: which mistakes were seen in all runs, which in some, which in none, and false alarms."""
    facts = read(folder)
    if facts is None:
        return MISSING
    rows = [Row(**one) for one in facts["rows"]]
    mistakes = [f"{row.name} in {row.refused} of {row.n}" for row in rows if row.name != UNCHANGED]
    alarms = [f"; false alarms in {row.refused} of {row.n}" for row in rows if row.name == UNCHANGED]
    return (
        f"Measured: mistakes in the engine under a stored seed, seen by the first epoch's loss of {facts['name']}: "
        f"{', '.join(mistakes)}{''.join(alarms)} (intervals and sizes: "
        "[reproduce/judge/README.md](reproduce/judge/README.md)).\n"
    )
