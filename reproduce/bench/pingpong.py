"""Latency and bandwidth between two hosts on this machine, by messages there and back.

    python -m reproduce.bench pingpong [--mbit 400,1000,unlimited] [--rounds 20] [--out FILE]

For the cluster model: what its network constants are here, measured apart from the training steps it is compared with.
Latency is the time of the small messages, bandwidth that of the largest beyond it: between them the link's bucket of
tokens (see `netns.tbf`) lets a part pass at once. Writes pingpong.json. Needs Linux, root and iproute2.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from reproduce.bench.comm import QUIET, rate_of
from reproduce.bench.process import write
from reproduce.errors import UserError, command, wrote
from reproduce.paths import ROOT
from reproduce.results.pingpong import FILE, SMALL, as_link
from reproduce.runner.options import check_output
from reproduce.supervise import Stopped
from reproduce.trials.hosts import Hosts, failure
from reproduce.words import Parser

SIZES = (4, SMALL, 65_536, 1_048_576, 4_194_304, 16_777_216, 33_554_432)  # bytes
MAX_SECONDS = 1800


def measure(mbit: float | None, rounds: int) -> dict:
    """What `timed/pingpong.py` measured between two hosts. Raises `UserError` if that failed."""
    with tempfile.TemporaryDirectory() as folder, Hosts(2, mbit) as hosts:
        out = Path(folder) / "measured.json"
        request = json.dumps({"sizes": SIZES, "rounds": rounds, "out": str(out)})
        why = failure(hosts.torchrun("reproduce.bench.timed.pingpong", [request], env=QUIET, timeout=MAX_SECONDS))
        if why or not out.exists():
            raise UserError(f"{hosts}: the measurement failed: {why or 'without a word'}")
        return json.loads(out.read_text()) | {"network": str(hosts)}


def parse(argv) -> argparse.Namespace:
    parser = Parser(prog="python -m reproduce.bench pingpong", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--mbit", default="400,1000,unlimited", help="rates of the links in Mbit/s (default: 400,1000,unlimited)")
    add("--rounds", type=int, default=20, help="messages of each size (default: 20)")
    add("--out", type=Path, default=ROOT / "results" / "quick" / FILE, help="default: %(default)s")
    given = parser.parse_args(argv)
    given.mbit = [rate_of(text) for text in given.mbit.split(",")]
    if given.rounds < 1:
        raise UserError(f"--rounds {given.rounds}: must be at least 1")
    return given


@command
def main(argv=None) -> int:
    given = parse(argv)
    out = given.out.absolute()
    check_output(out.parent)
    began, rates, about = time.monotonic(), [], {}
    try:
        for mbit in given.mbit:
            found = measure(mbit, given.rounds)
            about = found["about"]
            rates.append({"mbit": mbit, "network": found["network"], "seconds": found["seconds"]})
            link = as_link(list(SIZES), rates[-1])
            print(f"{link.rate}: {1e6 * link.latency:,.0f} us, {link.bandwidth / 1e6:,.1f} MB/s", flush=True)
    except Stopped as stopped:
        print(f"stopped by {stopped}: nothing was written; run the same command again", file=sys.stderr)
        return 128 + stopped.signum
    facts = {"benchmark": "pingpong", "kind": "measured", "cores": os.cpu_count(), "rounds": given.rounds, **about,
             "minutes": round((time.monotonic() - began) / 60, 1), "sizes": SIZES, "rates": rates}  # fmt: skip
    write(out, json.dumps(facts, indent=1) + "\n")
    wrote(out)
    return 0
