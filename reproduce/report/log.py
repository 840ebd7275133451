"""Read any public MLPerf log of ResNet-50, rounds v0.5 to v4.0, and ours: what it says, in a few lines.

    python -m reproduce.report.log FILE... [--draw OUT.png] [--json]

A log that cannot be read is one line with the reason; the others are still shown. Exit code 2 only if none could be
read. Needs no torch, and matplotlib only for --draw.
"""

import json
import sys
from pathlib import Path

from reproduce import files
from reproduce.errors import EXIT_USER_ERROR, LogError, command, say, shown
from reproduce.mlperf import table
from reproduce.mlperf.summary import NOT_LOGGED, PublicLog, is_resnet, read
from reproduce.mlperf.table import TableRun
from reproduce.results.output import DATA_SETS
from reproduce.words import Parser


@command
def main(argv=None):
    parser = Parser(prog="python -m reproduce.report.log", description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="result_N.txt of an MLPerf run, or ours")
    parser.add_argument("--draw", type=Path, metavar="OUT.png", help="draw top-1 against epoch, one line per log")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of text")
    given = parser.parse_args(argv)
    logs, unread = [], 0
    for path in given.files:
        try:
            logs.append(read(path))
        except LogError as error:
            say(error)
            unread += 1
    known = table.runs() if logs else []
    if given.json:
        found = [facts(log, table.same(log, known)) for log in logs]
        print(json.dumps(files.finite(found), indent=2, allow_nan=False))
    else:
        print("\n\n".join(text(log, table.same(log, known)) for log in logs))
    if given.draw and logs:
        draw(logs, given.draw)
    return EXIT_USER_ERROR if unread and not logs else 0


def facts(log: PublicLog, same: list[TableRun]) -> dict:
    """What `text` prints, for a program: fractions of 1, seconds, null for what is not logged."""
    return {
        "file": str(log.path), "round": log.round, "date": None if log.date == NOT_LOGGED else log.date,
        "benchmark": log.benchmark or None, "division": log.division or None, "submitter": log.submitter or None,
        "system": log.system or None, "dataset": log.dataset or None, "global_batch": log.global_batch,
        "optimizer": log.optimizer or None, "settings": log.settings,
        "evaluations": [{"epoch": e.epoch, "top1": e.top1, "seconds": e.seconds} for e in log.evaluations],
        "run_seconds": None if log.run_seconds is None else round(log.run_seconds, 3), "top1": log.top1,
        "status": log.status or None, "target": log.target, "reached": log.reached, "records": log.records,
        "not_understood": log.not_understood, "other_lines": log.other_lines, "notes": list(log.notes),
        "public_runs": ["/".join(run.key) for run in same],
    }  # fmt: skip


def text(log: PublicLog, same: list[TableRun]) -> str:
    """The summary of one log, a line for each thing; `same` are the public runs of the table that it is."""
    rows = {
        "round": f"{log.round}, run on {log.date}",
        "benchmark": f"{log.benchmark or NOT_LOGGED}, division {log.division or NOT_LOGGED}",
        "submitter": log.submitter or NOT_LOGGED,
        "system": log.system or NOT_LOGGED,
        "global batch": NOT_LOGGED if log.global_batch is None else f"{log.global_batch:,}",
        "optimizer": log.optimizer or NOT_LOGGED,
    }
    rows |= {f"  {key}": several(values) for key, values in log.settings.items()}
    rows |= {
        "evaluations": epochs(log),
        "run time": NOT_LOGGED if log.run_seconds is None else f"{log.run_seconds:,.3f} s",
        "final top-1": final(log),
        "status": log.status or NOT_LOGGED,
        "target": reached(log),
        "lines": f"{log.records:,} events, {log.not_understood:,} not understood, {log.other_lines:,} of other text",
        "public run": ", also ".join("/".join(run.key) for run in same) or "none of those of figures/public",
    }
    width = max(map(len, rows)) + 1
    lines = [str(log.path), *(f"  {name + ':':{width}} {value}" for name, value in rows.items())]
    return "\n".join(map(shown, [*lines, *(f"  note: {note}" for note in log.notes)]))


def final(log: PublicLog) -> str:
    if log.benchmark and not is_resnet(log.benchmark):
        return f"none: the benchmark is {log.benchmark}"
    return NOT_LOGGED if log.top1 is None else f"{100 * log.top1:.3f} %"


def several(values: list) -> str:
    """The values of one key; of those that change all the time the first and the last."""
    if len(values) > 3:
        return f"{values[0]} to {values[-1]}, {len(values)} values"
    return ", ".join(map(str, values))


def epochs(log: PublicLog) -> str:
    if not log.evaluations:
        return "none"
    first, last = log.evaluations[0].epoch, log.evaluations[-1].epoch
    return f"{len(log.evaluations)}, at epochs {first:g} to {last:g} as logged"


def reached(log: PublicLog) -> str:
    if log.dataset not in ("", "imagenet"):
        return f"none: trained on {log.dataset}"
    if log.target is None:
        return f"none: the benchmark is {log.benchmark}" if log.benchmark else "none: the log names no benchmark"
    word = {True: "reached", False: "not reached", None: "no accuracy"}[log.reached]
    return f"{100 * log.target:.1f} % top-1: {word}"


def name(log: PublicLog) -> str:
    """Who and what, for the legend; the file where the log does not say."""
    if log.dataset:
        return f"measured: {log.path.parent.name}, {DATA_SETS.get(log.dataset, log.dataset)}"
    batch = "" if log.global_batch is None else f", batch {log.global_batch:,}"
    who = " ".join(part for part in (log.submitter, log.system) if part) or f"{log.path.parent.name}/{log.path.name}"
    return f"public: {log.round} {who}{batch}"


def draw(logs: list[PublicLog], path: Path) -> None:
    """Draw the logs' curves into one file. Raises `UserError` as `draw.save` does."""
    from reproduce.figures import mlperf as figures
    from reproduce.figures import plot  # here, so that the summary needs no matplotlib

    drawn = [
        figures.Curve(name(log), "measured" if log.dataset else "public", [e.epoch for e in log.evaluations],
                      [100 * e.top1 for e in log.evaluations])
        for log in logs if log.evaluations
    ]  # fmt: skip
    if not drawn:
        print("nothing to draw: no log holds an accuracy")
        return
    figure, ax = plot.plt.subplots(figsize=(9, 6))
    figures.curves(ax, drawn, sorted({100 * log.target for log in logs if log.target is not None}))
    ax.set_title("top-1 against epoch, each by its own log")
    figures.save(figure, path)


if __name__ == "__main__":
    sys.exit(main())
