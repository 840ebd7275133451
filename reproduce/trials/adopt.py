"""Writes the peak rates that `reproduce.trials.evidence` chose for the rows of Table 1 into their config files.

    python -m reproduce.trials.adopt --results results/quick

A run made at that rate stays valid: its hash is of the values, wherever they stand.
"""

import re
import sys
from pathlib import Path

from reproduce.errors import UserError, command, wrote
from reproduce.paths import ROOT
from reproduce.recipe.load import Config, file_of
from reproduce.recipe.runs import EARLIER_ROWS
from reproduce.recipe.variants import with_changes
from reproduce.results import output, rates
from reproduce.results.rates import Rate
from reproduce.words import Parser

HOW = "on held-out images, a third of the epochs; python -m reproduce.trials.evidence"


def adopted(text: str, config: Config, tried: list[Rate]) -> str:
    """The text of a config file with the best of the rates. Raises `UserError` if it states no peak rate."""
    peak = rates.best(tried)
    names = [f"{one.peak_lr:g}" for one in tried]
    text = _with(text, "peak_lr", peak, "tuned_here", f"best of {', '.join(names[:-1])} and {names[-1]} {HOW}")
    start = config.schedule.warmup_start_lr
    if start is None:
        return text
    share = config.schedule.peak_lr / start
    return _with(text, "warmup_start_lr", peak / share, "derived", f"the peak / {share:g}, as in the row's own recipe")


def _with(text: str, key: str, value: float, source: str, ref: str) -> str:
    line = f'{key} = {{ value = {value!r}, source = "{source}", ref = "{ref}" }}'
    changed, count = re.subn(rf"(?m)^{key} = .*$", line, text)
    if count != 1:
        raise UserError(f"states {key} {count} times: state it once, on a line of its own")
    return changed


@command
def main(argv=None) -> None:
    parser = Parser(prog="python -m reproduce.trials.adopt", description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "results/quick", help="where rates.csv is")
    found = rates.read(parser.parse_args(argv).results)
    for run in EARLIER_ROWS:
        path = file_of(run)
        if path.stem in found:
            text = adopted(path.read_text(encoding="utf-8"), with_changes(run), found[path.stem])
            wrote(output.write(path.parent, path.name, text))
        else:
            print(f"{path.name}: no rates yet")


if __name__ == "__main__":
    sys.exit(main())
