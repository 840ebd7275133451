"""`bench lars`, on the quick tier's network instead of ResNet-50."""

import sys
import types

import pytest
import torch

from reproduce.bench import lars as command
from reproduce.bench import peers
from reproduce.bench.timed import lars
from reproduce.paths import ROOT

QUICK = ROOT / "paper_configs" / "quick" / "headline_b800_w20.toml"


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path_factory):
    """The smallest network: each tensor of a compiled step takes its time."""
    name = '{ value = "resnet8", source = "chosen_here", ref = "small" }'
    path = tmp_path_factory.mktemp("config") / "small.toml"
    run = 'name = "small"\ntitle = "small"\ntier = "quick"'
    path.write_text(f'extends = "{QUICK}"\n[run]\n{run}\n[model]\nname = {name}\n')
    monkeypatch.setattr(lars, "CONFIG", path)


def test_all_take_part_and_a_peer_that_cannot_is_a_hole(monkeypatch):
    module = types.ModuleType("torch_optimizer")
    module.LARS = torch.optim.SGD  # any optimizer does
    monkeypatch.setitem(sys.modules, "torch_optimizer", module)
    for name in ("timm", "pytorch_optimizer"):
        monkeypatch.setitem(sys.modules, name, None)
    (table,) = lars.measure({"rounds": 2}, torch.device("cpu"))
    rows = {row.name: row for row in table.rows}
    assert table.first == "ours, native" and rows["floor"].role == "floor"
    for name in ("ours, native", "ours, compiled", "ours, foreach", "torch-optimizer LARS", "floor"):
        assert len(rows[name].values) == 2 and min(rows[name].values) > 0, name
    assert rows["timm Lars"].values == () and "timm" in rows["timm Lars"].note


def test_every_contender_steps_its_own_weights_with_the_same_gradients():
    contenders = [lars.Contender(torch.device("cpu")).ours(name) for name in ("native", "foreach")]
    before = [p.detach().clone() for p in contenders[0].model.parameters()]
    gradients = [torch.randn_like(p) for p in before]
    for contender in contenders:
        contender.time(gradients)
    for was, a, b in zip(before, *(c.model.parameters() for c in contenders)):
        assert not torch.equal(was, a)
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_bad_numbers_are_one_line(capsys):
    assert command.main(["--rounds", "0"]) == 2
    assert "--threads and --rounds must be at least 1" in capsys.readouterr().err


def test_peers_that_cannot_be_installed_are_said_and_leave_no_mark(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(peers, "ROOT", tmp_path)
    monkeypatch.setattr(peers, "FOLDER", tmp_path / ".peers")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert peers.folder() is None
    assert "the peers could not be installed" in capsys.readouterr().err
    assert not peers.installed()


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for the GPU that is not there")
def test_a_failed_measurement_is_one_line_and_leaves_the_old_result(tmp_path, capfd):
    out = tmp_path / "lars.json"
    out.write_text("old")
    assert command.main(["--no-peers", "--device", "cuda", "--rounds", "1", "--out", str(out)]) == 2
    said = capfd.readouterr().err
    assert "error: --device cuda: PyTorch finds no GPU here" in said and "Traceback" not in said
    assert "the measurement failed with exit code 2" in said and out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["lars.json"]
