"""Figure 3 and the curve: what they hold, what they leave open, and that the side-car file tells the same."""

import json
import math

import pytest

from reproduce import curve, figure3, kinds
from reproduce.artefacts import artefact
from reproduce.figures import panels, plot, series
from reproduce.recipe.runs import PAPER_SWEEP, QUICK_PANEL, QUICK_SWEEP
from reproduce.results import output, public
from reproduce.results.measured import CONFIGS, collect
from tests.helpers.logs import write_log

CURVE = artefact("curve").runs["quick"] + artefact("curve").optional["quick"]


@pytest.fixture
def results(tmp_path):
    for index, run in enumerate((*QUICK_PANEL, *QUICK_SWEEP, CURVE[1])):
        for seed in (0, 1):
            write_log(tmp_path, run, seed, top1=0.80 + 0.002 * index + 0.01 * seed, seconds=60 + seed)
    return tmp_path


def side_car(folder, name):
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def by_panel(facts, panel):
    return [one for one in facts["series"] if one["panel"] == panel]


def test_figure3_names_kinds_logs_hashes_n_and_hardware(results):
    assert figure3.main(["--results", str(results)]) == 0
    facts = side_car(results, "figure3")
    assert "NOT the paper's experiment" in facts["title"] and "tier quick" in facts["title"]
    assert [one["kind"] for one in facts["series"]] == ["paper"] + 4 * ["measured"]
    known = by_panel(facts, "paper")[0]
    assert known["status"] == "top-1 abstract, mini-batch secondary"
    assert known["points"] == [{"x": 81920, "y": 75.08}]
    for one in by_panel(facts, "panel"):
        assert "n = 2" in one["label"]
        assert [point["x"] for point in one["points"]] == [800, 1600, 3200, 6400]
        for source, point in zip(one["sources"], one["points"]):
            assert source["config_hash"] == collect(results, source["run"]).config.hash
            assert source["n"] == len(source["logs"]) == len(point["values"]) == 2
            assert source["hardware"] == ["Test CPU, 2 processes x 1 thread"]
            assert all((results / log).is_file() for log in source["logs"])
            assert point["y"] == pytest.approx(sum(point["values"]) / 2)


def test_figure3_has_no_number_where_a_log_was_removed(results, capsys):
    gone = "quick/panel_sgd_b1600_w40"
    for path in (results / "logs" / "panel_sgd_b1600_w40").iterdir():
        path.unlink()
    assert figure3.main(["--results", str(results)]) == 0
    assert f"{gone}: missing" in capsys.readouterr().out
    sgd = by_panel(side_car(results, "figure3"), "panel")[1]
    assert sgd["points"][1] == {"x": 1600, "y": None, "missing": "missing"}
    assert sgd["sources"][1]["missing"] == "missing" and sgd["sources"][1]["n"] == 0
    assert [point["y"] is None for point in sgd["points"]] == [False, True, False, False]


def test_a_hole_breaks_the_line_and_bears_the_word():
    points = (series.Point(1, 80.0), series.Point(2, None, missing="missing"), series.Point(3, 70.0))
    one = series.Series("panel", "LARS: measured, n = 1", "measured", points, ())
    figure, ax = plot.plt.subplots()
    plot.draw_batches(ax, one, plot.BLUE)
    heights = list(ax.lines[0].get_ydata())
    assert math.isnan(heights[1]) and heights[0::2] == [80.0, 70.0]
    assert [text.get_text() for text in ax.texts] == ["missing"]
    plot.plt.close(figure)


def test_figure3_never_fills_the_papers_unknown_points(results):
    figure3.main(["--results", str(results)])
    facts = side_car(results, "figure3")
    assert sum(len(one["points"]) for one in facts["series"] if one["kind"] == "paper") == 1
    ours = by_panel(facts, "imagenet")[0]
    assert len(ours["points"]) == len(PAPER_SWEEP) and all(point["y"] is None for point in ours["points"])


def test_figure3_of_the_node_tier_is_one_panel(tmp_path):
    write_log(tmp_path, PAPER_SWEEP[0], top1=0.7513, devices=8)
    assert figure3.main(["--tier", "node", "--results", str(tmp_path)]) == 0
    facts = side_car(tmp_path, "figure3")
    assert [one["panel"] for one in facts["series"]] == ["paper", "imagenet"]
    assert [point["y"] for point in facts["series"][1]["points"]] == [pytest.approx(75.13)] + 5 * [None]
    assert "NOT the paper" not in facts["title"]


def test_the_quick_sweep_has_the_updates_per_epoch_of_the_papers():
    for quick, full in zip(QUICK_SWEEP, PAPER_SWEEP):
        small, large = (collect(CONFIGS, run).config for run in (quick, full))
        assert small.global_batch() * panels.EQUAL_UPDATES == pytest.approx(large.global_batch())


def test_curve_has_five_public_runs_and_ours(results):
    assert curve.main(["--results", str(results)]) == 0
    facts = side_car(results, "curve")
    others = by_panel(facts, "public")
    assert len(others) == 5 and {one["kind"] for one in others} == {"public"}
    assert all(len(one["points"]) == 23 and one["label"] == public.LABEL for one in others)
    ours = by_panel(facts, "measured")
    assert [one["sources"][0]["run"] for one in ours] == list(CURVE)
    assert {one["kind"] for one in ours} == {"measured"}
    last = ours[0]["points"][-1]
    assert last["x"] == 90 and last["seconds"] == pytest.approx(60.5) and len(last["values"]) == 2


def test_curve_of_a_removed_run_is_a_hole(results, capsys):
    for path in (results / "logs" / "headline_b800_w20").iterdir():
        path.unlink()
    assert curve.main(["--results", str(results)]) == 0
    assert f"{CURVE[0]}: missing" in capsys.readouterr().out
    hole = by_panel(side_car(results, "curve"), "measured")[0]
    assert hole["label"] == "headline_b800_w20: missing"
    assert [point["y"] for point in hole["points"]] == [None]


def test_curve_draws_an_optional_run_only_if_it_is_there(results):
    for path in (results / "logs" / "mlperf06_b840_w20").iterdir():
        path.unlink()
    assert curve.main(["--results", str(results)]) == 0
    ours = by_panel(side_car(results, "curve"), "measured")
    assert [one["sources"][0]["run"] for one in ours] == [CURVE[0]]


def test_stall_is_marked_where_the_public_curves_stall():
    """Inside the shade the median gains under 10 points in 16 epochs, before it more; and single runs drop."""
    runs = public.runs()
    top1 = {epoch: sorted(run.top1[index] for run in runs)[2] for index, epoch in enumerate(runs[0].epochs)}
    begin, end = panels.STALL_EPOCHS
    assert top1[42] - top1[26] < 10 < top1[22] - top1[6]
    assert begin <= 26 < 42 <= end
    assert any(b < a - 5 for run in runs for a, b in zip(run.top1, run.top1[1:]))


@pytest.mark.parametrize("script", [figure3, curve])
def test_the_same_logs_give_the_same_bytes(script, results, tmp_path):
    name = script.__name__.rpartition(".")[2]
    for out in ("a", "b"):
        script.main(["--results", str(results), "--out", str(tmp_path / out)])
    for suffix in ("png", "pdf", "svg", "json"):
        assert (tmp_path / "a" / f"{name}.{suffix}").read_bytes() == (tmp_path / "b" / f"{name}.{suffix}").read_bytes()
    assert b"CreationDate" not in (tmp_path / "a" / f"{name}.pdf").read_bytes()


def test_every_kind_has_a_look_of_its_own():
    looks = [plot.look(kind, plot.BLUE) for kind in kinds.RESULTS]
    assert all(looks.count(one) == 1 for one in looks)
    assert plot.look("paper", plot.BLUE)["markerfacecolor"] == "none"
    assert plot.look("modelled", plot.BLUE)["linestyle"] == "--"


def test_scaled_down_is_said_for_quick_only():
    shown = [collect(CONFIGS, QUICK_PANEL[0])]
    assert output.SCALED_DOWN in output.about(shown, "quick") and output.SCALED_DOWN not in output.about(shown, "node")
