import time

import numpy as np
import pytest
from scipy import stats

from sim.evaluation.statistics import bootstrap_mean, bootstrap_means, estimate_metrics, mean_interval, wilson_interval
from sim.evaluation.statistics.bootstrap import case_weights, stratum_codes


def coverage(estimates, truth):
    return np.mean([e.low <= truth <= e.high for e in estimates])


@pytest.mark.parametrize("n", [6, 25, 120])
def test_coverage_of_a_mean(n):
    draws = np.random.default_rng(n).normal(3, 2, (n, 2000))
    assert 0.93 < coverage(bootstrap_means(draws, resamples=1000), 3) < 0.97


def test_coverage_of_a_skewed_mean():
    draws = np.random.default_rng(0).gamma(2, 1, (120, 3000))
    assert 0.93 < coverage(bootstrap_means(draws, resamples=2000), 2) < 0.97


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_coverage_of_a_stratified_mean_of_groups_that_differ(missing):
    generator = np.random.default_rng(5)
    group = np.repeat(np.arange(4), 15)
    draws = generator.normal(10 * group[:, None], 1 + group[:, None], (60, 3000))
    draws[generator.random(draws.shape) < missing] = np.nan
    assert 0.93 < coverage(bootstrap_means(draws, group.tolist(), resamples=2000), 15) < 0.97


def test_strata_take_the_spread_between_groups_out():
    group = ["a"] * 30 + ["b"] * 30
    values = np.random.default_rng(0).normal(0, 1, 60) + np.repeat([0, 100], 30)
    inside, across = bootstrap_mean(values, group), bootstrap_mean(values)
    assert inside.value == across.value == pytest.approx(values.mean())
    assert inside.high - inside.low < 0.8
    assert across.high - across.low > 20
    # Two groups of equal variance: the classical stratified standard error.
    error = np.sqrt(values[:30].var(ddof=1) / 120 + values[30:].var(ddof=1) / 120)
    assert inside.high - inside.low == pytest.approx(2 * stats.t.ppf(0.975, 58) * error, rel=0.04)


def test_a_large_sample_agrees_with_scipys_percentile_bootstrap():
    values = np.random.default_rng(3).gamma(1.5, 2, 400)
    reference = stats.bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    estimate = bootstrap_mean(values)
    width = reference.high - reference.low
    assert (estimate.low, estimate.high) == pytest.approx((reference.low, reference.high), abs=0.05 * width)


def test_a_small_normal_sample_gets_students_interval():
    # What the stretch is for: a plain percentile interval of 8 values is a quarter narrower.
    values = np.array([-3.0, -1.0, -0.5, -0.1, 0.1, 0.5, 1.0, 3.0])
    estimate, student = bootstrap_mean(values), mean_interval(values)
    assert estimate.high - estimate.low == pytest.approx(student.high - student.low, rel=0.03)


def test_a_metric_that_does_not_vary_gets_no_interval():
    for value in (0.0, 2.5, 0.1):
        estimate = bootstrap_mean(np.full(200, value))
        assert (estimate.value, estimate.low, estimate.high) == (pytest.approx(value), None, None)
        assert estimate.note == "the same in all 200 cases"
    constant_groups = bootstrap_mean([1, 1, 1, 4, 4, 4], list("aaabbb"))
    assert (constant_groups.value, constant_groups.low) == (2.5, None)
    assert constant_groups.note == "no spread within any group"
    assert bootstrap_mean([7.0]).note == "one case"
    assert bootstrap_mean([7.0]).low is None
    assert bootstrap_mean([np.nan, np.nan]).as_dict() == {"value": None, "ci95": [None, None]}
    assert bootstrap_mean([]).value is None


def test_a_mean_that_rests_on_few_cases_says_so():
    values = np.zeros(200)
    values[:3] = (4, 5, 6)
    assert bootstrap_mean(values).note == "only 3 of 200 cases differ from the rest: the interval is too narrow"
    values[:8] = range(1, 9)
    assert bootstrap_mean(values).note == ""


def test_missing_values_have_no_part_in_the_mean():
    estimate = bootstrap_mean([1.0, 3.0, np.nan, 2.0, np.nan])
    assert estimate.value == 2
    assert estimate.n == 3
    assert 1 > estimate.low > -3  # Student's interval of 1, 2, 3 begins at -0.5
    with pytest.raises(ValueError, match="finite"):
        bootstrap_mean([1.0, np.inf])


def test_metrics_do_not_depend_on_their_neighbours_nor_on_the_global_generator():
    values = np.random.default_rng(0).normal(size=(50, 3))
    values[4, 1] = np.nan
    together = bootstrap_means(values, resamples=500)
    np.random.seed(1)
    alone = [bootstrap_mean(column, resamples=500) for column in values.T]
    for one, other in zip(together, alone, strict=True):
        assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-12)
    assert bootstrap_mean(values[:, 0], resamples=500, seed=1).low != alone[0].low


def test_weights_draw_each_case_equally_often_and_keep_the_size_of_each_stratum():
    codes = np.array([0, 1, 1, 0, 1, 1, 1, 0])
    weights = np.concatenate([block for _, block in case_weights(codes, 20_000, 0)])
    assert weights.shape == (20_000, 8)
    for code, size in ((0, 3), (1, 5)):
        assert (weights[:, codes == code].sum(1) == size).all()
    assert weights.mean(0) == pytest.approx(np.ones(8), abs=0.03)
    # The number of times a case is drawn in a stratum of 3 is binomial (3, 1/3).
    observed = np.bincount(weights[:, 0].astype(int), minlength=4) / 20_000
    assert observed == pytest.approx(stats.binom.pmf(range(4), 3, 1 / 3), abs=0.01)


def test_groups_of_one_case_are_pooled():
    assert stratum_codes(list("abcaa"), 5).tolist() == [0, 1, 1, 0, 0]  # b and c with each other
    assert stratum_codes(list("aabbbc"), 6).tolist() == [0, 0, 1, 1, 1, 0]  # c with the smallest
    assert stratum_codes(list("abc"), 3).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="3 cases, 2 groups"):
        stratum_codes(["a", "b"], 3)


def test_each_metric_gets_the_interval_that_suits_it():
    values = {
        "distance": np.arange(20.0),
        "collision": np.array([1.0] + [0.0] * 18 + [np.nan]),
        "off_road": np.zeros(20),
    }
    found = estimate_metrics(values, ["collision", "off_road"], ["a"] * 10 + ["b"] * 10)
    assert list(found) == ["distance", "collision", "off_road"]
    assert found["collision"] == wilson_interval(1, 19)
    assert found["off_road"] == wilson_interval(0, 20)
    assert found["off_road"].high > 0.1
    assert found["distance"].low < 9.5 < found["distance"].high
    with pytest.raises(ValueError, match="collision is a rate"):
        estimate_metrics({"collision": np.array([0.0, 2.0])}, ["collision"])


@pytest.mark.slow
def test_ten_thousand_cases_of_sixty_metrics_take_seconds():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(10_000, 60))
    values[generator.random(values.shape) < 0.1] = np.nan
    begun = time.process_time()
    assert len(bootstrap_means(values, [f"group {i % 8}" for i in range(10_000)])) == 60
    assert time.process_time() - begun < 20
