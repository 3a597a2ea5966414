import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.rates import confint_poisson

from sim.evaluation.statistics import (
    clopper_pearson_interval,
    garwood_interval,
    mean_interval,
    rate_at_least,
    rate_at_most,
    wilson_interval,
)


# The score intervals of Newcombe (1998), Statistics in Medicine 17, 857-872, table I.
@pytest.mark.parametrize(
    ("events", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_newcombes_published_intervals(events, n, low, high):
    estimate = wilson_interval(events, n)
    assert estimate.value == events / n
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize("n", [1, 7, 200, 5000])
@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_wilson_equals_scipy(n, confidence):
    for events in sorted({0, 1, n // 3, n - 1, n}):
        reference = stats.binomtest(events, n).proportion_ci(confidence, method="wilson")
        estimate = wilson_interval(events, n, confidence)
        assert (estimate.low, estimate.high) == pytest.approx(tuple(reference), abs=1e-12)
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_nothing_observed_has_no_rate_and_impossible_counts_are_refused():
    assert wilson_interval(0, 0).as_dict() == {"value": None, "ci95": [None, None]}
    with pytest.raises(ValueError, match="events must be between 0 and n = 3, got 4"):
        wilson_interval(4, 3)


def test_mean_interval_of_a_hand_worked_sample():
    # Mean 5, sample variance 4 (n - 1 = 8): the half width is t(0.975, 8) * 2 / 3 with t = 2.306 from any table.
    estimate = mean_interval([1, 5, 5, 5, 5, 5, 5, 5, 9])
    assert estimate.value == 5
    assert estimate.high - 5 == pytest.approx(2.306 * 2 / 3, abs=2e-3)
    assert 5 - estimate.low == pytest.approx(estimate.high - 5)


@pytest.mark.parametrize("n", [2, 3, 4, 6, 30, 1000])
def test_mean_interval_equals_scipy(n):
    values = np.random.default_rng(n).gamma(2.0, size=n)
    reference = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    estimate = mean_interval(values)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.high - estimate.low == pytest.approx(reference[1] - reference[0])


def test_mean_interval_says_nothing_it_cannot_know():
    assert mean_interval([]).as_dict() == {"value": None, "ci95": [None, None]}
    assert mean_interval([3.5]).as_dict() == {"value": 3.5, "ci95": [None, None]}
    assert mean_interval([3.5, 3.5]).as_dict() == {"value": 3.5, "ci95": [3.5, 3.5]}
    assert mean_interval([3.5, 3.5]).note == "all values are equal"
    assert mean_interval([3.5, 3.6]).note == ""
    with pytest.raises(ValueError, match="finite"):
        mean_interval([1.0, math.nan])


def test_both_intervals_cover_the_truth_as_often_as_they_say():
    generator = np.random.default_rng(0)
    draws = generator.normal(3.0, 2.0, size=(2000, 12))
    covered = [e.low <= 3.0 <= e.high for e in map(mean_interval, draws)]
    assert 0.93 < np.mean(covered) < 0.97
    counts = generator.binomial(150, 0.06, size=4000)
    covered = [e.low <= 0.06 <= e.high for e in (wilson_interval(int(k), 150) for k in counts)]
    assert 0.93 < np.mean(covered) < 0.97


@pytest.mark.parametrize("n", [1, 7, 200, 5000])
@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_clopper_pearson_equals_statsmodels(n, confidence):
    for events in sorted({0, 1, n // 3, n - 1, n}):
        estimate = clopper_pearson_interval(events, n, confidence)
        reference = proportion_confint(events, n, 1 - confidence, method="beta")
        assert (estimate.low, estimate.high) == pytest.approx(reference, abs=1e-12)
        assert estimate.value == events / n


# How many cases without an event it takes to claim less than 1 %, 0.5 % and 0.1 % (the rule of three).
@pytest.mark.parametrize(("n", "claim"), [(299, 0.01), (598, 0.005), (2995, 0.001)])
def test_the_fewest_cases_for_a_claim_of_at_most(n, claim):
    assert rate_at_most(0, n) < claim < rate_at_most(0, n - 1)
    assert rate_at_least(n, n) == pytest.approx(1 - rate_at_most(0, n), abs=1e-12)


def test_one_sided_bounds_equal_scipy_and_stop_at_the_edges():
    for events, n in ((1, 20), (17, 300), (299, 300)):
        for bound, alternative, place in ((rate_at_most, "less", 1), (rate_at_least, "greater", 0)):
            reference = stats.binomtest(events, n, alternative=alternative).proportion_ci(0.9)
            assert bound(events, n, 0.9) == pytest.approx(reference[place], abs=1e-12)
    assert rate_at_most(20, 20) == 1
    assert rate_at_least(0, 20) == 0
    assert rate_at_most(0, 0) is None
    assert rate_at_least(0, 0) is None
    assert clopper_pearson_interval(0, 0).value is None


@pytest.mark.parametrize("events", [0, 1, 4, 250])
def test_garwood_equals_statsmodels(events):
    estimate = garwood_interval(events, 12.5)
    reference = confint_poisson(events, 12.5, method="exact-c")
    assert (estimate.low, estimate.high) == pytest.approx(reference, abs=1e-12)
    assert estimate.value == events / 12.5
    assert estimate.n == events


def test_a_rate_per_kilometre_needs_kilometres():
    assert garwood_interval(0, 0.0).as_dict() == {"value": None, "ci95": [None, None]}
    for events, exposure in ((-1, 2.0), (1, -2.0), (1, math.nan)):
        with pytest.raises(ValueError, match="must not be negative"):
            garwood_interval(events, exposure)


def test_exact_intervals_cover_at_least_as_often_as_they_say():
    # Summed over all outcomes, so this is the coverage itself and not a simulation of it.
    for n, rate in ((20, 0.03), (20, 0.5), (300, 0.01), (300, 0.2)):
        covering = [e.low <= rate <= e.high for e in (clopper_pearson_interval(k, n) for k in range(n + 1))]
        assert stats.binom.pmf(range(n + 1), n, rate) @ covering >= 0.95
        below = [rate <= rate_at_most(k, n) for k in range(n + 1)]
        assert stats.binom.pmf(range(n + 1), n, rate) @ below >= 0.95
    for mean in (0.3, 2.0, 40.0):
        covering = [e.low <= mean / 7 <= e.high for e in (garwood_interval(k, 7.0) for k in range(200))]
        assert stats.poisson.pmf(range(200), mean) @ covering >= 0.95


def test_an_impossible_confidence_is_refused():
    with pytest.raises(ValueError, match="the confidence must lie between 0 and 1, got 95"):
        wilson_interval(1, 2, 95)
