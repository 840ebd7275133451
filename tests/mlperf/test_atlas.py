"""The atlas of public runs: the data carried, the filters, the medians, the rank of a log among its neighbours."""

import csv
import io
import re
from dataclasses import replace

import pytest

from reproduce.errors import DataError
from reproduce.mlperf import summary, table
from reproduce.report import atlas
from reproduce.results import public
from tests.helpers import LOGS, ROOT

QUICK = ROOT / "figures/measured/quick/logs/headline_b800_w20/result_1.txt"
JAX = LOGS / "v0.7_Google_tpu-v3-8192-JAX_result_0.txt"


@pytest.fixture(scope="module")
def runs():
    return table.runs()


def shown(capsys, *arguments) -> tuple[int, str, str]:
    code = atlas.main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


# ---- the data -------------------------------------------------------------------------------------------------------


def test_every_run_has_its_curve_and_they_agree(runs):
    curves = table.curves()
    assert len(runs) == 1834 and sum(map(len, curves.values())) == 20054
    assert {run.key for run in runs} == set(curves)
    for run in runs:
        last = curves[run.key][-1]
        assert (last.epoch, last.top1) == (run.last_epoch, run.top1)


def test_the_teams_five_runs_are_those_of_the_other_tables(runs):
    mine = sorted((run for run in runs if run.submitter == "Fujitsu" and run.round == "v0.6"), key=lambda run: run.file)
    curves = table.curves()
    for run, other in zip(mine, public.runs(), strict=True):
        assert [e.epoch for e in curves[run.key]] == list(other.epochs)
        assert [100 * e.top1 for e in curves[run.key]] == pytest.approx(other.top1)
        assert (run.global_batch, run.peak_rate, run.warmup_epochs) == (86016, 13, other.warmup_epochs)


def test_what_the_logs_do_not_say_stays_a_hole(runs):
    old = [run for run in runs if run.round == "v0.5"]
    assert len(old) == 70 and all(run.global_batch is None and run.peak_rate is None for run in old)
    assert {run.target for run in old} == {0.749} and {run.target for run in runs if run.round != "v0.5"} == {0.759}
    assert [run.file for run in runs if run.run_seconds is None] == ["result_0.txt"]


def test_names_come_from_the_folders(runs):
    names = {(run.round, run.submitter, run.system) for run in runs}
    assert ("v0.5", "google", "research_v3.512") in names and ("v0.5", "nvidia", "dgx1_ngc18.11_mxnet") in names
    assert ("v0.6", "Fujitsu", "abci_2048xV100_mxnet") in names


def test_runs_submitted_twice_are_counted_once(runs):
    krai = [run for run in runs if run.submitter == "Krai" and run.run_seconds == 17030.091]
    assert len(krai) == 4 and len(table.different(krai)) == 1
    assert len(table.different(runs)) == 1603


@pytest.mark.parametrize("damage", ["cut", "other", "overwritten"])
def test_a_damaged_table_is_one_clear_line(tmp_path, damage):
    whole = (public.FOLDER / table.RUNS).read_bytes()
    parts = {"cut": whole[:1000], "other": b"round,dir\n", "overwritten": whole[:60] + b"x" * 40 + whole[100:]}
    (tmp_path / table.RUNS).write_bytes(parts[damage])
    with pytest.raises(DataError, match="restore it from git"):
        table.runs(tmp_path)


# ---- listing --------------------------------------------------------------------------------------------------------


def test_the_neighbours_of_the_paper(capsys):
    code, out, _ = shown(capsys, "--batch", "60000:90000")
    rows = [line for line in out.splitlines() if re.match(r"v\d", line)]
    assert code == 0 and out.startswith("30 public runs") and len(rows) == 6
    assert [int(re.search(r" (\d\d,\d{3}) ", row).group(1).replace(",", "")) for row in rows] == [
        64800, 65536, 65536, 67456, 67456, 86016]  # fmt: skip
    assert re.search(r"Fujitsu +abci_2048xV100_mxnet +open +86,016 +lars +13 +36 +90 +5 of 5 +75\.95 +70\.4$", rows[-1])


def test_filters_and_holes(capsys):
    _, out, _ = shown(capsys, "--round", "v0.5", "--submitter", "INTEL")
    assert out.startswith("15 public runs") and out.count("not logged") >= 3 * 4
    _, out, _ = shown(capsys, "--batch", "86016")
    assert out.startswith("5 public runs") and "Fujitsu" in out
    _, out, _ = shown(capsys, "--optimizer", "thor")
    rows = [line for line in out.splitlines() if re.match(r"v\d", line)]
    assert out.startswith("10 public runs") and rows and all(" THOR " in row for row in rows)
    for arguments in (["--batch", "1:2"], ["--batch", "3200", "--round", "v9"], ["--submitter", "nobody"]):
        code, out, err = shown(capsys, *arguments)
        assert code == 2 and out == "" and err.startswith("error: no public run fits") and err.count("\n") == 1


@pytest.mark.parametrize("text", ["x", "9:1", "", "1:2:3", "1.5"])
def test_a_range_that_is_none_is_refused(text, capsys):
    assert atlas.main(["--batch", text]) == 2 and "LOW:HIGH" in capsys.readouterr().err


def test_open_ranges_and_separators():
    assert atlas.batches("81,920") == (81920, 81920) and atlas.batches("1_000:") [0] == 1000
    assert atlas.batches(":2000") == (0, 2000)


def test_medians_leave_out_what_did_not_reach_the_target(runs):
    good = [run for run in runs if run.system == "abci_2048xV100_mxnet"]
    failed = [replace(good[0], status="aborted", run_seconds=1.0), replace(good[0], top1=0.1, run_seconds=2.0),
              replace(good[0], top1=None, run_seconds=None)]  # fmt: skip
    head, row, *_ = atlas.listing([*failed, *good])
    assert re.split("  +", head)[-3:] == ["reached", "top-1 %", "seconds"]
    assert re.split("  +", row)[-3:] == ["5 of 8", "75.95", "70.4"]
    assert re.split("  +", atlas.listing(failed)[1])[-3:] == ["0 of 3", "not logged", "not logged"]


def test_csv_holds_every_run_and_names_the_holes(capsys, runs):
    _, out, _ = shown(capsys, "--round", "v4.0", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == sum(run.round == "v4.0" for run in runs)
    (hole,) = [row for row in rows if row["run_seconds"] == "not logged"]
    assert hole["system"] == "tinybox_green" and hole["status"] == "not logged"
    assert {row["folder"] + "/" + row["file"] for row in rows} == {
        run.folder + "/" + run.file for run in runs if run.round == "v4.0"
    }


# ---- the rank of a log ----------------------------------------------------------------------------------------------


def test_a_log_is_ranked_among_different_runs_of_its_target(capsys, runs):
    code, out, _ = shown(capsys, "--near", JAX)
    log = summary.read(JAX)
    others = table.different([run for run in runs if run.global_batch and 52429 <= run.global_batch <= 81920])
    others = [run for run in others if run.reached and run.run_seconds != 28.702]
    faster = sum(run.run_seconds < 28.7015 for run in others)
    better = sum(run.top1 > log.top1 for run in others)
    assert code == 0 and f"{len(others)} different runs" in out
    assert f"28.7 s, place {faster + 1} of {len(others) + 1}\n" in out
    assert f"76.07 %, place {better + 1} of {len(others) + 1}\n" in out


def test_a_run_that_failed_has_no_rank(capsys, tmp_path):
    (tmp_path / "failed.txt").write_text(JAX.read_text("utf-8").replace('"success"', '"aborted"'), encoding="utf-8")
    code, out, _ = shown(capsys, "--near", tmp_path / "failed.txt")
    assert code == 0 and "76.07 %, aborted: it does not count, so it has no rank" in out and "place" not in out
    code, out, _ = shown(capsys, "--near", LOGS / "v2.0_Google_cloud-tpu-v4-8192-TF_result_2.txt")
    assert code == 0 and "75.79 %, abort: it does not count, so it has no rank" in out and "place" not in out


def test_logs_that_do_not_compare_are_refused(capsys):
    code, _, err = shown(capsys, "--near", QUICK)
    assert code == 2 and "fashion_mnist" in err and err.count("\n") == 1
    old = LOGS / "v0.5_nvidia_dgx1_result_0.txt"
    code, _, err = shown(capsys, "--near", old)
    assert code == 2 and "mini-batch is not logged: name the range with --batch" in err
    code, out, _ = shown(capsys, "--near", old, "--batch", "3000:4000")
    assert code == 0 and "no neighbour reached the same target" in out
    code, _, err = shown(capsys, "--near", LOGS / "none.txt")
    assert code == 2 and err.startswith("error: ")


def test_neighbours_are_drawn(capsys, tmp_path):
    code, out, _ = shown(capsys, "--near", JAX, "--draw", tmp_path / "near.png")
    assert code == 0 and (tmp_path / "near.png").read_bytes().startswith(b"\x89PNG")
    code, out, _ = shown(capsys, "--round", "v0.5", "--draw", tmp_path / "old.svg")  # no mini-batch: no second panel
    assert code == 0 and (tmp_path / "old.svg").read_text("utf-8").startswith("<?xml")
