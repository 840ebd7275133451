"""Figure 3 and the curve: what they hold, what they leave open, and that the side-car file tells the same."""

import json
import math
import os
import subprocess
import sys

import pytest

from reproduce import curve, figure3, kinds
from reproduce.artefacts import artefact
from reproduce.figures import needed_epochs, panels, plot, series
from reproduce.mlperf import epochs
from reproduce.paths import CONFIGS, ROOT
from reproduce.recipe.runs import PAPER_SWEEP, QUICK_PANEL, QUICK_SWEEP
from reproduce.results import output, paper, public
from reproduce.results.measured import collect
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


def test_no_hole_stands_at_a_value_of_the_scale():
    points = (series.Point(1, 80.0), series.Point(2, None, missing="missing"))
    figure, ax = plot.plt.subplots()
    one = series.Series("panel", "LARS: measured, n = 1", "measured", points, ())
    plot.draw_batches(ax, one, plot.BLUE)
    plot.fit_accuracy(ax, [one])
    cross = next(line for line in ax.lines if line.get_marker() == "x")
    height = ax.transData.inverted().transform(cross.get_transform().transform(cross.get_xydata()))[0][1]
    assert height < min(ax.get_yticks()) and height < ax.spines["left"].get_bounds()[0]
    plot.plt.close(figure)


def test_series_stand_beside_each_other_at_their_own_values():
    figure, ax = plot.plt.subplots()
    one = series.Series("panel", "LARS: measured, n = 2", "measured", (series.Point(800, 80.0, (79.0, 81.0)),), ())
    for shift in (-4, 4):
        plot.draw_batches(ax, one, plot.BLUE, shift=shift)
    figure.draw_without_rendering()
    drawn = [line for line in ax.lines if line.get_gid() == "measured"]
    places = [line.get_transform().transform(line.get_xydata())[0] for line in drawn]
    assert [list(line.get_xdata()) for line in drawn] == [[800], [800]]
    assert places[1][0] - places[0][0] == pytest.approx(8 * figure.dpi / 72) and places[0][1] == places[1][1]
    plot.plt.close(figure)


def test_public_runs_are_drawn_by_division_with_the_papers_epochs_as_a_line(tmp_path):
    figure3.main(["--tier", "node", "--results", str(tmp_path)])
    facts = side_car(tmp_path, "figure3")["epochs_to_target"]
    assert facts["kind"] == "public" and facts["target_top1"] == 0.759
    found = {(row["division"], row["mini_batch"]): row for row in facts["rows"]}
    assert found["open", 86016] == {"division": "open", "mini_batch": 86016, "n": 5, "median": 90, "lowest": 90,
                                    "highest": 90}  # fmt: skip
    assert found["closed", 65536]["n"] == 10 and ("closed", 86016) not in found
    needed = epochs.needed()
    assert sum(row["n"] for row in facts["rows"]) + sum(facts["not_reached"].values()) == len(needed)
    figure, ax = plot.plt.subplots()
    needed_epochs.panel(ax, needed, paper.load())
    across = next(line for line in ax.lines if set(line.get_ydata()) == {90} and line.get_gid() is None)
    assert "recalled" in across.get_label()
    colours = {line.get_color() for line in ax.lines if line.get_gid() == "public"}
    assert len(colours) == 2
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


@pytest.fixture
def curve_axes(results, monkeypatch):
    """The panels of the curve, by letter, before they are written."""
    kept = []
    monkeypatch.setattr(plot, "save", lambda figure, *_: kept.append(figure) or [])
    curve.main(["--results", str(results)])
    (figure,) = kept
    yield {ax.get_title(loc="left"): ax for ax in figure.axes}
    plot.plt.close(figure)


def test_the_curve_repeats_no_panel_and_labels_the_stall_in_each(curve_axes):
    assert sorted(curve_axes) == ["a", "b"]
    for ax in curve_axes.values():
        assert ax.get_xlabel() == "epoch" and ax.get_ylim() == (0, 100)
        assert "seconds since run_start" in ax.child_axes[0].get_xlabel()  # time is a second scale
        assert any("stall" in text.get_text() for text in ax.get_legend().get_texts())


def test_the_paper_is_a_hollow_mark_on_imagenet_alone(curve_axes):
    marks = {name: [line for line in ax.lines if line.get_gid() == "paper"] for name, ax in curve_axes.items()}
    (mark,) = marks["a"]
    assert mark.get_xydata().tolist() == [[90, 75.08]] and mark.get_markerfacecolor() == "none"
    assert "epochs recalled" in mark.get_label() and not marks["b"]


def test_the_seconds_above_an_epoch_are_those_of_its_end(curve_axes):
    above = curve_axes["a"].child_axes[0]
    seconds, epochs_of = above._functions
    stops = [sum(run.epoch_stops[epoch - 1] for run in public.runs()) / 5 for epoch in (1, 36, 90)]
    assert seconds([1, 36, 90]) == pytest.approx(stops) and epochs_of(stops) == pytest.approx([1, 36, 90])


def test_curves_bear_titles_and_not_the_names_of_configs(curve_axes):
    labels = [text.get_text() for text in curve_axes["b"].get_legend().get_texts()]
    assert any(label.startswith("The headline recipe, scaled down") for label in labels)
    assert not any("_b" in label for label in labels)


def test_curve_of_a_removed_run_is_a_hole(results, capsys):
    for path in (results / "logs" / "headline_b800_w20").iterdir():
        path.unlink()
    assert curve.main(["--results", str(results)]) == 0
    assert f"{CURVE[0]}: missing" in capsys.readouterr().out
    hole = by_panel(side_car(results, "curve"), "measured")[0]
    assert hole["label"] == "The headline recipe, scaled down: missing"
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


FOREIGN = {
    "a notebook's back-end": {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
    "another style": {"MATPLOTLIBRC": "axes.facecolor: black\nfont.size: 30\ntext.usetex: True\nlines.linewidth: 9\n"},
}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_figures_look_the_same_whatever_the_user_has_set(results, tmp_path, foreign):
    settings = FOREIGN[foreign]
    if "MATPLOTLIBRC" in settings:
        (tmp_path / "matplotlibrc").write_text(settings["MATPLOTLIBRC"])
        settings = {"MATPLOTLIBRC": str(tmp_path)}
    clean = {name: value for name, value in os.environ.items() if name not in ("MPLBACKEND", "MATPLOTLIBRC")}
    for name, environ in (("plain", clean), ("foreign", clean | settings)):
        command = [sys.executable, "reproduce/curve.py", "--results", str(results), "--out", str(tmp_path / name)]
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "plain" / "curve.svg").read_bytes() == (tmp_path / "foreign" / "curve.svg").read_bytes()
