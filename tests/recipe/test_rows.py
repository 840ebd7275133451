"""A recipe for each earlier row of Table 1: its schedule at the joints, its sources, its scaled-down run."""

import pytest

from reproduce.recipe import load as configs
from reproduce.recipe.schedule import Schedule
from tests.helpers import ROOT
from tests.helpers.row_joints import JOINTS

CONFIGS = ROOT / "paper_configs"
QUICK = {
    "goyal_b8192_g256": "goyal_b80_w2", "smith_b8192_g256": "smith_b80_w2", "akiba_b32768_g1024": "akiba_b320_w10",
    "jia_b65536_g2048": "jia_b640_w20", "ying_b65536_g2048": "ying_b640_w20", "mikami_b34560_g3456": "mikami_b340_w34",
}  # fmt: skip


def of(name: str):
    return configs.load(CONFIGS / f"{name}.toml")


@pytest.mark.parametrize("row", JOINTS)
def test_rate_and_mini_batch_at_the_joints(row):
    config = of(row)
    schedule = Schedule.of(config)
    for epoch, rate, batch in JOINTS[row]:
        assert config.global_batch(min(int(epoch), 89)) == batch
        if rate is not None:
            assert schedule.lr(config.updates_at(epoch)) == pytest.approx(rate, rel=1e-3), epoch


def test_mikamis_peak_is_reached_at_the_end_of_warmup():
    config = of("mikami_b34560_g3456")
    assert Schedule.of(config).lr(config.updates_at(29) - 1) == 25.67


def test_akibas_run_turns_from_rmsprop_into_sgd_around_epoch_ten():
    config = of("akiba_b32768_g1024")
    schedule = Schedule.of(config)
    shares = [schedule.sgd_share(config.updates_at(epoch)) for epoch in (0, 10, 12.5)]
    assert shares == pytest.approx([0.00916, 0.5, 1.0], abs=1e-5)
    assert config.model.bn_momentum == 0.0 and config.batch.bn_eval == "mean"  # no moving averages


def test_what_else_makes_a_row():
    assert of("goyal_b8192_g256").optimizer.nesterov and of("goyal_b8192_g256").model.zero_gamma
    assert of("ying_b65536_g2048").batch.bn_workers == 2
    assert of("mikami_b34560_g3456").optimizer.label_smoothing == 0.1


@pytest.mark.parametrize("row", QUICK)
def test_a_row_has_nothing_of_the_headlines_and_its_paper_is_not_said_to_have_been_read(row):
    for key, source in of(row).sources.items():
        assert source.kind in ("public", "recalled", "derived", "chosen_here"), key
        if source.kind == "public":  # abstracts and code were read; of the papers' text nothing was
            assert "section" not in source.ref, key


@pytest.mark.parametrize("row", QUICK)
def test_a_row_scaled_down_takes_as_many_updates_an_epoch(row):
    """Up to the rounding of Mikami et al.'s 33.75 workers, and by the same rule of decay."""
    large, small = of(row), of(f"quick/{QUICK[row]}")
    assert small.run.scales_down == row and small.data.dataset == "fashion_mnist"
    for a, b in zip(large.epoch_updates(), small.epoch_updates(), strict=True):
        assert abs(a - b) <= (1 if "mikami" in row else 0)
    ours, theirs = Schedule.of(small), Schedule.of(large)
    for epoch in (6, 31, 61, 81):
        found = [s.lr(c.updates_at(epoch)) / s.peak_lr for s, c in ((ours, small), (theirs, large))]
        assert found[0] == pytest.approx(found[1], rel=0.02)
    changed = {"peak_lr", "warmup_start_lr"}
    assert {k for k, v in vars(large.schedule).items() if v != getattr(small.schedule, k)} <= changed
    assert large.optimizer == small.optimizer


def test_of_two_extended_files_the_later_counts_and_neither_loses_the_rest(tmp_path):
    entry = '{{ value = {}, source = "chosen_here", ref = "test" }}'
    a = f"[optimizer]\nmomentum = {entry.format(0.5)}\nweight_decay = {entry.format(0.25)}"
    (tmp_path / "a.toml").write_text(a)
    (tmp_path / "b.toml").write_text(f"[optimizer]\nmomentum = {entry.format(0.75)}")
    path = tmp_path / "x_b8192_g256.toml"
    path.write_text(f'extends = ["{CONFIGS}/goyal_b8192_g256.toml", "a.toml", "b.toml"]\n'
                    '[run]\nname = "x_b8192_g256"\ntitle = "t"\ntier = "paper"')  # fmt: skip
    config = configs.load(path)
    assert (config.optimizer.momentum, config.optimizer.weight_decay) == (0.75, 0.25)
    assert config.schedule.peak_lr == 3.2
