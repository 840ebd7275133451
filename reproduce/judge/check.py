"""Do runs still give the stored curves? For continuous integration.

    python -m reproduce.report.check results/quick
    python -m reproduce.report.check --list

Every complete run is held against the stored curves of its recipe on its type of device. Exit code 0: none is outside;
1: a run is outside its band (with --strict, also when a run could not be held against anything); 2: bad input.
"""

import argparse
import sys
from pathlib import Path

from reproduce.errors import command
from reproduce.events import RunLog, read_log
from reproduce.judge import stored
from reproduce.judge.causes import likely
from reproduce.judge.comparator import LEVEL, Comparison, Facts, Reference, compare
from reproduce.judge.verdict import Verdict

EXIT_OUTSIDE = 1


def checked(path: Path, references: dict[stored.Key, Reference], level: float):
    """(`RunLog`, `Comparison`, `Reference`): a log, what it came to, and what it was held against, None for nothing."""
    log = read_log(path)
    if not log.complete:
        return log, Comparison(Verdict("missing", f"{log.status} log: {log.reason}")), None
    run = stored.run_of(log)
    reference = references.get((run.facts.recipe, run.facts.device))
    if reference is None:
        return log, Comparison(unknown(run.facts, str(log.config.get("name")), references)), None
    return log, compare(run, reference, level), reference


def unknown(facts: Facts, name: str, references: dict[stored.Key, Reference]) -> Verdict:
    """Why there is nothing to hold a run against: no stored curves, or those of another device or recipe."""
    what = f"no stored curves for {name}, recipe {facts.recipe}, on {facts.device}"
    devices = sorted({device for recipe, device in references if recipe == facts.recipe})
    if devices:
        return Verdict("not comparable", f"{what}: only on {', '.join(devices)}, which rounds otherwise")
    recipes = sorted({recipe for (recipe, _), one in references.items() if one.name == name})
    if recipes:
        return Verdict("not comparable", f"{what}: those of {name} are of recipe {', '.join(recipes)}")
    return Verdict("missing", what)


def report(log: RunLog, outcome: Comparison, reference: Reference | None) -> str:
    """A line for a run; for one outside, also a line per test that failed and the likely causes."""
    lines = [f"{log.path}: {outcome.verdict}"]
    if outcome.findings:
        lines[0] = f"{log.path}: outside: {len(outcome.findings)} test(s) failed"
        lines += [f"  {finding}" for finding in outcome.findings]
        last = log.config["recipe"]["schedule"]["epochs"]
        for cause in likely(outcome.findings, last, reference.peak_epoch):
            lines.append(f"  look at: {cause.look_at} [{cause.seen}]")
    return "\n".join(lines)


@command
def main(argv=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m reproduce.report.check", description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="*", type=Path, help="results folders, or log files")
    parser.add_argument("--published", type=Path, default=stored.PUBLISHED, metavar="DIR",
                        help="folder with the stored logs (default: figures/measured)")  # fmt: skip
    parser.add_argument("--level", type=float, default=LEVEL, help=f"false alarms of one test (default: {LEVEL})")
    parser.add_argument("--strict", action="store_true", help="exit 1 also when a run cannot be held against anything")
    parser.add_argument("--list", action="store_true", help="print what stored curves there are")
    args = parser.parse_args(argv)
    if not 0 < args.level < 1:
        parser.error("--level must be between 0 and 1")
    if not (args.list or args.results):
        parser.error("name results folders or log files, or ask for --list")
    references = stored.references(args.published)
    if args.list:
        print("\n".join(stored.listed(references.values())) or f"{args.published}: no stored curves")
    words = []
    for path in [path for place in args.results for path in stored.logs_in(place)]:
        log, outcome, reference = checked(path, references, args.level)
        print(report(log, outcome, reference), flush=True)
        words.append(outcome.verdict.word)
    if args.results:
        compared = sum(word in ("reproduced", "outside") for word in words)
        print(f"{len(words)} run(s): {compared} compared, {words.count('outside')} outside")
    return EXIT_OUTSIDE if "outside" in words or (args.strict and set(words) - {"reproduced"}) else 0


if __name__ == "__main__":
    sys.exit(main())
