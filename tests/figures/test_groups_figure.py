"""Step time against group rule: what is said of a measurement, and of a missing one."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.text import Text

from reproduce import groups, run_all
from reproduce.artefacts import ARTEFACTS, artefact
from reproduce.cluster.answer import RULES
from reproduce.errors import LogError
from reproduce.figures import exchange, plot
from reproduce.report import claims
from reproduce.results import steptimes
from reproduce.results.steptimes import COMPUTE, DDP, HALF, Network, Result, Timing, Variant
from reproduce.runner import plan
from tests.helpers import ROOT

ABOUT = {
    "hardware": "Test CPU, 4 processes x 1 thread(s) on 2 cores", "hosts": 4, "model": "resnet50", "image_size": 64,
    "place": "4 network namespaces on one machine", "local_batch": 8, "steps": 3, "minutes": 9.5,
    "python": "3", "torch": "2", "revision": "abc",
}  # fmt: skip
MEDIANS = {
    Variant("cubic:3"): 2.0, Variant("cubic:3", False): 3.0, Variant("size:8MB"): 1.5, Variant("size:8MB", False): 3.0,
    Variant("layer"): 4.0, Variant("layer", False): 5.0, Variant("single"): 3.5, Variant("single", False): 3.5,
    HALF: 1.2, DDP: 2.5, COMPUTE: 1.0,
}  # fmt: skip
STARTUP = {"same_seed": (0.9, 1.0, 1.2), "broadcast": (2.5, 2.0, 4.0), "check": (0.3,)}


def timing(variant: Variant, median: float) -> Timing:
    return Timing(variant, (median - 0.1, median, median + 0.3), 5, 102_228_128)


def write(folder: Path, without=(), rates=(1000.0, None)) -> Path:
    networks = []
    for mbit in rates:
        timings = tuple(timing(variant, median) for variant, median in MEDIANS.items() if variant not in without)
        networks.append(Network(mbit, f"4 network namespaces on one machine, {mbit}", timings, 700.0, STARTUP))
    path = folder / steptimes.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Result(ABOUT, tuple(networks)).to_json())
    return folder


def draw(results: Path, out: Path | None = None) -> tuple[dict, str]:
    out = out or results
    assert groups.main(["--results", str(results), "--out", str(out)]) == 0
    return json.loads((out / "groups.json").read_text()), (out / "groups.md").read_text()


@pytest.mark.parametrize("change", [
    lambda facts: facts["rates"][0].update(mbit="fast"), lambda facts: facts["rates"][0].update(lead_ms=[]),
    lambda facts: facts["rates"][0].update(network=3), lambda facts: facts["rates"][0]["variants"][0].update(rule=[]),
    lambda facts: facts["rates"][0]["variants"][0].update(seconds=["inf"]), lambda facts: facts.pop("place"),
    lambda facts: facts["rates"][0]["startup"].update(same_seed=[0.0]),
])  # fmt: skip
def test_a_result_of_another_shape_is_one_line(tmp_path, capsys, change):
    path = write(tmp_path) / steptimes.FILE
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))
    assert groups.main(["--results", str(tmp_path), "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "not a result of 'python -m reproduce.bench comm'" in said and said.count("\n") == 1


def test_the_file_reads_back_as_it_was_written(tmp_path):
    result = steptimes.read(write(tmp_path))
    assert result.about == ABOUT and [network.mbit for network in result.networks] == [1000.0, None]
    assert {t.variant: t.median for t in result.networks[0].timings} == MEDIANS
    assert result.networks[0].startup == STARTUP
    assert set(steptimes.variants()) == set(MEDIANS), "the benchmark measures something else than is drawn"


def test_both_ways_to_start_are_told(tmp_path):
    _, text = draw(write(tmp_path))
    assert "1.00 s from the same seed, 2.50 s by a broadcast; comparing their checksums 0.30 s" in text


def test_ratios_say_how_many_times_as_fast(tmp_path):
    network = steptimes.read(write(tmp_path)).networks[0]
    assert network.speed(Variant("cubic:3"), Variant("cubic:3", False)) == pytest.approx(1.5)
    assert network.speed(Variant("size:8MB"), DDP) == pytest.approx(2.5 / 1.5)
    assert network.speed(Variant("layer"), DDP) < 1, "the slower one has the smaller number"
    facts, table = draw(tmp_path)
    first = facts["ratios"][0]
    assert (first["network"], first["rule"]) == ("1000 Mbit/s", "cubic:3")
    assert (first["overlap_gain"], first["against_ddp"]) == (pytest.approx(1.5), pytest.approx(1.25))
    row = next(line for line in table.splitlines() if line.startswith("| 1000 Mbit/s | cubic:3 | fp32 "))
    assert row.endswith("| 2,000 (1,900 to 2,300) | 3,000 (2,900 to 3,300) | 1.50x | 1.25x |")


def test_everything_says_what_it_was_measured_on(tmp_path):
    facts, table = draw(write(tmp_path))
    for text in (facts["title"], table):
        assert "NOT the paper's cluster" in text and ABOUT["hardware"] in text and ABOUT["place"] in text
    assert facts["kind"] == "measured" and facts["source"] == "bench/comm.json" and facts["revision"] == "abc"
    assert "the first allreduce began 700 ms before backward ended" in table
    assert "1,750 ms overlapped, 2,250 ms after backward" in table, "medians over the rules of what exceeds compute"


def test_a_missing_file_is_a_hole_with_the_command_that_fills_it(tmp_path, capsys):
    facts, table = draw(tmp_path)
    assert "rates" not in facts and "python -m reproduce.bench comm" in facts["missing"]
    assert "missing" in table and "python -m reproduce.bench comm" in table
    assert f"python -m reproduce.bench comm --out {tmp_path}/bench/comm.json" in capsys.readouterr().out
    figure, ax = plot.plt.subplots()
    exchange.hole(ax)
    assert any("missing" in text.get_text() for text in ax.texts)
    assert any("python -m reproduce.bench comm" in text.get_text() for text in ax.texts)
    plot.plt.close(figure)


@pytest.mark.parametrize("gone", [Variant("layer"), Variant("single", False), HALF, DDP])
def test_a_missing_variant_is_a_cross_and_never_a_number(tmp_path, gone):
    network = steptimes.read(write(tmp_path, without=[gone])).networks[0]
    figure, ax = plot.plt.subplots()
    exchange.panel(ax, network, exchange.rows_of([network]))
    assert [text.get_text() for text in ax.texts] == ["missing"]
    drawn = [line for line in ax.lines if line.get_marker() in "osD" and len(line.get_xdata()) == 1]
    assert len(drawn) == len(MEDIANS) - 2  # the compute-only step is a line
    plot.plt.close(figure)
    facts, table = draw(tmp_path)
    assert "missing" in table
    rows = [r for r in facts["ratios"] if r["network"] == "1000 Mbit/s"]
    for row in rows:
        assert (row["against_ddp"] is None) == (gone == DDP or gone == Variant(row["rule"]))
        assert (row["overlap_gain"] is None) == (gone.rule == row["rule"] and gone != HALF)


def test_a_missing_floor_is_said(tmp_path):
    network = steptimes.read(write(tmp_path, without=[COMPUTE])).networks[0]
    figure, ax = plot.plt.subplots()
    exchange.panel(ax, network, exchange.rows_of([network]))
    assert [text.get_text() for text in ax.texts] == ["step without exchange: missing"]
    plot.plt.close(figure)
    assert "beyond the compute-only step" not in draw(tmp_path)[1]


def test_points_are_medians_over_the_compute_only_step_in_the_same_rows_of_all_panels(tmp_path):
    network = steptimes.read(write(tmp_path)).networks[0]
    twice = replace(network, timings=tuple(replace(t, seconds=tuple(2 * s for s in t.seconds))
                                           for t in network.timings))  # fmt: skip
    rows = exchange.rows_of([network])
    assert [row.rule for row in rows] == [*RULES, "cubic:3", "ddp"]
    for one in (network, twice):
        figure, ax = plot.plt.subplots()
        exchange.panel(ax, one, rows)
        points = [line for line in ax.lines if line.get_marker() in "osD" and len(line.get_xdata()) == 1]
        where = {(line.get_label(), round(line.get_ydata()[0])): line.get_xdata()[0] for line in points}
        assert sorted(where.values()) == pytest.approx(sorted(m for v, m in MEDIANS.items() if v != COMPUTE))
        assert where["_overlapped with backward", rows.index(Variant("layer"))] == pytest.approx(4.0)
        assert where["_after backward", rows.index(Variant("layer"))] == pytest.approx(5.0)
        assert [tick.get_text() for tick in ax.get_yticklabels()] == [*RULES, "cubic:3, fp16", "DDP"]
        plot.plt.close(figure)


def test_printed_at_the_width_of_a_page_no_text_is_smaller_than_7_points(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(plot, "save", lambda figure, out, name, facts: kept.append(figure) or [])
    groups.main(["--results", str(write(tmp_path, without=[DDP])), "--out", str(tmp_path)])
    figure, = kept
    assert figure.get_figwidth() <= 7.0
    shown = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    assert len(shown) > 30 and min(text.get_fontsize() for text in shown) >= 7
    assert len(figure.legends) == 1 and not any(ax.get_legend() for ax in figure.axes)
    plot.plt.close(figure)


def test_the_same_file_gives_the_same_bytes(tmp_path):
    write(tmp_path)
    for out in ("a", "b"):
        draw(tmp_path, tmp_path / out)
    for suffix in ("png", "pdf", "svg", "json", "md"):
        assert (tmp_path / f"a/groups.{suffix}").read_bytes() == (tmp_path / f"b/groups.{suffix}").read_bytes()


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"benchmark": "comm", "kind": "modelled", "rates": []}',
                '{"benchmark": "comm", "kind": "measured", "rates": [{"mbit": 1}]}']
)  # fmt: skip
def test_a_damaged_file_is_one_line_and_no_figure(tmp_path, content, capsys):
    path = write(tmp_path) / steptimes.FILE
    path.write_text(content)
    with pytest.raises(LogError, match="not a result of"):
        steptimes.read(tmp_path)
    assert groups.main(["--results", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "groups.png").exists()


def test_step_times_must_be_there_and_positive(tmp_path):
    path = write(tmp_path) / steptimes.FILE
    for seconds in ([], [0.0, 1.0]):
        facts = json.loads(path.read_text())
        facts["rates"][0]["variants"][0]["seconds"] = seconds
        path.write_text(json.dumps(facts))
        with pytest.raises(LogError, match="no step times"):
            steptimes.read(tmp_path)


def test_it_is_drawn_without_torch(tmp_path):
    write(tmp_path)
    code = f"import sys; sys.modules['torch'] = None; sys.argv = ['groups.py', '--results', {str(tmp_path)!r}]; "
    code += f"sys.path.insert(0, {str(ROOT)!r}); from reproduce import groups; sys.exit(groups.main())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- in the plan, the runner and REPRODUCE.md -----------------------------------------------------------------------


def test_its_state_is_that_of_the_measured_file(tmp_path):
    def state():
        return plan.Plan("quick", ARTEFACTS, only=["groups"], out=tmp_path).state(artefact("groups"))

    assert state() == "missing"
    path = write(tmp_path) / steptimes.FILE
    assert state() == "done"
    for damaged in ("{", "[]", '{"kind": "modelled"}'):
        path.write_text(damaged)
        assert state() == "missing"


def test_it_belongs_to_the_quick_tier_only(tmp_path, capsys):
    assert [a.name for a in plan.Plan("quick", ARTEFACTS, only=["groups"], out=tmp_path).artefacts] == ["groups"]
    assert plan.Plan("node", ARTEFACTS, out=tmp_path).artefacts
    assert not plan.Plan("node", ARTEFACTS, only=["groups"], out=tmp_path).artefacts
    assert run_all.main(["--tier", "node", "--only", "groups", "--data", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "add --tier quick" in capsys.readouterr().err
    assert run_all.main(["--list", "--tier", "quick", "--only", "groups", "--out", str(tmp_path)]) == 0
    assert "missing  Step time" in capsys.readouterr().out


def test_its_minutes_are_those_of_the_published_measurement(tmp_path):
    row = next(line for line in claims.artefacts_block(tmp_path).splitlines() if "groups.py" in line)
    assert row.endswith("| `python -m reproduce.bench comm`: missing | not in this tier | not in this tier |")
    write(tmp_path / "quick")
    row = next(line for line in claims.artefacts_block(tmp_path).splitlines() if "groups.py" in line)
    assert f": 9.5 min ({ABOUT['hardware']}) |" in row
