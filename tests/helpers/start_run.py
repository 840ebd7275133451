"""For test_start.py: one rank, which starts from the weights of its seed or is refused, and prints which as JSON.

python -m tests.helpers.start_run HOW '[SEED OF RANK 0, SEED OF RANK 1, ...]'
"""

import json
import sys

import torch

from reproduce.engine.dist.comm import Comm
from reproduce.engine.dist.place import find
from reproduce.engine.dist.start import start_equal
from reproduce.engine.model import build_model, weights_sha256
from reproduce.errors import UserError
from reproduce.recipe import load as config
from tests.helpers import ROOT


def main(how: str, seeds: str) -> None:
    comm = Comm(torch.device("cpu"), place=find())
    model = build_model(config.load(ROOT / "paper_configs/quick/headline_b800_w20.toml"))
    try:
        about = start_equal(model, json.loads(seeds)[comm.rank], comm, how)
        said = [weights_sha256(model), about]
    except UserError as error:
        said = [str(error), None]
    print(json.dumps(said))
    comm.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
