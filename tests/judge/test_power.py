"""The table of what the check can see: made from logs that are there, on the published regression runs."""

import json
import shutil
import statistics

import pytest

from reproduce.errors import LogError
from reproduce.events import Event, log_path
from reproduce.judge import power as table_of
from reproduce.paths import FIGURES
from reproduce.trials import faulty, power

LOGS = FIGURES / "measured/quick/logs" / power.CONFIG.stem


REFERENCE = power.reference_of(power.CONFIG)


def shortened(path, seed, loss, out):
    """The log of a stored run cut after its first epoch, whose loss is `loss`."""
    lines = (LOGS / f"result_{seed}.txt").read_text().splitlines()
    end = next(i for i, line in enumerate(lines) if '"epoch_stop"' in line)
    before, _, rest = lines[end].partition('"train_loss": ')
    lines[end] = f'{before}"train_loss": {loss}{rest[rest.index("}"):]}'
    out.mkdir(parents=True, exist_ok=True)
    (out / path).write_text("\n".join(lines[: end + 1]) + "\n")
    return out / path


def test_a_row_counts_the_refused_with_their_tests_an_interval_and_the_shifts(tmp_path, capsys, monkeypatch):
    spread = statistics.stdev(run.loss[1] for run in REFERENCE.runs if run.seed != 2)

    def there(fault, config, seed, data, out, epochs):
        own = next(run.loss[1] for run in REFERENCE.runs if run.seed == seed)
        return shortened(f"result_{seed}.txt", seed, own + (0.5 * spread if seed == 2 else 0), tmp_path / "logs")

    monkeypatch.setattr(power, "train", there)
    argv = ["--data", "x", "--out", str(tmp_path), "--seeds", "4", "--first", "1", "--epochs", "1", "rate x 1.15"]
    assert power.main(argv) == 0
    assert "rate x 1.15 | 1 of 4 | 5 to 70 % | +0.00 to +0.50 | same seed 1" in capsys.readouterr().out
    facts = json.loads((tmp_path / "power.json").read_text())
    one, = facts["rows"]
    assert (one["n"], one["refused"], one["tests"]) == (4, 1, {"same seed": 1})
    assert one["shifts"] == pytest.approx([0, 0.5, 0, 0]) and facts["hardware"] and facts["epochs"] == 1
    assert "| rate x 1.15 | 1 of 4 |" in (tmp_path / "power.md").read_text()


def test_a_whole_run_meets_every_test_and_one_cut_short_needs_a_stored_seed(tmp_path):
    assert power.outcome(LOGS / "result_1.txt", REFERENCE) == []
    path = shortened("result_101.txt", 1, 2.3, tmp_path)
    path.write_text(path.read_text().replace('"key": "seed", "value": 1,', '"key": "seed", "value": 101,'))
    with pytest.raises(power.UserError, match="seed 101 is not stored"):
        power.outcome(path, REFERENCE)


def test_a_run_stopped_before_its_end_is_not_done_unless_fewer_epochs_were_asked_for(tmp_path):
    path, lines = tmp_path / "result_1.txt", (LOGS / "result_1.txt").read_text().splitlines()
    path.write_text("\n".join(lines[:-2]) + "\n")
    assert sum('"epoch_stop"' in line for line in lines[:-2]) == 6
    assert not power.done(path, 6) and power.done(path, 5)
    assert not power.done(tmp_path / "gone.txt", 1)
    path.write_text("\n".join(lines[:2]) + "\n")
    assert not power.done(path, 1)


def test_a_run_that_is_there_is_not_trained_again(tmp_path):
    path = log_path(tmp_path / "none", power.CONFIG.stem, 101)
    path.parent.mkdir(parents=True)
    shutil.copyfile(LOGS / "result_1.txt", path)
    assert power.train("none", power.CONFIG, 101, tmp_path / "no data", tmp_path, 6) == path


def test_a_run_of_all_epochs_comes_to_its_end_and_one_of_fewer_is_cut():
    keys = [("run_start", 0), ("epoch_start", 1), ("epoch_stop", 1), ("epoch_start", 2), ("epoch_stop", 2),
            ("eval_accuracy", 2), ("run_stop", 0)]  # fmt: skip
    events = [Event(key, None, {"epoch_num": number}) for key, number in keys]
    found = {epochs: [event.key for event in faulty.until(epochs, lambda: iter(events))()] for epochs in (1, 2)}
    assert found == {1: [key for key, _ in keys[:3]], 2: [key for key, _ in keys]}


def test_every_mistake_changes_what_it_names_and_is_undone():
    config = power.configs.load(power.CONFIG)
    clean = faulty.Schedule.of(config)
    before = [(clean.lr(i), clean.weight_decay_at(i), clean.momentum(i)) for i in (0, 50, 200)]
    for name, fault in faulty.FAULTS.items():
        with fault():
            found = [(clean.lr(i), clean.weight_decay_at(i), clean.momentum(i)) for i in (0, 50, 200)]
            if name.startswith("rate x"):
                assert found[1][0] == pytest.approx(float(name.split()[-1]) * before[1][0])
            elif name == "sign of weight decay":
                assert found[1][1] == -before[1][1] < 0
            elif name == "every epoch in the order of the first":
                orders = [faulty.plan.epoch_order(1, epoch, 50) for epoch in (0, 3)]
                assert (orders[0] == orders[1]).all()
        assert [(clean.lr(i), clean.weight_decay_at(i), clean.momentum(i)) for i in (0, 50, 200)] == before


def test_an_unknown_mistake_and_a_recipe_without_curves_are_one_line(tmp_path, capsys):
    base = ["--data", "x", "--out", str(tmp_path)]
    assert power.main([*base, "rate x 9"]) == 2
    assert "no such mistake: known are none, rate x 0.7" in capsys.readouterr().err
    assert power.main([*base, "--config", "paper_configs/batch_b49152_g2048.toml"]) == 2
    assert "no stored curves of recipe" in capsys.readouterr().err
    assert power.main([*base, "--seeds", "1", "rate x 1.15"]) == 2  # a run that cannot begin has not diverged
    assert "rate x 1.15, seed 101: not trained: error: " in capsys.readouterr().err


@pytest.mark.parametrize(("hits", "n", "low", "high"), [(0, 5, 0, 0.434), (5, 5, 0.566, 1), (5, 10, 0.237, 0.763)])
def test_the_interval_of_a_share(hits, n, low, high):
    assert table_of.interval(hits, n) == pytest.approx((low, high), abs=1e-3)


def test_the_documents_say_what_was_measured_and_that_nothing_was(tmp_path):
    assert table_of.table_block(tmp_path).startswith("missing: nothing measured; to measure: ")
    rows = [table_of.Row("none", 3, 0, {}, [0.0]), table_of.Row("rate x 1.15", 3, 2, {"same seed": 2}, [-0.7])]
    facts = {"benchmark": "power", "kind": "measured", "hardware": "Test CPU", "name": "small", "epochs": 1,
             "twin": 0.1, "seeds": [1, 2, 3], "stored_seeds": [1, 2, 3], "rows": [*map(vars, rows)]}  # fmt: skip
    path = tmp_path / table_of.FILE
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(facts))
    assert "| rate x 1.15 | 2 of 3 | 21 to 94 % | -0.70 to -0.70 | same seed 2 |" in table_of.table_block(tmp_path)
    sentence = table_of.sentence_block(tmp_path)
    assert "rate x 1.15 in 2 of 3; false alarms in 0 of 3" in sentence
    for damaged in ("{", "[]", json.dumps(facts | {"kind": "modelled"}), json.dumps(facts | {"rows": [{}]})):
        path.write_text(damaged)
        with pytest.raises(LogError, match="not a result of python -m reproduce.trials.power"):
            table_of.read(tmp_path)
