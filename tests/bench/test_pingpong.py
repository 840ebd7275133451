"""The ping-pong between hosts: what its file says, and, where hosts can be made, what it measures."""

import json

import pytest

from reproduce.bench import __main__ as bench
from reproduce.bench import pingpong
from reproduce.errors import LogError
from reproduce.results import pingpong as results
from reproduce.trials import netns

SIZES = [4, 4096, 1_000_000, 11_000_000]


def write(folder, seconds, **changed):
    path = folder / results.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"benchmark": "pingpong", "kind": "measured", "sizes": SIZES}
    path.write_text(json.dumps(facts | {"rates": [{"mbit": 400.0, "seconds": seconds}]} | changed))
    return folder


def test_latency_is_a_small_messages_and_bandwidth_a_large_ones(tmp_path):
    link, = results.read(write(tmp_path, [[9e-3, 9e-3, 9e-3], [1e-3, 5e-3, 1e-3], [0.01] * 3, [0.221] * 3]))
    assert (link.mbit, link.latency, link.rate) == (400.0, 1e-3, "400 Mbit/s")
    assert link.bandwidth == pytest.approx(11e6 / 0.22)


def test_nothing_measured_is_none_and_a_damaged_file_one_line(tmp_path):
    assert results.read(tmp_path) is None
    write(tmp_path, [[1e-3]] * 4, kind="modelled")
    with pytest.raises(LogError, match="not a result of 'python -m reproduce.bench pingpong'"):
        results.read(tmp_path)
    write(tmp_path, [], rates=[{"mbit": "fast", "seconds": [[9e-3], [1e-3], [0.01], [0.221]]}])
    with pytest.raises(LogError, match="mbit = 'fast'"):
        results.read(tmp_path)
    for seconds in ([[1e-3]] * 3, [[1e-3]] * 4, [[0.0], [1.0], [1.0], [1.0]], [[], [], [], []]):
        write(tmp_path, seconds)
        with pytest.raises(LogError, match="not a result of"):
            results.read(tmp_path)


def test_bad_options_are_one_line(capsys):
    for args, said in ((["--mbit", "fast"], "--mbit fast: must be positive"), (["--rounds", "0"], "at least 1")):
        assert pingpong.main(args) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1


def test_it_is_one_of_the_benchmarks():
    assert "pingpong" in bench.benchmarks()


@pytest.mark.needs(netns.why_not())
def test_a_link_is_no_faster_than_it_was_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pingpong, "SIZES", (4, 4096, 4_000_000))
    path = tmp_path / results.FILE
    assert pingpong.main(["--mbit", "200", "--rounds", "3", "--out", str(path)]) == 0
    link, = results.read(tmp_path)
    assert 0 < link.bandwidth < 1.1 * 25e6, "200 Mbit/s are 25 MB/s"
    assert link.latency > 0
    facts = json.loads(path.read_text())
    assert "network namespaces" in facts["rates"][0]["network"] and facts["hardware"] and facts["revision"]
    assert "200 Mbit/s" in capsys.readouterr().out
