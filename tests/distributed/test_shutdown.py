"""Recorded updates of two processes, gloo for NCCL: one order of sums, and graphs gone before the connection."""

import json
import sys

import pytest

from reproduce.engine.spawn import launch
from reproduce.errors import EXIT_PREEMPTED
from tests.helpers import shutdown_run

UPDATES = 16  # 4 epochs of 4


def run(folder, what: str) -> tuple[int, list[dict]]:
    """The exit code, and what each process has seen."""
    code = launch([sys.executable, "-m", "tests.helpers.shutdown_run", str(folder), what], 2)
    found = [folder / f"{rank}.json" for rank in range(2)]
    return code, [json.loads(path.read_text()) for path in found if path.exists()]


@pytest.mark.parametrize(("what", "code"), [("end", 0), ("stop", EXIT_PREEMPTED)])
def test_graphs_go_before_the_connection_and_sums_are_in_one_order(tmp_path, what, code):
    found, (one, other) = run(tmp_path, what)
    assert found == code, "a graph was alive when the processes disconnected" if found == shutdown_run.HANGS else found
    assert one == other, "NCCL pairs sums by the order in which each process begins them"
    assert one["replayed"] >= (UPDATES if what == "end" else shutdown_run.STOPPED_AT)
    assert len({tuple(sent) for sent in one["sums"]}) > 1, "groups of several sizes"


def test_a_graph_that_somebody_keeps_would_hang(tmp_path):
    code, _ = run(tmp_path, "leak")
    assert code == shutdown_run.HANGS
