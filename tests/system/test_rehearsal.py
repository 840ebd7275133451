"""A rehearsal of tier node: generated images in ImageNet's lay-out go all the way, and everything says so."""

import re
import sys

import pytest

from reproduce import run_all
from reproduce.engine.data import folders, generated, stage
from reproduce.errors import ConfigError
from reproduce.events import checkpoint_folder, log_path, read_log
from reproduce.judge import claims
from reproduce.recipe import load as configs
from reproduce.recipe.runs import FULL_RECIPE
from reproduce.report import publish
from reproduce.results.measured import collect
from reproduce.runner import training

HEADLINE = FULL_RECIPE[0]


def made(folder, *options):
    small = ["--classes", "6", "--images", "20", "--val-images", "2", "--workers", "2", *options]
    return generated.main(["--out", str(folder), *small])


@pytest.fixture
def rehearsal(tmp_path, monkeypatch):
    """A folder with images and recipes, which take the place of the package's own."""
    assert made(tmp_path) == 0
    monkeypatch.setenv("REPRODUCE_RECIPES", str(tmp_path / "recipes"))
    monkeypatch.setattr(training, "SETUP", ["bash", "-c", f"echo {sys.executable}"])
    return tmp_path


def test_it_goes_through_tier_node_and_log_and_page_say_what_it_is(rehearsal, capfd):
    results = rehearsal / "results"
    call = ["--tier", "node", "--device", "cpu", "--processes", "2", "--only", "table1", "--out", str(results)]
    assert run_all.main([*call, "--data", str(rehearsal)]) == 0, capfd.readouterr().err
    log = read_log(log_path(results, HEADLINE, 1))
    assert log.complete and log.config["recipe"]["data"]["dataset"] == "generated" and log.environment["devices"] == 2
    assert log.config["title"].startswith("REHEARSAL on generated images") and len(log.accuracies) == 2
    assert list(checkpoint_folder(results, HEADLINE, 1).glob("*.ckpt"))
    page = (results / "index.html").read_text()
    assert "a REHEARSAL on generated images, NOT ImageNet" in page and "Tier node: </strong>ImageNet" not in page
    table = (results / "table1.md").read_text()
    assert re.search(r"REHEARSAL.*tier node; generated images, NOT ImageNet", table)
    assert {one.evidence for one in claims.judged({"node": results})} == {"missing"}
    refused = publish.objections_to(collect(results, HEADLINE), "node", results / "published")
    assert any("is not published" in line for line in refused)


def test_the_weak_scaling_is_planned_on_it_as_on_imagenet(rehearsal, capsys):
    call = ["--tier", "node", "--device", "cpu", "--processes", "2", "--only", "figure2", "--dry-run"]
    assert run_all.main([*call, "--data", str(rehearsal), "--out", str(rehearsal / "r")]) == 0
    trains = [line for line in capsys.readouterr().out.splitlines() if "--seed 1" in line]
    assert len(trains) == 6 and all(f"{rehearsal}/recipes/speed_" in line for line in trains)
    assert sum(f"--data {rehearsal}/generated" in line for line in trains) == 3, "the others are synthetic"


def test_it_is_staged_as_imagenet_is(rehearsal):
    stage.main(["--from", str(rehearsal / "generated"), "--to", str(rehearsal / "local")])
    data = configs.load_run(HEADLINE).data
    found = [folders.index(rehearsal / name, data) for name in ("generated", "local")]
    assert found[0].train.names == found[1].train.names and len(found[0].classes) == 6
    assert re.fullmatch(r"train/n\d{8}/n\d{8}_\d+\.JPEG", found[0].train.names[0])
    assert found[0].val.names[0].endswith("/ILSVRC2012_val_00000001.JPEG")


def test_the_same_seed_gives_the_same_files(tmp_path):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        made(tmp_path / name, "--seed", seed)
    contents = [{path.relative_to(tmp_path / name): path.read_bytes()
                 for path in (tmp_path / name / "generated").rglob("*.JPEG")} for name in "abc"]  # fmt: skip
    assert contents[0] == contents[1] != contents[2] and len(set(contents[0].values())) == 6 * 22
    kept = tmp_path / "a" / "generated" / "kept"
    kept.touch()
    made(tmp_path / "a")
    assert kept.exists(), "what is there already is not made again"


@pytest.mark.parametrize("option", ["--classes", "--images", "--val-images", "--workers"])
def test_nothing_to_generate_is_one_line(option, tmp_path, capsys):
    assert made(tmp_path / "d", option, "0") == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and f"{option} 0: must be at least" in err and not (tmp_path / "d").exists()


def test_recipes_of_no_folder_are_one_line(monkeypatch):
    monkeypatch.setenv("REPRODUCE_RECIPES", "/nowhere")
    with pytest.raises(ConfigError, match="REPRODUCE_RECIPES = '/nowhere': no such folder"):
        configs.load_run(HEADLINE)
