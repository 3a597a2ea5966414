import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from sim.evaluation.statistics import benjamini_hochberg, holm


def test_hand_worked():
    # Sorted: 0.005, 0.01, 0.03, 0.04. Holm: x4, x3, x2, x1 and never falling. Benjamini-Hochberg: x4/1 ... x4/4.
    p = [0.01, 0.04, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg(p) == pytest.approx([0.02, 0.04, 0.04, 0.02])


@pytest.mark.parametrize(("ours", "method"), [(holm, "holm"), (benjamini_hochberg, "fdr_bh")])
def test_equal_to_statsmodels(ours, method):
    generator = np.random.default_rng(0)
    for n in (1, 2, 40):
        p = generator.beta(0.3, 1, n)
        assert ours(p) == pytest.approx(multipletests(p, method=method)[1], abs=1e-15)
    tied = [0.02, 0.02, 0.9, 0.02, 1.0, 0.0]
    assert ours(tied) == pytest.approx(multipletests(tied, method=method)[1], abs=1e-15)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_a_test_that_could_not_be_made_counts_for_nothing(adjust):
    adjusted = adjust([0.01, np.nan, 0.2])
    assert np.isnan(adjusted[1])
    assert adjusted[[0, 2]] == pytest.approx(adjust([0.01, 0.2]))
    assert len(adjust([])) == 0
    with pytest.raises(ValueError, match="between 0 and 1"):
        adjust([0.5, 1.5])


def test_holm_keeps_the_chance_of_any_false_claim():
    p = np.random.default_rng(1).random((4000, 20))
    assert np.mean([(holm(row) < 0.05).any() for row in p]) == pytest.approx(0.05, abs=0.012)
