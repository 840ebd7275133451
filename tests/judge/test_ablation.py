"""The ablation: which logs a variant's effect is made of, what it says, and the sentence of each technique."""

import json

import pytest

from reproduce import ablation as artefact
from reproduce.errors import LogError
from reproduce.figures import forest, plot
from reproduce.judge import systems, techniques
from reproduce.judge.ablation import effects
from reproduce.judge.techniques import TECHNIQUES, WORDS, Technique, judged
from reproduce.paths import PUBLISHED
from reproduce.recipe.variants import REGIMES, at_rate, variants, with_changes
from reproduce.report.result import by_word
from reproduce.results import rates
from reproduce.results.rates import Rate
from tests.helpers.logs import write_log

RUN = REGIMES["scarce"]
NAMES = [one.name for one in variants(with_changes(RUN))]
TOP1 = {
    "reference": (80.0, 81.0, 82.0), "lars_off": (79.0, 80.1, 80.9), "smoothing_off": (81.0, 80.5, 81.0),
    "warmup_none": (81.5, 82.4, 83.6), "bn_recalibrated": (83.0, 84.1, 85.0),
}  # fmt: skip


def write(results, name: str, top1, rate: float = 10.0, seeds=(1, 2, 3)) -> None:
    one = next(one for one in variants(with_changes(RUN)) if one.name == name)
    changes = (*one.changes, *at_rate(with_changes(RUN, one.changes), rate))
    for seed, value in zip(seeds, top1):
        write_log(rates.folder_of(results, "scarce", name), RUN, seed=seed, top1=value / 100, changes=changes)


@pytest.fixture
def results(tmp_path):
    tried = [Rate(f"scarce/{name}", rate, top1) for name in NAMES for rate, top1 in ((4, 80), (10, 81), (25, 0))]
    folder = tmp_path / "quick"
    rates.write(folder, [one for one in tried if not one.subject.startswith("scarce/bn_")])
    for name, top1 in TOP1.items():
        write(folder, name, top1)
    return folder


def test_effects_are_of_the_tuned_rate_paired_by_seed(results):
    found = {one.variant.name: one for one in effects(results, "scarce")}
    assert list(found) == NAMES and found["reference"].difference is None
    assert found["lars_off"].difference.mean == pytest.approx(1.0) and found["lars_off"].word == "helps"
    assert found["warmup_none"].word == "hurts" and found["bn_recalibrated"].rate == 10, "the rate it trains as"
    assert found["smoothing_off"].word == "none" and found["decay_step"].word == "missing"
    assert not found["lars_off"].at_edge and found["lars_off"].difference.n == (3, 3)


def test_a_log_of_another_rate_or_seed_does_not_count(results):
    write(results, "lars_off", (10.0,), rate=4.0, seeds=(1,))
    write(results, "smoothing_off", (10.0,), seeds=(9,))
    found = {one.variant.name: one for one in effects(results, "scarce")}
    assert found["lars_off"].difference.n == (2, 2) and "stale" in found["lars_off"].found.left_out[0].reason
    assert found["smoothing_off"].difference.mean == pytest.approx(1 / 6), "seed 9 has no partner"


def test_a_repeated_seed_never_counts_twice(results):
    folder = rates.folder_of(results, "scarce", "lars_off") / "logs/scarce_b1600_w40"
    (folder / "result_4.txt").write_bytes((folder / "result_1.txt").read_bytes())
    found = next(one for one in effects(results, "scarce") if one.variant.name == "lars_off")
    assert found.difference.n == (3, 3) and "of seed 1" in found.found.left_out[0].reason


def test_a_single_pair_shows_nothing_and_no_technique_is_judged_by_it(results):
    write(results, "nesterov_sgd", (70.0,), seeds=(1,))
    found = next(one for one in effects(results, "scarce") if one.variant.name == "nesterov_sgd")
    assert found.word == "missing" and found.text == "one pair of seeds has no interval" and found.difference.mean == 10
    words = {one.technique.name: one.word for one in techniques.techniques(results.parent)}
    assert words["lars"] == "not yet measured"


def test_fewer_than_three_rates_are_a_hole(results):
    rates.write(results, [one for found in rates.read(results).values() for one in found[:2]])
    assert {one.word for one in effects(results, "scarce")} == {"missing"}


def test_a_rate_at_the_edge_is_said(results):
    rates.write(results, [Rate("scarce/reference", rate, 80 + rate) for rate in (1.0, 4.0, 10.0)])
    assert next(iter(effects(results, "scarce"))).at_edge


def test_the_artefact_shows_effects_and_holes(results, capsys):
    assert artefact.main(["--draw", "--results", str(results), "--out", str(results)]) == 0
    text = (results / "ablation.md").read_text()
    assert "| scarce | momentum SGD, not LARS | 10 | 80.00 | 3 | +1.00 points (+0.75 to +1.25; n = 3) | helps |" in text
    assert "missing: python -m reproduce.trials.evidence" in text
    assert "35 of 40 variants are missing" in capsys.readouterr().out
    facts = json.loads((results / "ablation.json").read_text())
    lars = next(one for one in facts["variants"] if (one["regime"], one["variant"]) == ("scarce", "lars_off"))
    assert lars["top1_percent"] == {"1": 79.0, "2": 80.1, "3": 80.9} and lars["kind"] == "measured"
    assert "helps" in (results / "ablation.csv").read_text()


def test_a_regime_that_nobody_ran_has_no_scale(results):
    figure, axes = plot.plt.subplots(1, 2)
    for ax, regime in zip(axes, REGIMES):
        forest.panel(ax, effects(results, regime), regime, names=False)
    (some, none) = axes
    assert len(some.get_xticks()) and some.get_xlabel() == forest.AXIS and some.lines
    assert not len(none.get_xticks()) and none.get_xlabel() == "missing: not run" and not none.lines
    assert len(none.texts) == len(effects(results, "headline"))
    plot.plt.close(figure)


class Given:
    tier = "quick"

    def __init__(self, results):
        self.results = self.out = results


def test_the_page_shows_it_only_of_the_logs_that_are_there(results):
    artefact.main(["--draw", "--results", str(results), "--out", str(results)])
    facts = json.loads((results / "ablation.json").read_text())
    assert len(artefact.section(Given(results), facts).tables[0].rows) == 2 * len(NAMES)
    write(results, "lars_off", (12.0,), seeds=(2,))
    with pytest.raises(ValueError, match="not of the logs"):
        artefact.section(Given(results), facts)


# ---- techniques -----------------------------------------------------------------------------------------------------

ALL, SOME = Technique("x", "x", ("a", "b")), Technique("x", "x", ("a", "b"), "hurts", some=True)
BEST = Technique("x", "x", ("a", "b"), some=True, best=True)


@pytest.mark.parametrize(
    ("technique", "words", "expected"),
    [
        (ALL, ["helps", "helps"], "supported"), (ALL, ["helps", "none"], "cannot be tested at this scale"),
        (ALL, ["helps", "hurts"], "contradicted"), (ALL, ["none", "none"], "cannot be tested at this scale"),
        (SOME, ["hurts", "none"], "supported"), (SOME, ["helps", "none"], "cannot be tested at this scale"),
        (BEST, ["helps", "none"], "supported"), (BEST, ["helps", "hurts"], "contradicted"),
        (BEST, ["none", "hurts"], "contradicted"), (BEST, ["none", "none"], "cannot be tested at this scale"),
        (SOME, ["helps", "helps"], "contradicted"), (SOME, ["none", "none"], "cannot be tested at this scale"),
    ],
)  # fmt: skip
def test_the_word_of_a_technique_follows_from_the_intervals(technique, words, expected):
    assert judged(technique, words) == expected


def test_each_of_the_nine_techniques_gets_one_sentence(results):
    write(results, "nesterov_sgd", (78.0, 79.0, 79.9))
    found = {one.technique.name: one for one in techniques.techniques(results.parent)}
    assert list(found) == [one.name for one in TECHNIQUES] and len(found) == 9
    assert {one.word for one in found.values()} <= set(WORDS)
    assert found["lars"].word == "supported" and "(+0.75 to +1.25; n = 3), so it is worse" in str(found["lars"])
    assert found["warmup"].word == "contradicted" and found["bn_averages"].word == "not yet measured"
    assert found["label_smoothing"].word == "cannot be tested at this scale"
    assert found["decay"].word == "not yet measured"
    assert found["overlap"].word == "not yet measured" and "reproduce.bench comm" in found["overlap"].why
    assert techniques.block(results.parent).count("\n") == 9
    line = by_word(results.parent)  # of the README: each technique once, with the regime that decides
    assert "Supported: LARS (scarce updates)." in line
    assert "Contradicted: a high rate, made stable by warm-up (scarce updates)." in line
    assert all(line.count(one.text) == 1 for one in TECHNIQUES if one.text != "LARS")


def test_published_benchmarks_give_the_systems_sentences():
    found = {one.technique.name: str(one) for one in techniques.techniques(PUBLISHED)}
    assert "400 Mbit/s" in found["same_seed"] and "n = 3 and 3" in found["same_seed"]
    assert found["batched_norms"].startswith("all norms of LARS in one kernel: cannot be tested at this scale")


def test_every_variant_named_by_a_technique_exists_and_says_so():
    there = {one.name: one for run in REGIMES.values() for one in variants(with_changes(run))}
    for technique in TECHNIQUES:
        for name in technique.variants:
            assert technique.name in there[name].techniques
        assert set(technique.opposite) <= set(technique.variants)


@pytest.mark.parametrize(
    ("slow", "word"), [((70.0, 71.1, 71.9), "supported"), ((84.0, 84.9, 86.0), "cannot be tested at this scale")]
)
def test_slow_averages_support_what_the_paper_says_of_them_by_being_worse(results, slow, word):
    """The scarce recipe has quick ones, and the team's as a variant; made after training they are as good."""
    write(results, "bn_recalibrated", (80.1, 80.9, 82.1))
    write(results, "bn_momentum_09", slow)
    (found,) = [one for one in techniques.techniques(results.parent) if one.technique.name == "bn_averages"]
    assert found.word == word


def test_times_that_are_none_are_no_result(tmp_path):
    rows = [{"name": name, "values": [value]} for name, value in (("ours, native", 0.0), ("timm Lars", 1.0))]
    (tmp_path / "lars.json").write_text(json.dumps({"tables": [{"rows": rows}]}))
    with pytest.raises(LogError, match="not a result of this benchmark"):
        systems.norms(tmp_path)
