"""`python -m reproduce.report.check`: exit codes, and what it says of a run, on the published regression runs."""

import re
from pathlib import Path

import pytest

from reproduce.events import read_log
from reproduce.judge import check, stored
from reproduce.judge.bands import Interval
from reproduce.judge.causes import CAUSES, DECAY, END, PEAK, START, likely, phase
from reproduce.judge.runs import Finding
from tests.helpers.logs import write_log

NAME = "regression_b160_w4"
REGRESSION = stored.PUBLISHED / "quick/logs" / NAME
RUNS = sorted(REGRESSION.glob("result_*.txt"))


def changed(tmp_path: Path, change, log: Path = RUNS[-1]) -> Path:
    """A results folder with one published log, its text changed."""
    path = tmp_path / "logs" / NAME / log.name
    path.parent.mkdir(parents=True)
    path.write_text(change(log.read_text()))
    return tmp_path


def with_loss(epoch: int, plus: float):
    def change(text: str) -> str:
        pattern = rf'("key": "epoch_stop".*"epoch_num": {epoch},.*"train_loss": )([\d.]+)'
        return re.sub(pattern, lambda found: f"{found[1]}{float(found[2]) + plus}", text)

    return change


def says(capsys, *arguments) -> tuple[int, str]:
    code = check.main([str(argument) for argument in arguments])
    return code, capsys.readouterr().out


def test_there_are_stored_curves_of_at_least_five_seeds(capsys):
    one = stored.references()[read_log(RUNS[0]).config["hash"], "cpu"]
    assert len(one.runs) == len(RUNS) >= 5
    code, out = says(capsys, "--list")
    assert code == 0
    assert f"{NAME}  recipe {one.facts.recipe}  device cpu  n = {len(RUNS)}  top-1 and train loss" in out


def test_each_published_run_is_within_the_band_of_the_others(capsys):
    code, out = says(capsys, REGRESSION)
    assert code == 0 and out.count(f": reproduced: as one more run beside the {len(RUNS) - 1} of {NAME}") == len(RUNS)
    assert out.endswith(f"{len(RUNS)} run(s): {len(RUNS)} compared, 0 outside\n")


def test_a_run_outside_exits_1_with_epoch_value_band_and_likely_causes(tmp_path, capsys):
    code, out = says(capsys, changed(tmp_path, with_loss(4, 0.5)))
    assert code == 1
    assert re.search(r"result_7.txt: outside: \d test\(s\) failed\n", out)
    assert re.search(r"train loss at epoch 4: 1\.\d+, expected 1\.\d+ to 1\.\d+; outside at 1 of 6 epochs \(b", out)
    assert "look at: who takes a trust ratio (batch norm and biases must not)" in out
    assert out.endswith("1 run(s): 1 compared, 1 outside\n")


def test_runs_that_are_judged_together_share_the_level_of_one(tmp_path, capsys):
    """Else a call that compares ten good runs would fail ten times as often as one that compares one."""
    place = changed(tmp_path, with_loss(4, 0.3))
    assert says(capsys, place)[0] == 1
    code, out = says(capsys, place, REGRESSION)
    assert code == 0 and out.endswith(f"{len(RUNS) + 1} run(s): {len(RUNS) + 1} compared, 0 outside\n")
    assert says(capsys, place, REGRESSION, "--level", "0.005")[0] == 1
    write_log(tmp_path / "no reference", run="batch_b49152_g2048")  # is no part of them
    assert says(capsys, place, tmp_path / "no reference")[0] == 1


def test_the_same_seed_must_begin_in_the_same_way(tmp_path, capsys):
    """By a fifth of the spread between seeds: 0.0009 here, of which rounding takes 0.00015."""
    assert says(capsys, changed(tmp_path / "rounded", with_loss(1, 0.0002)))[0] == 0
    code, out = says(capsys, changed(tmp_path / "other", with_loss(1, 0.0015)))
    assert code == 1 and re.search(r"train loss at epoch 1: 2.29\d*, expected 2.\d+ to 2.\d+ \(same seed\)", out)
    assert "look at: the momentum convention" in out
    def of_seed_70(text: str) -> str:
        return with_loss(1, 0.0015)(text).replace('"key": "seed", "value": 7', '"key": "seed", "value": 70')

    code, out = says(capsys, changed(tmp_path / "seed", of_seed_70))
    assert code == 1 and "outside: its curves are those of the stored run of seed 7: that run under seed 70" in out


def test_a_file_can_be_named_and_the_level_chosen(tmp_path, capsys):
    place = changed(tmp_path, with_loss(4, 0.12)) / f"logs/{NAME}/result_7.txt"
    assert says(capsys, place, "--level", "1e-9")[0] == 0
    assert says(capsys, place, "--level", "0.9")[0] == 1


def test_a_run_without_stored_curves_is_no_success(tmp_path, capsys):
    write_log(tmp_path, run="batch_b49152_g2048")
    code, out = says(capsys, tmp_path)
    assert code == check.EXIT_NOTHING and "missing: no stored curves for batch_b49152_g2048, recipe " in out
    assert "1 run(s): 0 compared, 0 outside, 1 with nothing to compare with: NOTHING was compared" in out
    code, out = says(capsys, tmp_path, REGRESSION)  # one of them is not compared, and the summary says so
    assert code == 0 and out.endswith(f"{len(RUNS)} compared, 0 outside, 1 with nothing to compare with\n")
    assert says(capsys, tmp_path, "--strict")[0] == 1
    assert says(capsys, REGRESSION, "--strict")[0] == 0


NOT_HELD = {
    "not comparable: no stored curves for .*: only on cpu, which rounds otherwise": (
        '"device": "cpu"', '"device": "cuda"'),
    "missing: incomplete log: its recipe is not the one of its hash 0123456789ab: it was changed afterwards": (
        f'"hash": "{read_log(RUNS[0]).config["hash"]}"', '"hash": "0123456789ab"'),
    "missing: incomplete log: ends at reproduce_result, before run_stop": ('"key": "run_stop"', '"key": "run_st'),
    "missing: aborted log: loss is nan": ('"status": "success"', '"status": "aborted", "reason": "loss is nan"'),
    "missing: there is no train loss for epoch 3": ('"epoch_num": 3, "images": 6400, "updates": 40, "train_loss"',
                                                    '"epoch_num": 3, "images": 6400, "updates": 40, "loss"'),
}  # fmt: skip


@pytest.mark.parametrize("verdict", NOT_HELD)
def test_what_cannot_be_held_against_a_band_says_why(tmp_path, capsys, verdict):
    code, out = says(capsys, changed(tmp_path, lambda text: text.replace(*NOT_HELD[verdict])))
    damaged = "incomplete" in verdict or "aborted" in verdict
    assert code == (1 if damaged else check.EXIT_NOTHING) and re.search(verdict, out), out
    assert ("1 damaged or not ended: NOTHING was compared" in out) == damaged


def test_what_a_log_says_cannot_act_on_the_terminal(tmp_path, capsys):
    place = changed(tmp_path, lambda text: text.replace('"device": "cpu"', '"device": "cpu\\u001b[2J"'))
    out = says(capsys, place)[1]
    assert "\x1b" not in out and "cpu\\x1b[2J: only on cpu" in out


def test_bad_input_is_one_line_and_exit_2(tmp_path, capsys):
    nowhere = tmp_path / "nowhere"
    for place, words in {nowhere: "no such file or folder", tmp_path: "holds no logs/NAME/result_SEED"}.items():
        assert check.main([str(place)]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"error: {place}: {words}") and err.count("\n") == 1
    assert check.main([str(REGRESSION), "--published", str(nowhere)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {nowhere}: no folder of stored logs")
    for arguments in ([], [""], [str(tmp_path), "--level", "0"], [str(tmp_path), "--level", "1e-320"],
                      ["--list", "--published", ""]):  # fmt: skip
        assert check.main(arguments) == 2


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08\x00", b"\x00" * 5000, RUNS[-1].read_bytes()[:9000]])
def test_a_damaged_log_is_no_success(tmp_path, capsys, content):
    path = tmp_path / "logs" / NAME / "result_7.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    code, out = says(capsys, tmp_path)
    assert code == 1 and "1 run(s): 0 compared, 0 outside, 1 damaged or not ended" in out
    assert says(capsys, tmp_path, REGRESSION)[0] == 1


def test_phases_of_a_run():
    at = {1: START, 9: START, 10: PEAK, 52: PEAK, 53: DECAY, 80: DECAY, 82: END, 90: END}
    for epoch, expected in at.items():
        assert phase(Finding("band", "top-1", epoch, 0.0, Interval(1, 2)), 90, 36.0) == expected, epoch
    assert phase(Finding("shape", "unrest", 90, 0.0, Interval(1, 2)), 90, 36.0) == PEAK


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.seen)
def test_every_cause_can_be_named(cause):
    epochs = {START: 1, PEAK: 30, DECAY: 70, END: 90, None: 90}
    one = Finding(cause.tests[0], cause.quantity, epochs[cause.phase], 3.0, Interval(1, 2), lies=cause.side)
    assert cause in likely([one], 90, 36.0)
    assert len(likely([one] * 9, 90, 36.0)) <= 4


def test_a_likely_cause_is_of_the_side_and_phase():
    def first(test, quantity, epoch, lies):
        return likely([Finding(test, quantity, epoch, 3.0, Interval(1, 2), lies=lies)], 90, 36.0)[0].look_at

    assert first("band", "train loss", 2, "above").startswith("initial weights, the scaling of the input")
    assert first("misfit", "mean squared deviation of the train loss", 30, "below").startswith("label smoothing off")
    assert first("band", "top-1", 30, "above").startswith("weight decay or label smoothing off")
    assert first("final", "top-1", 90, "below").startswith("batch-norm statistics at evaluation")
