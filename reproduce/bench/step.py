"""Training steps in images/s: ours, plain PyTorch loops and public packages in turns, and a reference rate.

    python -m reproduce.bench step [--device cuda] [--network quick|resnet50|all] [--rounds 7] [--visits 2]

Everything a step does is counted, the data apart, which is synthetic and in memory. On a GPU every contender has a
process of its own, as not all fit its memory at once, and is visited several times in turn. Writes
results/bench/step.json, or step_cuda.json.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from reproduce.bench import apart, contest, process
from reproduce.errors import UserError, command
from reproduce.paths import ROOT
from reproduce.runner.machine import gpu_count
from reproduce.words import Parser

QUICK = ROOT / "paper_configs" / "quick" / "headline_b800_w20.toml"
PAPER = ROOT / "paper_configs" / "headline_b81920_g2048.toml"
SYNTHETIC = ['data.dataset="synthetic"', "schedule.peak_lr=0.1"]  # no recipe's rate is made for noise
# (workers, local batch) of ResNet-50: on a CPU small ones, on a GPU as many of the paper's workers as fill it
SIZES = {"cpu": [(1, 4), (2, 4)], "cuda": [(8, 40)]}
# side of the matrices whose product is the reference, and updates per turn: a GPU's host must be able to run ahead
MATRIX = {"cpu": 1024, "cuda": 8192}
UPDATES = {"cpu": {"quick": 2, "resnet50": 1}, "cuda": {"quick": 50, "resnet50": 20}}


def parse(argv, name: str, about: str, rounds: int, more: Callable = lambda add: None) -> argparse.Namespace:
    """The options of a benchmark that is held in one process; `more` adds its own."""
    parser = Parser(prog=f"python -m reproduce.bench {name}", description=about.split("\n")[0])
    add = parser.add_argument
    add("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    add("--network", choices=("quick", "resnet50", "all"), default="all", help="default: all")
    add("--rounds", type=int, default=rounds, help="turns timed of each contender (default: %(default)s)")
    add("--threads", type=int, default=1, help="of a process, on a CPU (default: 1)")
    add("--out", type=Path, help=f"default: results/bench/{name}.json, or {name}_cuda.json")
    add("--no-peers", action="store_true", help="install no peer: those not found elsewhere are missing")
    more(add)
    given = parser.parse_args(argv)
    for option in ("rounds", "threads"):
        if getattr(given, option) < 1:
            raise UserError(f"--{option} {getattr(given, option)}: must be at least 1")
    if given.device == "cuda" and not gpu_count():
        raise UserError("--device cuda: no NVIDIA GPU found: use --device cpu, or a machine that has one")
    return given


def quick() -> dict:
    return {"config": str(QUICK), "overrides": SYNTHETIC}


def resnet50(workers: int, local_batch: int) -> dict:
    size = [f"batch.workers={workers}", f"batch.local_batch={local_batch}"]
    images = f"data.train_images={16 * workers * local_batch}"  # the paper's updates per epoch
    return {"config": str(PAPER), "overrides": [*SYNTHETIC, *size, images]}


def contests(device: str, network: str, sizes: Sequence[tuple[int, int]] = ()) -> list[dict]:
    """What is asked of `timed/step.py`; `sizes` of ResNet-50 others than the device's."""
    asked = []
    if network != "resnet50":
        asked.append({"network": "quick", "workers_per_pass": [1, 4, 10, 20], "ordinary": [160, 320, 800]} | quick())
    if network != "quick":
        asked += [{"network": "resnet50"} | resnet50(*size) for size in sizes or SIZES[device]]
    return [a | {"matrix": MATRIX[device], "updates": UPDATES[device][a["network"]]} for a in asked]


def own_options(add: Callable) -> None:
    add("--size", action="append", default=[], metavar="WORKERSxIMAGES", help="of ResNet-50, such as 12x40; may be "
        "repeated")  # fmt: skip
    add("--image-size", type=int, metavar="PIXELS", help="of ResNet-50's images (default: the recipe's)")
    add("--precision", choices=contest.PRECISIONS, help="only what is computed in this one")
    add("--updates", type=int, help="in a turn (default: by the device)")
    add("--visits", type=int, help="start a process for each contender, so often in turn; 0: one process for all "
        "(default: 2 on a GPU, else 0)")  # fmt: skip


def size_of(text: str) -> tuple[int, int]:
    found = re.fullmatch("([1-9][0-9]{0,3})x([1-9][0-9]{0,3})", text)
    if not found:
        raise UserError(f"--size {text}: must be WORKERSxIMAGES, such as 12x40")
    return int(found[1]), int(found[2])


def asked_for(given: argparse.Namespace) -> list[dict]:
    more: dict = {"precisions": [given.precision]} if given.precision else {}
    if given.updates is not None:
        more["updates"] = given.updates
    found = [one | more for one in contests(given.device, given.network, [size_of(text) for text in given.size])]
    pixels = [f"data.image_size={given.image_size}"] if given.image_size is not None else []
    return [one | {"overrides": one["overrides"] + pixels} if one["network"] == "resnet50" else one for one in found]


@command
def main(argv=None) -> int:
    given = parse(argv, "step", __doc__, rounds=7, more=own_options)
    for option in ("visits", "updates"):
        if (getattr(given, option) or 0) < 0:
            raise UserError(f"--{option} {getattr(given, option)}: must not be negative")
    visits = (2 if given.device == "cuda" else 0) if given.visits is None else given.visits
    request = {"device": given.device, "rounds": given.rounds, "contests": asked_for(given)}
    if visits:
        return apart.run("step", request, given.threads, visits, given.out, not given.no_peers)
    return process.run("step", request, given.threads, given.out, with_peers=not given.no_peers)
