"""The search for rates and the list of what the evidence is made of: right rates, right images, right order."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from reproduce.artefacts import ARTEFACTS
from reproduce.errors import UserError
from reproduce.events import Accuracy, RunLog
from reproduce.recipe import load as configs
from reproduce.recipe import variants
from reproduce.recipe.runs import EARLIER_ROWS
from reproduce.recipe.schedule import Schedule
from reproduce.recipe.variants import Variant, at_rate, shortened, with_changes
from reproduce.results import rates
from reproduce.results.rates import Rate
from reproduce.trials import adopt, evidence, subjects
from reproduce.trials.evidence import Campaign
from reproduce.trials.subjects import Subject

QUICK = [*EARLIER_ROWS, *variants.REGIMES.values()]


@pytest.mark.parametrize("run", [*EARLIER_ROWS, variants.REGIMES["headline"]])
def test_a_shortened_schedule_has_the_same_shape(run):
    whole, third = with_changes(run), with_changes(run, shortened(with_changes(run), 3))
    assert third.schedule.epochs == whole.schedule.epochs // 3
    for epoch in (2.5, 14, 31, 45.5, 61, 81):
        found = [Schedule.of(c).lr(c.updates_at(e)) for c, e in ((whole, epoch), (third, epoch / 3))]
        assert found[1] == pytest.approx(found[0], rel=0.15), epoch
        assert whole.global_batch(int(epoch)) == third.global_batch(int(epoch / 3))
        shares = [Schedule.of(c).sgd_share(c.updates_at(e)) for c, e in ((whole, epoch), (third, epoch / 3))]
        assert shares[0] == pytest.approx(shares[1], abs=0.05)


@pytest.mark.parametrize("run", QUICK)
def test_another_rate_changes_the_rates_alone(run):
    before = with_changes(run)
    after = with_changes(run, at_rate(before, 0.5))
    assert after.schedule.peak_lr == 0.5
    ratios = [c.schedule.warmup_start_lr and c.schedule.warmup_start_lr / c.schedule.peak_lr for c in (before, after)]
    assert ratios[0] == pytest.approx(ratios[1]) if ratios[0] else ratios == [None, None]
    same = {"peak_lr": 0.0, "warmup_start_lr": None}
    assert replace(before.schedule, **same) == replace(after.schedule, **same)
    assert [getattr(before, s) for s in configs.RECIPE if s != "schedule"] == [
        getattr(after, s) for s in configs.RECIPE if s != "schedule"
    ]


def test_a_rate_in_the_file_gives_the_hash_of_the_override():
    """So that a run made while its rate was being chosen stays valid when the file names that rate."""
    config = with_changes(EARLIER_ROWS[0])
    assert with_changes(EARLIER_ROWS[0], at_rate(config, config.schedule.peak_lr)).hash == config.hash


@pytest.mark.parametrize("regime", variants.REGIMES)
def test_every_variant_changes_what_its_name_says_and_keeps_the_updates(regime):
    reference, *others = variants.variants(with_changes(variants.REGIMES[regime]))
    base = with_changes(variants.REGIMES[regime], reference.changes)
    hashes = {base.hash}
    for one in others:
        config = with_changes(variants.REGIMES[regime], one.changes)
        hashes.add(config.hash)
        assert config.total_updates == base.total_updates and config.global_batch() == base.global_batch()
    assert len(hashes) == 1 + len(others), "two variants are the same recipe"
    assert base.total_updates == {"scarce": 80, "headline": 1440}[regime]


def test_warm_up_is_exchanged_for_decay():
    config = with_changes(variants.REGIMES["headline"])
    for one in variants.variants(config):
        if one.name.startswith("warmup"):
            s = with_changes(variants.REGIMES["headline"], one.changes).schedule
            assert s.warmup_epochs + s.decay_epochs == pytest.approx(88)


def test_linear_decay_is_the_polynomial_of_power_one():
    config = with_changes(variants.REGIMES["headline"], ("schedule.decay_power=1.0",))
    linear = with_changes(variants.REGIMES["headline"], ('schedule.decay="linear"',))
    assert [Schedule.of(config).lr(i) for i in range(1440)] == [Schedule.of(linear).lr(i) for i in range(1440)]


def test_rates_are_chosen_on_held_out_images_and_the_chosen_one_is_tested():
    subject = Subject(EARLIER_ROWS[2])
    search = subjects.tuning_job(subject, 0.5, Path("out")).config
    assert search.data.evaluate_on == "held_out" and search.data.train_images + search.data.val_images <= 60_000
    test = subjects.test_job(subject, 0.5, 1, Path("out"))
    assert test.config.data.evaluate_on == "val" and test.config.schedule.epochs == 90
    assert subjects.SEED != test.seed and str(test.log) == "out/logs/akiba_b320_w10/result_1.txt"
    variant = subjects.regime("scarce")[1]
    assert str(subjects.test_job(variant, 1.0, 2, Path("out")).log) == (
        "out/ablation/scarce/lars_off/logs/scarce_b1600_w40/result_2.txt"
    )


@pytest.mark.parametrize(("top1", "third"), [((80.0, 81.0), 6.25), ((81.0, 80.0), 0.4), ((80.0, 80.0), 0.4)])
def test_the_third_rate_lies_beyond_the_better_of_two(tmp_path, monkeypatch, top1, third):
    found = dict(zip((1.0, 2.5), top1)) | {third: 79.0}
    subject = Subject(variants.REGIMES["scarce"], Variant("x", "x", first_rate=1.0), "scarce")

    def train(self, job):
        accuracy = Accuracy(1, found[job.config.schedule.peak_lr] / 100, 1.0)
        return RunLog(Path("x"), "complete", accuracies=(accuracy,))

    monkeypatch.setattr(Campaign, "train", train)
    campaign = Campaign(Path("data"), tmp_path, 1, 0.0)
    assert campaign.rate_of(subject) == max((rate for rate in (1.0, 2.5)), key=lambda r: (found[r], -r))
    assert sorted(one.peak_lr for one in rates.read(tmp_path)["scarce/x"]) == sorted(found)


@pytest.mark.parametrize("done", [True, False])
def test_a_search_that_has_ended_is_not_begun_again_from_the_rate_that_it_found(tmp_path, monkeypatch, done):
    """Whoever adopts the rate would have another search, unless the recipe itself has changed since."""
    subject = Subject(EARLIER_ROWS[0])
    first = subject.config.schedule.peak_lr
    tried = {first / 4: 80.0, first / 2: 82.0, 9 * first: 1.0}
    rates.write(tmp_path, [Rate(subject.name, rate, top1) for rate, top1 in tried.items()])
    asked = []
    monkeypatch.setattr(subjects.Job, "done", lambda job: RunLog(Path("x"), "complete") if done else None)
    monkeypatch.setattr(Campaign, "_try", lambda _, subject, rate: asked.append(rate) or 70.0)
    rate = Campaign(Path("data"), tmp_path, 1, 0.0).rate_of(subject)
    assert (rate == first / 2 and not asked) if done else (rate != first / 2 and len(asked) == 3)


def test_a_diverged_run_is_a_result_and_is_not_tried_again(tmp_path, monkeypatch):
    job = subjects.tuning_job(subjects.regime("scarce")[0], 10.0, tmp_path)
    about = {"hash": job.config.hash}
    said = "small.toml: loss is nan at update 3"
    monkeypatch.setattr(subjects, "read_log", lambda path: RunLog(path, "aborted", said, config=about, seed=0))
    assert job.done().status == "aborted"
    gone = "/data/train: no such folder"
    monkeypatch.setattr(subjects, "read_log", lambda path: RunLog(path, "aborted", gone, config=about, seed=0))
    assert job.done() is None, "missing data taken for divergence"
    monkeypatch.setattr(subjects, "read_log", lambda path: RunLog(path, "incomplete", "cut", config=about, seed=0))
    assert job.done() is None
    monkeypatch.setattr(subjects, "read_log", lambda path: RunLog(path, "complete", config={"hash": "x"}, seed=0))
    assert job.done() is None, "of another recipe"


@pytest.mark.parametrize("run", EARLIER_ROWS)
def test_an_adopted_rate_is_in_the_file_with_its_source_and_keeps_the_runs_made_at_it(tmp_path, run):
    tried = [Rate("x", 0.1, 80.0), Rate("x", 0.25, 82.0), Rate("x", 0.625, 81.0)]
    before, path = with_changes(run), configs.file_of(run)
    text = adopt.adopted(path.read_text(), before, tried)
    text = re.sub(r'"(\.\./)?([a-z_0-9]+\.toml)"', lambda m: f'"{(path.parent / (m[1] or "") / m[2]).resolve()}"', text)
    (tmp_path / path.name).write_text(text)
    after = configs.load(tmp_path / path.name)
    assert after.schedule.peak_lr == 0.25 and after.sources["schedule.peak_lr"].kind == "tuned_here"
    assert after.hash == with_changes(run, at_rate(before, 0.25)).hash
    assert "best of 0.1, 0.25 and 0.625" in after.sources["schedule.peak_lr"].ref


def test_a_file_without_a_peak_rate_is_refused():
    with pytest.raises(UserError, match="states peak_lr 0 times"):
        adopt.adopted("[schedule]\n", with_changes(EARLIER_ROWS[0]), [Rate("x", 1.0, 1.0)])


def test_the_evidence_is_all_that_is_published_and_takes_less_than_six_hours():
    runs = {run for stage in subjects.STAGES for run in stage.runs}
    rows = {one.run for stage in subjects.STAGES for one in stage.subjects if not one.regime}
    shown = {run for one in ARTEFACTS for run in (*one.runs.get("quick", ()), *one.optional.get("quick", ()))}
    assert shown <= runs | rows
    assert evidence.expected_images(Path("out")) / evidence.RATE / 2 < 6 * 3600
