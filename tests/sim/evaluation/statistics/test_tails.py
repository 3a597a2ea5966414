import math

import numpy as np
import pytest
from scipy import stats

from sim.evaluation.statistics.tails import FEWEST, tail_mean, tails


def test_the_mean_of_the_worst_cases():
    values = np.random.default_rng(0).permutation(200.0 + np.arange(400))
    assert tail_mean(values, 0.05, "higher").value == pytest.approx(200 + 19 / 2)  # the mean of 200 ... 219
    assert tail_mean(values, 0.10, "lower").value == pytest.approx(599 - 39 / 2)
    assert tail_mean(values, 1.0, "higher").value == pytest.approx(values.mean())


def test_the_case_on_the_border_counts_in_part():
    # 5 % of 30 cases are one and a half: (1 + 2 / 2) / 1.5
    assert tail_mean(np.arange(1.0, 31.0), 0.05, "higher").value == pytest.approx(2 / 1.5)


def test_a_case_without_a_value_is_left_out():
    with_gaps = np.concatenate([np.arange(100.0), [np.nan] * 50])
    found = tail_mean(with_gaps, 0.1, "higher")
    assert (found.value, found.n) == (pytest.approx(4.5), 100)


@pytest.mark.parametrize("share", [0.05, 0.1])
def test_the_interval_covers_the_tail_of_a_normal_distribution(share):
    truth = -stats.norm.pdf(stats.norm.ppf(share)) / share
    random, covered, rounds = np.random.default_rng(1), 0, 300
    for _ in range(rounds):
        found = tail_mean(random.normal(size=600), share, "higher", resamples=400)
        covered += found.low <= truth <= found.high
    low, high = stats.binomtest(covered, rounds).proportion_ci(0.999)
    assert low < 0.95
    assert high > 0.93  # a percentile interval of 30 cases in the tail is a little short


def test_few_cases_and_equal_ones_have_no_interval():
    few = tail_mean(np.arange(FEWEST * 20 - 20.0), 0.05, "higher")
    assert few.low is None
    assert "in the tail" in few.note
    assert tail_mean(np.ones(400), 0.1, "lower").low is None
    assert tail_mean(np.full(3, math.nan), 0.1, "lower").value is None


def test_groups_are_resampled_within_themselves():
    # The worst tenth is the whole of a group that does not vary: no resample can change it.
    values = np.concatenate([np.zeros(40), np.random.default_rng(2).normal(50, 1, 360)])
    found = tail_mean(values, 0.1, "higher", strata=["bad"] * 40 + ["good"] * 360)
    assert (found.low, found.high) == (0.0, 0.0)
    mixed = tail_mean(values, 0.1, "higher")
    assert mixed.high > mixed.low


def test_what_is_no_tail_is_refused():
    for share, better in ((0.0, "higher"), (1.1, "higher"), (0.1, "")):
        with pytest.raises(ValueError, match="a tail needs a share"):
            tail_mean([1.0, 2.0], share, better)


def test_a_report_shows_two():
    found = tails(np.arange(1000.0), "higher")
    assert {name: one.value for name, one in found.items()} == pytest.approx({"cvar5": 24.5, "worst_decile": 49.5})
