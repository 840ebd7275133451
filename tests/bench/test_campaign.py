"""A campaign: what ends how, that it goes on after a kill, that it stops at its limit, and what it is made of."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from reproduce.bench import __main__ as bench
from reproduce.bench import apart, campaign, contest, process
from reproduce.bench import step as bench_step
from reproduce.bench.steps import plan, step
from reproduce.bench.steps.run import SUMMARY, Campaign
from reproduce.bench.steps.step import OUT, Step
from reproduce.recipe import load as configs
from reproduce.supervise import Foreground
from tests.helpers import ROOT


def stub(folder, name, do, estimate=1.0, deadline=60.0, **request) -> Step:
    text = json.dumps({"out": OUT, "do": do, "count": str(folder / f"{name}.count")} | request)
    return Step(name, "a stub", ("tests.helpers.campaign_step", text), estimate, deadline)


def starts(folder, name) -> int:
    path = folder / f"{name}.count"
    return len(path.read_text().splitlines()) if path.exists() else 0


def run(steps, folder, seconds=600.0) -> tuple[Campaign, list[str]]:
    said: list[str] = []
    one = Campaign(steps, folder, seconds, said.append)
    with Foreground() as foreground:
        one.run(foreground)
    return one, said


def outcomes(one: Campaign) -> dict[str, str]:
    return {name: ended.outcome if ended else step.NOT_RUN for name, ended in one.found().items()}


# ---- how steps end --------------------------------------------------------------------------------------------------


def test_whatever_becomes_of_a_step_the_next_is_run(tmp_path):
    steps = [stub(tmp_path, "first", "measure"), stub(tmp_path, "large", "memory"), stub(tmp_path, "broken", "fail"),
             stub(tmp_path, "lacking", "absent"), stub(tmp_path, "last", "measure")]  # fmt: skip
    one, _ = run(steps, tmp_path)
    assert outcomes(one) == {"first": "measured", "large": "out of memory", "broken": "failed",
                             "lacking": "not installed", "last": "measured"}  # fmt: skip
    broken = json.loads((tmp_path / "broken.json").read_text())
    assert broken["last_lines"] == ["a line before", "RuntimeError: no such kernel", "exit code 3"]
    large = json.loads((tmp_path / "large.json").read_text())
    assert "Tried to allocate 90 GB" in large["last_lines"][-1] and large["hardware"] == "a machine"
    assert one.open_steps() == one.failed() == ["broken"], "what has no room, or is not installed, is a result"
    summary = (tmp_path / SUMMARY).read_text()
    assert "still open: broken\n" in summary and "| first | measured |" in summary and "a: 2.00 ms" in summary


def test_what_a_step_says_is_not_written_through_a_link(tmp_path):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "first.log").symlink_to(tmp_path / "victim")
    run([stub(tmp_path, "first", "measure")], tmp_path)
    assert (tmp_path / "victim").read_text() == "mine" and not (tmp_path / "first.log").is_symlink()


def test_what_is_settled_is_kept_and_the_rest_tried_again(tmp_path):
    steps = [stub(tmp_path, name, do) for name, do in [("a", "measure"), ("b", "memory"), ("c", "fail")]]
    run(steps, tmp_path)
    before = {name: (tmp_path / f"{name}.json").read_bytes() for name in "ab"}
    run(steps, tmp_path)
    assert [starts(tmp_path, name) for name in "abc"] == [1, 1, 2]
    assert before == {name: (tmp_path / f"{name}.json").read_bytes() for name in "ab"}


def test_a_step_that_takes_too_long_is_ended_and_stays_open(tmp_path):
    late = stub(tmp_path, "late", "wait", deadline=1.0, until=str(tmp_path / "never"))
    one, said = run([late, stub(tmp_path, "next", "measure")], tmp_path)
    assert outcomes(one) == {"late": "out of time", "next": "measured"} and one.open_steps() == ["late"]
    assert "late: out of time after" in said[1]


def test_the_limit_leaves_open_what_would_not_fit_and_takes_what_does(tmp_path):
    steps = [stub(tmp_path, "long", "measure", estimate=900.0), stub(tmp_path, "short", "measure")]
    one, said = run(steps, tmp_path, seconds=60.0)
    assert outcomes(one) == {"long": step.NOT_RUN, "short": "measured"} and not starts(tmp_path, "long")
    assert "long: left open: it takes about 900 s and" in said[0] and "still open: long" in one.summary()


KILLED = """
import json, sys
from pathlib import Path
from reproduce.bench.steps.run import Campaign
from reproduce.supervise import Foreground
from tests.bench.test_campaign import stub
folder = Path(sys.argv[1])
steps = [stub(folder, "a", "measure"), stub(folder, "b", "wait", until=str(folder / "go"))]
with Foreground() as foreground:
    Campaign(steps, folder, 600).run(foreground)
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_campaign_that_was_killed_goes_on(tmp_path, signum):
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, stderr=subprocess.DEVNULL)
    give_up = time.monotonic() + 60
    while not starts(tmp_path, "b") and time.monotonic() < give_up:
        time.sleep(0.05)
    os.kill(child.pid, signum)
    assert child.wait(30) != 0
    before = (tmp_path / "a.json").read_bytes()
    assert not (tmp_path / "b.json").exists(), "nothing half measured is kept as measured"
    (tmp_path / "go").touch()
    one, said = run([stub(tmp_path, "a", "measure"), stub(tmp_path, "b", "measure")], tmp_path)
    assert outcomes(one) == {"a": "measured", "b": "measured"} and said[0] == "[1/2] a: measured before"
    assert starts(tmp_path, "a") == 1 and (tmp_path / "a.json").read_bytes() == before


def test_a_file_that_is_no_step_is_refused_in_a_line(tmp_path):
    (tmp_path / "a.json").write_text(contest.Result("x", {"hardware": "h"}, ()).to_json())
    with pytest.raises(step.UserError, match="not a campaign's step: outcome None: remove it"):
        run([stub(tmp_path, "a", "measure")], tmp_path)


# ---- what it is made of ---------------------------------------------------------------------------------------------


def test_a_cpu_takes_the_steps_of_a_gpu():
    assert [one.name for one in plan.steps("cpu")] == [one.name for one in plan.steps("cuda")]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_step_can_be_asked_for(device):
    """Its module is there, its recipe loads, and a benchmark's command takes its words."""
    for one in plan.steps(device):
        assert one.deadline > one.estimate and any(OUT in word for word in one.words), one.name
        module, request = one.words[0], one.words[1]
        if module == "reproduce.bench":
            assert request in bench.benchmarks() and "--device" in one.words, one.name
            continue
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), one.name
        asked = json.loads(request)
        recipe = asked.get("caches", asked)
        configs.load(recipe["config"], recipe["overrides"])


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_commands_take_the_words_of_their_steps(device, tmp_path, monkeypatch):
    """Up to the request that a process gets, which is never started."""
    monkeypatch.setattr(bench_step, "gpu_count", lambda: 1)
    held = []
    for owner in (process, apart):
        monkeypatch.setattr(owner, "run", lambda *given, **options: held.append(given) or 0)
    monkeypatch.setattr(process, "keep", lambda *given: held.append(given) or 0)
    commands = [one for one in plan.steps(device) if one.words[0] == "reproduce.bench"]
    for one in commands:
        assert bench.main([*one.argv(tmp_path / "found.json")[1:]]) == 0, one.name
    assert len(held) == len(commands)
    sizes = [given[1]["contests"][0] for given in held if given[0] == "step"]
    assert [one["precisions"] for one in sizes] == ([["bf16"]] * 2 + [["fp16" if device == "cuda" else "fp32"]] * 2)


def test_a_gpus_campaign_fits_two_calls():
    """The most valuable half into the first of 28 minutes, by the estimates."""
    seconds = [one.estimate for one in plan.steps("cuda")]
    assert sum(seconds) < 2 * 28 * 60
    names = [one.name for one in plan.steps("cuda")]
    assert names[:2] == ["device", "parity"] and sum(seconds[: names.index("step_12x40_bf16") + 1]) < 28 * 60


def test_one_step_for_real(tmp_path, capsys):
    assert bench.main(["campaign", "--cpu", "--only", "device", "--out", str(tmp_path)]) == 0
    ended = step.read(tmp_path / "cpu" / "device.json")
    assert ended.outcome == "measured" and ended.found.about["hardware"]
    assert "nothing is open" in capsys.readouterr().out
    values = {row.name: row.values for row in ended.found.tables[0].rows}
    assert len(values["update after the first"]) == 3 and not (tmp_path / "cuda").exists()


# ---- the command ----------------------------------------------------------------------------------------------------


def test_the_list_runs_nothing(tmp_path, capsys):
    assert bench.main(["campaign", "--list", "--out", str(tmp_path / "new")]) == 0
    out = capsys.readouterr().out
    assert "| full_update | not run |" in out and "minutes in all, expected" in out
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "no NVIDIA GPU found: add --cpu"),
        (["--minutes", "0"], "--minutes 0: must be above 0"),
        (["--cpu", "--only", "parety"], "--only parety: no such step: did you mean 'parity'?"),
    ],
)
def test_bad_input_is_one_line_and_starts_nothing(options, says, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(campaign, "gpu_count", lambda: 0)
    monkeypatch.setattr(Campaign, "run", lambda *_: pytest.fail("started"))
    assert bench.main(["campaign", "--out", str(tmp_path / "out"), *options]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and says in err and not (tmp_path / "out").exists()
