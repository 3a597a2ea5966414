import math

import numpy as np
import pytest
from scipy import stats

from sim.evaluation.statistics import mean_interval, student_t_quantile, wilson_interval


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
    assert estimate.high - estimate.low == pytest.approx(reference[1] - reference[0], rel=2e-3)


@pytest.mark.parametrize(("degrees", "tolerance"), [(1, 1e-12), (2, 1e-12), (3, 2e-3), (10, 5e-6), (199, 1e-9)])
def test_student_quantiles_equal_scipy(degrees, tolerance):
    for probability in (0.6, 0.9, 0.975):
        assert student_t_quantile(probability, degrees) == pytest.approx(
            stats.t.ppf(probability, degrees), rel=tolerance
        )
    assert student_t_quantile(0.5, degrees) == pytest.approx(0, abs=1e-15)


def test_mean_interval_says_nothing_it_cannot_know():
    assert mean_interval([]).as_dict() == {"value": None, "ci95": [None, None]}
    assert mean_interval([3.5]).as_dict() == {"value": 3.5, "ci95": [None, None]}
    assert mean_interval([3.5, 3.5]).as_dict() == {"value": 3.5, "ci95": [3.5, 3.5]}
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
