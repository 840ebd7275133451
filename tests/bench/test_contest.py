"""Contests: how their results are shown, kept, read again, and published."""

import json

import pytest

from reproduce.bench import contest, process
from reproduce.bench.contest import Result, Row, Table
from reproduce.errors import LogError
from reproduce.report import speed
from tests.helpers import ROOT

STEP = Table(
    "Step", "equal work", "images/s", "ours",
    (Row("ours", "ours", (90.0, 120.0, 100.0)), Row("slow", "peer", (20.0,)), Row("fast", "peer", (80.0,), "SGD"),
     Row("gone", "peer", (), "not installed"), Row("ceiling", "floor", (400.0,), "arithmetic")),
)  # fmt: skip
LARS = Table("LARS", "161 tensors", "ms", "ours", (Row("ours", "ours", (10.0,)), Row("timm", "peer", (25.0,))))
ABOUT = {"hardware": "a machine", "torch": "2.14.1", "minutes": 1.0}


def test_more_images_and_fewer_milliseconds_are_faster():
    assert STEP.speed("slow") == 5 and STEP.speed("ceiling") == 0.25 and STEP.speed("gone") is None
    assert LARS.speed("timm") == 2.5 and LARS.speed("ours", of="timm") == 0.4


def test_a_peer_that_is_missing_stays_a_visible_hole_with_its_reason():
    cells = STEP.cells()
    assert cells[0] == ["ours", "ours", "100 images/s", "90 to 120", "3", "", ""]
    assert cells[2][2:6] == ["80.0 images/s", "80.0 to 80.0", "1", "1.25x"]
    assert cells[3] == ["gone", "peer", "missing", "", "0", "", "not installed"]


def test_a_result_is_read_as_it_was_written(tmp_path):
    path, result = tmp_path / "step.json", Result("step", ABOUT, (STEP, LARS))
    path.write_text(result.to_json())
    assert contest.read(path) == result
    assert json.loads(path.read_text())["kind"] == "measured"
    assert contest.read(tmp_path / "none.json") is None


@pytest.mark.parametrize("damage", [
    lambda f: f.update(kind="modelled"), lambda f: f.pop("tables"), lambda f: f["tables"][0].update(unit="furlongs"),
    lambda f: f["tables"][0].update(first="nobody"), lambda f: f["tables"][0]["rows"][1].update(name="ours"),
    lambda f: f["tables"][0]["rows"][0].update(values=[1.0, -1.0]),
    lambda f: f["tables"][0]["rows"][0].update(role="x"),
])  # fmt: skip
def test_what_is_not_a_result_is_one_line(tmp_path, damage):
    facts = json.loads(Result("step", ABOUT, (STEP,)).to_json())
    damage(facts)
    path = tmp_path / "step.json"
    path.write_text(json.dumps(facts))
    with pytest.raises(LogError, match="not a benchmark's result"):
        contest.read(path)


def test_the_published_block_holds_ours_against_every_peer_and_the_nearest_reference(tmp_path):
    (tmp_path / "step.json").write_text(Result("step", ABOUT, (STEP,)).to_json())
    (tmp_path / "lars.json").write_text(Result("lars", ABOUT, (LARS,)).to_json())
    lines = speed.speed_block(tmp_path).splitlines()[2:]
    assert lines[0] == ("| Step | equal work | ours: 100 images/s | slow 5.00x; fast (SGD) 1.25x; gone missing | none "
                        "| 25 % | a machine, torch 2.14.1 |")  # fmt: skip
    assert "timm 2.50x | none | none | a machine" in lines[2]
    holes = [f"| `python -m reproduce.bench {name}` | not measured |" for name in (
        "step --device cuda", "lars --device cuda", "data", "startup", "startup --device cuda")]  # fmt: skip
    for line, hole in zip([lines[1], *lines[3:]], holes, strict=True):
        assert line.startswith(hole)


def test_parts_of_a_whole_are_not_held_against_each_other():
    parts = Table("Parts", "one update", "ms", None, (Row("forward", "ours", (3.0,)), Row("backward", "ours", (6.0,))))
    contest.check(parts)
    assert [cells[5] for cells in parts.cells()] == ["", ""]


# ---- equal work: the published files --------------------------------------------------------------------------------

PUBLISHED = ROOT / "figures" / "measured" / "bench"


def published(name, title):
    return next(t for t in contest.read(PUBLISHED / f"{name}.json").tables if t.title.startswith(title))


def test_equal_work_decodes_as_often_and_computes_as_precisely():
    loader, step = published("data", "the quick tier"), published("step", "Training step, quick")
    decoding = loader.equal("torchvision, PIL images")
    assert decoding == "ours, torchvision, images decoded anew each time"
    assert loader.speed("torchvision, PIL images", decoding) == pytest.approx(7.1, abs=0.05)  # 40 with kept pixels
    loop = "plain loop, one worker after another"
    assert step.equal(loop) == "ours, fp32" and step.speed(loop, "ours, fp32") == pytest.approx(1.37, abs=0.005)
    assert step.equal("plain loop without workers") is None  # it does less


def test_the_block_leads_with_equal_work_and_names_the_rest():
    lines = speed.speed_block(PUBLISHED).splitlines()
    loader = next(line for line in lines if line.startswith("| the quick tier's images"))
    step = next(line for line in lines if line.startswith("| Training step, quick network"))
    for line, equal, rest in ((loader, "7.11x", "40.16x"), (step, "1.37x", "1.75x")):
        cells = line.split(" | ")
        assert equal in cells[3] and rest not in cells[3] and rest in cells[4]
    assert "ours, bf16 against plain loop without workers" in step.split(" | ")[4]


def test_the_loader_is_as_fast_as_any_peer_on_photographs():
    photographs = published("data", "decode")
    peers = [row.name for row in photographs.rows if row.role == "peer"]
    assert len(peers) == 3 and min(map(photographs.speed, peers)) >= 1


def test_a_rate_above_the_reference_is_not_called_a_floor():
    lines = speed.speed_block(PUBLISHED)
    assert "| 110 % |" in lines and "reference rate" in lines and "floor" not in lines
    assert {cells[1] for cells in published("lars", "LARS").cells()} == {"ours", "peer", "reference"}


def test_the_result_of_a_gpu_stands_beside_that_of_a_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "FOLDER", tmp_path)
    for device, hardware in (("cpu", "a processor"), ("cuda", "a GPU")):
        found = json.loads(Result("lars", ABOUT | {"hardware": hardware}, (LARS,)).to_json())
        monkeypatch.setattr(process, "hold", lambda *_, found=found: found)
        assert process.run("lars", {"device": device}, threads=1) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lars.json", "lars_cuda.json"]
    block = speed.speed_block(tmp_path)
    assert "a processor" in block and "a GPU" in block
