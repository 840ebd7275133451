"""python -m tests.fuzz --inputs 3000 [--seed S] [--surface NAME ...]: bad inputs of every kind.

Exit code 1 if anything was found; the smallest input that shows it is printed, and kept below results/fuzz for
``python -m tests.fuzz --again FILE``.
"""

import argparse
import multiprocessing
import os
import sys
from pathlib import Path

WEIGHTS = {"words": 8, "recipes": 4, "results": 3, "data": 3, "claims": 1}  # of a surface among others, which have 2
FOLDER = Path(__file__).resolve().parents[2] / "results" / "fuzz"


def parse(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=600, metavar="N", help="in all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same one draws the same inputs (default: 1)")
    parser.add_argument("--surface", action="append", metavar="NAME", help="this one only; may be repeated")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1), help="surfaces at a time")
    parser.add_argument("--seconds", type=float, default=60, help="that an input may take (default: %(default)g)")
    parser.add_argument("--again", type=Path, metavar="FILE", help="run one kept input, and show what it says")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    given = parse(argv)
    from tests.fuzz import warm  # imports all that commands import, which takes seconds

    warm.up()
    from tests.fuzz import campaign, child

    child.SECONDS = given.seconds

    if given.again:
        return again(given.again)
    known = campaign.surfaces()
    unknown = set(given.surface or ()) - set(known)
    if unknown:
        print(f"error: no surface {', '.join(sorted(unknown))}: known are {', '.join(known)}", file=sys.stderr)
        return 2
    names = given.surface or list(known)
    weights = {name: WEIGHTS.get(name, 2) for name in names}
    tasks = [(name, -(-given.inputs * weights[name] // sum(weights.values())), given.seed) for name in names]
    with multiprocessing.get_context("fork").Pool(given.jobs) as pool:
        found = [told(counted) for counted in pool.imap_unordered(explored, tasks)]
    print(f"\n{campaign.table(sorted(found, key=lambda one: one.surface))}")
    return 1 if any(counted.found for counted in found) else 0


def explored(task: tuple[str, int, int]):
    from tests.fuzz import campaign

    name, inputs, seed = task
    return campaign.explore(name, campaign.surfaces()[name], inputs, seed)


def told(counted):
    """Print what a surface has shown, with the smallest input of each kind, and keep that."""
    from tests.fuzz import campaign

    print(f"{counted.surface}: {counted.inputs} inputs, {counted.seconds:.0f} s", file=sys.stderr, flush=True)
    for key, (scene, finding) in counted.found.items():
        print(f"\n{counted.surface}, {counted.times[key]} times: {campaign.reproducer(scene, finding)}")
        print(f"  again: python -m tests.fuzz --again {campaign.save(scene, finding, FOLDER)}", flush=True)
    return counted


def again(path: Path) -> int:
    from tests.fuzz import child, oracle, scene

    kept = scene.from_json(path.read_text())
    outcome = child.run(kept)
    print(f"exit code {outcome.code}, {outcome.seconds:.1f} s, {outcome.memory >> 20:,} MB\n{outcome.out}{outcome.err}")
    found = oracle.findings(kept, outcome)
    for one in found:
        print(f"{one.kind}: {one.text}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
