"""The start-up benchmark: fresh processes, whose stages add up to the whole."""

import importlib.util

import pytest
import torch

from reproduce.bench import __main__ as bench
from reproduce.bench import contest, process, startup, step
from reproduce.bench.timed import startup as timed
from reproduce.bench.timed.first import STAGES
from reproduce.errors import UserError
from reproduce.recipe import load as configs

CPU = torch.device("cpu")
SMALL = [*step.SYNTHETIC, "batch.workers=2", "batch.local_batch=4", "data.train_images=16"]


def test_a_small_contest_has_ours_by_stages_and_a_peer():
    request = {"rounds": 1, "contests": [{"config": str(step.QUICK), "overrides": SMALL}]}
    whole, stages = contest.parse(process.hold("startup", request, 1, with_peers=False)).tables
    assert [row.name for row in whole.rows] == ["ours", "torchvision's blocks"] and whole.unit == "s"
    assert all(len(row.values) == 1 for row in whole.rows), "the warm-up round was counted"
    assert all(stage in whole.rows[1].note for stage in STAGES)
    assert [row.name for row in stages.rows] == ["ours", *STAGES] and stages.rows[0] == whole.rows[0]
    parts = [sum(values) for values in zip(*(row.values for row in stages.rows[1:]))]
    assert parts == pytest.approx(whole.rows[0].values)


def test_resnet50_starts_against_the_peers_that_are_installed(monkeypatch):
    asked = step.resnet50(*step.SIZES["cpu"][0])
    found = timed.starters(asked, configs.load(asked["config"], asked["overrides"]), CPU)
    assert list(found) == ["ours", "torchvision", "timm"]
    assert (found["timm"] is None) == (importlib.util.find_spec("timm") is None)
    monkeypatch.setitem(timed.PEERS, "resnet8", {"nobody": (["nowhere.at.all"], "resnet8", "sgd")})
    monkeypatch.setattr(timed.Starter, "__call__", lambda starter: starter.stages.append([1.0] * len(STAGES)) or 4.0)
    (whole, _) = timed.contest({"config": str(step.QUICK), "overrides": SMALL}, 2, CPU)
    assert whole.row("nobody") == contest.Row("nobody", "peer", (), "not installed")


def test_a_process_that_fails_ends_the_contest(capfd):
    starter = timed.Starter({"who": "nobody"})
    with pytest.raises(UserError, match="a process ended with exit code 1"):
        starter()
    assert "KeyError: 'nobody'" in capfd.readouterr().err and not starter.stages


@pytest.mark.parametrize(("network", "count"), [("quick", 1), ("resnet50", 1), ("all", 2)])
def test_the_command_asks_for_what_was_given(network, count, monkeypatch):
    asked = []
    monkeypatch.setattr(process, "run", lambda *a, **k: asked.append((a, k)) or 0)
    assert bench.main(["startup", "--network", network]) == 0
    ((name, request, threads, out), options) = asked[0]
    assert (name, threads, out, options) == ("startup", 1, None, {"with_peers": True})
    assert request["rounds"] == 5 and len(request["contests"]) == count
    for one in request["contests"]:
        assert configs.load(one["config"], one["overrides"]).data.dataset == "synthetic"
    assert startup.__doc__.startswith("Seconds from the start of a process")
