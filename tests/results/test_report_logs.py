"""Measurements from logs: which logs count, and that the others give a reason and no number."""


import pytest

from reproduce.errors import ConfigError
from reproduce.events import CONFIG
from reproduce.paths import CONFIGS
from reproduce.results import measured
from tests.helpers.logs import RUN, write_log


def test_several_seeds_give_mean_and_spread(tmp_path):
    for seed, top1, seconds in ((3, 0.90, 100), (1, 0.91, 110), (20, 0.95, 120)):
        write_log(tmp_path, seed=seed, top1=top1, seconds=seconds)
    m = measured.collect(tmp_path, RUN)
    assert (m.n, m.missing, m.left_out) == (3, "", ())
    assert m.top1.mean == pytest.approx(92.0) and m.top1.sd == pytest.approx(7**0.5)
    assert (m.top1.low, m.top1.high) == pytest.approx((90, 95))
    assert m.seconds.mean == pytest.approx(110)
    facts = m.provenance()
    assert facts["logs"] == [f"logs/headline_b800_w20/result_{seed}.txt" for seed in (1, 3, 20)]
    assert facts["seeds"] == [1, 3, 20] and facts["config_hash"] == m.config.hash


def test_a_single_seed_has_no_standard_deviation(tmp_path):
    write_log(tmp_path)
    assert measured.collect(tmp_path, RUN).top1.sd is None


def truncate(path):
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))


def cut_in_a_line(path):
    path.write_text(path.read_text()[:-40])


def drop_last_evaluation(path):
    lines = path.read_text().splitlines(keepends=True)
    last = max(index for index, line in enumerate(lines) if "eval_accuracy" in line)
    path.write_text("".join(lines[:last] + lines[last + 1 :]))


def copy_as_another_seed(path):
    path.rename(path.with_name("result_7.txt"))


def no_devices(path):
    path.write_text(path.read_text().replace('"devices"', '"gadgets"'))


def another_config(path):
    path.write_text(path.read_text().replace("headline_b800_w20", "something_else"))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (truncate, "before run_stop"),
        (cut_in_a_line, "before run_stop"),
        (lambda path: path.write_text(""), "holds no MLPerf event"),
        (lambda path: path.write_text("accuracy 0.99\n"), "holds no MLPerf event"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00" * 100), "holds no MLPerf event"),
        (lambda path: path.write_text(path.read_text().replace(CONFIG, "opt_name")), "was not written by this package"),
        (drop_last_evaluation, "evaluations are not"),
        (copy_as_another_seed, "its file name does not say"),
        (no_devices, "does not say on how many devices"),
        (another_config, "of config something_else"),
    ],
)
def test_a_spoilt_log_gives_a_reason_and_no_number(tmp_path, spoil, reason):
    spoil(write_log(tmp_path))
    m = measured.collect(tmp_path, RUN)
    assert (m.n, m.top1, m.seconds, m.images_per_second) == (0, None, None, None)
    assert reason in m.left_out[0].reason
    assert m.missing.startswith("missing (") and reason in m.missing
    assert m.provenance()["missing"] == m.missing and m.provenance()["logs"] == []


def test_an_aborted_log_gives_its_reason(tmp_path):
    write_log(tmp_path, stop="aborted")
    assert measured.collect(tmp_path, RUN).missing == "missing (aborted log: stopped by the test)"


def test_a_log_of_another_recipe_is_stale_and_never_averaged_in(tmp_path):
    write_log(tmp_path, seed=0, top1=0.90)
    write_log(tmp_path, seed=1, top1=0.10, digest="0123456789ab")
    m = measured.collect(tmp_path, RUN)
    assert m.n == 1 and m.top1.values == pytest.approx((90.0,))
    assert m.left_out[0].log.endswith("result_1.txt")
    assert m.left_out[0].reason == f"stale log: of recipe 0123456789ab, the config file is now {m.config.hash}"


def test_times_of_different_machines_are_not_averaged(tmp_path):
    write_log(tmp_path, seed=0, hardware="machine A")
    write_log(tmp_path, seed=1, hardware="machine B")
    m = measured.collect(tmp_path, RUN)
    assert m.n == 2 and m.top1.mean == pytest.approx(90)
    assert m.seconds is None and m.images_per_second is None


def test_fewer_devices_than_workers_is_emulation(tmp_path):
    write_log(tmp_path / "a", devices=2)
    write_log(tmp_path / "b", devices=20)
    assert measured.collect(tmp_path / "a", RUN).emulated
    assert not measured.collect(tmp_path / "b", RUN).emulated


def test_synthetic_images_have_no_accuracy(tmp_path):
    folder = tmp_path / "configs"
    (folder / "quick").mkdir(parents=True)
    base = CONFIGS / f"{RUN}.toml"
    (folder / "quick" / "fake.toml").write_text(
        f'extends = "{base}"\n[run]\nname = "fake"\ntitle = "t"\ntier = "quick"\n'
        '[data]\ndataset = { value = "synthetic", source = "chosen_here", ref = "test" }\n'
    )
    write_log(tmp_path, "quick/fake", folder=folder)
    m = measured.collect(tmp_path, "quick/fake", folder)
    assert m.n == 1 and m.top1 is None and m.images_per_second.mean > 0


def test_a_run_without_config_file_is_an_error_in_one_line(tmp_path):
    with pytest.raises(ConfigError, match="no such config file"):
        measured.collect(tmp_path, "quick/no_such_run")


def test_a_copy_of_a_log_counts_once_and_is_named(tmp_path):
    """Under the name of another seed, which was written into it as well."""
    write_log(tmp_path, seed=1)
    log = write_log(tmp_path, seed=2)
    text = log.with_name("result_1.txt").read_text()
    log.write_text(text.replace('"key": "seed", "value": 1', '"key": "seed", "value": 2'))
    found = measured.collect(tmp_path, RUN)
    assert found.n == 1 and [(item.log.split("/")[-1], item.reason) for item in found.left_out] == [
        ("result_2.txt", "copy of result_1.txt: it ends with the same weights")
    ]
