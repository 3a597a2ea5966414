import numpy as np
import pytest
from scipy import stats

from sim.evaluation.statistics import (
    difference_over_runs,
    mean_interval,
    mean_over_runs,
    tango_interval,
    wilson_interval,
)

CHEAP = {"resamples": 1000}


def layout(seed, simulations, runs, cases, of_run, of_case, of_both):
    """Values [simulation, run, case] of mean 0 with the given standard deviations of each part."""
    generator = np.random.default_rng(seed)
    return (
        of_run * generator.normal(size=(simulations, runs, 1))
        + of_case * generator.normal(size=(simulations, 1, cases))
        + of_both * generator.normal(size=(simulations, runs, cases))
    )


def coverage(estimates, truth=0.0):
    return np.mean([e.low <= truth <= e.high for e in estimates])


@pytest.mark.parametrize(("of_run", "of_case", "of_both"), [(1, 0.1, 0.1), (1, 3, 3), (0, 1, 1), (1, 5, 1)])
@pytest.mark.parametrize("runs", [5, 10])
def test_coverage_whether_runs_or_cases_differ_most(runs, of_run, of_case, of_both):
    values = layout(runs, 1500, runs, 40, of_run, of_case, of_both)
    assert 0.93 < coverage(mean_over_runs(values, **CHEAP)) < 0.97


def test_coverage_of_a_difference():
    # The cases are shared, so their part drops out; the runs are not.
    generator = np.random.default_rng(0)
    cases = 10 * generator.normal(size=(1500, 1, 40))
    a = layout(1, 1500, 6, 40, 1, 0, 2) + cases
    b = layout(2, 1500, 8, 40, 1, 0, 2) + cases + 0.5
    found = difference_over_runs(a, b, **CHEAP)
    assert 0.93 < coverage([e for e, _ in found], 0.5) < 0.97
    assert np.mean([e.high - e.low for e, _ in found]) < 3  # unpaired, the cases alone would give 9
    none = difference_over_runs(a, b - 0.5, **CHEAP)
    assert np.mean([p < 0.05 for _, p in none]) == pytest.approx(0.05, abs=0.02)
    for estimate, p in none[:200]:
        assert (p < 0.05) == (estimate.low > 0 or estimate.high < 0) or p == pytest.approx(0.05, abs=0.01)


def test_runs_that_differ_more_than_cases_get_the_t_interval_of_their_means():
    values = layout(3, 1, 7, 30, 1, 0, 1e-6)
    means = values[0].mean(1)
    reference = stats.t.interval(0.95, 6, means.mean(), stats.sem(means))
    estimate = mean_over_runs(values)[0]
    width = reference[1] - reference[0]
    assert estimate.high - estimate.low == pytest.approx(width, rel=0.05)
    assert estimate.value == pytest.approx(means.mean())


def test_what_is_particular_to_a_run_on_a_case_is_counted_once():
    # Nothing but independent noise: neither runs nor cases are clusters, and all 400 episodes are one sample.
    values = layout(4, 300, 10, 40, 0, 0, 1)
    plain = np.mean([e.high - e.low for e in map(mean_interval, values.reshape(300, 400))])
    assert np.mean([e.high - e.low for e in mean_over_runs(values, **CHEAP)]) < 1.35 * plain


def test_few_runs_are_said_so():
    values = layout(0, 1, 5, 30, 1, 1, 1)
    assert mean_over_runs(values, **CHEAP)[0].note == ""
    assert mean_over_runs(values[:, :4], **CHEAP)[0].note == "only 4 runs on a side, 5 are the least to trust"
    assert mean_over_runs(values[:, :1], **CHEAP)[0].note.startswith("one run on a side")
    assert difference_over_runs(values, values[:, :2], **CHEAP)[0][0].note.startswith("only 2 runs")


def test_events_that_never_or_hardly_happen_keep_an_interval():
    never = np.zeros((1, 6, 200))
    estimate = mean_over_runs(never, rate=True, **CHEAP)[0]
    assert (estimate.low, estimate.high) == (0, wilson_interval(0, 200).high)
    assert mean_over_runs(never + 1, rate=True, **CHEAP)[0].low == wilson_interval(200, 200).low
    once = never.copy()
    once[0, 2, 17] = 1
    estimate = mean_over_runs(once, rate=True, **CHEAP)[0]
    assert estimate.low == 0
    assert estimate.high >= wilson_interval(0, 200).high
    for a in (never, once):
        ((difference, _),) = difference_over_runs(a, never, rate=True, **CHEAP)
        assert difference.high >= tango_interval(0, 0, 200).high
        assert difference.low <= tango_interval(0, 0, 200).low
    means = mean_over_runs(never, **CHEAP)[0]
    assert (means.value, means.low) == (0, None)
    assert means.note == "no spread between runs or cases"


def test_a_rate_stays_a_rate():
    values = (np.random.default_rng(0).random((1, 2, 8)) < 0.8).astype(float)
    estimate = mean_over_runs(values, rate=True, **CHEAP)[0]
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_missing_values_and_no_values():
    values = layout(0, 3, 6, 50, 1, 1, 1) + 4
    values[0, 2, :10] = np.nan
    values[1] = np.nan
    first, second, _ = mean_over_runs(values, **CHEAP)
    assert first.value == pytest.approx(np.nanmean(values[0]))
    assert first.low < 4 < first.high
    assert (second.value, second.low, second.n) == (None, None, 0)
    assert difference_over_runs(values, values, **CHEAP)[1] == (second, None)
    with pytest.raises(ValueError, match="same cases: got 50 and 40"):
        difference_over_runs(values, values[:, :, :40])
    with pytest.raises(ValueError, match="finite"):
        mean_over_runs(np.full((1, 2, 3), np.inf))


def test_swapping_the_sides_mirrors_the_difference():
    values = layout(0, 1, 12, 30, 1, 1, 1)
    a, b = values[:, :6], values[:, 6:]
    ((there, p),) = difference_over_runs(a, b)
    ((back, q),) = difference_over_runs(b, a)
    assert there.value == -back.value
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), rel=0.05)
    assert p == pytest.approx(q, abs=0.02)
