"""How a contest's process begins and ends: a request comes as JSON, the result goes to the file it names."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from reproduce.bench.contest import Result, Table
from reproduce.engine.environment import machine
from reproduce.errors import UserError, command


class AbsentError(Exception):
    """What is to be measured is not installed here; that is a result."""


def serve(name: str, measure: Callable[[dict, torch.device], list[Table]]) -> None:
    """The ``main`` of a module: measures what the request asks for, and ends the process with its exit code.

    The request's "device" is "cpu" (the default) or "cuda"; OMP_NUM_THREADS says how many threads.
    """

    @command
    def main(argv=None) -> None:
        request = json.loads((sys.argv[1:] if argv is None else argv)[0])
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
        torch.set_flush_denormal(True)  # gradients scaled again and again end as denormals, 50x slower on CPUs
        device = torch.device("cuda", 0) if request.get("device") == "cuda" else torch.device("cpu")
        if device.type == "cuda" and not torch.cuda.is_available():
            raise UserError("--device cuda: PyTorch finds no GPU here: leave it out, or use a machine that has one")
        about, tables = machine(device) | {"cores": os.cpu_count()}, []
        try:
            tables = measure(request, device)
        except AbsentError as error:
            about |= {"outcome": "not installed", "last_lines": [str(error)]}
        Path(request["out"]).write_text(Result(name, about, tuple(tables)).to_json())

    sys.exit(main())
