"""How a process connects, waits for results and leaves, where NCCL differs from gloo: with stand-ins for both."""

import contextlib
import datetime

import pytest
import torch
import torch.distributed as dist

from reproduce.engine.dist import comm as comms
from reproduce.engine.dist import ending
from reproduce.engine.dist.comm import Comm
from reproduce.engine.dist.place import ALONE, Place
from reproduce.errors import EXIT_LOST, LostError, Preempted, TrainingError


class Noting:
    """In the place of the watch, and of a stream: notes the waits, and what happens inside them."""

    def __init__(self, *_):
        self.seen: list = []

    @contextlib.contextmanager
    def waiting(self, what):
        self.seen.append("waits")
        yield
        self.seen.append("goes on")

    def synchronize(self):
        self.seen.append("has it")

    def stop(self):
        self.seen.append("stopped")

    def close(self):
        self.seen.append("closed")


@pytest.fixture
def pair(monkeypatch):
    """Rank 0 of two processes with a GPU each; (comm, what its watch has seen)."""
    comm, noting = Comm(torch.device("cpu")), Noting()
    comm.world_size, comm.device, comm.watch = 2, torch.device("cuda", 0), noting
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: noting)
    for name in ("all_reduce", "broadcast", "destroy_process_group"):
        monkeypatch.setattr(dist, name, lambda *_, name=name, **__: noting.seen.append(name))
    monkeypatch.setattr(comms, "all_gather_into", lambda *_: noting.seen.append("all_gather"))
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    return comm, noting.seen


def test_a_result_is_waited_for_where_the_watch_sees_it(pair):
    """NCCL only begins a sum: outside, the host would hang without anybody being named."""
    comm, seen = pair
    row = torch.ones(2)
    for wait, name in ((lambda: comm.sum_(row), "all_reduce"), (lambda: comm.broadcast_(row, 0), "broadcast"),
                       (lambda: comm.gather(row), "all_gather")):  # fmt: skip
        seen.clear()
        wait()
        assert seen == ["waits", name, "has it", "goes on"]


def test_all_groups_of_processes_have_one_timeout_and_connect_at_once(monkeypatch):
    limits, asked = [], {}

    def subgroups(*_, timeout=None, **__):
        limits.append(timeout)
        return None, None

    place = Place("environment", 1, 4, 1, 2, 0, 2, "node0", 29500)
    monkeypatch.setattr(comms.rendezvous, "meet", lambda *_: None)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **how: asked.update(how, backend=backend))
    monkeypatch.setattr(dist, "new_subgroups", subgroups)
    monkeypatch.setattr(dist, "new_subgroups_by_enumeration", subgroups)
    monkeypatch.setattr(comms, "Watch", Noting)
    monkeypatch.setattr(comms, "check_own", lambda *_: None)
    gpu = torch.device("cuda", 1)
    Comm(gpu, "two_stage", 100.0, place)
    assert limits == [datetime.timedelta(seconds=200)] * 2
    assert asked["timeout"] == limits[0] and asked["backend"] == "nccl" and asked["device_id"] == gpu
    Comm(torch.device("cpu"), "two_stage", 100.0, place)
    assert asked["backend"] == "gloo" and asked["device_id"] is None


@pytest.mark.parametrize("error", [TrainingError("loss is nan"), LostError("gone"), RuntimeError("bug"), KeyError("x")])
def test_after_an_error_nobody_waits_for_the_others(pair, error):
    comm, seen = pair
    with pytest.raises(type(error)), comm:
        raise error
    assert seen == ["stopped"]


def test_processes_that_end_together_disconnect(pair):
    comm, seen = pair
    with comm:
        pass
    with pytest.raises(Preempted), comm:
        raise Preempted("stopped as asked")
    assert seen == ["closed", "destroy_process_group"] * 2


class Left(BaseException):
    """In the place of `os._exit`."""


@pytest.mark.parametrize(
    ("error", "rank", "code", "says"),
    [
        (TrainingError("loss is nan"), "0", 2, "error: loss is nan\n"),
        (TrainingError("loss is nan"), "1", 2, "error: loss is nan\n"),
        (Preempted("as asked"), "0", 75, "as asked\n"),
        (Preempted("as asked"), "1", 75, ""),
        (LostError("rank 1 is gone"), "0", EXIT_LOST, "error: rank 1 is gone\n"),
        (ValueError("a bug"), "1", 1, "ValueError: a bug\n"),
        (OSError(20, "Not a directory", "/data"), "0", 2, "error: /data: Not a directory: name another path\n"),
    ],
)
def test_one_process_of_many_says_its_error_and_leaves(monkeypatch, capsys, error, rank, code, says):
    def leave(with_code):
        raise Left(with_code)

    for name, value in {"RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "node0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ending, "LATER", 0.0)
    monkeypatch.setattr(ending.os, "_exit", leave)
    with pytest.raises(Left) as left, ending.one_of_many() as place:
        assert place.rank == int(rank)
        raise error
    assert left.value.args == (code,)
    said = capsys.readouterr().err
    assert said.endswith(says) and (says or not said)


def test_a_process_alone_leaves_its_error_to_the_command(monkeypatch):
    for name in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(TrainingError), ending.one_of_many() as place:
        assert place == ALONE
        raise TrainingError("loss is nan")


def test_variables_that_contradict_one_another_are_said_by_the_first_rank_at_once(monkeypatch, capsys):
    monkeypatch.setattr(ending.os, "_exit", lambda code: (_ for _ in ()).throw(Left(code)))
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "0")
    with pytest.raises(Left) as left, ending.one_of_many():
        pass
    assert left.value.args == (2,) and "RANK = 0 but WORLD_SIZE = 0" in capsys.readouterr().err
