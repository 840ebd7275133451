"""The paper's numbers and the public curves carried in: statuses kept, files whole, bad files refused in one line."""

import csv
import hashlib
import json

import pytest

from reproduce.errors import ConfigError, DataError
from reproduce.results import paper, public
from tests.helpers import ROOT

GOLDEN = ROOT / "tests" / "golden"


def statuses(known):
    """Every status in the file, by where it stands."""
    found = {f"values.{name}": value.status for name, value in known.values.items()}
    for row in known.table1:
        found[f"table1.{row.work}"] = row.status
        found |= {f"table1.{row.work}.{cell}": status for cell, status in row.cell_status.items()}
    for index, point in enumerate(known.figure3):
        found[f"figure3.{index}"] = [point.mini_batch_status, point.top1_status]
    return found | {f"claims.{claim.name}": known.claim_status(claim) for claim in known.claims}


def test_no_status_was_raised():
    """Changing one is a claim about having read the paper: it must show in this golden file as well."""
    assert statuses(paper.load()) == json.loads((GOLDEN / "paper_statuses.json").read_text())


def test_the_papers_numbers():
    known = {name: value.value for name, value in paper.load().values.items()}
    assert known["training_time"] == 74.7 and known["top1"] == 75.08 and known["throughput"] == 1.73e6
    assert known["images_per_gpu"] == known["mini_batch"] / known["gpus"]
    assert known["updates_per_epoch"] == -(-1281167 // known["mini_batch"])
    assert known["updates"] == known["updates_per_epoch"] * known["epochs"]
    assert known["images_per_second_per_gpu"] == pytest.approx(known["throughput"] / known["gpus"], abs=0.5)


def test_table1_has_its_eight_rows():
    rows = paper.load().table1
    assert [row.top1 for row in rows] == [75.3, 76.3, 76.1, 74.9, 75.8, 75.2, 75.29, 75.08]
    assert all(row.status == "recalled" and row.check for row in rows)


def test_a_derived_value_names_the_recalled_ones_it_rests_on():
    known = paper.load()
    assert known.status_text("updates") == "derived from recalled epochs"
    assert known.status_text("images_per_gpu") == "derived"
    assert known.status_text("scalability") == "recalled"


def test_claims_in_words_say_how_well_they_are_known():
    for claim in paper.load().claims:
        if "recalled" in paper.load().claim_status(claim):
            assert "recalled" in claim.text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('status = "recalled"', 'status = "remembered"', "'remembered' is no status"),
        ('mini_batch = "secondary"', 'mini_batch = "printed"', "'printed' is no status"),
        ("place =", "plcae =", "unknown key 'plcae': did you mean 'place'?"),
        ('unit = "s"\n', "", "values.training_time: unit is missing"),
        ("value = 74.7", 'value = "74.7"', "wrong type"),
        ("value = 74.7", "value = true", "wrong type"),
        ("value = 74.7", "value = -74.7", "must be a number above 0"),
        ("tolerance = 1.5", "tolerance = nan", "must be a number above 0"),
        ("tolerance = 1.5", "tolerance = 1e308", "must be a number above 0"),
        ("tolerance = 1.5", "tolerance = 75.0", "values.training_time.tolerance: must be at most the value"),
        ("top1 = 75.3", "top1 = 753.0", "top1 = 753: must be at most 100 %"),
        ("tolerance = 1.5\n", "", "values.training_time.tolerance"),
        ('inputs = ["mini_batch", "gpus"]', 'inputs = ["updates", "gpus"]', "stand above it"),
        ('inputs = ["mini_batch"]\n', "", "given for a derived value"),
        ('tiers = ["node", "paper"]', 'tiers = ["laptop"]', "hold only quick, node, paper"),
        ('evidence = "panel"', 'evidence = "hearsay"', "be one of seconds"),
        ('value = "scalability"\n', "", "give either value or status"),
        ('value = "top1"\n', 'status = "abstract"\n', "be given for evidence 'top1'"),
        ("[about]", "[abuot]", "unknown key 'abuot'"),
        ("[[figure3]]", "[figure3]", "must be a list of tables"),
        ("[about]", "about", "not readable as TOML"),
    ],
)
def test_a_broken_paper_file_is_refused_in_one_line(tmp_path, old, new, message):
    text = paper.PATH.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "paper.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        paper.load(path)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("path", "rows", "digest"),
    [
        ("figures/public/mlperf_v06_eval_accuracy.csv", 115, "4e2d8a61c912e2a2"),
        ("figures/public/mlperf_v06_epoch_times.csv", 450, "a02d3db639b2da86"),
        ("figures/public/mlperf_v06_runs.csv", 5, "131c4c89e030b9ab"),
        ("tests/golden/mlperf_v06_lr_wd_schedule.csv", 1340, "f5d8286991a6f288"),
    ],
)
def test_carried_files_are_whole(path, rows, digest):
    content = (ROOT / path).read_bytes()
    assert len(list(csv.DictReader(content.decode().splitlines()))) == rows
    assert hashlib.sha256(content).hexdigest()[:16] == digest


def test_public_runs_are_the_published_ones():
    runs = public.runs()
    assert [run.top1[-1] for run in runs] == pytest.approx([75.978, 75.928, 75.948, 75.940, 76.106])
    for run in runs:
        assert run.epochs == tuple(range(2, 91, 4)) and len(run.epoch_stops) == 90
        assert list(run.seconds) == sorted(run.seconds) and run.warmup_epochs == 36


def test_attribution_stands_beside_the_data():
    text = (public.FOLDER / "README.md").read_text(encoding="utf-8")
    assert "mlcommons/training_results_v0.6" in text and "Apache License 2.0" in text
    assert "f312518c2d6107eec983750eed23950f1f0c8a0e" in text
    assert all(name in text for name in public.FILES)


def test_a_lost_public_file_is_one_line(tmp_path):
    with pytest.raises(DataError, match="restore it from git"):
        public.runs(tmp_path)
