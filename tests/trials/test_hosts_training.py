"""Four hosts in network namespaces train the quick config to the same weights as one process."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reproduce.bench import __main__ as bench
from reproduce.engine.checkpoint import Checkpoints
from reproduce.engine.data.folders import MARKER
from reproduce.errors import UserError
from reproduce.recipe import load as configs
from reproduce.recipe.schedule import Schedule
from reproduce.trials import netns, weights

needs_hosts = pytest.mark.needs(netns.why_not())
UPDATES = 4


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Made-up images in the lay-out of the embedded data set: a pattern per class, and noise."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(5)
    for label in range(10):
        pattern = rng.uniform(0, 255, (28, 28))
        for part, count in (("train", UPDATES * 80), ("val", 2)):
            folder = root / part / str(label)
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = 0.6 * pattern + 0.4 * rng.uniform(0, 255, (28, 28))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:04d}.png")
    (root / MARKER).write_text("{}")
    return root


@needs_hosts
def test_four_hosts_end_with_the_weights_of_one_process(images, capsys):
    options = ["--hosts", "4", "--data", str(images), "--updates", str(UPDATES), "--set", "data.val_images=20"]
    code = bench.main(["weights", *options])
    out, err = capsys.readouterr()
    assert code == 0, out + err
    assert f"4 hosts x 1 process(es) and one process, {UPDATES} updates of headline_b800_w20: the same weights" in out
    difference = float(re.search(r"of a tensor ([\d.e-]+)", out)[1])
    assert 0 < difference <= 1e-5, "equal bits: sums over four processes were not taken, or one run was compared twice"


@needs_hosts
def test_a_run_that_fails_is_one_line(tmp_path, capsys):
    assert bench.main(["weights", "--data", str(tmp_path / "nowhere")]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: 1 host(s) of 1 process(es): ") and "no such folder" in last


def test_the_updates_are_the_first_of_the_config():
    """The same rates as those of the whole run, but for the last update, where the short one decays."""
    whole = configs.load(weights.CONFIG)
    short = configs.load(weights.CONFIG, weights.beginning(8))
    assert short.total_updates == 8 and short.global_batch() == whole.global_batch() == 800
    rates = [[Schedule.of(config).lr(update) for update in range(7)] for config in (short, whole)]
    assert rates[0] == pytest.approx(rates[1]) and rates[0][6] > rates[0][1]


def save(folder: Path, updates: int, **changes: float) -> Path:
    tensors = {"a.weight": torch.full((4,), 3.0), "a.bias": torch.full((4,), 4.0), "b.weight": torch.ones(2)}
    for name, by in changes.items():
        tensors[name.replace("__", ".")] += by
    Checkpoints(folder).save({"weights": tensors}, updates)
    return folder


def test_compare_names_the_tensor_that_differs_most(tmp_path):
    one = save(tmp_path / "one", 8)
    assert weights.compare(one, save(tmp_path / "same", 8))[:2] == (8, 0.0)
    updates, difference, name = weights.compare(one, save(tmp_path / "other", 8, a__bias=1e-3, b__weight=1e-4))
    assert name == "a.bias" and difference == pytest.approx(1e-3 / 5, rel=1e-2), "relative to weight and bias together"
    with pytest.raises(UserError, match="equally many updates"):
        weights.compare(one, save(tmp_path / "later", 9))


def test_different_weights_are_said_and_fail(monkeypatch, tmp_path, capsys):
    pair = save(tmp_path / "one", 8), save(tmp_path / "other", 8, b__weight=1e-4)
    monkeypatch.setattr(weights, "train_both", lambda *_: pair)
    assert bench.main(["weights"]) == 1
    out = capsys.readouterr().out
    assert "DIFFERENT weights" in out and "1.0e-04 (b.weight)" in out
