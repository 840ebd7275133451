"""The profile of an update: every stage gets the time that is spent in it, and together they are the whole."""

import contextlib
import re
import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from reproduce.bench import __main__ as bench
from reproduce.bench import contest, profile
from reproduce.bench.timed import contenders, marks
from reproduce.bench.timed import profile as timed
from reproduce.errors import TrainingError
from reproduce.recipe import load as configs
from tests.helpers.data import HAVE_DALI, make_config, make_folder

CPU = torch.device("cpu")
SMALL = ["batch.workers=4", "batch.local_batch=4", "data.train_images=32", "schedule.peak_lr=0.1"]
SET = [word for text in SMALL for word in ("--set", text)]
SLOW_MS = 100.0
ALONE = tuple(stage for stage in timed.STAGES if stage != timed.WAIT)


def ours() -> contenders.Ours:
    config = configs.load(profile.CONFIG, ['data.dataset="synthetic"', *SMALL])
    return contenders.Ours(config, CPU, "fp32", 8)


def shares(table: contest.Table) -> list[float]:
    return [float(re.search(r"([\d.]+)%", row.note)[1]) for row in table.rows]


# ---- the command ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("processes", "stages"), [(1, ALONE), (2, timed.STAGES)])
def test_stages_are_the_whole_update(tmp_path, processes, stages, capfd):
    out = tmp_path / "bench" / "profile.json"
    given = ["--processes", str(processes), "--updates", "5", "--out", str(out), *SET]
    assert bench.main(["profile", *given]) == 0
    result = contest.read(out)
    where, operators = result.tables
    assert result.benchmark == "profile" and f"{processes} process" in result.about["hardware"]
    assert [row.name for row in where.rows] == ["whole update", *stages]
    assert where.unit == "ms" and all(len(row.values) == 5 for row in where.rows), "the warm-up was counted"
    whole, *parts = where.rows
    assert [sum(values) for values in zip(*(row.values for row in parts))] == pytest.approx(whole.values)
    assert sum(shares(where)) == pytest.approx(200, abs=0.4), "the whole, and its parts once more, rounded"
    assert f"{processes} process" in where.work and "16 images per update" in where.work and "synthetic" in where.work
    whole, *parts = operators.rows
    assert sum(row.median for row in parts) == pytest.approx(whole.median) and len(parts) == timed.OPERATORS + 1
    assert sum(shares(contest.Table("", "", "ms", "", tuple(parts)))) == pytest.approx(100, abs=1)
    assert any("convolution_backward" in row.name for row in parts) and parts[-1].name == "all others"
    assert [row.median for row in parts[:-1]] == sorted((row.median for row in parts[:-1]), reverse=True)
    printed = capfd.readouterr()
    assert "| loss and backward | ours |" in printed.out and "profiler_st" not in printed.err


def test_real_images_come_through_the_loader_of_a_run(tmp_path):
    config, root = make_config(tmp_path / "config"), make_folder(tmp_path / "images")
    out = tmp_path / "profile.json"
    # 24 images and 16 per update: two updates to an epoch, so the loader starts afresh meanwhile
    assert bench.main(["profile", config.path, "--data", str(root), "--updates", "3", "--out", str(out)]) == 0
    where, _ = contest.read(out).tables
    backend = "dali-cpu" if HAVE_DALI else "torchvision"
    assert where.work.startswith(f"small, 16 images per update, fp32, {backend} data")
    assert len(where.row("data wait").values) == 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--updates", "0"], "--updates 0: must be at least 1"),
        (["--processes", "0"], "--processes 0: must be at least 1"),
        (["nowhere.toml"], "nowhere.toml: no such config file"),
        (["--set", "batch.workers=0"], "batch.workers = 0"),
        (["--out", "/proc/bench/profile.json"], "cannot write results"),
        (["--data", "nowhere"], "--data nowhere: no such folder"),
    ],
)
def test_bad_input_is_one_line_and_starts_nothing(options, says, capsys, monkeypatch):
    monkeypatch.setattr(profile, "launch", lambda *_: pytest.fail("started"))
    assert bench.main(["profile", *options]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and says in err


def test_a_measurement_that_fails_is_said_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(profile, "launch", lambda *_: 1)
    assert bench.main(["profile", "--out", str(tmp_path / "profile.json")]) == 2
    said = "error: bench profile: the measurement failed with exit code 1: see the lines above\n"
    assert capsys.readouterr().err == said and not list(tmp_path.iterdir())


def test_stopped_it_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(profile, "launch", lambda *_: 128 + 15)
    assert bench.main(["profile", "--out", str(tmp_path / "profile.json")]) == 143
    assert "stopped by SIGTERM: nothing was written" in capsys.readouterr().err and not list(tmp_path.iterdir())


# ---- who gets the time ----------------------------------------------------------------------------------------------


def slow(*_) -> None:
    time.sleep(SLOW_MS / 1e3)


@contextlib.contextmanager
def slow_stage(one: contenders.Ours, stage: str):
    """One stage of every update is slow, at a place inside it that the marks do not know of."""
    trainer = one.trainer
    if stage == timed.DATA:
        loader = SimpleNamespace(
            train_epoch=lambda *a, inner=one.loader: (c for c in inner.train_epoch(*a) if not slow())
        )
        one.loader = loader
        yield
    elif stage == timed.FORWARD:
        trainer.model.layer2.register_forward_hook(slow)
        yield
    elif stage == timed.BACKWARD:
        trainer.model.layer2.register_full_backward_hook(slow)
        yield
    else:
        where = (trainer.optimizer, "update") if stage == timed.UPDATE else (trainer.statistics, "end_update")
        with marks.wrapped(*where, before=slow):
            yield


@pytest.mark.parametrize("stage", ALONE)
def test_a_slow_stage_is_found_slow(stage):
    one = ours()
    with slow_stage(one, stage):
        table = timed.stages(one, 4, "")
    passes = 2 if stage in (timed.DATA, timed.FORWARD, timed.BACKWARD) else 1  # of 8 images, in an update
    for row in table.rows[1:]:  # by its fastest update: a busy machine can slow any stage of some
        assert (min(row.values) >= SLOW_MS * passes) == (row.name == stage), (row.name, row.values)


class Idle:
    """A trainer that does nothing, and its gradients."""

    def __init__(self):
        self.model, self.gradients, self.comm = nn.Identity(), self, SimpleNamespace(world_size=2)

    def accumulate(self, chunk):
        self.model(chunk)

    def wait(self):
        pass

    def finish(self, batch):
        self.gradients.wait()


def test_with_several_processes_waiting_for_gradients_has_a_stage():
    """The order of the marks: what follows the last backward, and what the wait."""
    trainer = Idle()
    one = SimpleNamespace(trainer=trainer, loader=SimpleNamespace(train_epoch=lambda *_: iter([torch.ones(1)])))
    seen = []
    with timed.marked(one, seen.append):
        for chunk in one.loader.train_epoch(0):
            trainer.accumulate(chunk)
        trainer.finish(1)
    assert seen == [
        timed.DATA, timed.OTHER, timed.FORWARD, timed.BACKWARD, timed.OTHER, timed.DATA,
        timed.WAIT, timed.UPDATE, timed.OTHER,
    ]  # fmt: skip
    seen.clear()
    trainer.accumulate(torch.ones(1))
    trainer.finish(1)
    assert not seen, "the marks are gone with the block"


def test_operators_take_no_longer_than_their_updates():
    one, took = ours(), []

    def step():
        began = time.perf_counter()
        contenders.Ours.step(one)
        took.append((time.perf_counter() - began) * 1e3)

    one.step = step
    total = timed.operators(one, "").rows[0]
    assert len(took) == timed.TRACED and 0 < total.median * timed.TRACED < sum(took)


def test_pieces_of_a_stage_add_up():
    marks = [("a", 0), ("b", 2_000_000), ("a", 5_000_000), ("end", 6_000_000)]
    assert timed.milliseconds(marks) == {"a": 3.0, "b": 3.0}
    assert timed.milliseconds([("a", 7), ("end", 7)]) == {"a": timed.TICK_MS}, "a result holds no zeros"


def test_a_trainer_that_passes_a_stage_by_is_not_profiled():
    one = ours()
    one.trainer.gradients.network = one.trainer.model.forward  # as a replayed graph does: no hook is called
    with pytest.raises(TrainingError, match="without a stage 'forward'"):
        timed.stages(one, 1, "")
    assert "accumulate" not in vars(one.trainer) and "finish" not in vars(one.trainer)
