"""Bands: the quantiles are those of the tables, the formulas those of the docstring, and the levels are kept."""

import math
import statistics

import numpy as np
import pytest

from reproduce.judge import bands, student

# NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2 and 1.3.6.7.3
T_TABLE = {(0.975, 1): 12.706, (0.975, 4): 2.776, (0.995, 3): 5.841, (0.999, 10): 4.144, (0.9, 30): 1.310}
F_TABLE = {(0.95, 3, 3): 9.277, (0.95, 6, 6): 4.284, (0.99, 4, 4): 15.977}


@pytest.mark.parametrize(("p", "df"), T_TABLE)
def test_quantiles_of_t_are_those_of_the_table(p, df):
    assert student.quantile(p, df) == pytest.approx(T_TABLE[p, df], abs=6e-4)
    assert student.quantile(1 - p, df) == pytest.approx(-student.quantile(p, df))


def test_t_has_the_closed_forms_of_one_and_two_degrees():
    for p in (0.6, 0.95, 0.9999):
        assert student.quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-9)
        assert student.quantile(p, 2) == pytest.approx((2 * p - 1) / math.sqrt(2 * p * (1 - p)), rel=1e-9)
    assert student.quantile(0.975, 1e7) == pytest.approx(1.959964, abs=1e-5)  # normal


@pytest.mark.parametrize("key", F_TABLE)
def test_quantiles_of_f_are_those_of_the_table(key):
    assert student.f_quantile(*key) == pytest.approx(F_TABLE[key], abs=1e-3)


@pytest.mark.parametrize(("p", "df"), [(0, 3), (1, 3), (0.5, 0)])
def test_no_quantile_outside_its_range(p, df):
    with pytest.raises(ValueError, match="no quantile"):
        student.quantile(p, df)


def curves(values) -> list[dict[int, float]]:
    return [dict(enumerate(row, 1)) for row in np.asarray(values).tolist()]


def test_an_interval_is_the_prediction_interval_of_the_formula():
    values = np.array([[1.0, 5.0, 7.0], [2.0, 5.5, 7.5], [4.0, 4.0, 8.0], [3.0, 6.0, 6.0]])
    known = bands.band(curves(values))
    own = values.var(0, ddof=1)
    neighbourhoods = own[:2].mean(), own.mean(), own[1:].mean()
    assert known.sd == pytest.approx(np.sqrt(np.maximum(own, neighbourhoods)))
    one = known.interval(2, 0.01, simultaneous=False)
    half = student.quantile(0.995, known.freedom[1]) * known.sd[1] * math.sqrt(1 + 1 / 4)
    assert (one.low, one.high) == pytest.approx((5.125 - half, 5.125 + half))
    wider = known.interval(2, 0.03)  # 0.01 for each of three epochs
    assert (wider.low, wider.high) == pytest.approx((one.low, one.high))


def test_an_accuracy_may_fall_farther_than_it_rises():
    """By factors of its error: five runs whose errors are 10 % times or divided by the same factors."""
    factors = (0.8, 0.9, 1.0, 1 / 0.9, 1 / 0.8)
    errors = [10.5 * factor for factor in factors]
    found = bands.band([{1: 100.5 - error} for error in errors], bands.ERROR).interval(1, 0.05)
    assert (100.5 - found.low) * (100.5 - found.high) == pytest.approx(10.5**2)
    assert 90 - found.low > found.high - 90 > 0
    # there and back; and nothing is beyond 100 %
    low, high = (bands.ERROR.back(bands.ERROR.of(top1)) for top1 in (0.0, 99.9))
    assert (low, high) == pytest.approx((0.0, 99.9)) and bands.ERROR.of(101) == bands.ERROR.of(100)


def test_degrees_of_freedom_count_what_is_independent():
    three, two = [True, True, True], [False, True, True]
    assert bands.degrees_of_freedom(5, np.array([three, two]), 0.0, 0.0) == pytest.approx([12, 8])
    assert bands.degrees_of_freedom(5, np.array([three, two]), 0.0, 0.9999) == pytest.approx([4, 4], rel=1e-3)


def test_a_calm_neighbourhood_does_not_narrow_a_rough_epoch_nor_a_rough_one_a_calm_one():
    spread = np.array([1.0, 1.2, 0.8, 1.1, 1.0, 0.9])[:, None] * np.array([1.0, 1.0, 3.0, 1.0, 1e-3])
    signs = np.array([1, -1, 1, -1, 1, -1])[:, None]
    sd, _ = bands.pooled_sd(spread * signs)
    own = (spread * signs).std(0, ddof=1)
    assert sd[2] == pytest.approx(own[2]) and sd[1] > own[1] and sd[4] == pytest.approx(own[4])


def test_runs_that_do_not_differ_still_have_a_spread():
    known = bands.band(curves(np.ones((5, 4))))
    assert known.sd == pytest.approx([bands.FLOOR] * 4)


@pytest.mark.parametrize("given", [[], [{1: 1.0}] * 2, [{1: 1.0}, {2: 1.0}, {3: 1.0}]])
def test_too_little_for_a_band(given):
    with pytest.raises(ValueError, match="in common: needs 3"):
        bands.band(given)


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_a_further_run_leaves_the_band_as_seldom_as_it_says(rho):
    """At a level of 20 %, where it can be counted: below it, as Bonferroni is, but not idle."""
    left = 0
    for z in bands.draws(6, 20, rho, 400, seed=1):
        known, run = bands.band(curves(z[:-1])), dict(enumerate(z[-1], 1))
        left += any(run[epoch] not in known.interval(epoch, 0.2) for epoch in known.epochs)
    assert 0.04 < left / 400 <= 0.2 + 2 * math.sqrt(0.2 * 0.8 / 400)


def test_misfit_knows_a_run_from_the_mean_and_from_a_small_difference_everywhere():
    z = bands.draws(6, 20, 0.0, 1, seed=2)[0]
    known = bands.band(curves(z[:-1]))
    expected = bands.misfit_range(known, 0.01)
    run, mean = dict(enumerate(z[-1], 1)), dict(zip(known.epochs, known.mean))
    off = {epoch: value + 2.2 * sd for (epoch, value), sd in zip(mean.items(), known.sd)}
    assert bands.misfit(known, run) in expected
    assert bands.misfit(known, mean) < expected.low and bands.misfit(known, off) > expected.high
    assert all(off[epoch] in known.interval(epoch, 0.01) for epoch in off)  # the band does not see it


def test_misfit_leaves_its_range_on_either_side_as_often_as_it_says():
    sides = [0, 0]
    for z in bands.draws(6, 10, 0.3, 400, seed=5):
        known = bands.band(curves(z[:-1]))
        score, expected = bands.misfit(known, dict(enumerate(z[-1], 1))), bands.misfit_range(known, 0.4)
        sides[0] += score < expected.low
        sides[1] += score > expected.high
    assert all(0.13 < count / 400 < 0.27 for count in sides), sides  # 0.2 each, give or take 3.5 standard errors


def test_what_a_run_keeps_to_the_end_is_told_from_what_fades():
    for common, rho in ((0.0, 0.0), (0.0, 0.7), (0.6, 0.0), (0.5, 0.5)):
        z = bands.draws(400, 60, rho, 1, seed=5, common=common)[0]
        assert bands.correlations(z) == pytest.approx((common, rho), abs=0.06)
    assert bands.correlations(np.zeros((4, 9))) == (0.0, 0.0) and bands.correlations(np.ones((4, 1))) == (0.0, 0.0)


def test_runs_that_keep_to_one_side_are_not_refused_for_it():
    """Six known runs whose losses keep 0.6 of their variance, as ours do, and one more: 300 times, at 1 %."""
    outside = 0
    for z in bands.draws(7, 20, 0.3, 300, seed=2, common=0.6):
        *known, further = ({epoch: value for epoch, value in enumerate(row, 1)} for row in z.tolist())
        found = bands.band(known)
        outside += bands.misfit(found, further) > bands.misfit_range(found, 0.02, cautious=True).high
    assert outside <= 3  # 17 if all correlation is taken to fade, 9 by the c that six runs seem to have


def test_a_predicted_value_is_within_t_of_the_mean():
    values, half = [1.0, 2.0, 4.0], student.quantile(0.975, 2) * math.sqrt(4 / 3)
    one = bands.predicted(values, 0.05)
    mean, sd = statistics.fmean(values), statistics.stdev(values)
    assert (one.low, one.high) == pytest.approx((mean - half * sd, mean + half * sd))
    assert bands.predicted([2.0, 2.0, 2.0], 0.05, floor=1.0).high == pytest.approx(2 + half)
    assert math.nan not in one
