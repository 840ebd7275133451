"""Starts the processes of a run on this machine: torchrun's own agent, without its traceback when a user errs.

    python -m reproduce.engine.spawn 2 paper_configs/quick/headline_b800_w20.toml --seed 1 --data data/fashion_mnist

All arguments after the number of processes go to `reproduce.engine.train`. Plain torchrun, or any scheduler that sets
RANK, WORLD_SIZE, LOCAL_RANK and MASTER_ADDR, starts the same module just as well.
"""

import logging
import sys
import uuid

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def main(argv: list[str]) -> int:
    """Run and return the exit code: 0, or that of the first process that failed."""
    if not argv or not argv[0].isdigit() or int(argv[0]) < 1:
        print("error: usage: python -m reproduce.engine.spawn PROCESSES CONFIG [OPTIONS of train]", file=sys.stderr)
        return 2
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the failing process has said why
    launch = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=int(argv[0]), run_id=uuid.uuid4().hex, max_restarts=0,
        rdzv_backend="c10d", rdzv_endpoint="localhost:0",
    )  # fmt: skip
    try:
        elastic_launch(launch, sys.executable)("-u", "-m", "reproduce.engine.train", *argv[1:])
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 1
    except SignalException as signalled:  # the agent has already ended the processes
        return 128 + signalled.sigval
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
