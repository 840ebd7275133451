"""python -m reproduce.cluster: answers to read, files others can open, one line for what cannot be answered."""

import json
import re
import subprocess
import sys

import pytest

from reproduce.cluster import files, local, show, uncertainty
from reproduce.cluster.__main__ import main
from reproduce.cluster.step import Work
from reproduce.errors import LogError
from reproduce.paths import PUBLISHED
from tests.helpers import ROOT


def test_the_answer_has_breakdown_rates_time_limit_and_three_changes(capsys):
    assert main(["--cluster", "abci", "--gpus", "2048", "--local-batch", "40"]) == 0
    text = capsys.readouterr().out
    found = uncertainty.drawn(Work(40), 2048, uncertainty.draws(files.load("abci")))
    one = found.step
    assert text.startswith("modelled: ABCI") and "paper_configs/clusters/abci.toml" in text
    assert "calibrated on V100 NGC 18.11" in text and "mini-batch 81,920; 5 sums (cubic:3), overlapped" in text
    shares = [float(share) for share in re.findall(r"ms +([\d.]+)%", text)]
    assert sum(shares) == pytest.approx(100, abs=0.5) and len(shares) == 8
    assert f"{1e3 * one.total:.2f} ms" in text and f"{one.images_per_second:,.0f}" in text
    assert re.search(r"efficiency +\d\d\.\d%", text) and "time to 90 epochs" in text and "1,440 updates" in text
    assert "limited by the GPUs' compute" in text and "5 to 95 % of 51 draws" in text
    assert f"({found.rate.low:,.0f} to {found.rate.high:,.0f})" in text
    assert re.search(r"90 % interval +[\d,]+ +to [\d,]+", text) and re.search(r"\d+ of 65 public systems", text)
    assert len(re.findall(r"^ +\+\d+\.\d %  ", text, re.M)) == 3


def test_other_questions_give_other_answers(capsys, monkeypatch):
    monkeypatch.setattr(show, "draws", lambda cluster: uncertainty.draws(cluster, 2))

    def rate(*args):
        assert main([*args]) == 0
        return int(re.search(r"images/s, steady +([\d,]+)", capsys.readouterr().out)[1].replace(",", ""))

    base = rate()
    assert rate("--rule", "layer") < rate("--no-overlap", "--rule", "cubic:3") < base
    assert rate("--stack", "V100 NGC 19.05") > base
    assert rate("--cluster", "dgx-a100", "--gpus", "1024") > rate("--cluster", "abci", "--gpus", "1024")


def test_a_trace_opens_as_chrome_reads_it_and_is_the_step(tmp_path, capsys):
    path = tmp_path / "step.json"
    assert main(["--gpus", "2048", "--trace", str(path)]) == 0
    events = json.loads(path.read_text())["traceEvents"]
    one = uncertainty.drawn(Work(40), 2048, uncertainty.draws(files.load("abci"))).step
    names = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert names == ["modelled: 2,048 GPUs of abci, 40 images each, cubic:3"]
    spans = {event["name"]: event for event in events if event["ph"] == "X"}
    assert len([name for name in spans if name.endswith("allreduce")]) == len(one.sums)
    last = spans[f"group {len(one.sums) - 1} allreduce"]
    assert last["ts"] + last["dur"] == pytest.approx(1e6 * one.sums[-1].end, abs=1e-2)
    assert spans["backward"]["ts"] == pytest.approx(1e6 * one.forward_end, abs=1e-2)
    assert main(["sweep", "--trace", str(path)]) == 2
    assert "only the answer has a step to trace" in capsys.readouterr().err


def test_tables_are_written_where_asked(tmp_path, capsys):
    for command, said in (("sweep", "| 4,096 |"), ("sensitivity", "| software.contention |")):
        assert main([command, "--out", str(tmp_path / f"{command}.md")]) == 0
        printed, written = capsys.readouterr().out, (tmp_path / f"{command}.md").read_text()
        assert written in printed and said in written and "odelled" in written


def test_the_calibration_says_whether_its_file_is_up_to_date(tmp_path, capsys):
    assert main(["calibrate", "--check"]) == 0 and "up to date" in capsys.readouterr().out
    path = tmp_path / "calibrated.toml"
    assert main(["calibrate", "--out", str(path)]) == 0 and "largest residual" in capsys.readouterr().out
    assert path.read_bytes() == files.CALIBRATED.read_bytes()
    path.write_text(path.read_text().replace("0", "1", 1))
    assert main(["calibrate", "--check", "--out", str(path)]) == 1 and "out of date" in capsys.readouterr().out


@pytest.mark.parametrize("args, said", [
    (["--cluster", "abcd"], "no such cluster: did you mean 'abci'"),
    (["--gpus", "2047"], "must fill nodes of 4"),
    (["--local-batch", "0"], "--local-batch 0: must be at least 1"),
    (["--rule", "size:4"], "group rule 'size:4'"),
    (["--stack", "V100"], "no stack 'V100'"),
])  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(args, said, capsys):
    assert main(args) == 2
    error = capsys.readouterr().err
    assert said in error and error.startswith("error: ") and error.count("\n") == 1


def test_it_runs_without_torch():
    code = "import sys; sys.modules['torch'] = None; from reproduce.cluster import __main__; "
    code += "sys.exit(__main__.main(['sweep']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "| 2,048 |" in done.stdout


# ---- this machine ---------------------------------------------------------------------------------------------------


def test_the_measured_exchange_is_predicted_within_a_fifth():
    """From the step without exchange and the ping-pong; many small sums at no limit are the cores' work, no link's."""
    found = local.predictions(PUBLISHED / "quick")
    limited = [one for one in found if one.network != "unlimited"]
    assert len(found) == 24 and len(limited) == 16
    assert max(abs(one.error) for one in limited) <= local.TOLERANCE
    assert sum(abs(one.error) > local.TOLERANCE for one in found) <= 2
    assert all(measured == modelled for one in found for measured, modelled in [one.sums])
    text = show.local_text(found)
    assert (ROOT / "figures/modelled/local.md").read_text() == text
    assert f"{sum(abs(one.error) <= 20 for one in found)} of 24 within 20 %" in text
    for one in found:
        assert f"{1e3 * one.measured:,.0f} | {1e3 * one.modelled:,.0f} | {one.error:+.1f} % |" in text


def test_the_steps_with_an_exchange_change_no_constant(tmp_path):
    """Falsified, they leave the predictions as they are; the step without exchange does not."""
    (tmp_path / "bench").mkdir()
    text = (PUBLISHED / "quick/bench/comm.json").read_text()
    (tmp_path / "bench/pingpong.json").write_text((PUBLISHED / "quick/bench/pingpong.json").read_text())

    def modelled(falsify):
        facts = json.loads(text)
        for rate in facts["rates"]:
            for variant in rate["variants"]:
                if falsify(variant["rule"]):
                    variant["seconds"] = [2 * seconds for seconds in variant["seconds"]]
        (tmp_path / "bench/comm.json").write_text(json.dumps(facts))
        return [one.modelled for one in local.predictions(tmp_path)]

    before = modelled(lambda rule: False)
    assert modelled(lambda rule: rule != "none") == before
    assert min(after - now for after, now in zip(modelled(lambda rule: rule == "none"), before)) > 0.2


def test_a_missing_measurement_is_named_with_its_command(tmp_path):
    with pytest.raises(LogError, match="nothing measured: run 'python -m reproduce.bench comm"):
        local.predictions(tmp_path)
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench/comm.json").write_text((PUBLISHED / "quick/bench/comm.json").read_text())
    with pytest.raises(LogError, match="nothing measured: run 'python -m reproduce.bench pingpong"):
        local.predictions(tmp_path)
