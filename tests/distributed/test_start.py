"""The same weights in every process without a broadcast, and the first rank that differs by name."""

import json
import socket
import subprocess
import sys

import pytest

from reproduce.engine.spawn import environment
from tests.helpers import ROOT

SCRIPT = """
import json, os, sys
import torch
sys.path.insert(0, {root!r})
from reproduce.engine.dist.comm import Comm
from reproduce.engine.model import build_model, weights_sha256
from reproduce.engine.dist.start import start_equal
from reproduce.errors import UserError
from reproduce.recipe import load as config
comm = Comm(torch.device("cpu"))
model = build_model(config.load({root!r} + "/paper_configs/quick/headline_b800_w20.toml"))
seeds = {seeds}
try:
    about = start_equal(model, seeds[comm.rank], comm, {how!r})
    said = [weights_sha256(model), about]
except UserError as error:
    said = [str(error), None]
print(json.dumps(said))
comm.close()
"""


def run(how: str, seeds: list[int]) -> list:
    script = SCRIPT.format(root=str(ROOT), seeds=seeds, how=how)
    with socket.socket() as reserved:  # bound until the end, as the launcher does it
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        envs = [environment(rank, len(seeds), reserved.getsockname()[1]) for rank in range(len(seeds))]
        command = [sys.executable, "-c", script]
        children = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for env in envs]
        return [json.loads(child.communicate(timeout=120)[0]) for child in children]


@pytest.mark.parametrize("how", ["same_seed", "broadcast"])
def test_every_process_starts_from_the_same_weights_and_the_time_is_told(how):
    found = run(how, [5, 5, 5])
    assert len({weights for weights, _ in found}) == 1
    for _, about in found:
        assert about["initialisation"] == how and about["seconds"] > 0 and about["check_seconds"] > 0


def test_a_broadcast_gives_every_process_the_weights_of_rank_0():
    (expected, _), *_ = run("same_seed", [5])
    assert [weights for weights, _ in run("broadcast", [5, 6, 7])] == [expected] * 3


def test_the_first_rank_that_differs_is_named_by_all():
    for message, _ in run("same_seed", [5, 5, 6, 7]):
        assert message.startswith("rank 2 does not hold the weights of rank 0")
