"""python -m reproduce.cluster: what a cluster would reach, modelled.

    python -m reproduce.cluster --cluster abci --gpus 2048 --local-batch 40 [--rule cubic:3] [--trace FILE]
    python -m reproduce.cluster --cluster dgx-h100 --target-seconds 60 | --budget-node-hours 10
    python -m reproduce.cluster calibrate --cluster FILE --measured IMAGES_PER_SECOND --local-batch IMAGES
    python -m reproduce.cluster sensitivity | sweep --cluster abci ...
    python -m reproduce.cluster validate | local [--results DIR] | calibrate [--check] [--out FILE]
"""

import argparse
import math
import sys
from pathlib import Path

from reproduce.cluster import calibrate, choose, files, local, planning, show, validation
from reproduce.cluster.step import Work, step
from reproduce.cluster.uncertainty import drawn, draws, sensitivities
from reproduce.errors import UserError, command, shown_lines, wrote
from reproduce.results import output
from reproduce.words import Parser

PUBLISHED = output.ROOT / "figures" / "measured" / "quick"
COMMANDS = ("answer", "sensitivity", "sweep", "validate", "local", "calibrate")
PLANS = {"target_seconds": planning.in_time, "budget_node_hours": planning.within}


def parse(argv) -> argparse.Namespace:
    parser = Parser(
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
    add("--target-seconds", type=float, metavar="S", help="answer: how many GPUs reach 75.9 %% in so long")
    add("--budget-node-hours", type=float, metavar="H", help="answer: what reaches 75.9 %% soonest for so much")
    add("--measured", type=float, metavar="RATE", help="calibrate: images/s of one of your nodes, at --local-batch")
    add("--trace", type=Path, metavar="FILE", help="answer: also write the step for chrome://tracing")
    add("--out", type=Path, metavar="FILE", help="write the table there as well; calibrate: instead of its usual file")
    add("--results", type=Path, default=PUBLISHED, help="local: a folder with bench/comm.json and bench/pingpong.json")
    add("--check", action="store_true", help="calibrate: only say whether the files are what it would write")
    return _checked(parser.parse_args(argv))


def _checked(given: argparse.Namespace) -> argparse.Namespace:
    """Raises `UserError` for options that do not go together."""
    asked = [name for name in (*PLANS, "measured") if getattr(given, name) is not None]
    shown = [f"--{name.replace('_', '-')}" for name in asked]
    if len(asked) > 1:
        raise UserError(f"{' and '.join(shown)}: one question at a time: leave out one")
    for name, option in zip(asked, shown):
        value, owner = getattr(given, name), "calibrate" if name == "measured" else "answer"
        if not (math.isfinite(value) and value > 0):
            raise UserError(f"{option} {value:g}: must be a number above 0")
        if given.command != owner:
            raise UserError(f"{option}: a question for {owner!r}, not for {given.command!r}: leave one of them out")
    if given.trace and (given.command != "answer" or asked):
        what = shown[0] if asked else repr(given.command)
        raise UserError(f"--trace {given.trace}: only the answer has a step to trace: leave out {what}")
    return given


def calibrated(given: argparse.Namespace) -> int:
    """Writes what is calibrated and what is chosen; with --check says whether the two files are up to date."""
    solutions, path = calibrate.solve_all(), given.out or files.CALIBRATED
    new = calibrate.to_toml(solutions)
    if given.check:
        return max(_current(path, new), _current(files.CHOSEN, choose.to_toml(*choose.solve())))
    for one in solutions:
        worst = max(one.residuals, key=lambda row: abs(one.residuals[row]))
        values = ", ".join(f"{name} = {value:.4g}" for name, value in one.values.items())
        print(f"{one.stack}: {values}; largest residual {one.residuals[worst]:+.1f} % ({worst})")
    wrote(output.write(path.parent, path.name, new))
    if not given.out:
        years, found = choose.solve()
        wrote(output.write(files.FOLDER, files.CHOSEN.name, choose.to_toml(years, found)), f": {found.coverage}")
    return 0


def _current(path: Path, new: str) -> int:
    current = path.is_file() and path.read_text(encoding="utf-8") == new
    print(f"{path}: {'up to date' if current else f'out of date: run {calibrate.COMMAND}'}")
    return 0 if current else 1


def measured(given: argparse.Namespace) -> int:
    """Writes the cluster file that rests on the user's own node."""
    cluster = files.load(given.cluster, given.stack)
    path, content = calibrate.own_node(cluster, given.measured, given.local_batch, (given.out or Path(".")).parent)
    path = given.out or path
    wrote(output.write(path.parent, path.name, content))
    job, gpus = Work(given.local_batch, files.NODE_RULE), int(cluster.node.gpus)
    before = drawn(job, gpus, draws(cluster)).rate.median
    print(f"one node: {given.measured:,.0f} images/s measured; {before:,.0f} modelled without it")
    asked = show.command("answer", files.load(str(path)))
    print(f"now ask: {asked} --gpus {gpus} --local-batch {given.local_batch} --rule {job.rule}")
    return 0


def answer(given: argparse.Namespace) -> str:
    """The text a command prints."""
    if given.command == "validate":
        return validation.document()
    if given.command == "local":
        return show.local_text(local.predictions(given.results))
    cluster, job = files.load(given.cluster, given.stack), Work(given.local_batch, given.rule, not given.no_overlap)
    for name, text in PLANS.items():
        if getattr(given, name) is not None:
            return text(cluster, getattr(given, name))
    if given.command == "sweep":
        return show.sweep_text(cluster, given.local_batch)
    if given.command == "sensitivity":
        found = sensitivities(lambda machine: step(job, given.gpus, machine).images_per_second, cluster)
        return show.sensitivity_text(job, given.gpus, cluster, found)
    return show.answer_text(job, given.gpus, cluster)


def traced(given: argparse.Namespace) -> str:
    """The step of the answer, for chrome://tracing."""
    cluster, job = files.load(given.cluster, given.stack), Work(given.local_batch, given.rule, not given.no_overlap)
    name = f"modelled: {given.gpus:,} GPUs of {cluster.about.name}, {given.local_batch} images each, {given.rule}"
    return show.chrome_trace(drawn(job, given.gpus, draws(cluster)).step, name)


@command
def main(argv=None) -> int:
    given = parse(argv)
    if given.command == "calibrate":
        return measured(given) if given.measured is not None else calibrated(given)
    text = answer(given)
    print(shown_lines(text), end="")
    if given.out:
        wrote(output.write(given.out.parent, given.out.name, text))
    if given.trace:
        wrote(output.write(given.trace.parent, given.trace.name, traced(given)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
