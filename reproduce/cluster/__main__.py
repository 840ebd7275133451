"""python -m reproduce.cluster: what a cluster would reach, modelled.

    python -m reproduce.cluster --cluster abci --gpus 2048 --local-batch 40 [--rule cubic:3] [--trace FILE]
    python -m reproduce.cluster sensitivity | sweep --cluster abci ...
    python -m reproduce.cluster validate | local [--results DIR] | calibrate [--check] [--out FILE]
"""

import argparse
import sys
from pathlib import Path

from reproduce.cluster import calibrate, files, local, show, validate
from reproduce.cluster.step import Work, step
from reproduce.cluster.uncertainty import sensitivities
from reproduce.errors import UserError, command
from reproduce.results import output

PUBLISHED = output.ROOT / "figures" / "measured" / "quick"
COMMANDS = ("answer", "sensitivity", "sweep", "validate", "local", "calibrate")


def parse(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m reproduce.cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("command", nargs="?", choices=COMMANDS, default="answer", help="default: answer")
    add("--cluster", default="abci", help="a name in paper_configs/clusters, or a file of your own (default: abci)")
    add("--stack", help="software whose single-node runs calibrate it (default: the file's own)")
    add("--gpus", type=int, default=2048)
    add("--local-batch", type=int, default=40, help="images per GPU and step (default: 40)")
    add("--rule", default="cubic:3", help="cubic:F, size:NMB, layer or single (default: cubic:3)")
    add("--no-overlap", action="store_true", help="send all groups after backward")
    add("--trace", type=Path, metavar="FILE", help="answer: also write the step for chrome://tracing")
    add("--out", type=Path, metavar="FILE", help="write the table there as well; calibrate: instead of its usual file")
    add("--results", type=Path, default=PUBLISHED, help="local: a folder with bench/comm.json and bench/pingpong.json")
    add("--check", action="store_true", help="calibrate: only say whether the file is what it would write")
    return parser.parse_args(argv)


def calibrated(given: argparse.Namespace) -> int:
    """Writes the calibrated file, or with --check says whether it is up to date, and shows the residuals."""
    path, solutions = given.out or files.CALIBRATED, calibrate.solve_all()
    new = calibrate.to_toml(solutions)
    if given.check:
        current = path.is_file() and path.read_text(encoding="utf-8") == new
        print(f"{path}: {'up to date' if current else f'out of date: run {calibrate.COMMAND}'}")
        return 0 if current else 1
    for one in solutions:
        worst = max(one.residuals, key=lambda row: abs(one.residuals[row]))
        values = ", ".join(f"{name} = {value:.4g}" for name, value in one.values.items())
        print(f"{one.stack}: {values}; largest residual {one.residuals[worst]:+.1f} % ({worst})")
    print(f"wrote {output.write(path.parent, path.name, new)}")
    return 0


@command
def main(argv=None) -> int:
    given = parse(argv)
    if given.command == "calibrate":
        return calibrated(given)
    if given.trace and given.command != "answer":
        raise UserError(f"--trace {given.trace}: only the answer has a step to trace: leave out {given.command!r}")
    cluster = files.load(given.cluster, given.stack)
    job = Work(given.local_batch, given.rule, not given.no_overlap)
    text = {
        "answer": lambda: show.answer_text(job, given.gpus, cluster),
        "sweep": lambda: show.sweep_text(cluster, given.local_batch),
        "sensitivity": lambda: show.sensitivity_text(job, given.gpus, cluster, sensitivities(
            lambda machine: step(job, given.gpus, machine).images_per_second, cluster)),
        "validate": lambda: show.validation_text(validate.checks()),
        "local": lambda: show.local_text(local.predictions(given.results)),
    }[given.command]()  # fmt: skip
    print(text, end="")
    if given.out:
        print(f"wrote {output.write(given.out.parent, given.out.name, text)}")
    if given.trace:
        name = f"modelled: {given.gpus:,} GPUs of {cluster.about.name}, {given.local_batch} images each, {given.rule}"
        content = show.chrome_trace(step(job, given.gpus, cluster), name)
        print(f"wrote {output.write(given.trace.parent, given.trace.name, content)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
