"""Trainings of many workers on several processes (worker_run.py), and how close their weights must be."""

import json
import os

import numpy as np

from tests.helpers import warm


def run(tmp_path, processes: int, *options: dict, node_size: int | None = None) -> list[dict[str, np.ndarray]]:
    """The weights after each of several trainings, one after the other in the same processes."""
    out = tmp_path / f"weights_{processes}_{node_size}.npz"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "NODE_SIZE": str(node_size or processes)}
    for done in warm.run_ranks("tests.helpers.worker_run", [str(out), json.dumps(options)], processes, env):
        assert done.returncode == 0, done.stderr[-2000:]
    found: list[dict] = [{} for _ in options]
    for name, value in np.load(out).items():
        index, _, tensor = name.partition("/")
        found[int(index)][tensor] = value
    return found


def assert_equal_to(expected: dict[str, np.ndarray], found: dict[str, np.ndarray], relative: float, what) -> None:
    """Each tensor within `relative` of the norm of its pair: weight and bias, running mean and variance.

    Not of its own norm: the bias of a batch norm starts at zero, and the next one subtracts most of what it adds, so
    its gradient is a small difference of large sums. What counts is its size beside its weight.
    """
    assert expected.keys() == found.keys()
    pairs: dict[tuple, float] = {}
    for name, value in expected.items():
        pair = name.rpartition(".")[0], "running" in name
        pairs[pair] = np.hypot(pairs.get(pair, 0.0), np.linalg.norm(value.ravel().astype(np.float64)))
    for name, value in expected.items():
        difference = np.linalg.norm((found[name] - value).ravel().astype(np.float64))
        norm = pairs[name.rpartition(".")[0], "running" in name]
        assert difference <= relative * norm, (what, name, difference / norm)
