"""Interrupted runs: the same bits as an uninterrupted one, one log, the documented exit codes."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch

from reproduce.engine.checkpoint import Checkpoints, unpack
from reproduce.engine.dist.comm import Comm
from reproduce.engine.dist.stop_requests import StopRequests
from reproduce.engine.model import weights_sha256
from reproduce.engine.record import Record
from reproduce.engine.state import of_log
from reproduce.errors import EXIT_PREEMPTED, CheckpointError
from reproduce.events import ENVIRONMENT, PREFIX, RESUMED, checkpoint_folder, log_path, read_events, read_log
from reproduce.locks import Lock
from reproduce.recipe import load as configs
from reproduce.runner.plan import Job
from tests.helpers import ROOT
from tests.helpers.data import make_config, make_folder
from tests.helpers.logs import RUN, write_log
from tests.helpers.runs import SLOW, finish, outcome, start, wait_for
from tests.helpers.worker_run import MadeUpImages, build

# ---- the state, in one process ------------------------------------------------------------------------------------


def trainer_of(**options):
    trainer = build(Comm(torch.device("cpu")), updates=6, **options)
    return trainer, MadeUpImages(trainer.config, trainer.workers)


def go_on(trainer, loader, until: int | None = None) -> list[float]:
    """Train to the end, or to an update; returns the mean losses of the epochs that ended."""
    losses = []
    while trainer.epoch < trainer.config.schedule.epochs:
        for _ in trainer.train_epoch(loader):
            if trainer.update == until:
                return losses
        losses.append(trainer.end_epoch())
    return losses


def facts(trainer) -> list:
    rows = trainer.statistics.rows(trainer.comm)
    return [weights_sha256(trainer.model), *(table.numpy().tobytes() for table in rows.values())]


@pytest.mark.parametrize("stop", range(1, 7))
def test_a_run_resumed_after_any_update_ends_with_the_same_bits(stop, tmp_path):
    """Through a file, after each of six updates in two epochs; losses of the epochs included."""
    whole, loader = trainer_of()
    expected_losses = go_on(whole, loader)
    first, loader = trainer_of()
    losses = go_on(first, loader, until=stop)
    Checkpoints(tmp_path).save(first.state(), stop)
    payload, update = Checkpoints(tmp_path).newest()
    second, loader = trainer_of()
    second.load_state(unpack(payload))
    assert second.update == update == stop
    assert losses + go_on(second, loader) == expected_losses
    assert facts(second) == facts(whole)


def test_a_state_of_another_recipe_or_seed_is_refused():
    trainer, _ = trainer_of()
    state = trainer.state()
    other, _ = trainer_of(groups="layer")
    with pytest.raises(CheckpointError, match=f"of recipe {trainer.config.hash} with seed 3, not of"):
        other.load_state(state)
    with pytest.raises(CheckpointError, match="with seed 4"):
        trainer.load_state(state | {"seed": 4})


ODD = {
    "another shape": lambda w: w[:1], "a scalar": lambda w: torch.tensor(1.0), "complex": lambda w: w + 0j,
    "integers": lambda w: w.int(), "half": lambda w: w.half(), "sparse": lambda w: w.to_sparse(), "text": lambda w: "w",
    "a list": lambda w: w.tolist(), "nothing": lambda w: None, "of no content": lambda w: w.to("meta"),
}  # fmt: skip
PLACES = {
    "update": {"update": 2}, "negative": {"update": -1}, "no number": {"update": "1"}, "truth": {"update": True},
    "epoch": {"epoch": 1}, "endless": {"epoch": 10**9}, "losses": {"losses": torch.zeros(3)},
    "losses of another shape": {"losses": torch.tensor(1.0)}, "losses of text": {"losses": ["1"]},
    "no weights": {"weights": None}, "no momenta": {"momenta": {}}, "squares": {"squares": {"x": torch.ones(1)}},
    "statistics": {"statistics": {"running_mean": torch.zeros(2, 2)}},
}  # fmt: skip


@pytest.mark.parametrize("part", ["weights", "momenta", "statistics"])
@pytest.mark.parametrize("odd", ODD)
def test_tensors_of_another_shape_or_type_are_refused_before_anything_is_copied(part, odd):
    """Copying would broadcast and convert: a scalar fills every filter."""
    trainer, _ = trainer_of()
    state, before = trainer.state(), facts(trainer)
    name = sorted(state[part])[-1]
    state["weights"] = {other: tensor + 1 for other, tensor in state["weights"].items()}
    state[part] = state[part] | {name: ODD[odd](state[part][name])}
    with pytest.raises(CheckpointError, match=f"does not fit: {part} {name} is ") as refusal:
        trainer.load_state(state)
    assert "\n" not in str(refusal.value) and facts(trainer) == before


@pytest.mark.parametrize("change", PLACES.values(), ids=PLACES)
def test_a_state_that_contradicts_itself_is_refused(change):
    trainer, loader = trainer_of()
    go_on(trainer, loader, until=1)
    state, before = trainer.state(), facts(trainer)
    with pytest.raises(CheckpointError, match="does not fit"):
        trainer.load_state(state | change)
    for name in change:
        with pytest.raises(CheckpointError, match="does not fit"):
            trainer.load_state({key: value for key, value in state.items() if key != name})
    assert facts(trainer) == before


def test_a_state_without_its_corrupt_images_is_not_gone_on_from():
    assert of_log({"log": "", "epoch": 0, "bad": [[], []]}) == ""
    assert "corrupt images" in of_log({"log": "", "epoch": 0})


def test_wishes_by_time_and_by_signal():
    now = [0.0]
    stop_requests = StopRequests(10.0, clock=lambda: now[0])
    assert not stop_requests.save and not stop_requests.stop
    now[0] = 10.5
    assert stop_requests.save
    stop_requests.saved()
    assert not stop_requests.save
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        stop_requests.heed_signals()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop_requests.stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    now[0] = 1e6
    assert not StopRequests(0.0, clock=lambda: now[0]).save


# ---- whole runs ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("images") / "images", train=160)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, images):
    """The folder of a run that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole")
    assert finish(start(out, images, 2))[0] == 0
    return out


@pytest.fixture(scope="module")
def uninterrupted(whole):
    return outcome(whole)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, images):
    """The folder of a run that saved often and was asked to stop in its second epoch or later, and what it said."""
    out = tmp_path_factory.mktemp("stopped")
    child = start(out, images, 2, "--checkpoint-every", "0.05")
    wait_for(log_path(out, "small", 1), '"epoch_stop"')
    child.send_signal(signal.SIGTERM)
    return out, *finish(child)


@pytest.fixture
def interrupted(tmp_path, stopped):
    """A copy of that folder, to go on in."""
    return shutil.copytree(stopped[0], tmp_path / "interrupted")


def test_a_preempted_run_saves_exits_75_and_goes_on_to_the_same_log(interrupted, stopped, images, uninterrupted):
    log = log_path(interrupted, "small", 1)
    _, code, err = stopped
    assert code == EXIT_PREEMPTED, err
    assert err.count("run the same command again to go on") == 1 and "error" not in err and "Traceback" not in err
    assert not read_log(log).complete
    code, err = finish(start(interrupted, images, 2))
    assert code == 0, err
    assert "resumed after update" in err
    assert outcome(interrupted) == uninterrupted
    found = read_log(log)
    assert found.complete and found.interruptions == 1 and len(found.epoch_seconds) == 4


def test_resuming_with_another_number_of_processes_gives_the_same_result(interrupted, images, uninterrupted):
    """To the rounding of sums: the weights differ in their last digits, so the losses to 1e-4."""
    assert finish(start(interrupted, images, 1))[0] == 0
    found, expected = ([e[2]["train_loss"] for e in log if e[0] == "epoch_stop"] for log in
                       (outcome(interrupted), uninterrupted))  # fmt: skip
    assert found == pytest.approx(expected, rel=1e-4) and len(found) == 4
    events = read_events(log_path(interrupted, "small", 1))
    assert [event.value["world_size"] for _, event in events if event.key == RESUMED] == [1]


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_it_used(interrupted, images, uninterrupted):
    folder = interrupted / "checkpoints" / "small" / "seed_1"
    older, newest = sorted(folder.glob("*.ckpt"))[-2:]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    code, err = finish(start(interrupted, images, 2))
    assert code == 0, err
    assert f"{newest}: checksum differs; {older.name} is used instead" in err
    assert f"resumed after update {int(older.stem.split('_')[1])}" in err
    assert outcome(interrupted) == uninterrupted


def test_corrupt_images_are_counted_once_however_often_a_run_is_interrupted(tmp_path):
    images = make_folder(tmp_path / "images", train=160)
    for path in sorted((images / "train" / "n01").iterdir())[:3]:
        path.write_bytes(path.read_bytes()[:200])
    found = []
    for name, stop in (("whole", False), ("stopped", True)):
        out = tmp_path / name
        child = start(out, images, 1, data__corrupt_images="skip")
        if stop:
            wait_for(log_path(out, "small", 1), '"epoch_stop"')
            child.send_signal(signal.SIGTERM)
            assert finish(child)[0] == EXIT_PREEMPTED
            child = start(out, images, 2, data__corrupt_images="skip")
        assert finish(child)[0] == 0
        found.append(read_log(log_path(out, "small", 1)).result["skipped"])
    assert found == [3, 3]


def test_a_full_disk_keeps_the_old_checkpoint_and_stops_in_one_line(tmp_path, images):
    """The limit on the size of a file stands for the disk: the log fits, a checkpoint does not."""
    make_config(tmp_path, **SLOW)
    command = [sys.executable, "-m", "reproduce.engine.train", str(tmp_path / "small.toml"), "--data", str(images)]
    command += ["--out", str(tmp_path), "--checkpoint-every", "0.05"]
    limited = ["bash", "-c", 'ulimit -f 200; trap "" XFSZ; exec "$@"', "bash", *command]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(limited, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "cannot write the checkpoint: File too large" in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("error:") == 1
    assert not read_log(log_path(tmp_path, "small", 1)).complete
    assert list((tmp_path / "checkpoints" / "small" / "seed_1").iterdir()) == []


def test_a_changed_recipe_starts_from_its_beginning_and_says_so(interrupted, images):
    code, err = finish(start(interrupted, images, 1, "--set", "schedule.peak_lr=0.04"))
    assert code == 0 and "the run begins again" in err
    assert read_log(log_path(interrupted, "small", 1)).interruptions == 0


def test_a_complete_run_is_left_as_it_is_until_asked_for_again(tmp_path, images, whole, uninterrupted):
    again = shutil.copytree(whole, tmp_path / "again")
    log = log_path(again, "small", 1)
    before = log.read_bytes()
    code, err = finish(start(again, images, 2))
    assert code == 0 and f"{log}: this run is complete; --restart trains it again" in err
    assert log.read_bytes() == before and [path.name for path in log.parent.iterdir()] == [log.name]
    code, err = finish(start(again, images, 2, "--restart"))
    assert code == 0 and "resumed" not in err and log.read_bytes() != before
    assert log.with_suffix(".incomplete").read_bytes() == before, "nothing that was written is lost"
    assert outcome(again) == uninterrupted
    (last,) = (again / "checkpoints" / "small" / "seed_1").iterdir()
    state = unpack(Checkpoints(last.parent).newest()[0])
    assert (state["epoch"], state["update"]) == (4, 80) and json.dumps(state["log"])


def test_a_run_is_complete_for_the_engine_where_it_is_done_for_the_runner(tmp_path):
    """Else the runner would start a run that the engine leaves as it is, again and again."""
    log = write_log(tmp_path, RUN, seed=1)
    shutil.copy(log, log.with_name("result_2.txt"))
    config = configs.load_run(RUN)
    for seed, state in ((1, "done"), (2, "stale"), (3, "missing")):
        record = Record(config, seed, tmp_path, Checkpoints(checkpoint_folder(tmp_path, config.run.name, seed)))
        record.close()
        assert Job(RUN, seed, config).state(tmp_path) == state
        assert record.is_complete() == (state == "done")


def test_other_files_or_labels_are_not_gone_on_with(tmp_path, images):
    other = tmp_path / "other"
    shutil.copytree(images, other)
    child = start(tmp_path, images, 1)
    wait_for(log_path(tmp_path, "small", 1), '"epoch_stop"')
    child.send_signal(signal.SIGTERM)
    assert finish(child)[0] == EXIT_PREEMPTED
    first = sorted(path.name for path in (other / "train").iterdir())[0]
    for part in ("train", "val"):
        (other / part / first).rename(other / part / "zz")
    code, err = finish(start(tmp_path, other, 1))
    assert code == 2 and "its files or their labels differ from those the checkpoint was trained on" in err
    assert finish(start(tmp_path, images, 1))[0] == 0, "the right data goes on"
    sha = read_log(log_path(tmp_path, "small", 1)).environment["data_sha256"]
    assert len(sha) == 64


def test_two_runs_in_one_folder_exclude_each_other(tmp_path, images):
    path = log_path(tmp_path, "small", 1)
    path.parent.mkdir(parents=True)
    path.write_text("the first's")
    with Lock(checkpoint_folder(tmp_path, "small", 1).with_suffix(".lock"), "the first"):
        code, err = finish(start(tmp_path, images, 2))
    assert code == 2 and "the first is at work here (process" in err and err.count("\n") == 1
    assert path.read_text() == "the first's" and len(list(path.parent.iterdir())) == 1


def test_events_of_a_resumed_epoch_are_complete_and_its_seconds_are_not_counted(tmp_path):
    path = write_log(tmp_path, RUN, seconds=900.0)
    lines = path.read_text().splitlines(keepends=True)
    second = [i for i, line in enumerate(lines) if '"epoch_start"' in line][1]
    where = next(json.loads(line.removeprefix(PREFIX)) for line in lines if ENVIRONMENT in line)
    resumed = json.loads(lines[second].removeprefix(PREFIX)) | {
        "event_type": "POINT_IN_TIME", "key": RESUMED, "value": where["value"],
    }  # fmt: skip
    lines.insert(second + 1, PREFIX + json.dumps(resumed) + "\n")
    path.write_text("".join(lines))
    found = read_log(path)
    assert found.complete and found.interruptions == 1 and not found.moved
    config = found.config["recipe"]
    rate = config["data"]["train_images"] * config["schedule"]["epochs"] / 900.0
    assert found.images_per_second == pytest.approx(rate, rel=1e-3)
    assert math.isnan(found.epoch_seconds[1]) and not math.isnan(found.epoch_seconds[0])
