"""Publishing results: what is refused, what is merged, what is written, and that a second call changes nothing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reproduce.artefact import Artefact
from reproduce.artefacts import artefact
from reproduce.bench import contest
from reproduce.bench.steps import step
from reproduce.bench.steps.step import Ended
from reproduce.errors import UserError
from reproduce.events import read_log
from reproduce.paths import BENCH
from reproduce.recipe import variants
from reproduce.recipe.variants import REGIMES, at_rate, with_changes
from reproduce.report import claims, publish
from reproduce.report import published as published_list
from reproduce.report.staging import staging
from reproduce.results import rates
from reproduce.results.rates import Rate
from tests.helpers import ROOT
from tests.helpers.logs import write_log

HEADLINE, BASELINE, PAPER = "quick/headline_b800_w20", "quick/baseline_b128_w2", "headline_b81920_g2048"
REVISION = "0123456789ab"


class Place:
    """Results to publish, and figures and a document to publish them to, in a folder of their own."""

    def __init__(self, folder: Path):
        self.results, self.figures, self.document = folder / "results", folder / "figures", folder / "REPRODUCE.md"
        for part in ("measured", "modelled"):
            (self.figures / part).mkdir(parents=True)
        shutil.copyfile(ROOT / "REPRODUCE.md", self.document)
        shutil.copyfile(ROOT / "README.md", folder / "README.md")
        self.bench = folder / "bench" / "README.md"
        self.bench.parent.mkdir()
        shutil.copyfile(BENCH, self.bench)

    def log(self, run, seed=1, revision=REVISION, folder=None, **more) -> Path:
        path = write_log(folder or self.results, run, seed=seed, **more)
        said = "null" if revision is None else f'"{revision}"'
        path.write_text(path.read_text().replace('"revision": null', f'"revision": {said}'))
        return path

    def publish(self, tier="quick", dry_run=False, only=()) -> list[str]:
        documents = (self.document, self.document.with_name("README.md"))
        return publish.publish(tier, self.results, self.figures, documents, dry_run, only)

    def snapshot(self) -> dict:
        everything = [*self.figures.rglob("*"), self.document]
        return {path: path.read_bytes() for path in everything if path.is_file()}

    def refused(self, *reasons, tier="quick"):
        before = self.snapshot()
        with pytest.raises(UserError) as error:
            self.publish(tier)
        assert all(reason in str(error.value) for reason in reasons), str(error.value)
        assert self.snapshot() == before and not list(self.figures.glob(".publish*"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Both runs of Table 1 with seed 1, and Table 1 as the only artefact: the others only take longer."""
    monkeypatch.setattr(publish, "ARTEFACTS", (artefact("table1"),))
    made = Place(tmp_path)
    made.log(HEADLINE, top1=0.91)
    made.log(BASELINE, top1=0.90)
    return made


def published(place, run, seed, tier="quick"):
    return place.figures / "measured" / tier / "logs" / Path(run).name / f"result_{seed}.txt"


def test_logs_renderings_and_blocks_are_published_and_a_second_call_changes_nothing(place):
    lines = place.publish()
    assert "added figures/measured/quick/logs/headline_b800_w20/result_1.txt" in lines
    assert "added figures/measured/quick/table1.json" in lines and "renewed REPRODUCE.md" in lines
    assert any("headline recipe 91.00 %, small-batch baseline 90.00 %" in line for line in lines)
    assert "headline recipe 91.00 %, small-batch baseline 90.00 %" in place.document.read_text()
    assert published(place, HEADLINE, 1).read_bytes() == (
        place.results / "logs" / "headline_b800_w20" / "result_1.txt"
    ).read_bytes()
    after = place.snapshot()
    assert place.publish() == [] and place.snapshot() == after


def test_the_document_is_fresh_by_the_check_that_guards_it(place):
    place.publish()
    text = place.document.read_text(encoding="utf-8")
    assert claims.renew(text, place.figures / "measured") == text


def test_what_a_killed_call_left_is_removed_and_what_a_living_one_has_is_not(place, tmp_path):
    (place.figures / ".publish-dead" / "measured").mkdir(parents=True)
    with staging(place.figures) as living:
        (living / "mine").touch()
        assert not (place.figures / ".publish-dead").exists()
        place.publish()
        assert (living / "mine").exists()
        (place.figures / ".publish-dead").mkdir()
        folder = campaign(tmp_path / "campaign", H100, 1.0)
        publish.publish_campaign(folder, place.figures, (place.document,))
        assert [one.name for one in place.figures.glob(".publish-*")] == [living.name]
    assert not list(place.figures.glob(".publish-*"))


def test_a_dry_run_says_the_same_and_writes_nothing(place):
    before = place.snapshot()
    said = place.publish(dry_run=True)
    assert place.snapshot() == before and place.publish() == said


def test_seeds_are_merged_and_drawn_together(place):
    for run in (HEADLINE, BASELINE):
        for seed in (1, 2):
            place.log(run, seed, top1=0.80, folder=place.figures / "measured" / "quick")
    kept = published(place, HEADLINE, 2).read_bytes()
    lines = place.publish()
    assert "renewed figures/measured/quick/logs/headline_b800_w20/result_1.txt" in lines
    assert published(place, HEADLINE, 2).read_bytes() == kept
    assert read_log(published(place, HEADLINE, 1)).top1 == pytest.approx(0.91)
    rows = json.loads((place.figures / "measured/quick/table1.json").read_text())["rows"]
    assert rows[-2]["seeds"] == [1, 2] and rows[-2]["top1_percent"]["mean"] == pytest.approx(85.5)


def test_two_recipes_are_never_mixed(place):
    old = place.figures / "measured" / "quick"
    place.log(HEADLINE, 1, digest="0" * 12, folder=old)
    place.log(HEADLINE, 2, digest="0" * 12, folder=old)
    place.refused("result_2.txt, published before: stale log: of recipe 000000000000")
    place.log(HEADLINE, 2)  # now both are replaced
    assert len([line for line in place.publish() if "headline_b800_w20/result" in line]) == 2


def test_nothing_else_is_copied_and_nothing_deleted(place):
    (place.results / "notes.txt").write_text("mine")
    (place.results / "logs" / "other").mkdir()
    (place.results / "logs" / "headline_b800_w20" / "result_1.incomplete").write_text("x")
    kept = place.figures / "measured" / "quick" / "tuning.csv"
    kept.parent.mkdir()
    kept.write_text("kept")
    place.publish()
    names = {path.relative_to(place.figures).as_posix() for path in place.figures.rglob("*") if path.is_file()}
    logs = {f"measured/quick/logs/{Path(run).name}/result_1.txt" for run in (HEADLINE, BASELINE)}
    drawn = {f"measured/quick/table1.{kind}" for kind in ("md", "csv", "tex", "json")}
    drawn |= {f"measured/quick/table1_rows.{kind}" for kind in ("csv", "tex")}
    assert names == logs | drawn | {"measured/SHA256SUMS", "measured/quick/tuning.csv"} and kept.read_text() == "kept"


def test_variants_of_a_run_and_their_rates_are_published_and_checked(place, monkeypatch):
    monkeypatch.setattr(publish, "ARTEFACTS", (artefact("ablation"),))
    run = REGIMES["scarce"]
    rates.write(place.results, [Rate(f"scarce/{name}", rate, 81 - rate) for name in ("reference", "lars_off")
                                for rate in (1.0, 2.0, 4.0)])  # fmt: skip
    for name, top1 in (("reference", 0.81), ("lars_off", 0.79)):
        one = next(one for one in variants.variants(with_changes(run)) if one.name == name)
        changes = (*one.changes, *at_rate(with_changes(run, one.changes), 1.0))
        for seed in (1, 2, 3):
            place.log(run, seed, folder=rates.folder_of(place.results, "scarce", name), changes=changes,
                      top1=top1 + seed / 1000)  # fmt: skip
    lines = place.publish()
    log = "measured/quick/ablation/scarce/lars_off/logs/scarce_b1600_w40/result_2.txt"
    assert f"added figures/{log}" in lines and "added figures/measured/quick/rates.csv" in lines
    assert "added figures/measured/quick/ablation.md" in lines
    sums = (place.figures / "measured/SHA256SUMS").read_text()
    assert log.removeprefix("measured/") in sums and "quick/rates.csv" in sums
    assert place.publish() == [], "a second call changes nothing"
    path = place.figures / log
    path.write_text(path.read_text().replace('"value": 0.792', '"value": 1.792'))
    assert [line for line in published_list.damaged(place.figures / "measured") if "lars_off" in line]
    place.log(run, 4, revision=None, folder=rates.folder_of(place.results, "scarce", "reference"),
              changes=at_rate(with_changes(run), 1.0))  # fmt: skip
    place.refused("reference/logs/scarce_b1600_w40/result_4.txt: does not say of which revision it is")


def test_one_artefact_is_published_without_the_runs_of_the_others(place, monkeypatch):
    monkeypatch.setattr(publish, "ARTEFACTS", (artefact("table1"), artefact("figure3")))
    place.refused("logs/panel_lars_b800_w20: no log")
    lines = place.publish(only=["table1"])
    written = [line for line in lines if "|" not in line]  # a document's new rows have bars
    assert any("table1.md" in line for line in written) and not any("figure3" in line for line in written)
    assert published(place, HEADLINE, 1).exists()


@pytest.mark.parametrize(("revision", "reason"), [
    (None, "does not say of which revision it is"), (f"{REVISION}-dirty", "of a changed source tree"),
])  # fmt: skip
def test_an_unknown_or_changed_revision_is_refused(place, revision, reason):
    place.log(BASELINE, 2, revision=revision)
    place.refused(f"logs/baseline_b128_w2/result_2.txt: {reason}")


def test_incomplete_results_are_refused_with_all_reasons(place):
    shutil.rmtree(place.results / "logs" / "baseline_b128_w2")
    place.log(HEADLINE, 2, stop="aborted")
    place.log(HEADLINE, 3, digest="0" * 12)
    place.refused("logs/baseline_b128_w2: no log: bash reproduce/run_all.sh --tier quick makes it",
                  "result_2.txt: aborted log", "result_3.txt: stale log")  # fmt: skip


@pytest.mark.parametrize(("tier", "devices", "right"), [("node", 2048, "paper"), ("paper", 8, "node")])
def test_a_run_scaled_for_another_tier_is_refused(place, tier, devices, right):
    place.log(PAPER, devices=devices)
    place.refused(f"it belongs to --tier {right}", tier=tier)
    assert "renewed REPRODUCE.md" in place.publish(right)
    assert published(place, PAPER, 1, right).exists()


def test_quick_results_are_no_node_results(place):
    place.refused("logs/headline_b81920_g2048: no log", tier="node")


def test_a_benchmark_is_checked_and_copied(place, monkeypatch):
    piece = Artefact("table1", "t", artefact("table1").runs, benchmark="comm")
    monkeypatch.setattr(publish, "ARTEFACTS", (piece,))
    path = place.results / "bench" / "comm.json"
    path.parent.mkdir()
    facts = json.loads((ROOT / "figures/measured/quick/bench/comm.json").read_text())
    path.write_text(json.dumps(facts | {"revision": f"{REVISION}-dirty"}))
    place.refused("bench/comm.json: of a changed source tree")
    path.write_text(json.dumps(facts | {"kind": "modelled"}))
    place.refused("bench/comm.json: not readable as a benchmark: not a measurement")
    path.write_text(json.dumps(facts))
    assert "added figures/measured/quick/bench/comm.json" in place.publish()


H100 = "1 x NVIDIA H100 80GB HBM3, one process each"


def campaign(folder: Path, hardware: str, rate: float, revision: str = REVISION) -> Path:
    """A campaign's results: LARS measured, a step without room, one that failed."""
    about = {"hardware": hardware, "torch": "2.14.1", "revision": revision}
    rows = (contest.Row("ours", "ours", (rate,)), contest.Row("timm Lars", "peer", (20 * rate,)))
    measured = contest.Result("lars", about, (contest.Table("LARS step", "w", "ms", "ours", rows),))
    nothing = contest.Result("", about, ())
    ended = {"lars": Ended("measured", measured), "full_update": Ended("out of memory", nothing, lines=("no room",)),
             "bubble": Ended("failed", nothing, lines=("why",))}  # fmt: skip
    for name, what in ended.items():
        step.write(folder / f"{name}.json", name, what)
    return folder


def test_campaigns_of_a_cpu_and_of_gpus_are_published_beside_each_other(place, tmp_path):
    documents = (place.document, place.document.with_name("README.md"), place.bench)
    folders = {"cpu": "AMD EPYC, 1 process x 2 thread(s)", "h100": H100, "v100": H100.replace("H100", "V100")}
    for rate, (name, hardware) in enumerate(folders.items(), 1):
        found = campaign(tmp_path / "campaign" / name, hardware, float(rate))
        publish.publish_campaign(found, place.figures, documents)
        assert publish.publish_campaign(found, place.figures, documents) == [], "a second call changes nothing"
    bench = place.figures / "measured" / "bench"
    names = ["cpu", "cuda_nvidia_h100_80gb_hbm3", "cuda_nvidia_v100_80gb_hbm3"]
    assert sorted(path.name for path in bench.iterdir()) == names
    assert sorted(path.name for path in (bench / names[1]).iterdir()) == ["full_update.json", "lars.json"]
    text = place.bench.read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| `lars` |")]
    assert "| ours: 1.00 ms | ours: 2.00 ms; ours: 3.00 ms |" in line
    assert all(hardware in line for hardware in folders.values())
    (line,) = [line for line in text.splitlines() if line.startswith("| `full_update` |")]
    assert "| out of memory | out of memory; out of memory |" in line
    (line,) = [line for line in text.splitlines() if line.startswith("| `bubble` |")]
    assert "| not measured | not measured | none |" in line, "what failed is no result"
    assert f"20.00x | none | none | {H100}, torch 2.14.1 |" in text, "LARS of a GPU stands among the contests"
    assert published_list.departures(place.figures / "measured") == []


def test_a_campaign_of_two_devices_or_of_a_changed_tree_is_refused(place, tmp_path):
    mixed = campaign(tmp_path / "campaign", H100, 1.0)
    about = {"hardware": "AMD EPYC, 1 process x 1 thread(s)", "torch": "2", "revision": REVISION}
    step.write(mixed / "device.json", "device", Ended("measured", contest.Result("device", about, ())))
    changed = campaign(tmp_path / "changed", H100, 1.0, f"{REVISION}-dirty")
    before = place.snapshot()
    for folder, reason in [(mixed, "different devices"), (changed, "of a changed source tree"),
                           (tmp_path / "none", "holds no finished step")]:  # fmt: skip
        with pytest.raises(UserError, match=reason) as refused:
            publish.publish_campaign(folder, place.figures, ())
        assert not any("\n" in line for line in refused.value.lines), "a line for each reason"
    assert place.snapshot() == before and not list(place.figures.glob(".publish*"))


def test_figures_without_measurements_lie_beside_the_models(place, monkeypatch):
    monkeypatch.setattr(publish, "ARTEFACTS", (artefact("table1"), artefact("figure1")))
    lines = place.publish()
    assert {f"added figures/modelled/figure1.{kind}" for kind in ("json", "pdf", "png", "svg")} <= set(lines)
    place.log(PAPER, devices=8)
    assert not [line for line in place.publish("node") if "modelled" in line]  # the same figure, of another tier
    path = place.figures / "modelled" / "figure1.json"
    path.write_text(json.dumps({"series": [{"kind": "measured"}]}))
    assert place.publish() == []  # what holds measurements is not replaced by what holds none


def test_nothing_is_written_where_the_document_is_broken(place):
    place.document.write_text("no markers")
    place.refused("the markers of block 'claims' are missing")


def test_the_command_refuses_in_words(tmp_path):
    command = [sys.executable, "-m", "reproduce.report.publish", "--tier", "paper", "--results", tmp_path, "--dry-run"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "not published as tier paper" in done.stderr and "logs/mlperf06_b86016_g2048: no log" in done.stderr
