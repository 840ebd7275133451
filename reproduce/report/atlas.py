"""The atlas: the neighbours of a run among 1,834 public ResNet-50 runs of MLPerf Training v0.5 to v4.0.

    python -m reproduce.report.atlas --batch 60000:90000 [--round v0.6] [--optimizer lars] [--submitter X]
                                     [--near LOG] [--draw OUT.png] [--csv]

Lists the systems whose runs fit, each with the medians over its runs that reached the target; --csv lists the runs.
--near takes the mini-batch of a log and says how the log ranks among its neighbours. Needs no torch, and matplotlib
only for --draw.
"""

import argparse
import csv
import sys
from pathlib import Path

from reproduce.errors import UserError, command, shown
from reproduce.mlperf import table
from reproduce.mlperf.summary import NOT_LOGGED, PublicLog, read
from reproduce.mlperf.table import TableRun
from reproduce.words import Parser

NEAR = 1.25  # --near without --batch: from the log's mini-batch / 1.25 to x 1.25
RUN_COLUMNS = ("round", "submitter", "system", "file", "division", "global_batch", "optimizer",
               "base_learning_rate", "warmup_epochs", "last_epoch", "run_seconds", "top1", "status",
               "folder")  # fmt: skip


@command
def main(argv=None):
    given = options(argv)
    log = read(given.near) if given.near else None
    span = given.batch or (around(log) if log else None)
    found = select(table.runs(), span, given)
    if not found:
        raise UserError(f"no public run fits: {described(span, given)}: widen --batch, or drop a filter")
    if given.csv:
        write_csv(found)
    else:
        print(f"{len(found)} public runs of ResNet-50: {described(span, given)}\n")
        print("\n".join(listing(found)))
        for line in rank(log, found) if log else ():
            print(shown(line))
    if given.draw:
        draw(found, log, described(span, given), given.draw)


def options(argv) -> argparse.Namespace:
    parser = Parser(prog="python -m reproduce.report.atlas", description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=batches, metavar="LOW:HIGH", help="global mini-batch, images; N for just one")
    parser.add_argument("--round", help="such as v0.6")
    parser.add_argument("--optimizer", help="as logged: lars, sgd, ...")
    parser.add_argument("--submitter", help="a part of its name")
    parser.add_argument("--near", type=Path, metavar="LOG", help="neighbours of this log, and its rank among them")
    parser.add_argument("--draw", type=Path, metavar="OUT.png", help="draw their curves and times")
    parser.add_argument("--csv", action="store_true", help="print the single runs as CSV")
    given = parser.parse_args(argv)
    if not (given.batch or given.round or given.optimizer or given.submitter or given.near):
        parser.error("name what to look for: --batch LOW:HIGH, --round, --optimizer, --submitter or --near LOG")
    return given


def batches(text: str) -> tuple[int, int]:
    """ "60000:90000" or "81920", ends included."""
    low, colon, high = text.replace(",", "").replace("_", "").partition(":")
    try:
        span = (int(low or 0), int(high or sys.maxsize) if colon else int(low))
    except ValueError:
        span = (1, 0)
    if span[0] > span[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is no range of mini-batches: write LOW:HIGH, such as 60000:90000")
    return span


def around(log: PublicLog) -> tuple[int, int]:
    """The mini-batches near that of a log. Raises `UserError` if it has none that compares."""
    if log.dataset not in ("", "imagenet"):
        raise UserError(f"{log.path}: trained on {log.dataset}, the public runs on ImageNet: they do not compare")
    if log.global_batch is None:
        raise UserError(f"{log.path}: its mini-batch is not logged: name the range with --batch LOW:HIGH")
    return round(log.global_batch / NEAR), round(log.global_batch * NEAR)


def select(runs: list[TableRun], span: tuple[int, int] | None, given: argparse.Namespace) -> list[TableRun]:
    """The runs that fit every filter. One whose mini-batch is not logged fits no range."""
    return [
        run for run in runs
        if (span is None or (run.global_batch is not None and span[0] <= run.global_batch <= span[1]))
        and (not given.round or run.round == given.round)
        and (not given.optimizer or given.optimizer.lower() == run.optimizer.lower())
        and (not given.submitter or given.submitter.lower() in run.submitter.lower())
    ]  # fmt: skip


def described(span: tuple[int, int] | None, given: argparse.Namespace) -> str:
    parts = []
    if span:
        low, high = (f"{end:,}" for end in span)
        parts.append(f"mini-batch {low}" if low == high else f"mini-batch {low} and more" if span[1] == sys.maxsize
                     else f"mini-batch {low} to {high}")  # fmt: skip
    parts += [f"{what} {value}" for what, value in vars(given).items()
              if what in ("round", "optimizer", "submitter") and value]  # fmt: skip
    return ", ".join(parts) or "all"


def listing(found: list[TableRun]) -> list[str]:
    """A table, one row for each system and mini-batch, by mini-batch and then by time."""
    head = ("round", "submitter", "system", "division", "batch", "optimizer", "peak LR", "warm-up", "epochs", "reached",
            "top-1 %", "seconds")  # fmt: skip
    rows = [head, *(row for _, row in sorted(map(_row, groups(found)), key=lambda pair: pair[0]))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) if column < 4 else cell.rjust(width)
                       for column, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows]  # fmt: skip
    return [
        *lines,
        "",
        "Medians of epochs, top-1 and seconds (run_start to run_stop) are over runs that reached the target: 74.9 %",
        "in v0.5 and 75.9 % from v0.6 on, so times of v0.5 do not compare. What a log leaves out is 'not logged'.",
        "At least 60 submitted runs are not in this table: figures/public/README.md says why.",
    ]


def groups(found: list[TableRun]) -> list[list[TableRun]]:
    """The runs of each round, submitter, system and mini-batch."""
    together: dict[tuple, list[TableRun]] = {}
    for run in found:
        together.setdefault((run.round, run.folder, run.global_batch), []).append(run)
    return list(together.values())


def _row(group: list[TableRun]) -> tuple[tuple, tuple[str, ...]]:
    first, good = group[0], [run for run in group if run.reached]
    seconds = table.median(run.run_seconds for run in good)
    row = (
        first.round, first.submitter, first.system, first.division or NOT_LOGGED,
        NOT_LOGGED if first.global_batch is None else f"{first.global_batch:,}",
        first.optimizer or NOT_LOGGED, _shown(first.peak_rate, "g"), _shown(first.warmup_epochs, "g"),
        _shown(table.median(run.last_epoch for run in good), "g"),
        f"{len(good)} of {len(group)}",
        _shown(table.median(None if run.top1 is None else 100 * run.top1 for run in good), ".2f"),
        _shown(seconds, ",.1f"),
    )  # fmt: skip
    return (first.global_batch or 0, seconds if seconds is not None else float("inf"), first.key), row


def _shown(value: float | None, how: str) -> str:
    return NOT_LOGGED if value is None else format(value, how)


def rank(log: PublicLog, found: list[TableRun]) -> list[str]:
    """How a log stands among its neighbours that reached the same target, each run counted once."""
    if log.target is None:
        return [f"{log.path}: no ResNet-50 run on ImageNet, so it has no rank among these"]
    if not log.reached or log.run_seconds is None or log.status not in ("", "success"):
        said = log.status or "status not logged"
        last = NOT_LOGGED if log.top1 is None else f"{100 * log.top1:.2f} %"
        return [f"{log.path}: final top-1 {last}, {said}: it does not count, so it has no rank"]
    itself = table.same(log, found)
    others = [run for run in table.different(found)
              if run.reached and run.run_seconds is not None and run.target == log.target
              and run not in itself]  # fmt: skip
    if not others:
        return [f"{log.path}: no neighbour reached the same target, so it has no rank"]
    assert log.top1 is not None, "a run that reached its target has an accuracy"
    faster = sum(run.run_seconds < log.run_seconds for run in others if run.run_seconds is not None)
    better = sum(run.top1 > log.top1 for run in others if run.top1 is not None)
    return [
        f"{log.path}: among it and {len(others)} different runs that reached {100 * log.target:.1f} %:",
        f"  time   {log.run_seconds:,.1f} s, place {faster + 1} of {len(others) + 1}",
        f"  top-1  {100 * log.top1:.2f} %, place {better + 1} of {len(others) + 1}",
    ]


def write_csv(found: list[TableRun]) -> None:
    """One line per run, in the order of mini-batch and time; a hole is `not logged`."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(RUN_COLUMNS)
    last = float("inf")
    for run in sorted(found, key=lambda r: (r.global_batch or 0, last if r.run_seconds is None else r.run_seconds)):
        values = (run.round, run.submitter, run.system, run.file, run.division, run.global_batch, run.optimizer,
                  run.peak_rate, run.warmup_epochs, run.last_epoch, run.run_seconds, run.top1, run.status,
                  run.folder)  # fmt: skip
        writer.writerow(NOT_LOGGED if value in (None, "") else value for value in values)


def draw(found: list[TableRun], log: PublicLog | None, what: str, path: Path) -> None:
    """Curves on the left, times against mini-batch on the right. Raises `UserError` as `draw.save` does."""
    from reproduce.figures import mlperf as figures
    from reproduce.figures import plot  # here, so that the listing needs no matplotlib

    curves = table.curves()
    drawn = [figures.Curve(label(run), "public", [e.epoch for e in curves[run.key]],
                           [100 * e.top1 for e in curves[run.key]]) for run in found if run.key in curves]  # fmt: skip
    styles = figures.looks(drawn)
    points = [figures.Timed(run.global_batch, run.run_seconds, styles[label(run)])
              for run in found if run.reached and run.global_batch and run.run_seconds]  # fmt: skip
    if log is not None and log.evaluations:
        name, kind = f"{log.path.parent.name}/{log.path.name}", "measured" if log.dataset else "public"
        drawn.insert(0, figures.Curve(f"{kind}: {name}", kind, [e.epoch for e in log.evaluations],
                                      [100 * e.top1 for e in log.evaluations], chosen=True))  # fmt: skip
        if log.reached and log.global_batch and log.run_seconds:
            style = figures.looks(drawn)[drawn[0].label]
            points.append(figures.Timed(log.global_batch, log.run_seconds, style, name))
    figure, (left, right) = plot.plt.subplots(1, 2, figsize=(14, 6))
    figures.curves(left, drawn, sorted({100 * run.target for run in found}))
    left.set_title("top-1 against epoch")
    figures.times(right, points)
    figure.suptitle(f"public MLPerf runs of ResNet-50: {what}")
    figures.save(figure, path)


def label(run: TableRun) -> str:
    """Colour and legend entry are of a system in a round, whatever its mini-batch."""
    return f"{run.round} {run.submitter} {run.system}"


if __name__ == "__main__":
    sys.exit(main())
