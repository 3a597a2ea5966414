import numpy as np
import pytest
from scipy.stats import binomtest, norm

from sim.evaluation.falsification.estimate import Mixture, failure_probability, failure_proposal
from sim.evaluation.falsification.samplers import Normals

THRESHOLD = 2.8
RARE = norm.sf(THRESHOLD)  # 0.0026: the toy driver fails where the first of four latent numbers is above the threshold


def toy(n, random, mixture):
    points = mixture.draw(n, 4, random)
    return failure_probability(mixture.weights(points), points[:, 0] > THRESHOLD, mixture.nominal_share)


@pytest.fixture(scope="module")
def searched():
    """The mixture that a cross-entropy search of the toy leads to."""
    random = np.random.default_rng(5)
    proposal = Normals(np.array([2.0, 0.3, 0, 0]), np.array([0.8, 0.7, 1, 1]))
    points = proposal.draw(500, random)
    points = points[points[:, 0] > THRESHOLD]
    return failure_proposal(points, proposal.log_density(points))


def test_the_known_probability_is_found_without_bias(searched):
    random = np.random.default_rng(0)
    found = [toy(400, random, searched) for _ in range(400)]
    values = np.array([one.unbiased.value for one in found])
    assert abs(values.mean() - RARE) < 3 * values.std() / 20
    assert values.std() < 0.4 * np.sqrt(RARE * (1 - RARE) / 400)  # a plain count's
    normalised = np.mean([one.self_normalised.value for one in found])
    assert normalised == pytest.approx(RARE, rel=0.05)


def test_the_intervals_cover_the_known_probability(searched):
    random = np.random.default_rng(1)
    found = [toy(400, random, searched) for _ in range(600)]
    for name in ("unbiased", "self_normalised"):
        inside = sum(getattr(one, name).low <= RARE <= getattr(one, name).high for one in found)
        assert 0.92 < inside / 600 < 0.98, name


def test_without_a_fit_it_is_the_plain_count():
    failed = np.random.default_rng(2).random(500) < 0.3
    found = failure_probability(np.ones(500), failed)
    assert found.unbiased.value == pytest.approx(failed.mean()) == pytest.approx(found.self_normalised.value)
    wald = 1.96 * np.sqrt(failed.mean() * (1 - failed.mean()) / 500)
    assert found.unbiased.high - found.unbiased.value == pytest.approx(wald, rel=0.01)
    assert found.effective == pytest.approx(500) and found.effective_failures == pytest.approx(failed.sum())


def test_no_weight_is_above_the_bound_however_far_off_the_fit_is():
    points = np.random.default_rng(3).normal(0, 6, (10_000, 3))
    for mean, deviation in ((8.0, 0.05), (-3.0, 1.25), (0.0, 0.3)):
        weights = Mixture(Normals(np.full(3, mean), np.full(3, deviation)), 0.25).weights(points)
        assert weights.max() <= 4 + 1e-12 and weights.min() >= 0


def test_weights_are_one_on_average():
    mixture = Mixture(Normals(np.array([2.0, -1.0]), np.array([0.5, 0.8])))
    points = mixture.draw(200_000, 2, np.random.default_rng(4))
    assert mixture.weights(points).mean() == pytest.approx(1, abs=0.01)


def test_without_failures_the_upper_end_allows_for_what_the_proposal_may_hide():
    found = failure_probability(np.full(300, 0.5), np.zeros(300, dtype=bool), nominal_share=0.5)
    exact = binomtest(0, 300).proportion_ci(method="exact").high
    assert (found.unbiased.value, found.unbiased.low) == (0, 0)
    assert found.unbiased.high == pytest.approx(2 * exact)


def test_where_all_fails_the_lower_end_does():
    found = failure_probability(np.ones(300), np.ones(300, dtype=bool), nominal_share=0.5)
    assert found.unbiased.high == 1
    assert 1 - found.unbiased.low == pytest.approx(2 * (1 - binomtest(300, 300).proportion_ci(method="exact").low))


def test_a_few_failures_are_not_fitted():
    points = np.ones((9, 4))
    assert failure_proposal(points, np.zeros(9)).fitted is None


def test_one_point_is_not_enough():
    with pytest.raises(ValueError, match="at least two"):
        failure_probability(np.ones(1), np.zeros(1, dtype=bool))
