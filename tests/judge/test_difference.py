"""The difference of two recipes, with Welch's interval."""

import pytest
from scipy import stats

from reproduce.judge.difference import difference


def test_the_interval_is_welchs():
    first, second = [86.1, 85.4, 86.9], [81.2, 83.9, 79.5, 82.2]
    found = difference(first, second, level=0.1)
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.9)
    assert found.interval == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert found.mean == pytest.approx(86.1333333 - 81.7) and found.n == (3, 4)


def test_a_single_run_has_no_interval_and_runs_without_spread_have_none_to_speak_of():
    assert difference([1.0, 2.0], [1.0]).interval is None
    assert difference([2.0, 2.0], [1.0, 1.0]).interval == (1.0, 1.0)
