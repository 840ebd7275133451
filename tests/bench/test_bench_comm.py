"""The communication benchmark: a small measurement from start to file, its time line, and what it says to bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reproduce.bench import __main__ as bench
from reproduce.bench import comm
from reproduce.errors import UserError
from reproduce.results import steptimes, trace
from reproduce.results.steptimes import COMPUTE, DDP, HALF, Variant
from reproduce.trials import netns
from tests.helpers import ROOT

# 112 pixels: backward lasts long enough to send something in it, also on a busy machine
SMALL = ["--hosts", "2", "--steps", "2", "--set", 'model.name="resnet8"', "--set", "data.image_size=112"]
needs_hosts = pytest.mark.needs(netns.why_not())
# forward 0-10, backward 10-30, update to 40; group 0 is sent at once, group 1 waits for it
EVENTS = [
    ("begin", -1, 0), ("forward_end", -1, 10), ("backward_end", -1, 30), ("end", -1, 40),
    ("ready", 0, 12), ("send", 0, 12), ("done", 0, 25), ("ready", 1, 20), ("send", 1, 25), ("done", 1, 36),
]  # fmt: skip


def events(shift: int = 1_000_000) -> trace.Step:
    return trace.Step([(name, group, shift + 1_000_000 * ms) for name, group, ms in EVENTS])


def run(out: Path, *options: str, launcher: str = "from reproduce.bench.__main__ import main") -> subprocess.Popen:
    command = ["comm", *SMALL, "--out", str(out), *options]
    code = f"import sys; {launcher}; sys.exit(main({command!r}))"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, start_new_session=True, **pipes)


# ---- measuring ------------------------------------------------------------------------------------------------------


@needs_hosts
def test_a_small_measurement_has_every_variant_and_a_trace(tmp_path):
    out = tmp_path / "bench" / "comm.json"
    process = run(out, "--mbit", "500")
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    assert "[1/1] 500 Mbit/s: round 3 of 3" in stderr
    result = steptimes.read(tmp_path)
    assert [network.mbit for network in result.networks] == [500]  # the other test has no limit
    assert "2 network namespaces on one machine, tbf 500 Mbit/s each way" in result.networks[0].description
    for network in result.networks:
        assert {t.variant for t in network.timings} == set(steptimes.variants())
        assert all(len(t.seconds) == 2 for t in network.timings), "the warm-up round was counted"
        size = {t.variant: t.bytes for t in network.timings}
        whole = size[Variant("single")]
        assert size[COMPUTE] == 0 and size[Variant("cubic:3")] == size[Variant("layer", False)] == whole
        assert 0.5 * whole < size[HALF] < 0.55 * whole and size[DDP] == whole
        groups = {t.variant.rule: t.groups for t in network.timings}
        assert groups["single"] < groups["cubic:3"] < groups["layer"], "weights, and batch norm by itself"
        assert network.lead_ms > 0, "nothing was sent before backward ended"
        assert sorted(network.startup) == ["broadcast", "check", "same_seed"]
        assert all(min(seconds) > 0 for seconds in network.startup.values())
        assert f"{network.rate}: the first allreduce began {network.lead_ms:,.0f} ms before" in stdout
    assert result.about["model"] == "resnet8" and result.about["steps"] == 2 and result.about["revision"]
    spans = [e for e in json.loads((tmp_path / "bench" / trace.FILE).read_text())["traceEvents"] if e["ph"] == "X"]
    assert sum(e["pid"] == 0 and e["name"].endswith("allreduce") for e in spans) == groups["cubic:3"]


def test_without_namespaces_it_measures_on_loopback_and_says_so(tmp_path):
    blind = "from reproduce.trials import netns; netns.why_not = lambda: 'no root here'; "
    process = run(tmp_path / "bench" / "comm.json", launcher=blind + "from reproduce.bench.__main__ import main")
    _, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    assert "no root here: measuring on loopback" in stderr
    result = steptimes.read(tmp_path)
    assert [network.mbit for network in result.networks] == [None]
    assert result.about["place"] == "loopback of one machine"
    assert all(t.median > 0 for t in result.networks[0].timings)


def test_each_rate_is_measured_and_has_a_row_of_the_trace(tmp_path, monkeypatch, capsys):
    """Here with measurements that are made up; the real ones above have one rate each."""
    about = {"hardware": "a machine", "precision": "fp32", "python": "3", "torch": "2", "revision": None}
    one = {"rule": "cubic:3", "overlap": True, "wire": "fp32", "seconds": [0.1, 0.2], "groups": 3, "bytes": 9}
    made_up = {"variants": [one], "trace": events().events, "startup": {"same_seed": [1.0]}, "about": about}
    monkeypatch.setattr(netns, "why_not", lambda: "")
    monkeypatch.setattr(comm, "measure", lambda given, mbit, label, loopback: (label, made_up))
    out = tmp_path / "bench" / "comm.json"
    assert bench.main(["comm", *SMALL, "--mbit", "500,unlimited", "--out", str(out)]) == 0
    networks = steptimes.read(tmp_path).networks
    assert [(network.mbit, network.description) for network in networks] == [
        (500, "[1/2] 500 Mbit/s"), (None, "[2/2] unlimited")
    ]  # fmt: skip
    spans = [e for e in json.loads((tmp_path / "bench" / trace.FILE).read_text())["traceEvents"] if e["ph"] == "X"]
    assert {e["pid"] for e in spans if e["name"].endswith("allreduce")} == {0, 1}
    assert capsys.readouterr().out.count("the first allreduce began") == 2


@needs_hosts
@pytest.mark.parametrize(("signum", "when"), [(signal.SIGINT, "round 1 of"), (signal.SIGTERM, "starting")])
def test_stopped_half_way_it_leaves_nothing_behind(tmp_path, signum, when):
    out = tmp_path / "bench" / "comm.json"
    process = run(out, "--mbit", "20", "--steps", "1000")
    own, give_up = f"-{process.pid}-", time.monotonic() + 120
    for line in process.stderr:
        if when in line:
            break
    while not any(own in name for name in netns.names()):
        assert time.monotonic() < give_up, "no namespace was made"
        time.sleep(0.02)
    process.send_signal(signum)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + signum and "Traceback" not in stderr and "run the same command again" in stderr
    assert not any(own in name for name in netns.names()) and os.listdir(out.parent) == []


@pytest.mark.parametrize(("why_not", "place"), [("", "on_hosts"), ("no root here", "on_loopback")])
def test_a_failing_measurement_is_an_error_and_writes_nothing(tmp_path, why_not, place, monkeypatch, capsys):
    monkeypatch.setattr(netns, "why_not", lambda: why_not)
    monkeypatch.setattr(comm, place, lambda *_: ("a network", "rank 1: out of memory"))
    assert bench.main(["comm", *SMALL, "--mbit", "unlimited", "--out", str(tmp_path / "comm.json")]) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last == "error: [1/1] unlimited: the measurement failed: rank 1: out of memory"
    assert not list(tmp_path.iterdir())


# ---- the time line --------------------------------------------------------------------------------------------------


def test_lead_is_from_the_first_send_to_the_end_of_backward():
    assert events().lead_ms == pytest.approx(18)
    late = trace.Step([*EVENTS[:4], ("ready", 0, 12), ("send", 0, 32), ("done", 0, 36)])
    assert late.lead_ms == pytest.approx(-2e-6), "sent after backward: negative, not hidden"


def test_chrome_gets_spans_in_microseconds_by_row():
    found = json.loads(trace.chrome([("1000 Mbit/s", events()), ("unlimited", events(5))]))["traceEvents"]
    names = [e["args"]["name"] for e in found if e["ph"] == "M" and e["name"] == "process_name"]
    assert names == ["1000 Mbit/s", "unlimited"]
    spans = {(e["name"]): (e["ts"], e["dur"]) for e in found if e["ph"] == "X" and e["pid"] == 1}
    assert spans["backward"] == (10_000, 20_000) and spans["group 1 allreduce"] == (25_000, 11_000)
    assert spans["group 1 waits"] == (20_000, 5_000) and "group 0 waits" not in spans


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--mbit", "fast"], "must be positive numbers or 'unlimited'"),
        (["--mbit", "100,-1"], "must be positive numbers or 'unlimited'"),
        (["--rules", "cubic:0"], "cubic:F"),
        (["--rules", "ddp"], "always measured"),
        (["--hosts", "1"], "must be at least 2"),
        (["--steps", "0"], "must be at least 1"),
        (["--set", "schedule.peak_lr=-1"], "schedule.peak_lr = -1.0: must be positive"),
        (["--out", "/proc/bench/comm.json"], "cannot write results"),
    ],
)
def test_bad_input_is_one_line_and_starts_nothing(options, says, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(comm, "measure", lambda *_: pytest.fail("started"))
    assert bench.main(["comm", "--out", str(tmp_path / "comm.json"), *options]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and says in err


def test_a_delay_without_netem_in_the_kernel_is_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(netns, "why_not", lambda: "")
    monkeypatch.setattr(netns, "has_netem", lambda: False)
    monkeypatch.setattr(comm, "launch", lambda *_: pytest.fail("started"))
    assert bench.main(["comm", "--out", str(tmp_path / "comm.json"), "--delay-ms", "5"]) == 2
    assert "error: a delay of 5.0 ms: this kernel has no netem" in capsys.readouterr().err


def test_an_unknown_benchmark_names_the_nearest(capsys):
    assert bench.main(["com"]) == 2
    assert "com: no such benchmark: did you mean 'comm'?" in capsys.readouterr().err
    assert "comm" in bench.benchmarks() and "hosts" not in bench.benchmarks(), "not every module is a benchmark"


def test_a_full_disk_keeps_the_old_result(tmp_path, monkeypatch):
    path = tmp_path / "comm.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(UserError, match="No space left"):
        comm.write(path, "new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["comm.json"]
