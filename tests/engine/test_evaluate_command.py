"""python -m reproduce.engine.evaluate: a checkpoint's accuracy by each of the four sets of batch-norm statistics."""

import pytest
import torch

from reproduce.engine import checkpoint
from reproduce.engine.dist.comm import Comm
from reproduce.engine.evaluate import Row, four_ways, header, main, saved_state, table
from reproduce.errors import CheckpointError, DataError
from reproduce.events import log_path, read_events
from reproduce.recipe.schema import BN_EVAL
from tests.helpers.evaluation_run import VAL, build
from tests.helpers.runs import train


@pytest.mark.parametrize("how", ["local", "recalibrated"])
def test_a_checkpoint_of_two_processes_is_evaluated_by_one(tmp_path, capsys, how):
    """The chosen way counts what the run logged; every way counts all images; another recipe is refused."""
    done = train(tmp_path, processes=2, batch__bn_eval=how)
    assert done.returncode == 0, done.stderr
    logged = [event for _, event in read_events(log_path(tmp_path, "small", 1)) if event.key == "eval_accuracy"][-1]
    arguments = [str(tmp_path / "small.toml"), "--data", str(tmp_path / "images"), "--device", "cpu", "--checkpoint"]
    assert main([*arguments, str(tmp_path / "checkpoints/small/seed_1")]) == 0
    said = capsys.readouterr().out
    rows = {words[0]: words[1:] for words in map(str.split, said.splitlines()) if words and words[0] in BN_EVAL}
    assert "update 6 of 6, epoch 3 of 3" in said and list(rows) == list(BN_EVAL)
    assert rows[how][:2] == [str(logged.metadata["correct"]), "11"] and rows[how][3:] == ["<-", "the", "config's"]
    assert all(len(row) == 3 and row[1] == "11" for name, row in rows.items() if name != how)
    assert main([*arguments, str(tmp_path / "checkpoints/small/seed_1"), "--set", "optimizer.momentum=0.8"]) == 2
    refused = capsys.readouterr().err
    assert refused.startswith("error: ") and "checkpoint is of recipe" in refused and refused.count("\n") == 1


def test_there_is_a_row_for_each_way_and_the_configs_is_marked():
    trainer, loader = build(Comm(torch.device("cpu")), 'batch.bn_eval="local"')
    for _ in trainer.train_epoch(loader):
        pass
    rows = four_ways(trainer, loader)
    assert [row.bn_eval for row in rows] == list(BN_EVAL)
    (chosen,) = [row for row in rows if row.chosen]
    assert chosen[:3] == ("local", *trainer.evaluate(loader)) and chosen.images == VAL
    text = header(trainer, 3, "fp32")
    assert f"config {trainer.config.hash}, seed 3: update 5 of 450, epoch 1 of 90" in text and "8 workers" in text


def test_the_table_says_counts_and_shares():
    lines = table([Row("mean", 9024, 10000, True), Row("local", 8999, 10000, False)]).splitlines()
    assert lines[0].split() == ["bn_eval", "correct", "images", "top-1"]
    assert lines[1].split() == ["mean", "9,024", "10,000", "90.24%", "<-", "the", "config's"]
    assert lines[2].split() == ["local", "8,999", "10,000", "89.99%"]


def test_noise_has_no_accuracy():
    trainer, loader = build(Comm(torch.device("cpu")))
    loader.has_accuracy = False
    with pytest.raises(DataError, match="noise has no accuracy"):
        four_ways(trainer, loader)


def test_a_checkpoint_is_a_file_or_the_newest_intact_one_of_a_folder(tmp_path, capsys):
    store = checkpoint.Checkpoints(tmp_path)
    first, second = (store.save({"update": update}, update) for update in (5, 10))
    assert saved_state(tmp_path) == saved_state(second) == {"update": 10}
    second.write_bytes(second.read_bytes()[:-1])
    assert saved_state(tmp_path) == {"update": 5} and str(second) in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="truncated"):
        saved_state(second)
    first.unlink()
    for nothing in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CheckpointError, match=str(nothing)):
            saved_state(nothing)
