"""Figure 2 and the modelled panel of groups: what is paper, public, measured and modelled, and nothing in its place."""

import json
import statistics
import subprocess
import sys

import pytest

from reproduce import figure2, groups, run_all
from reproduce.artefacts import ARTEFACTS, artefact
from reproduce.cluster import files, systems, uncertainty, validate
from reproduce.cluster.answer import RULES, efficiency
from reproduce.cluster.step import Work, step
from reproduce.figures import exchange, plot, scaling, weak
from reproduce.judge import check, stored
from reproduce.recipe import load as configs
from reproduce.recipe.runs import QUICK_SPEED, SPEED, weak_scaling
from reproduce.report import claims, publish
from reproduce.results import output, paper, public, runs
from reproduce.results.measured import collect
from reproduce.runner import plan
from tests.helpers import ROOT
from tests.helpers.logs import write_log

HEADLINE = "headline_b81920_g2048"


@pytest.fixture
def few_draws(monkeypatch):
    for module in (scaling, exchange):
        monkeypatch.setattr(module, "draws", lambda cluster: uncertainty.draws(cluster, 3))


def draw(tmp_path, tier="quick"):
    assert figure2.main(["--results", str(tmp_path), "--tier", tier]) == 0
    return json.loads((tmp_path / "figure2.json").read_text(encoding="utf-8"))


def of_kind(facts, kind):
    return [one for one in facts["series"] if one["kind"] == kind]


def test_every_number_has_its_kind_and_its_source(tmp_path, few_draws):
    facts = draw(tmp_path)
    known, = of_kind(facts, "paper")
    assert (known["gpus"], known["images_per_second"], known["status"]) == (2048, 1_730_000, "abstract")
    team, = of_kind(facts, "public")
    assert team["images_per_second"] == statistics.median(public.steady_rates()) and team["gpus"] == 2048
    assert len(team["values"]) == 5 and "MLPerf v0.6" in team["label"]
    assert of_kind(facts, "measured") == []
    modelled, = of_kind(facts, "modelled")
    assert modelled["cluster"] == "abci" and modelled["file"] == "paper_configs/clusters/abci.toml"
    assert modelled["stack"] == "V100 NGC 18.11" and "modelled" in facts["title"]
    assert modelled["constants"]["network.adapter_bandwidth"]["status"] == "datasheet"
    assert modelled["constants"]["software.slowdown"]["status"] == "calibrated"


def test_the_line_is_the_model_of_one_gpu_and_from_4_to_2048(tmp_path, few_draws):
    modelled, = of_kind(draw(tmp_path), "modelled")
    machines = uncertainty.draws(files.load("abci"), 3)
    assert [point["gpus"] for point in modelled["points"]] == [1, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048]
    first = uncertainty.drawn(Work(40), 1, machines).rate.median
    for point in modelled["points"]:
        rate = uncertainty.drawn(Work(40), point["gpus"], machines).rate.median
        assert point["images_per_second"] == pytest.approx(rate)
        assert point["efficiency"] == pytest.approx(rate / (first * point["gpus"]))
        assert 0.7 * rate < point["band"][0] <= rate <= point["band"][1] < 1.3 * rate
        assert point["interval"][0] <= point["band"][0] and point["band"][1] <= point["interval"][1]
    assert modelled["points"][0]["efficiency"] == 1


def test_it_shows_how_far_the_model_was_off_and_claims_no_more(tmp_path, few_draws):
    modelled, = of_kind(draw(tmp_path), "modelled")
    errors = modelled["validation_errors_percent"]
    rows = [row for row in systems.systems() if row.gpus >= 512 and "V100" in row.stack]
    expected = {row.name: validate.check(row).rate_error for row in rows}
    assert errors == pytest.approx(expected) and len(errors) == 7


def test_paper_hollow_model_dashed_and_missing_said(few_draws):
    figure, (ax, total) = plot.plt.subplots(1, 2)
    line = scaling.line(files.load("abci"), Work(40))
    checks = [validate.check(next(row for row in systems.systems() if "abci" in row.folder))]
    points = [scaling.paper_point(paper.load()), scaling.public_point()]
    scaling.draw(ax, total, line, checks, points)
    lines = {one.get_label(): one for one in ax.lines}
    known = lines["paper: over 1,730,000 images/s (abstract)"]
    assert known.get_markerfacecolor() == "none" and list(known.get_xdata()) == [2048]
    assert list(known.get_ydata()) == [pytest.approx(1_730_000 / 2048)]
    assert [ax.get_yscale(), total.get_yscale()] == ["linear", "log"]
    assert lines["modelled: abci, 40 images per GPU, cubic:3"].get_linestyle() == "--"
    assert "measured here, ResNet-50 with a GPU per worker: missing" in lines
    low = min(low / one.gpus for one, (low, _) in zip(line.steps, line.intervals))
    bottoms = [min(path.vertices[:, 1].min() for path in one.get_paths()) for one in ax.collections]
    assert len(bottoms) == 2 and any(low == pytest.approx(bottom) for bottom in bottoms), "the interval is not drawn"
    ideal = lines["ideal: one modelled GPU, times as many"].get_ydata()
    assert max(ideal) == pytest.approx(min(ideal)) and ax.get_xscale() == total.get_xscale() == "log"
    last = line.steps[-1]
    share = last.images_per_second / line.ideal[-1]
    assert share == pytest.approx(efficiency(line.job, last.gpus, line.cluster), rel=0.05), "one definition"
    plot.plt.close(figure)


def test_a_log_counts_only_with_a_device_per_worker_and_of_this_network(tmp_path, few_draws):
    log = {"devices": 2048, "hardware": "2048 x test GPU"}
    write_log(tmp_path, HEADLINE, seed=0, **log)
    m = collect(tmp_path, HEADLINE)
    assert m.n == 1 and not m.emulated
    point, = scaling.measured_points([m])
    assert point["gpus"] == 2048 and point["images_per_second"] == m.images_per_second.mean
    assert of_kind(draw(tmp_path, "paper"), "measured")[0]["config_hash"] == m.config.hash
    write_log(tmp_path, HEADLINE, seed=0, devices=8)
    assert collect(tmp_path, HEADLINE).emulated and scaling.measured_points([collect(tmp_path, HEADLINE)]) == []
    write_log(tmp_path, "quick/baseline_b128_w2", seed=0)
    small = collect(tmp_path, "quick/baseline_b128_w2")
    assert not small.emulated and small.n and scaling.measured_points([small]) == [], "another network"


def test_the_same_inputs_give_the_same_bytes(tmp_path, few_draws):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        draw(tmp_path / name)
    for suffix in ("png", "pdf", "svg", "json"):
        assert (tmp_path / f"a/figure2.{suffix}").read_bytes() == (tmp_path / f"b/figure2.{suffix}").read_bytes()


def test_the_published_figures_are_those_of_the_model():
    cluster = files.load("abci")
    modelled, = of_kind(json.loads((ROOT / "figures/modelled/figure2.json").read_text()), "modelled")
    assert modelled["constants"] == json.loads(json.dumps(cluster.facts()["constants"]))
    machines = uncertainty.draws(cluster)
    for point in modelled["points"]:
        found = uncertainty.drawn(Work(40), point["gpus"], machines).rate
        assert [point["images_per_second"], *point["band"]] == pytest.approx([found.median, found.low, found.high])
    panel = json.loads((ROOT / "figures/measured/quick/groups.json").read_text())["modelled"]
    for one in panel["rules"]:
        found = uncertainty.drawn(Work(40, one["rule"], one["overlap"]), 2048, machines).seconds
        assert one["seconds"] == pytest.approx(found.median)
        assert one["band"][0] <= one["seconds"] <= one["band"][1] and one["band"][1] == pytest.approx(found.high)


# ---- the modelled panel of groups -----------------------------------------------------------------------------------


def test_the_panel_has_every_rule_both_ways_and_says_modelled(tmp_path, few_draws):
    assert groups.main(["--results", str(tmp_path)]) == 0
    facts = json.loads((tmp_path / "groups.json").read_text())["modelled"]
    machines = uncertainty.draws(files.load("abci"), 3)
    assert facts["kind"] == "modelled" and facts["file"] == "paper_configs/clusters/abci.toml"
    assert [(one["rule"], one["overlap"]) for one in facts["rules"]] == [(r, o) for r in RULES for o in (True, False)]
    for one in facts["rules"]:
        expected = uncertainty.drawn(Work(40, one["rule"], one["overlap"]), 2048, machines).step
        assert one["seconds"] == pytest.approx(expected.total) and one["sums"] == len(expected.sums)
    text = (tmp_path / "groups.md").read_text()
    assert "## Modelled: 2,048 GPUs of abci" in text and "Not measured" in text
    one = uncertainty.drawn(Work(40, "layer"), 2048, machines).step
    assert f"| layer | 56 | {1e3 * one.total:.1f} (" in text and f"| {one.images_per_second:,.0f} |" in text


def test_the_panel_draws_dashes_not_measured_points(few_draws):
    figure, ax = plot.plt.subplots()
    cluster = files.load("abci")
    found = exchange.modelled(cluster, 2048, 40)
    exchange.modelled_panel(ax, cluster, found, exchange.rows_of(()))
    dashes, first = [one for one in ax.lines if one.get_marker() == "|"], found[0].step
    alone = first.forward + first.backward + first.jitter + first.update + first.host
    assert [one.get_xdata()[0] for one in dashes] == pytest.approx([one.step.total / alone for one in found])
    assert [round(one.get_ydata()[0]) for one in dashes] == [y for y in range(len(RULES)) for _ in (True, False)]
    assert "modelled, not measured: 2,048 GPUs of abci" in ax.get_title()
    assert not [one for one in ax.lines if one.get_marker() in "osD"]
    plot.plt.close(figure)


# ---- in the plan, the runner and REPRODUCE.md -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["figure1", "schedules"])
def test_it_needs_no_run_in_any_tier(name, tmp_path, capsys):
    assert artefact(name).runs == {"quick": (), "node": (), "paper": ()}
    for tier in ("quick", "node", "paper"):
        mine = plan.Plan(tier, ARTEFACTS, only=[name], out=tmp_path)
        assert [a.name for a in mine.artefacts] == [name] and mine.jobs == []
        assert mine.state(artefact(name)) == "done"
    assert run_all.main(["--list", "--tier", "quick", "--only", name, "--out", str(tmp_path)]) == 0
    assert "done" in capsys.readouterr().out.splitlines()[1]
    row = next(line for line in claims.artefacts_block(tmp_path).splitlines() if f"{name}.py`" in line)
    assert row.endswith("| no runs | no runs | no runs |")


def test_all_that_needs_no_run_is_drawn_without_torch(tmp_path):
    scripts = ("figure1", "schedules", "figure2", "groups")
    code = f"import sys; sys.modules['torch'] = None; sys.path.insert(0, {str(ROOT)!r}); "
    code += f"from reproduce import {', '.join(scripts)}; "
    code += f"sys.exit(max(one.main(['--results', {str(tmp_path)!r}]) for one in ({', '.join(scripts)})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / f"{one}.json").exists() for one in scripts)


# ---- the weak scaling ----------------------------------------------------------------------------------------------


def speed_log(folder, file, count, rate, seed, overlap=True, tier="paper", **log):
    """The log of `count` workers that took images at `rate`, and of no other time."""
    (run,) = weak_scaling(file, [count], overlap)
    config = configs.load_run(run)
    images = config.schedule.epochs * config.data.train_images
    return write_log(folder, run, seed, seconds=images / rate, devices=count, **log)


def measured_series(tmp_path, tier):
    return [one for one in of_kind(draw(tmp_path, tier), "measured") if "overlap" in one]


def test_a_weak_scaling_has_medians_spreads_and_one_efficiency(tmp_path, few_draws):
    rates = {1: (900, 1000, 1100), 2: (1800, 1900, 2100), 4: (2900, 3600, 3700)}
    for count, values in rates.items():
        for seed, rate in enumerate(values, 1):
            speed_log(tmp_path, SPEED, count, rate, seed, hardware=f"{count} x NVIDIA H100 80GB HBM3, one process each")
    speed_log(tmp_path, SPEED, 4, 3000, 1, overlap=False, hardware="4 x NVIDIA H100 80GB HBM3, one process each")
    whole, apart = measured_series(tmp_path, "node")
    assert [point["gpus"] for point in whole["points"]] == [1, 2, 4] and whole["overlap"] and not apart["overlap"]
    for point in whole["points"]:
        values = rates[point["gpus"]]
        assert point["values"] == pytest.approx(values, rel=1e-3) and point["n"] == 3
        assert point["images_per_second"] == pytest.approx(statistics.median(values), rel=1e-3)
        assert point["spread"] == pytest.approx([min(values), max(values)], rel=1e-3)
        assert point["efficiency"] == pytest.approx(statistics.median(values) / (1000 * point["gpus"]), rel=1e-3)
    assert [(p["gpus"], p["n"]) for p in apart["points"]] == [(1, 3), (4, 1)], "one worker exchanges nothing"
    assert apart["points"][1]["efficiency"] == pytest.approx(0.75, rel=1e-3)


def test_the_rate_is_that_of_the_papers_images_per_second(tmp_path):
    speed_log(tmp_path, SPEED, 4, 3000, 1)
    (m,) = [m for m in figure2.runs(output.Options("node", tmp_path, tmp_path))[1] if m.n]
    assert m.images_per_second.values == (m.logs[0].images_per_second,) and not m.top1


def test_the_model_of_the_machine_is_beside_it_where_there_is_one(tmp_path, few_draws):
    for seed, gpu in enumerate(["NVIDIA H100 80GB HBM3", "Some other GPU"]):
        folder = tmp_path / str(seed)
        for count in (1, 2, 8):
            hardware = f"{count} x {gpu}, one process each"
            speed_log(folder, SPEED, count, 1000 * count, 1, hardware=hardware, device="cuda")
        modelled = of_kind(draw(folder, "node"), "modelled")[1:]
        if seed:
            assert modelled == []
            continue
        (one,) = modelled
        assert one["file"] == "paper_configs/clusters/dgx-h100.toml"
        assert [point["gpus"] for point in one["points"]] == [1, 2, 8]
        known = step(Work(40), 8, files.load("dgx-h100")).images_per_second
        assert one["points"][2]["images_per_second"] == pytest.approx(known)


def test_a_series_on_gpus_is_beside_the_papers_point_and_one_on_a_cpu_is_not(tmp_path):
    speed_log(tmp_path, SPEED, 2, 3000, 1)
    timed = figure2.runs(output.Options("node", tmp_path, tmp_path))[1]
    assert len(figure2.rows([], timed)[0]) == 2, "a CPU's rate beside 2,048 GPUs"
    speed_log(tmp_path, SPEED, 2, 3000, 1, device="cuda")
    timed = figure2.runs(output.Options("node", tmp_path, tmp_path))[1]
    points, found = figure2.rows([], timed)
    assert points[2:] == found and len(found) == 1


def test_an_emulated_run_times_nothing(tmp_path):
    (run,) = weak_scaling(SPEED, [4])
    write_log(tmp_path, run, 1, devices=2)
    assert collect(tmp_path, run).n == 1 and weak.series([collect(tmp_path, run)]) == []


def test_what_is_drawn_is_median_range_ideal_and_model(tmp_path):
    for count, values in {1: (900, 1000, 1100), 2: (1800, 1900, 2100)}.items():
        for seed, rate in enumerate(values, 1):
            speed_log(tmp_path, QUICK_SPEED, count, rate, seed)
    found = weak.series(figure2.runs(output.Options("quick", tmp_path, tmp_path))[1])
    figure, ax = plot.plt.subplots()
    weak.panel(ax, found, {"label": "model", "points": [{"gpus": 2, "images_per_second": 1960.0}]}, "tier quick")
    lines = {one.get_label(): one for one in ax.lines}
    (ours,) = [one for label, one in lines.items() if label.startswith("measured: Fashion-MNIST")]
    assert ours.get_ydata() == pytest.approx([1000, 950], rel=1e-3) and "n = 3" in ours.get_label()
    assert lines["ideal: the first of these at 1, times as many"].get_ydata() == pytest.approx([1000] * 2, rel=1e-3)
    assert lines["model"].get_linestyle() == "--" and list(lines["model"].get_ydata()) == [980]
    low, high = ax.get_ylim()
    assert low == 0 and high > 1100 and "embedded network (ResNet-8)" in ax.get_title()
    spans = sorted(tuple(path.vertices[:, 1]) for one in ax.collections for path in one.get_paths())
    assert [value for span in spans for value in span] == pytest.approx([900, 1050, 900, 1100], rel=1e-3)
    weak.panel(figure.add_subplot(), [], None, "tier node")
    assert "measured here: missing" in figure.axes[-1].get_title()
    plot.plt.close(figure)


def test_the_page_gives_range_efficiency_and_logs(tmp_path, few_draws):
    for seed, rate in enumerate((1800, 1900, 2000), 1):
        speed_log(tmp_path, QUICK_SPEED, 2, rate, seed)
    section = figure2.section(None, draw(tmp_path))
    row = next(row for row in section.tables[0].rows if str(row[0].text).startswith("measured: Fashion"))
    assert [cell.text for cell in row[1:5]] == ["2", "1,900", "1,800 to 2,000", "100.0"]
    assert "result_3.txt" in row[5].text


def test_a_run_for_its_speed_is_not_judged(tmp_path, capsys):
    speed_log(tmp_path, QUICK_SPEED, 2, 1900, 1)
    assert check.main([str(tmp_path)]) == check.EXIT_NOTHING
    out = capsys.readouterr().out
    assert "speed run: not judged" in out and "1 for speed, not judged" in out
    assert check.main([str(tmp_path), "--strict"]) == check.EXIT_NOTHING
    assert stored.references(tmp_path) == {}


def test_a_run_for_its_speed_is_published_if_each_worker_had_a_device(tmp_path):
    (run,) = weak_scaling(QUICK_SPEED, [2])
    for devices, objections in ((2, 0), (1, 1)):
        write_log(tmp_path, run, 1, devices=devices, revision="0123456789ab")
        assert len(publish.objections_to(collect(tmp_path, run), "quick", tmp_path / "none")) == objections
    assert [m.run for m in runs.collect(tmp_path, "quick", [figure2.ARTEFACT])] == [run], "only those that are there"
