"""Training steps in images/s: ours, plain PyTorch loops and public packages in turns, and a reference rate.

    python -m reproduce.bench step [--device cuda] [--network quick|resnet50|all] [--rounds 7]

Everything a step does is counted, the data apart, which is synthetic and in memory. Writes results/bench/step.json,
or step_cuda.json.
"""

import argparse
from pathlib import Path

from reproduce.bench import process
from reproduce.errors import UserError, command
from reproduce.runner.launch import ROOT, gpu_count
from reproduce.words import Parser

QUICK = ROOT / "paper_configs" / "quick" / "headline_b800_w20.toml"
PAPER = ROOT / "paper_configs" / "headline_b81920_g2048.toml"
SYNTHETIC = ['data.dataset="synthetic"', "schedule.peak_lr=0.1"]  # no recipe's rate is made for noise
# (workers, local batch) of ResNet-50: on a CPU small ones, on a GPU as many of the paper's workers as fill it
SIZES = {"cpu": [(1, 4), (2, 4)], "cuda": [(8, 40)]}
# side of the matrices whose product is the reference, and updates per turn: a GPU's host must be able to run ahead
MATRIX = {"cpu": 1024, "cuda": 8192}
UPDATES = {"cpu": {"quick": 2, "resnet50": 1}, "cuda": {"quick": 50, "resnet50": 20}}


def parse(argv, name: str, about: str, rounds: int) -> argparse.Namespace:
    """The options of a benchmark that is held in one process."""
    parser = Parser(prog=f"python -m reproduce.bench {name}", description=about.split("\n")[0])
    add = parser.add_argument
    add("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    add("--network", choices=("quick", "resnet50", "all"), default="all", help="default: all")
    add("--rounds", type=int, default=rounds, help="turns timed of each contender (default: %(default)s)")
    add("--threads", type=int, default=1, help="of a process, on a CPU (default: 1)")
    add("--out", type=Path, help=f"default: results/bench/{name}.json, or {name}_cuda.json")
    add("--no-peers", action="store_true", help="install no peer: those not found elsewhere are missing")
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


def contests(device: str, network: str) -> list[dict]:
    """What is asked of `timed/step.py`."""
    asked = []
    if network != "resnet50":
        asked.append({"network": "quick", "workers_per_pass": [1, 4, 10, 20], "ordinary": [160, 320, 800]} | quick())
    if network != "quick":
        asked += [{"network": "resnet50"} | resnet50(*size) for size in SIZES[device]]
    return [a | {"matrix": MATRIX[device], "updates": UPDATES[device][a["network"]]} for a in asked]


@command
def main(argv=None) -> int:
    given = parse(argv, "step", __doc__, rounds=7)
    request = {"device": given.device, "rounds": given.rounds, "contests": contests(given.device, given.network)}
    return process.run("step", request, given.threads, given.out, with_peers=not given.no_peers)
