"""Static groups in training: the same weights under every rule, sent in a fixed order while backward still runs."""

import threading

import numpy as np
import pytest
import torch

from reproduce.engine.dist import gradients
from reproduce.engine.dist.comm import Comm
from reproduce.engine.dist.gradients import LOSS, SAVE, STOP
from tests.helpers.worker_run import MadeUpImages, build
from tests.helpers.workers import assert_equal_to, run

RULES = ("cubic:3", "size:0.05MB", "layer", "single", "ddp")
SIXTY_FOUR = {"workers": 64, "local_batch": 2, "updates": 6}


def variants(processes: int) -> list[dict]:
    """Every rule flat and, but for PyTorch's reducer, in two stages; both without overlap once."""
    flat = [{"groups": rule} for rule in RULES]
    staged = [{"groups": rule, "allreduce": "two_stage"} for rule in RULES if rule != "ddp"]
    return [*flat, *staged, {"groups": "cubic:3", "overlap": False}] if processes > 1 else [{"groups": "single"}]


def test_sixty_four_workers_give_the_same_weights_under_every_rule(tmp_path):
    """On 1, 2 and 4 (2 x 2) processes, after six updates, to 1e-5 relative per tensor in fp32.

    On two, one rule stands for all: below, they are shown to give the same bits there.
    """
    (expected,) = run(tmp_path, 1, SIXTY_FOUR)
    for processes, node_size, runs in ((2, 2, variants(2)[:1]), (4, 2, variants(4))):
        found = run(tmp_path, processes, *(SIXTY_FOUR | o for o in runs), node_size=node_size)
        for options, weights in zip(runs, found, strict=True):
            assert_equal_to(expected, weights, 1e-5, (processes, options))


def test_without_emulated_workers_the_weights_are_those_of_plain_ddp(tmp_path):
    """Four processes of one worker each; PyTorch's reducer has its own buckets, so its sums have their own order."""
    options = {"workers": 4, "local_batch": 16, "updates": 10}
    ddp, *ours = run(tmp_path, 4, *(options | {"groups": rule} for rule in ("ddp", *RULES[:-1])), node_size=2)
    for rule, weights in zip(RULES, ours):
        assert_equal_to(ddp, weights, 1e-5, rule)


def test_on_two_processes_the_rule_changes_no_bit(tmp_path):
    """Two numbers have one sum, whatever travels together, PyTorch's reducer included."""
    options = {"workers": 2, "local_batch": 16, "updates": 6}
    first, *others = run(tmp_path, 2, *(options | o for o in variants(2)))
    for variant, found in zip(variants(2)[1:], others, strict=True):
        for name in first:
            assert np.array_equal(first[name], found[name]), (variant, name)


@pytest.mark.parametrize("wire", ["fp16", "bf16"])
def test_half_a_wire_rounds_the_weights_and_leaves_batch_norm(tmp_path, wire):
    """After one update, so that the rounding of the weights cannot have come back through the network."""
    options = {"workers": 2, "updates": 1, "groups": "cubic:3"}
    full, half = run(tmp_path, 2, options, options | {"wire": wire})
    weights = [name for name in full if full[name].ndim > 1 or name.startswith("fc.")]
    batch_norm = [name for name in full if name not in weights and "running" not in name]
    assert all(not np.array_equal(full[name], half[name]) for name in weights)
    assert batch_norm and all(np.array_equal(full[name], half[name]) for name in batch_norm)
    assert_equal_to(full, half, 1e-3, wire)


class Recorder:
    """In the place of the sender: notes what is sent and when, relative to the end of backward."""

    def __init__(self):
        self.sent: list[int] = []

    def put(self, number: int) -> None:
        self.sent.append(number)

    def wait(self) -> None:
        self.sent.append(-1)


@pytest.fixture
def recorded(monkeypatch):
    """A trainer of one process that believes to be one of two, sending into a `Recorder`."""
    trainer = build(Comm(torch.device("cpu")), groups="layer")
    trainer.gradients._sender = Recorder()
    monkeypatch.setattr(trainer.comm, "world_size", 2)
    trainer.model.train()
    return trainer


def chunks_of(trainer):
    return [chunk for chunk in MadeUpImages(trainer.config, trainer.workers).train_epoch(0) if chunk.update == 0]


def test_groups_are_sent_in_order_during_the_last_pass_only(recorded):
    sender, chunks = recorded.gradients._sender, chunks_of(recorded)
    count = len(recorded.gradients.groups)
    for chunk in chunks[:-1]:
        recorded.accumulate(chunk)
        assert sender.sent == [], "sent before the last pass"
    recorded.accumulate(chunks[-1])
    assert sender.sent == list(range(count)), "backward is over and a group has not been sent"
    recorded.gradients.wait()
    assert sender.sent == [*range(count), -1]


def test_without_overlap_nothing_is_sent_before_backward_has_ended(recorded):
    recorded.gradients.overlap = False
    recorded.accumulate(chunks_of(recorded)[-1])
    assert recorded.gradients._sender.sent == []
    recorded.gradients.wait()
    assert recorded.gradients._sender.sent == [*range(len(recorded.gradients.groups)), -1]


def test_a_group_that_is_ready_early_waits_for_its_turn(recorded):
    """Hooks fire in whatever order autograd likes; the order on the wire must not follow it."""
    g = recorded.gradients
    g.begin_pass(last=True)
    for number in reversed(range(len(g.groups))):
        for _ in g.groups[number].ids:
            assert g._sender.sent == []
            g._arrived(number)
        assert g._sender.sent == ([] if number else list(range(len(g.groups))))


def test_the_loss_and_the_wishes_travel_with_the_last_group():
    trainer = build(Comm(torch.device("cpu")), groups="cubic:3")
    g = trainer.gradients
    flat, wire = g._slices[-1]
    assert wire is None and flat.data_ptr() + 4 * (len(flat) - 3) == g.controls.data_ptr()
    assert (LOSS, SAVE, STOP) == (0, 1, 2)


def test_every_gradient_is_a_view_with_its_parameters_strides():
    trainer = build(Comm(torch.device("cpu")), groups="cubic:3")
    trainer.model.train()
    for chunk in chunks_of(trainer):
        trainer.accumulate(chunk)
    begin, end = trainer.gradients.buffer.data_ptr(), trainer.gradients.buffer[-1:].data_ptr()
    places = []
    for p in trainer.model.parameters():
        assert p.grad.stride() == p.stride() and begin <= p.grad.data_ptr() < end
        places.append((p.grad.data_ptr(), p.grad.data_ptr() + 4 * p.numel()))
    places.sort()
    assert all(before[1] <= after[0] for before, after in zip(places, places[1:])), "two gradients overlap"


def test_two_groups_are_in_flight_at_most_and_begin_and_end_in_order():
    seen, first = [], threading.Event()

    def begin(number):
        seen.append(("begin", number))
        first.wait(0.5 if number == 0 else 0)  # so that all have been put when the first has begun
        return lambda: seen.append(("end", number))

    sender = gradients._Thread(begin)
    for number in range(4):
        sender.put(number)
    first.set()
    sender.wait()
    sender.close()
    assert [n for what, n in seen if what == "begin"] == [n for what, n in seen if what == "end"] == [0, 1, 2, 3]
    flying = [seen.index(("begin", n)) < seen.index(("end", n - 1)) for n in range(1, 4)]
    assert all(flying), "one at a time"
    assert all(seen.index(("begin", n)) > seen.index(("end", n - 2)) for n in range(2, 4)), "three at a time"


@pytest.mark.parametrize("where", ["begin", "end"])
def test_an_error_of_the_exchange_is_raised_where_the_update_waits(where):
    def fail(*_):
        raise RuntimeError("connection closed by peer")

    sender = gradients._Thread(fail if where == "begin" else lambda _: fail)
    for number in range(3):
        sender.put(number)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="connection closed"):
            sender.wait()
    sender.close()
