"""The schedules against the team's published ones, iteration by iteration, and against their own definitions."""

import csv
import dataclasses
import math

import pytest
import torch

from reproduce.engine.dist.comm import Comm
from reproduce.engine.header import hyper_parameters
from reproduce.recipe import load as configs
from reproduce.recipe.schedule import Schedule
from tests.helpers import ROOT

GOLDEN = ROOT / "tests/golden/mlperf_v06_lr_wd_schedule.csv"


@pytest.fixture(scope="module")
def team():
    return configs.load(ROOT / "paper_configs/mlperf06_b86016_g2048.toml")


def test_lr_and_weight_decay_equal_all_1340_published_rows(team):
    schedule, rows = Schedule.of(team), list(csv.DictReader(GOLDEN.open()))
    assert len(rows) == team.total_updates == 1340
    for row in rows:
        i = int(row["iteration0"])
        assert schedule.lr(i) == pytest.approx(float(row["lr"]), rel=1e-6)
        assert schedule.lr(i) * schedule.weight_decay_at(i) == pytest.approx(float(row["wd_times_lr"]), rel=1e-6)
        assert schedule.decay_at(i) == pytest.approx(float(row["decay_coeff"]), rel=1e-6)


def test_updates_of_every_epoch_equal_the_published_ones(team):
    counts = {}
    for row in csv.DictReader(GOLDEN.open()):
        counts[int(row["logged_epoch_inferred"])] = counts.get(int(row["logged_epoch_inferred"]), 0) + 1
    assert team.epoch_updates() == [counts[epoch] for epoch in range(1, 91)]
    assert [e for e, n in counts.items() if n == 14] == [9, 17, 26, 34, 42, 51, 59, 68, 76, 84]


def test_headline_has_sixteen_updates_per_epoch():
    config = configs.load(ROOT / "paper_configs/headline_b81920_g2048.toml")
    assert config.global_batch() == 81920
    assert set(config.epoch_updates()) == {16} and config.total_updates == 1440
    schedule = Schedule.of(config)
    assert schedule.warmup == 576 and schedule.warmup + schedule.decay_updates == 1408
    assert schedule.lr(575) == schedule.peak_lr and schedule.lr(1439) == pytest.approx(0.0025 * schedule.peak_lr)


def schedule_with(team, **values):
    return dataclasses.replace(Schedule.of(team), **values)


def test_linear_decay_is_a_straight_line(team):
    schedule = schedule_with(team, decay="linear", power=1.0, warmup=100, decay_updates=100, end_ratio=0.0)
    assert [schedule.decay_at(i) for i in (0, 100, 150, 175, 200, 999)] == pytest.approx([1, 1, 0.5, 0.25, 0, 0])


def test_step_decay_multiplies_at_each_milestone(team):
    schedule = schedule_with(team, decay="step", milestones=(10, 20), factor=0.1, warmup=0)
    assert [schedule.decay_at(i) for i in (9, 10, 19, 20)] == pytest.approx([1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("milestones, end", [("[30, 60, 80]", 13.0e-3), ("[30]", 1.3)])
def test_step_decay_logs_the_rate_it_ends_at(milestones, end):
    config = configs.load(
        ROOT / "paper_configs/headline_b81920_g2048.toml",
        ['schedule.decay="step"', f"schedule.decay_milestones={milestones}"],
    )
    schedule = Schedule.of(config)
    assert schedule.end_lr == pytest.approx(end) == schedule.lr(config.total_updates - 1)
    logged = {event.key: event.value for event in hyper_parameters(config, 1, Comm(torch.device("cpu")))}
    assert logged["lars_opt_end_learning_rate"] == schedule.end_lr
    assert logged["opt_learning_rate_decay_factor"] == 0.1


def test_polynomial_decay_logs_the_rate_it_ends_at(team):
    assert Schedule.of(team).end_lr == pytest.approx(13.0 * 0.0025)


def test_warmup_from_the_small_rate_adds_equal_steps_up_to_the_peak(team):
    """Goyal et al., arXiv:1706.02677, section 2.2: from 0.1 to 3.2 in the updates of five epochs."""
    schedule = schedule_with(
        team, warmup_start_lr=0.1, peak_lr=3.2, warmup=785, decay="step", milestones=(4710,), factor=0.1,
        weight_decay_follows_warmup=False,
    )  # fmt: skip
    rates = [schedule.lr(i) for i in range(787)]
    assert rates[0] == pytest.approx(0.1) and rates[784] < 3.2 and rates[785] == rates[786] == 3.2
    assert {round((b - a) * 785, 6) for a, b in zip(rates[:785], rates[1:786])} == {3.1}


def test_sgds_share_grows_like_an_exponential_linear_unit(team):
    """Akiba et al., arXiv:1711.04325: center at epoch 10, period 5; 40 updates an epoch."""
    schedule = schedule_with(team, rmsprop_center=400, rmsprop_period=200)
    share = {epoch: schedule.sgd_share(round(40 * epoch)) for epoch in (0, 5, 10, 11.25, 12.5, 13, 90)}
    assert share == pytest.approx(
        {0: math.exp(-4) / 2, 5: math.exp(-2) / 2, 10: 0.5, 11.25: 0.75, 12.5: 1.0, 13: 1.0, 90: 1.0}
    )
    assert Schedule.of(team).sgd_share(0) == 1.0
    fine = schedule_with(team, rmsprop_center=400_000, rmsprop_period=200_000)
    before, at, after = (fine.sgd_share(400_000 + step) for step in (-1, 0, 1))
    assert (at - before) == pytest.approx(after - at, rel=1e-4) and after - at == pytest.approx(1 / 200_000)
    shares = [fine.sgd_share(i) for i in range(0, 600_000, 500)]
    assert shares == sorted(shares) and shares[-1] == 1.0, "it never exceeds SGD alone"


def test_step_decay_may_name_each_rate(team):
    schedule = schedule_with(
        team, decay="step", milestones=(40, 70, 85), ratios=(0.15, 0.02, 0.002), warmup=0, peak_lr=6.4
    )
    assert [schedule.lr(i) for i in (0, 39, 40, 70, 85)] == pytest.approx([6.4, 6.4, 0.96, 0.128, 0.0128])


def test_momentum_goes_linearly_from_the_first_to_the_last_update(team):
    schedule = schedule_with(team, momentum_start=0.9, momentum_end=0.5, total=101)
    assert [schedule.momentum(i) for i in (0, 50, 100)] == pytest.approx([0.9, 0.7, 0.5])


def test_weight_decay_is_constant_unless_it_follows_the_warmup(team):
    schedule = schedule_with(team, weight_decay_follows_warmup=False)
    assert {schedule.weight_decay_at(i) for i in range(0, 1340, 67)} == {5e-5}


def test_batch_size_phases_change_the_global_batch_and_the_updates(tmp_path):
    """As in the Table 1 rows of Smith et al. and Mikami et al.: the mini-batch grows during the run."""
    base = ROOT / "paper_configs/headline_b81920_g2048.toml"
    config = configs.load(base, ["batch.local_batch=[[0, 20], [30, 40], [60, 80]]"])
    assert [config.global_batch(epoch) for epoch in (0, 29, 30, 60)] == [40960, 40960, 81920, 163840]
    assert [config.epoch_updates()[epoch] for epoch in (0, 30, 89)] == [32, 16, 8]
    assert config.updates_at(31.5) == 30 * 32 + 24
