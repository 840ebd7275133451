"""Public evidence: what others' runs say about the paper's claims follows from figures/public alone."""

import dataclasses

import pytest

from reproduce.judge import public_evidence
from reproduce.judge.public_evidence import findings, sweep
from reproduce.kinds import KINDS
from reproduce.mlperf import epochs
from reproduce.mlperf.epochs import Needed
from reproduce.results import paper, public
from tests.helpers import ROOT

KNOWN = paper.load()
CLAIMS = {claim.name: claim for claim in KNOWN.claims}


def scaled(**factors):
    """The team's runs with some fields multiplied."""
    return [dataclasses.replace(run, **{key: getattr(run, key) * by for key, by in factors.items()})
            for run in public.runs()]  # fmt: skip


@pytest.mark.parametrize(("claim", "numbers"), [
    ("training time", "70.42 s (70.39 to 70.45)"), ("accuracy", "75.98 % (75.93 to 76.11)"),
    ("throughput", "1,721,484 images/s (1,716,893 to 1,730,705)"),
])  # fmt: skip
def test_the_teams_five_runs_support_the_numbers(claim, numbers):
    (one,) = findings(CLAIMS[claim], KNOWN)
    assert (one.word, one.n) == ("supports", 5)
    assert numbers in one.sentence and "mini-batch 86,016" in one.sentence
    assert (ROOT / one.source).is_file()


def test_slower_or_less_accurate_runs_would_contradict(monkeypatch):
    monkeypatch.setattr(public, "steady_rates", lambda: (1.6e6, 1.7e6))
    words = {
        claim: public_evidence.of_the_team(CLAIMS[claim], KNOWN.values[value], runs).word
        for claim, value, runs in (
            ("training time", "training_time", scaled(run_seconds=1.2)),
            ("accuracy", "top1", [dataclasses.replace(run, top1=(70.0,)) for run in public.runs()]),
            ("throughput", "throughput", public.runs()),
        )
    }
    assert set(words.values()) == {"contradicts"}


def test_the_limit_holds_below_is_contradicted_right_beyond_and_untested_further():
    holds, falls, further = findings(CLAIMS["mini-batch limit"], KNOWN)
    assert (holds.word, holds.n) == ("supports", 15) and "11 of 15" in holds.sentence
    assert "from 35 epochs (up to 4,096) to 88" in holds.sentence and "recalled" in holds.sentence
    assert (falls.word, falls.n) == ("contradicts", 5) and "75.98 %" in falls.sentence
    assert further.word == "says nothing" and "86,016" in further.sentence


def test_the_limit_follows_from_the_runs():
    runs = (4096, 40.0, "closed"), (70000, 95.0, "closed"), (70000, None, "open")
    slow = [Needed(*run, "lars") for run in runs]
    low = [dataclasses.replace(run, top1=(70.0,)) for run in public.runs()]
    assert [one.word for one in sweep(KNOWN, slow, low)] == ["contradicts", "supports", "says nothing"]
    small = [dataclasses.replace(run, global_batch=4096) for run in public.runs()]
    assert [one.word for one in sweep(KNOWN, slow[:1], small)] == 3 * ["says nothing"]


def test_claims_that_no_public_run_tests_say_so():
    for name in ("scalability", "few updates"):
        (one,) = findings(CLAIMS[name], KNOWN)
        assert one.word == "says nothing" and one.n == 0


def test_the_epochs_needed_are_those_of_the_first_evaluation_at_the_target():
    found = epochs.needed()
    assert {run.division for run in found} == {"closed", "open"}
    team = [run for run in found if run.batch == 86016]
    assert [(run.epochs, run.division) for run in team] == 5 * [(90, "open")]
    assert any(run.epochs is None for run in found)  # runs that missed the target are in, and count as such
    assert len(found) > 1400


@pytest.mark.parametrize("name", ["README.md", "REPRODUCE.md"])
def test_both_documents_name_every_kind_of_number_and_no_count_of_them(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for kind in KINDS:
        assert f"**{kind}**" in text or f"| {kind} |" in text, kind
    assert not any(f"{count} kinds" in text for count in ("two", "three", "four", "six"))
