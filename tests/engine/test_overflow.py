"""A run whose numbers are no longer finite says what was seen: the loss, or which gradients, and how fp16 was set."""

import math

import pytest
import torch

from reproduce.engine.dist.comm import Comm
from reproduce.engine.environment import keep_fp32
from reproduce.engine.trainer import Trainer
from reproduce.errors import TrainingError
from tests.helpers.worker_run import MadeUpImages, build


def one_update(monkeypatch, spoil, fp16: bool = True) -> Trainer:
    """An update after whose exchange `spoil` changes the gradients, as if the wire were fp16."""
    trainer = build(Comm(torch.device("cpu")), groups="cubic:3", wire="fp16")
    trainer._may_overflow = fp16
    wait = trainer.gradients.wait

    def exchanged():
        wait()
        spoil(trainer.gradients)

    monkeypatch.setattr(trainer.gradients, "wait", exchanged)
    next(trainer.train_epoch(MadeUpImages(trainer.config, trainer.workers, together=4)))
    return trainer


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_gradients_that_overflow_are_named_with_the_settings(monkeypatch, value):
    def spoil(gradients):
        gradients._slices[1][0][3] = value

    with pytest.raises(TrainingError) as raised:
        one_update(monkeypatch, spoil)
    said = str(raised.value)
    assert "the gradients of group 1 overflowed at update 0 of 10 (learning rate" in said
    assert "compute fp32, wire fp16, loss scale 1), with a finite loss" in said and "\n" not in said


def test_a_loss_that_is_not_finite_is_said_first(monkeypatch):
    def spoil(gradients):
        gradients.buffer.fill_(math.nan)

    with pytest.raises(TrainingError, match=r"loss is nan at update 0 of 10 .*wire fp16, loss scale 1\): lower sch"):
        one_update(monkeypatch, spoil)


def test_finite_gradients_go_on_and_cost_no_check_without_fp16(monkeypatch):
    assert one_update(monkeypatch, lambda gradients: None).update == 1
    trainer = one_update(monkeypatch, lambda gradients: None, fp16=False)
    monkeypatch.setattr(trainer.gradients, "largest", None)
    assert len(trainer.finish(64)) == 3


def test_fp32_is_not_tf32():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    try:
        cudnn.allow_tf32 = matmul.allow_tf32 = True
        keep_fp32("bf16")
        assert cudnn.allow_tf32 and matmul.allow_tf32
        keep_fp32("fp32")
        assert not cudnn.allow_tf32 and not matmul.allow_tf32
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before
