"""Contenders in processes of their own: turns, what is kept meanwhile, and one that has no room."""

import json

import pytest
import torch

from reproduce.bench import apart, contest, process, step
from reproduce.bench.contest import Row, Table
from reproduce.bench.timed import contenders
from reproduce.errors import UserError
from reproduce.supervise import Stopped

CPU = torch.device("cpu")
NAMES = ("ours", "small", "large", "broken")


def table(names: tuple, values: dict, notes: dict) -> Table:
    roles = {name: "ours" if name == "ours" else "peer" for name in names}
    rows = tuple(Row(name, role, values.get(name, ()), notes.get(name, "")) for name, role in roles.items())
    return Table("t", "w", "images/s", names[0], rows)


class Held:
    """Stands for `process.hold`: 3.0 images/s in each round; "large" has no room, "broken" ends badly."""

    def __init__(self, stop_after: int = 10**9, names: tuple = NAMES):
        self.asked, self.rounds, self.stop_after, self.names = [], set(), stop_after, names

    def __call__(self, name, request, threads, with_peers, seconds) -> dict:
        if len(self.asked) == self.stop_after:
            raise Stopped(15)
        only = request["contests"][0]["only"]
        self.asked.append(only)
        if only:
            self.rounds.add(request["rounds"])
        if only == ["broken"]:
            raise UserError("bench step: the measurement failed with exit code 1")
        notes = {"large": f"{contest.NO_MEMORY}: 90 GB"} if only == ["large"] else {}
        values = {name: (3.0,) * request["rounds"] for name in only if name != "large"}
        found = contest.Result("step", {"hardware": "h"}, (table(self.names, values, notes),))
        return json.loads(found.to_json())


def visitor(tmp_path, visits=2):
    request = {"device": "cpu", "rounds": 4, "contests": [{"network": "quick"}]}
    return apart.Visitor("step", request, 1, visits, tmp_path / "step.json", False)


def test_everybody_is_visited_in_turn_and_who_has_no_room_once(tmp_path, monkeypatch):
    held = Held()
    monkeypatch.setattr(process, "hold", held)
    (found,) = contest.parse(visitor(tmp_path).all()).tables
    assert held.asked[0] == [] and held.rounds == {2}, "four rounds in two visits"
    assert sorted(name for (name,) in held.asked[1:]) == ["broken", "large", "ours", "ours", "small", "small"]
    assert {name for (name,) in held.asked[1:5]} == set(NAMES), "the second visits begin when the first are over"
    assert found.row("ours").values == found.row("small").values == (3.0,) * 4
    assert found.row("large") == Row("large", "peer", (), "out of memory: 90 GB")
    assert found.row("broken").note.startswith("failed: bench step: the measurement failed")
    assert list(tmp_path.iterdir()) == [], "the parts are gone when all is done"


def test_a_contest_that_was_stopped_goes_on(tmp_path, monkeypatch):
    before = Held(stop_after=3)
    monkeypatch.setattr(process, "hold", before)
    with pytest.raises(Stopped):
        visitor(tmp_path).all()
    after = Held()
    monkeypatch.setattr(process, "hold", after)
    (found,) = contest.parse(visitor(tmp_path).all()).tables
    assert [] not in after.asked and len(before.asked) - 1 + len(after.asked) == 6, "nobody twice, nobody missed"
    assert found.row("ours").values == found.row("small").values == (3.0,) * 4


def test_nobody_getting_through_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "hold", Held(names=("large", "broken")))
    with pytest.raises(UserError, match="no contender got through"):
        visitor(tmp_path).all()


def test_a_contender_without_room_is_a_row_that_says_so():
    def no_room():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 90 GB\nmore")

    class One:
        images = 10

        def step(self):
            pass

    entries = {"one": contenders.Entry("ours", One), "large": contenders.Entry("peer", no_room)}
    (found,) = contenders.contest("t", "w", entries, 2, 1, CPU)
    assert len(found.row("one").values) == 2
    assert found.row("large") == Row("large", "peer", (), "out of memory: CUDA out of memory. Tried to allocate 90 GB")


def test_alone_in_its_process_a_contender_tells_its_memory():
    request = {"config": str(step.QUICK), "overrides": [*step.SYNTHETIC, "batch.workers=2", "batch.local_batch=4",
               "data.train_images=32"], "network": "quick", "workers_per_pass": [1, 2], "ordinary": [8], "matrix": 64,
               "updates": 1, "only": ["plain loop without workers"]}  # fmt: skip
    found = contest.parse(process.hold("step", {"rounds": 1, "contests": [request]}, 1, with_peers=False))
    speed, memory = found.tables
    assert memory.unit == "MB" and memory.title == f"{speed.title}: memory"
    for one in found.tables:
        assert [row.name for row in one.rows if row.values] == ["plain loop without workers"]
    assert 50 < memory.row("plain loop without workers").median < 50_000
