"""The difference of two recipes, with Welch's interval or, by seed, Student's."""

import pytest
from scipy import stats

from reproduce.judge.difference import difference, effect, paired, said


def test_the_interval_is_welchs():
    first, second = [86.1, 85.4, 86.9], [81.2, 83.9, 79.5, 82.2]
    found = difference(first, second, level=0.1)
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.9)
    assert found.interval == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert found.mean == pytest.approx(86.1333333 - 81.7) and found.n == (3, 4)


def test_a_single_run_has_no_interval_and_runs_without_spread_have_none_to_speak_of():
    assert difference([1.0, 2.0], [1.0]).interval is None
    assert difference([2.0, 2.0], [1.0, 1.0]).interval == (1.0, 1.0)


FIRST, SECOND = {1: 86.1, 2: 85.4, 3: 86.9, 7: 99.0}, {3: 85.1, 1: 85.2, 2: 84.9, 8: 0.0}


def test_pairs_of_one_seed_have_students_interval_and_seeds_of_one_side_do_not_count():
    found = paired(FIRST, SECOND, level=0.1)
    expected = stats.ttest_rel([86.1, 85.4, 86.9], [85.2, 84.9, 85.1]).confidence_interval(0.9)
    assert found.interval == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert found.mean == pytest.approx((0.9 + 0.5 + 1.8) / 3) and found.n == (3, 3)
    unpaired = difference([86.1, 85.4, 86.9], [85.2, 84.9, 85.1], level=0.1)
    assert unpaired.interval[1] - unpaired.interval[0] > found.interval[1] - found.interval[0]


def test_a_single_pair_has_no_interval_and_none_is_an_error():
    assert paired({1: 2.0, 2: 0.0}, {1: 1.5}).interval is None and paired({1: 2.0}, {1: 1.5}).mean == 0.5
    with pytest.raises(ValueError, match="no seed"):
        paired({1: 2.0}, {2: 2.0})


@pytest.mark.parametrize(
    ("apart", "words"),
    [
        ((1.0, 1.1, 0.9), "helps"),
        ((-1.0, -1.1, -0.9), "hurts"),
        ((0.1, -0.1, 0.3), "no effect seen at this scale (less than 0.60 points)"),
        ((5.0,), "one pair of seeds has no interval"),
    ],
)
def test_what_a_difference_shows(apart, words):
    found = paired(dict(enumerate(apart)), dict.fromkeys(range(len(apart)), 0.0))
    assert effect(found) == words
    assert said(found, "points").startswith(f"{sum(apart) / len(apart):+.2f} points (")
