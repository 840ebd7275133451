"""Table 1 row by row: what was run for a row, its interval, its modelled time, and the holes."""

import json

import pytest

from reproduce import table1
from reproduce.cluster import files, recipe_time
from reproduce.cluster.run import run
from reproduce.judge import rows_here
from reproduce.recipe import load as configs
from reproduce.recipe.runs import EARLIER_ROWS, ROW_MACHINES, TABLE1_ROWS
from reproduce.results import paper
from tests.helpers.logs import write_log


def of(results):
    return {one.row.work: one for one in rows_here.rows(paper.load().table1, results)}


def test_every_row_of_the_paper_has_its_place():
    assert [row.work for row in paper.load().table1] == list(TABLE1_ROWS)
    assert set(ROW_MACHINES) <= set(TABLE1_ROWS) and len(EARLIER_ROWS) == 6
    assert set(EARLIER_ROWS) == set(table1.ARTEFACT.optional["quick"])
    assert not set(EARLIER_ROWS) & set(table1.ARTEFACT.runs["quick"]), "a default run stays short"


def test_a_row_shows_its_runs_and_says_what_is_missing(tmp_path):
    for seed, top1 in ((1, 0.88), (2, 0.89), (3, 0.90)):
        write_log(tmp_path, "quick/goyal_b80_w2", seed=seed, top1=top1)
    write_log(tmp_path, "quick/jia_b640_w20", seed=1, top1=0.87)
    found = of(tmp_path)
    assert found["Goyal et al."].cells()[3] == "89.00 % (86.52 to 91.48 at 95 %; n = 3)"
    assert found["Goyal et al."].cells()[5] == "Test CPU, 2 processes x 1 thread; bf16"
    assert found["Jia et al."].cells()[3] == "87.00 % (n = 1, no interval)"
    hole = found["Ying et al."].cells()[3]
    assert hole == "missing: bash reproduce/run_all.sh --only table1 --with-optional"
    assert "2.5 images" in found["He et al."].cells()[2] and found["He et al."].cells()[3] == "none"
    assert found["Smith et al."].cells()[2] == "smith_b80_w2: 80 -> 160"
    assert all("paper: " in one.cells()[1] for one in found.values())


def test_a_modelled_time_stands_only_where_the_machine_has_a_file(tmp_path):
    found = of(tmp_path)
    assert {work for work, one in found.items() if one.modelled} == set(ROW_MACHINES)
    assert all(one.modelled.low < one.modelled.seconds < one.modelled.high for one in found.values() if one.modelled)
    assert "modelled, abci" in found["This work"].cells()[-1] and found["Jia et al."].cells()[-1].startswith("none")


def test_phases_of_the_mini_batch_add_up_and_start_up_is_counted_once():
    config, machine = configs.load_run("mikami_b34560_g3456"), files.load("abci")
    phases = list(recipe_time.phases(config))
    assert [local for local, _, _ in phases] == [10, 16] and sum(n for _, n, _ in phases) == config.total_updates
    assert sum(e for _, _, e in phases) == sum(config.evaluates_after(e) for e in range(1, 91))
    first, second = (run(recipe_time.work(config, local), 3456, machine, 1, e, n) for local, n, e in phases)
    whole = first.total + second.total - machine.software.start_up
    assert recipe_time.seconds(config, machine) == pytest.approx(whole)


def test_one_phase_takes_as_long_as_the_model_of_a_run_says():
    config, machine = configs.load_run("headline_b81920_g2048"), files.load("abci")
    assert recipe_time.seconds(config, machine) == pytest.approx(
        run(recipe_time.work(config, 40), 2048, machine, 90, 23, 1440).total
    )


def test_table1_holds_both_tables_and_the_other_tiers_one(tmp_path):
    write_log(tmp_path, "quick/goyal_b80_w2", seed=1, top1=0.88)
    for tier, count in (("quick", 8), ("node", 0)):
        out = tmp_path / tier
        out.mkdir()
        assert table1.main(["--draw", "--tier", tier, "--results", str(tmp_path), "--out", str(out)]) == 0
        assert len(json.loads((out / "table1.json").read_text())["rows_here"]) == count
        assert ("row by row" in (out / "table1.md").read_text()) == bool(count)
        assert (out / "table1_rows.csv").exists() == bool(count)
