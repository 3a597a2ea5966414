import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.power import TTestPower

from sim.evaluation.statistics import (
    detectable_mean_difference,
    detectable_rate_difference,
    mcnemar_power,
    mcnemar_test,
    pairs_needed,
    sign_flip_test,
    tango_interval,
    win_tie_loss,
)


def test_mcnemar_by_hand():
    assert mcnemar_test(0, 5) == 2 / 32
    assert mcnemar_test(1, 5) == pytest.approx(2 * (1 + 6) / 64)
    assert [mcnemar_test(0, 0), mcnemar_test(3, 3), mcnemar_test(4, 3)] == pytest.approx([1, 1, 1])


def test_mcnemar_equals_statsmodels():
    for b, c in ((0, 9), (3, 14), (25, 28), (300, 400)):
        assert mcnemar_test(b, c) == pytest.approx(mcnemar([[50, b], [c, 9]], exact=True).pvalue, rel=1e-9)
        assert mcnemar_test(b, c) == mcnemar_test(c, b)
    with pytest.raises(ValueError, match="got -1 and 2"):
        mcnemar_test(-1, 2)


# Fagerland, Lydersen and Laake (2014), "Recommended tests and confidence intervals for paired binomial proportions":
# the airway data; and R's PropCIs, scoreci.mp(25, 28, 618, 0.9).
@pytest.mark.parametrize(
    ("b", "c", "n", "confidence", "low", "high"),
    [(1, 7, 21, 0.95, -0.517, -0.026), (28, 25, 618, 0.90, -0.0148, 0.0247)],
)
def test_tango_gives_published_intervals(b, c, n, confidence, low, high):
    estimate = tango_interval(b, c, n, confidence)
    assert estimate.value == pytest.approx((b - c) / n)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=6e-5 if n > 100 else 6e-4)


def test_tango_at_the_edges():
    z2 = stats.norm.ppf(0.975) ** 2
    nothing = tango_interval(0, 0, 100)
    # Without discordant cases the score equation is n d^2 = z^2 d (1 - d).
    assert (nothing.low, nothing.high) == pytest.approx((-z2 / (100 + z2), z2 / (100 + z2)))
    everything = tango_interval(5, 0, 5)
    assert everything.high == 1
    assert 0 < everything.low < 1
    mirrored = tango_interval(0, 5, 5)
    assert (mirrored.low, mirrored.high) == (-everything.high, -everything.low)
    assert tango_interval(0, 0, 1).low == -tango_interval(0, 0, 1).high == pytest.approx(-z2 / (1 + z2))
    assert tango_interval(0, 0, 0).value is None
    with pytest.raises(ValueError, match="between 0 and n = 4, got 3 and 2"):
        tango_interval(3, 2, 4)


def test_tango_covers_as_often_as_it_says():
    # Summed over all outcomes of 60 pairs: no simulation. The mean over many truths is the nominal 95 %.
    n = 60
    table = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
    ends = np.array([(e.low, e.high) for e in (tango_interval(b, c, n) for b, c in table)])
    counts = np.array([(b, c, n - b - c) for b, c in table])
    covered = []
    for truth in np.random.default_rng(0).dirichlet([1, 1, 6], 150):
        difference = truth[0] - truth[1]
        inside = (ends[:, 0] <= difference) & (difference <= ends[:, 1])
        covered.append(stats.multinomial.pmf(counts, n, truth) @ inside)
    assert 0.945 < np.mean(covered) < 0.965
    assert min(covered) > 0.92


def test_power_equals_a_sum_over_all_outcomes():
    for n, share, difference in ((50, 0.2, 0.1), (20, 0.5, 0.5), (5, 1, 1), (6, 1, 1), (60, 0.1, 0.06)):
        power = 0.0
        for pairs in range(n + 1):
            b = np.arange(pairs + 1)
            significant = np.array([stats.binomtest(int(k), pairs).pvalue <= 0.05 if pairs else False for k in b])
            chance = stats.binom.pmf(b, pairs, (1 + difference / share) / 2)
            power += stats.binom.pmf(pairs, n, share) * chance[significant].sum()
        assert mcnemar_power(n, share, difference) == pytest.approx(power, abs=1e-9)
    assert mcnemar_power(100, 0, 0) == 0
    with pytest.raises(ValueError, match="between the difference"):
        mcnemar_power(100, 0.1, 0.2)


# Cases to see 2 % against 1 %, 5 against 3, 10 against 5: nested failures, and (last) independent ones.
@pytest.mark.parametrize(
    ("difference", "share", "n"),
    [(0.01, 0.01, 783), (0.02, 0.02, 391), (0.05, 0.05, 155), (0.01, 0.02 * 0.99 + 0.01 * 0.98, 2321)],
)
def test_pairs_needed(difference, share, n):
    assert pairs_needed(difference, share) == pairs_needed(-difference, share) == n
    # The exact test is a little weaker than the approximation.
    assert 0.75 < mcnemar_power(n, share, difference) < 0.82
    assert difference < detectable_rate_difference(n, round(share * n)) < 1.15 * difference


def test_detectable_differences_of_rates():
    found = detectable_rate_difference(300, 12)
    assert mcnemar_power(300, max(0.04, found), found) == pytest.approx(0.8, abs=1e-3)
    # Nothing discordant was seen, yet a difference needs discordant cases: 6 one-sided ones at the least.
    assert 6 / 300 < detectable_rate_difference(300, 0) < 10 / 300
    assert detectable_rate_difference(10_000, 400) < detectable_rate_difference(1000, 40) < 0.1
    assert detectable_rate_difference(5, 2) is None
    assert detectable_rate_difference(0, 0) is None
    assert pairs_needed(0, 0.1) is None


@pytest.mark.parametrize("n", [12, 50, 1000])
def test_detectable_differences_of_means_equal_statsmodels(n):
    reference = TTestPower().solve_power(nobs=n, power=0.8, alpha=0.05)
    assert detectable_mean_difference(3.0, n) == pytest.approx(3.0 * reference, rel=0.02)
    assert detectable_mean_difference(3.0, 1) == np.inf


@pytest.mark.parametrize("n", [4, 10, 13])
def test_sign_flips_of_few_pairs_equal_scipys_exact_test(n):
    values = np.random.default_rng(n).normal(0.5, 1, n)
    reference = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert sign_flip_test(values[:, None])[0] == pytest.approx(reference.pvalue)


def test_sign_flips_of_many_pairs_approach_the_t_test():
    values = np.random.default_rng(0).normal(0.12, 1, (300, 6))
    p = sign_flip_test(values)
    assert p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.015)
    assert sign_flip_test(values + 5) == pytest.approx(np.full(6, 1 / 10_001))


def test_sign_flips_at_the_edges():
    values = np.array([[1.0, 0.0, np.nan], [1.0, 0.0, np.nan], [2.0, 0.0, np.nan], [np.nan, 0.0, np.nan]])
    p = sign_flip_test(values)
    assert p[0] == 2 / 8  # all three up, or all three down
    assert p[1] == 1
    assert np.isnan(p[2])
    # 0.1 + 0.2 - 0.3 is not 0 in binary, but flipping all signs is no stronger evidence.
    assert sign_flip_test(np.array([[0.1], [0.2], [-0.3]]))[0] == 1


def test_sign_flips_claim_as_often_as_they_may():
    values = np.random.default_rng(4).normal(size=(40, 4000))
    assert np.mean(sign_flip_test(values, resamples=1999) <= 0.05) == pytest.approx(0.05, abs=0.012)


def test_wins_ties_and_losses():
    differences = np.array([-1.0, -2.0, 0.0, 3.0, np.nan])
    assert win_tie_loss(differences, "lower") == (2, 1, 1)
    assert win_tie_loss(differences, "higher") == (1, 1, 2)
    with pytest.raises(ValueError, match="better must be 'lower' or 'higher', got ''"):
        win_tie_loss(differences, "")
