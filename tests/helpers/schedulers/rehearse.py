"""Rehearses a cluster on this machine: starts a real scheduler, runs run_all.sh in its environment, and stops it.

    python -m tests.helpers.schedulers.rehearse slurm --out results/rehearsal -- --cluster local --nodes 4
    python -m tests.helpers.schedulers.rehearse uge -- --only table1 --cluster my_cluster.toml --account group1

What follows "--" goes to `bash reproduce/run_all.sh --launcher SCHEDULER --wait`. Slurm has four nodes of one
processor; Grid Engine one host of four slots, rt_F among its resources. Nothing of the scheduler is left at the end.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from reproduce.errors import UserError, command
from tests.helpers.schedulers import gridengine, openmpi, slurm
from tests.helpers.schedulers.package import ROOT, python_first

ABOUT = __doc__.splitlines()[0]
USAGE = "python -m tests.helpers.schedulers.rehearse [--out OUT] {slurm,uge} [-- OPTIONS of run_all.sh]"
KNOWN = {"slurm": (slurm.slurm, slurm.WHY_NOT), "uge": (gridengine.gridengine, gridengine.WHY_NOT or openmpi.WHY_NOT)}


@command
def main(argv=None) -> int:
    parser = argparse.ArgumentParser(usage=USAGE, description=ABOUT)
    parser.add_argument("scheduler", choices=KNOWN)
    parser.add_argument("--out", type=Path, default=Path("results/rehearsal"), help="results folder")
    words = sys.argv[1:] if argv is None else argv
    ours = words.index("--") if "--" in words else len(words)
    args, options = parser.parse_args(words[:ours]), words[ours + 1 :]
    start, why_not = KNOWN[args.scheduler]
    if why_not:
        raise UserError(f"{args.scheduler} cannot be rehearsed here: {why_not}")
    run_all = ["bash", str(ROOT / "reproduce" / "run_all.sh"), "--launcher", args.scheduler, "--wait"]
    run_all += ["--out", str(args.out), *options]
    with start() as cluster:
        print(f"{args.scheduler} is up in {cluster.folder}", flush=True)
        return subprocess.run(run_all, env=python_first(cluster.env)).returncode


if __name__ == "__main__":
    sys.exit(main())
