"""The table of what the check can see: made from logs that are there, on the published regression runs."""

import json
import shutil

import pytest

from reproduce.events import log_path
from reproduce.paths import FIGURES
from reproduce.trials import power

LOGS = FIGURES / "measured/quick/logs" / power.CONFIG.stem


def test_a_row_counts_the_refused_with_their_tests_and_an_interval(tmp_path, capsys, monkeypatch):
    def there(change, config, seed, data, out):
        return LOGS / f"result_{seed - 100}.txt"

    monkeypatch.setattr(power, "train", there)
    monkeypatch.setattr(power, "outcome", lambda path, reference: None if path.name == "result_2.txt" else
                        power.compare(power.stored.run_of(power.read_log(path)), reference))  # fmt: skip
    assert power.main(["--data", "x", "--out", str(tmp_path), "--seeds", "4", "rate x 1.15"]) == 0
    assert "rate x 1.15 | 1 of 4 | 5 to 70 % | divergence 1" in capsys.readouterr().out
    rows = json.loads((tmp_path / "power.json").read_text())["rows"]
    assert rows == [{"name": "rate x 1.15", "n": 4, "refused": 1, "tests": {"divergence": 1}}]
    assert "| rate x 1.15 | 1 of 4 |" in (tmp_path / "power.md").read_text()


def test_the_changes_are_overrides_that_the_recipe_takes():
    hashes = {change.name: power.configs.load(power.CONFIG, change.overrides).hash for change in
              power.changes(power.CONFIG)}  # fmt: skip
    assert len(set(hashes.values())) == len(hashes) >= 10
    assert hashes["none"] == power.configs.load(power.CONFIG).hash


def test_a_run_that_is_there_is_not_trained_again(tmp_path):
    change = power.changes(power.CONFIG)[0]
    path = log_path(tmp_path / "none", power.CONFIG.stem, 101)
    path.parent.mkdir(parents=True)
    shutil.copyfile(LOGS / "result_1.txt", path)
    assert power.train(change, power.CONFIG, 101, tmp_path / "no data", tmp_path) == path


def test_an_unknown_change_and_a_recipe_without_curves_are_one_line(tmp_path, capsys):
    base = ["--data", "x", "--out", str(tmp_path)]
    assert power.main([*base, "rate x 9"]) == 2
    assert "no such change: known are none, rate x 0.7" in capsys.readouterr().err
    assert power.main([*base, "--config", "paper_configs/quick/batch_b480_w20.toml"]) == 2
    assert "no stored curves of recipe" in capsys.readouterr().err


@pytest.mark.parametrize(("hits", "n", "low", "high"), [(0, 5, 0, 0.434), (5, 5, 0.566, 1), (5, 10, 0.237, 0.763)])
def test_the_interval_of_a_share(hits, n, low, high):
    assert power.interval(hits, n) == pytest.approx((low, high), abs=1e-3)
