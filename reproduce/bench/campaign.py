"""Every measurement that is open, in one command on a machine with a GPU: most valuable first, within a time limit.

    python -m reproduce.bench campaign [--minutes 28] [--out DIR] [--only STEP ...] [--cpu] [--list]

Each step is a process of its own and writes one file, DIR/cuda/STEP.json, beside it what it said, STEP.log. The same
command goes on where the last one stopped: what is measured is kept. Needs torch, torchvision and, for the peers, timm;
what else is missing is recorded as that. --cpu does the same steps in small on a CPU, in DIR/cpu.
"""

import argparse
import sys
from pathlib import Path

from reproduce.bench import process
from reproduce.bench.steps import plan
from reproduce.bench.steps.run import Campaign
from reproduce.bench.steps.step import Step
from reproduce.errors import UserError, command
from reproduce.locks import Lock
from reproduce.nearest import nearest
from reproduce.runner.machine import gpu_count
from reproduce.runner.options import check_output
from reproduce.supervise import Foreground, Stopped
from reproduce.words import Parser

FOLDER = process.FOLDER / "campaign"
MOST = 24 * 60  # minutes


def parse(argv) -> argparse.Namespace:
    parser = Parser(prog="python -m reproduce.bench campaign", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--minutes", type=float, default=28.0, help="stop after these; a step that would not fit is left open "
        "(default: 28)")  # fmt: skip
    add("--out", type=Path, default=FOLDER, metavar="DIR", help="default: results/bench/campaign")
    add("--only", action="append", metavar="STEP", help="this step only; may be repeated")
    add("--cpu", action="store_true", help="the same steps in small on a CPU: they test the campaign, not the machine")
    add("--list", action="store_true", help="show the steps with their seconds and what is open; run nothing")
    given = parser.parse_args(argv)
    if not 0 < given.minutes <= MOST:
        raise UserError(f"--minutes {given.minutes:g}: must be above 0 and at most {MOST:,}")
    return given


def chosen(steps: list[Step], only: list[str] | None) -> list[Step]:
    names = [one.name for one in steps]
    for name in only or ():
        if name not in names:
            raise UserError(f"--only {name}: no such step{nearest(name, names)} (--list names them)")
    return [one for one in steps if not only or one.name in only]


@command
def main(argv=None) -> int:
    given = parse(argv)
    device = "cpu" if given.cpu else "cuda"
    folder = given.out.absolute() / device  # those of a CPU and of a GPU never meet
    campaign = Campaign(chosen(plan.steps(device), given.only), folder, 60 * given.minutes, _say)
    if given.list:
        print(campaign.summary() + f"\n{sum(one.estimate for one in campaign.steps) / 60:.0f} minutes in all, expected")
        return 0
    if not given.cpu and not gpu_count():
        raise UserError("bench campaign: no NVIDIA GPU found: add --cpu to rehearse it in small on a CPU")
    check_output(folder)
    with Lock(folder / ".lock", "a campaign"), Foreground() as foreground:
        try:
            campaign.run(foreground)
        except Stopped as stopped:
            print(f"stopped by {stopped}: what was measured is kept; run the same command again", file=sys.stderr)
            return 128 + stopped.signum
    print(campaign.summary() + f"\nresults in {folder}")
    return 1 if campaign.failed() else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
