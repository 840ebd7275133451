"""Batches on their way to the thread that trains, with stand-ins for a GPU's streams; and the next epoch's order."""

import contextlib
import threading

import pytest
import torch

from reproduce.engine.data.plan import Plan, epoch_order
from reproduce.engine.data.transfer import Transfer
from tests.helpers.data import make_folder

SEEN: list = []


class Stream:
    def __init__(self, name="data"):
        self.name = name

    def record_event(self):
        SEEN.append(("event", self.name))
        return "event"

    def wait_event(self, event):
        SEEN.append((self.name, "waits for", event))


class Held:
    """A tensor in the host's memory, or in the GPU's once moved."""

    def pin_memory(self):
        SEEN.append("pinned")
        return self

    def to(self, device, non_blocking):
        SEEN.append((device.type, non_blocking))
        return self

    def record_stream(self, stream):
        SEEN.append(("kept for", stream.name))


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("training"))
    SEEN.clear()
    return Transfer(torch.device("cuda", 0))


def test_batches_are_made_on_a_stream_of_their_own(gpu):
    with gpu.making() as stream:
        assert stream.name == "data"


def test_labels_are_copied_without_waiting(gpu):
    gpu.put(Held())
    assert SEEN == ["pinned", ("cuda", True)]


def test_training_waits_for_a_batch_and_its_memory_is_kept(gpu):
    gpu.take(gpu.made(), Held(), Held())
    assert SEEN == [("event", "data"), ("training", "waits for", "event"), *[("kept for", "training")] * 2]


def test_on_a_cpu_there_is_nothing_to_do():
    cpu, labels = Transfer(torch.device("cpu")), torch.arange(3)
    with cpu.making():
        assert cpu.put(labels) is labels and cpu.made() is None
    cpu.take(None, labels)


def test_the_next_epochs_order_is_made_while_this_one_runs(opened, tmp_path, monkeypatch):
    asked, batch = [], Plan.batch
    loader = opened(make_folder(tmp_path / "images"))
    loader._across_epochs = False  # nobody else asks for it

    def noting(plan, epoch, update, workers):
        asked.append((epoch, threading.current_thread().name))
        return batch(plan, epoch, update, workers)

    monkeypatch.setattr(Plan, "batch", noting)
    epoch_order.cache_clear()
    list(loader.train_epoch(0))
    assert [thread != "data" for epoch, thread in asked if epoch == 1] == [True]
