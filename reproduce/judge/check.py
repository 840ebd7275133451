"""Do runs still give the stored curves? For continuous integration.

    python -m reproduce.report.check results/quick
    python -m reproduce.report.check --list

Every complete run is compared with the stored curves of its recipe on its type of device. Exit code 0: at least one was
compared and none is outside; 1: a run is outside its band, or its log is damaged, cut off or aborted (with --strict,
also when there was nothing to compare a run with); 2: bad input; 3: nothing was compared, which is no success.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from reproduce.errors import LogError, command, shown
from reproduce.events import RunLog, read_log
from reproduce.judge import stored
from reproduce.judge.causes import likely
from reproduce.judge.comparator import LEVEL, Comparison, compare
from reproduce.judge.runs import Facts, Reference
from reproduce.judge.verdict import Verdict
from reproduce.words import Parser

EXIT_OUTSIDE, EXIT_NOTHING = 1, 3
DAMAGED = "damaged"
SPEED = Verdict("not comparable", "speed run: not judged")
LEAST_LEVEL = 1e-12  # below it quantiles of Student's t overflow


Checked = tuple[RunLog, Comparison, Reference | None]  # the reference: what the log was compared with, None for nothing


def checked_together(
    paths: Sequence[Path], references: dict[stored.Key, Reference], level: float | None = None
) -> Iterator[Checked]:
    """Logs compared one after the other, each test at `level`; by default so that all of them, if they are good runs,
    pass together as probably as one alone does (Bonferroni): `LEVEL` divided by the number that have a reference."""
    found = [matched(path, references) for path in paths]
    count = sum(isinstance(one, Reference) for _, one in found)
    for log, one in found:
        if isinstance(one, Verdict):
            yield log, Comparison(one), None
        else:
            yield log, compare(stored.run_of(log), one, level or LEVEL / count), one


def matched(path: Path, references: dict[stored.Key, Reference]) -> tuple[RunLog, Reference | Verdict]:
    """A log and what it is to be compared with, or why with nothing."""
    log = read_log(path)
    if not log.complete:
        return log, Verdict("missing", f"{log.status} log: {log.reason}")
    if stored.is_speed_run(log):
        return log, SPEED
    facts = stored.run_of(log).facts
    return log, references.get((facts.recipe, facts.device)) or unknown(facts, str(log.config.get("name")), references)


def unknown(facts: Facts, name: str, references: dict[stored.Key, Reference]) -> Verdict:
    """Why there is nothing to compare a run with: no stored curves, or those of another device or recipe."""
    what = f"no stored curves for {name}, recipe {facts.recipe}, on {facts.device}"
    devices = sorted({device or "an unknown device" for recipe, device in references if recipe == facts.recipe})
    if devices:
        return Verdict("not comparable", f"{what}: only on {', '.join(devices)}, which rounds otherwise")
    recipes = sorted({recipe or "unknown" for (recipe, _), one in references.items() if one.name == name})
    if recipes:
        return Verdict("not comparable", f"{what}: those of {name} are of recipe {', '.join(recipes)}")
    return Verdict("missing", what)


def report(log: RunLog, outcome: Comparison, reference: Reference | None) -> str:
    """A line for a run; for one outside, also a line per test that failed and the likely causes."""
    lines = [f"{log.path}: {outcome.verdict}"]
    if outcome.findings:
        assert reference is not None, "a finding has something it was compared with"
        lines[0] = f"{log.path}: outside: {len(outcome.findings)} test(s) failed"
        lines += [f"  {finding}" for finding in outcome.findings]
        last = log.config["recipe"]["schedule"]["epochs"]
        for cause in likely(outcome.findings, last, reference.peak_epoch):
            lines.append(f"  look at: {cause.look_at} [{cause.seen}]")
    return "\n".join(map(shown, lines))


@command
def main(argv=None) -> int:
    parser = Parser(prog="python -m reproduce.report.check", description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="*", type=Path, help="results folders, or log files")
    parser.add_argument("--published", type=Path, default=stored.PUBLISHED, metavar="DIR",
                        help="folder with the stored logs (default: figures/measured)")  # fmt: skip
    parser.add_argument("--level", type=float, help="false alarms of one test (default: "
                        f"{LEVEL}, divided by the number of runs compared)")  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="exit 1 also when there is nothing to compare a run with")
    parser.add_argument("--list", action="store_true", help="print what stored curves there are")
    args = parser.parse_args(argv)
    if args.level is not None and not LEAST_LEVEL <= args.level < 1:
        parser.error(f"--level must be between {LEAST_LEVEL:g} and 1")
    if not (args.list or args.results):
        parser.error("name results folders or log files, or ask for --list")
    if not args.published.is_dir():
        raise LogError(f"{args.published}: no folder of stored logs: name one, such as figures/measured")
    references = stored.references(args.published)
    if args.list:
        print("\n".join(map(shown, stored.listed(references.values()))) or f"{args.published}: no stored curves")
    found = []
    paths = [path for place in args.results for path in stored.logs_in(place)]
    for log, outcome, reference in checked_together(paths, references, args.level):
        print(report(log, outcome, reference), flush=True)
        found.append("speed" if outcome.verdict == SPEED else outcome.verdict.word if log.complete else DAMAGED)
    if not args.results:
        return 0
    print(summary(found))
    return exit_code(found, args.strict)


def summary(found: list[str]) -> str:
    """One line: what was compared, what was not, and that nothing was where that is so."""
    counts = [f"{compared(found)} compared", f"{found.count('outside')} outside"]
    counts += [f"{n} damaged or not ended" for n in [found.count(DAMAGED)] if n]
    left = found.count("missing") + found.count("not comparable")
    counts += [f"{left} with nothing to compare with"] if left else []
    counts += [f"{n} for speed, not judged" for n in [found.count("speed")] if n]
    nothing = "" if compared(found) else ": NOTHING was compared, so nothing is known to be reproduced"
    return f"{len(found)} run(s): {', '.join(counts)}{nothing}"


def compared(found: list[str]) -> int:
    return sum(word in ("reproduced", "outside") for word in found)


def exit_code(found: list[str], strict: bool) -> int:
    if {"outside", DAMAGED} & set(found) or (strict and set(found) - {"reproduced", "speed"}):
        return EXIT_OUTSIDE
    return 0 if compared(found) else EXIT_NOTHING


if __name__ == "__main__":
    sys.exit(main())
