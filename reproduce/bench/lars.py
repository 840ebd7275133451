"""The optimizer's step over the 161 tensors of ResNet-50: our back-ends against public packages and the memory.

    python -m reproduce.bench lars [--threads 2] [--rounds 21] [--device cuda]

The reference rate is 28 bytes a parameter (norms: read w and g; update: read w, g and v, write w and v) at the rate at
which this device scales a buffer in place, measured in the same rounds. It is no bound: what a step finds in the cache
need not come from memory. Writes results/bench/lars.json, or lars_cuda.json.
"""

import os
from pathlib import Path

from reproduce.bench import process
from reproduce.errors import UserError, command
from reproduce.words import Parser


@command
def main(argv=None) -> int:
    parser = Parser(prog="python -m reproduce.bench lars", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--threads", type=int, default=os.cpu_count() or 1, help="default: all cores")
    add("--rounds", type=int, default=21, help="steps timed of each (default: 21)")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--no-peers", action="store_true", help="install nothing; only peers found anyway take part")
    add("--out", type=Path, help="default: results/bench/lars.json, or lars_cuda.json")
    given = parser.parse_args(argv)
    if given.threads < 1 or given.rounds < 1:
        raise UserError("--threads and --rounds must be at least 1")
    request = {"rounds": given.rounds, "device": given.device}
    return process.run("lars", request, given.threads, given.out, not given.no_peers)
