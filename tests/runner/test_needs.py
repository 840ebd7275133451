"""What --list says of hours and memory, and which kind of number each is."""

import json

import pytest

from reproduce import presets, run_all
from reproduce.bench.contest import Result, Row, Table
from reproduce.recipe.load import load
from reproduce.runner import needs
from tests.helpers import ROOT

H100 = "1 x NVIDIA H100 80GB HBM3, one process each"
KEPT = json.loads((ROOT / "tests/golden/gpu_updates.json").read_text())


def campaign(folder, hours: float) -> None:
    tables = [Table(needs.HOURS, "w", "h", None, (Row("one device", "ours", (hours,)),)),
              Table(needs.MEMORY, "w", "MB", None, (Row("peak", "ours", (24_500.0,)),))]  # fmt: skip
    path = folder / "bench" / "cuda_nvidia_h100" / "full_update.json"
    path.parent.mkdir(parents=True)
    path.write_text(Result("full_update", {"hardware": H100}, tuple(tables)).to_json())


def test_the_titles_are_those_that_the_step_writes():
    text = (ROOT / "reproduce/bench/timed/full_update.py").read_text()
    assert f'"{needs.HOURS}"' in text and f'"{needs.MEMORY}"' in text


def test_hours_are_measured_where_a_campaign_is_published_and_a_hole_elsewhere(tmp_path):
    assert "node: hours: not measured: python -m reproduce.bench campaign does it" in needs.lines("node", tmp_path)
    campaign(tmp_path, 12.0)
    (line,) = [line for line in needs.lines("node", tmp_path) if "measured by a campaign" in line]
    assert f"12.0 hours on {H100}" in line and "about 1.5 on 8 such GPUs; 24.5 GB of its memory, measured" in line
    assert not any("measured by" in line for line in needs.lines("paper", tmp_path)), "these hours are a node's"


def test_damaged_results_are_passed_over(tmp_path):
    campaign(tmp_path, 12.0)
    (tmp_path / "bench" / "cuda_nvidia_h100" / "full_update.json").write_text('{"tables": [{}]}')
    assert any("not measured" in line for line in needs.lines("node", tmp_path))


def test_modelled_hours_say_so_and_on_what(monkeypatch):
    node, paper = needs.lines("node"), needs.lines("paper")
    assert sum("GPUs of a dgx" in line and line.endswith(", modelled") for line in node) == 2
    assert any("headline takes" in line and "2,048 GPUs of abci, modelled" in line for line in paper)
    monkeypatch.setattr(needs.importlib, "import_module", lambda name: (_ for _ in ()).throw(ImportError("no numpy")))
    assert "node: hours: not modelled: no numpy" in needs.lines("node")


@pytest.mark.parametrize(("scenario", "images"), [("paper, bf16", 40), ("node", 480)])
def test_memory_is_that_of_the_update_on_a_gpu_that_is_not_there(scenario, images):
    counted = needs.STATE + presets.BYTES_PER_IMAGE["bf16"] * images
    assert counted == pytest.approx(KEPT[scenario]["peak"], rel=0.03)


def test_the_list_ends_with_them(tmp_path, capsys):
    assert run_all.main(["--list", "--tier", "paper", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    room = load(ROOT / "paper_configs/headline_b81920_g2048.toml").local_batch(0)
    assert any(f"counted for {room} images a pass and not measured" in line for line in lines)
    assert needs.lines("quick") == []
