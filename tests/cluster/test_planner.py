"""The planner's question: epochs by the public runs, the cheapest in time, the soonest in the budget."""

import re
import statistics

import pytest

from reproduce.cluster import epochs, files, interval, planner, systems
from reproduce.cluster.__main__ import main
from reproduce.cluster.planner import Planner
from reproduce.cluster.step import Work
from reproduce.cluster.uncertainty import drawn, draws
from reproduce.errors import ConfigError

MINE = """extends = "dgx-h100.toml"
[cluster]
name = "mine"
title = "ours"
gpu = "H100"
cpu = "c"
adapter = "a"
stack = "H100 NGC 24.04"
most_gpus = 64
[network]
adapters = { value = 2, unit = "count", status = "datasheet", source = "ours" }
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- epochs ---------------------------------------------------------------------------------------------------------


def test_epochs_are_those_of_the_runs_at_that_mini_batch():
    found = epochs.needed(57_344)
    runs = [float(row["last_epoch"]) for row in systems.read(systems.RUNS)
            if row["global_batch_size"] == "57344" and row["status"] == "success"]  # fmt: skip
    assert found.runs == len(runs) and found.median == statistics.median(runs) and found.batches == (57_344, 57_344)
    assert found.low <= found.median <= found.high


def test_between_mini_batches_the_next_larger_ones_answer():
    found = epochs.needed(20_480 - 1)
    assert found.batches[0] == 20_480 and found.runs >= epochs.FEWEST
    assert epochs.needed(1_664).median < epochs.needed(32_768).median < epochs.needed(65_536).median


def test_beyond_the_public_runs_there_is_no_answer():
    with pytest.raises(ConfigError, match="mini-batch 81,920: no public run of the closed division reached 75.9 %"):
        epochs.needed(81_920)


def test_open_division_and_runs_that_missed_do_not_count():
    counted = {size for size, _ in epochs.reached()}
    assert 86_016 not in counted and min(count for _, count in epochs.reached()) > 25


# ---- plans ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asked():
    return Planner(files.load("dgx-h100"))


def test_the_cheapest_in_time_and_the_soonest_in_the_budget_agree(asked):
    best = asked.in_time(120)
    assert best.seconds <= 120 and best.low < best.seconds < best.high
    fitting = [one for one in asked.plans if one.seconds <= 115]
    assert best.node_hours <= min(one.node_hours for one in fitting) * 1.05
    back = asked.within(best.node_hours * 1.001)
    assert back.seconds <= best.seconds * 1.02 and back.node_hours <= best.node_hours * 1.001


def test_surely_in_time_costs_no_less(asked):
    best, sure = asked.in_time(120), asked.in_time(120, surely=True)
    assert sure.high <= 120 and sure.node_hours >= best.node_hours


def test_what_cannot_be_is_none(asked):
    assert asked.in_time(1) is None and asked.within(0.001) is None
    assert asked.soonest().seconds < asked.cheapest().seconds


def test_a_plan_is_the_answer_to_its_own_question(asked):
    best = asked.in_time(300)
    cluster = files.load("dgx-h100")
    found = drawn(best.job, best.gpus, draws(cluster))
    assert best.rate == pytest.approx(found.rate.median)
    low, high = interval.chosen().around(found.rate, interval.distance(best.job, best.gpus, cluster))
    assert best.high >= best.seconds * found.rate.median / low * 0.97 > best.seconds > best.low
    assert high > found.rate.median


def test_nothing_is_planned_beyond_what_fits(asked):
    assert max(one.job.local_batch for one in asked.plans) <= 400
    assert max(one.gpus * one.job.local_batch for one in asked.plans) <= epochs.largest()
    nodes = {one.gpus for one in asked.plans if one.gpus > 8}
    assert all(gpus % 8 == 0 for gpus in nodes) and max(nodes) <= files.load("dgx-h100").about.most_gpus


# ---- at the command line --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["abci", "dgx-h100", "mine"])
@pytest.mark.parametrize("question", [("--target-seconds", "900"), ("--budget-node-hours", "30")])
def test_the_question_is_answered_with_intervals(name, question, mine, capsys):
    assert main(["--cluster", name, *question]) == 0
    text = capsys.readouterr().out
    assert re.search(r"\| [\d,]+ \([\d,]+ nodes?\) \| \d+ \| [\d,]+ \| \S+ \| [\d.]+ \([\d.]+ to [\d.]+\) \|", text)
    assert "public runs that reached it at mini-batch" in text and "90 % interval" in text
    printed = re.search(r"the step in detail: python -m reproduce.cluster (.*)", text)[1].split()
    assert main(printed) == 0 and "images/s, steady" in capsys.readouterr().out


def test_a_question_that_cannot_be_met_names_the_best_there_is(capsys):
    assert main(["--cluster", "dgx-h100", "--target-seconds", "1"]) == 0
    assert "more than is modelled; the soonest is" in capsys.readouterr().out
    assert main(["--cluster", "dgx-h100", "--budget-node-hours", "0.001"]) == 0
    assert "too little; the cheapest is" in capsys.readouterr().out


@pytest.mark.parametrize("args, said", [
    (["--target-seconds", "0"], "--target-seconds 0: must be a number above 0"),
    (["--target-seconds", "nan"], "--target-seconds: 'nan': must be a number of at most 10^15"),
    (["--target-seconds", "9", "--budget-node-hours", "9"], "one question at a time"),
    (["sweep", "--target-seconds", "9"], "a question for 'answer', not for 'sweep'"),
    (["--measured", "9"], "a question for 'calibrate', not for 'answer'"),
    (["--target-seconds", "9", "--trace", "x.json"], "leave out --target-seconds"),
])  # fmt: skip
def test_questions_that_make_no_sense_are_one_line(args, said, capsys):
    assert main(args) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


# ---- a cluster of one's own -----------------------------------------------------------------------------------------


def answer(capsys, *args):
    assert main([*args]) == 0
    text = capsys.readouterr().out
    low, high = re.search(r"90 % interval +([\d,]+) +to ([\d,]+)", text).groups()
    return text, int(high.replace(",", "")) / int(low.replace(",", ""))


def test_a_changed_constant_is_not_calibrated_and_widens(mine, capsys):
    args = ("--gpus", "64", "--local-batch", "128")
    (mine / "same.toml").write_text(MINE.split("[network]")[0].replace('"mine"', '"same"'))
    same, before = answer(capsys, "--cluster", "same", *args)
    assert ", calibrated on H100 NGC 24.04" in same
    text, after = answer(capsys, "--cluster", "mine", *args)
    assert "not calibrated: 1 constant is new since H100 NGC 24.04 was: network.adapters = 2 (was 8)" in text
    assert after > 1.05 * before


def test_a_node_of_ones_own_is_what_the_model_then_says(mine, capsys):
    args = ("--gpus", "8", "--local-batch", "256")
    _, before = answer(capsys, "--cluster", "mine", *args)
    assert main(["calibrate", "--cluster", "mine", "--measured", "43210", "--local-batch", "256"]) == 0
    said = capsys.readouterr().out
    printed = re.search(r"now ask: python -m reproduce.cluster (.*)", said)[1].split()
    text, after = answer(capsys, *printed)
    assert "a node as its owner measured it: 43,210 images/s" in text and after < before
    assert re.search(r"images/s, steady +43,21[01] +\(43,2", text)


def test_a_rate_no_gpu_has_is_refused_and_nothing_is_written(mine, capsys):
    assert main(["calibrate", "--cluster", "mine", "--measured", "5e9", "--local-batch", "256"]) == 2
    assert "5,000,000,000 images/s of 8 GPUs with 256 images each: more than" in capsys.readouterr().err
    assert [path.name for path in mine.iterdir()] == ["mine.toml"]


def test_a_measurement_is_checked(mine):
    (mine / "odd.toml").write_text(MINE.replace('"mine"', '"odd"') + "[measured]\nimages_per_second = -1\n")
    with pytest.raises(ConfigError, match=r"\[measured\] needs images_per_second, gpus, local_batch, each a number"):
        files.load("odd")


def test_a_printed_command_works_as_printed(mine, capsys):
    assert main(["sensitivity", "--cluster", "mine", "--gpus", "64"]) == 0
    printed = re.search(r"`python -m reproduce.cluster (.*?)`", capsys.readouterr().out)[1]
    assert "--cluster mine.toml" in printed and main(printed.split()) == 0


def test_a_year_no_public_system_tells_of_is_said(mine, capsys):
    (mine / "late.toml").write_text(MINE.replace('"mine"', '"late"').replace("most_gpus", "year = 2030\nmost_gpus"))
    text, _ = answer(capsys, "--cluster", "late", "--gpus", "64", "--local-batch", "128")
    assert "no public system of many nodes tells what a framework of 2030 takes there" in text
    assert Work(1).rule == "cubic:3" and planner.BETWEEN == 4
