import sys

import numpy as np
import pytest

from sim.evaluation.falsification.samplers import METHODS, NARROWEST, Normals, fitted, make_sampler

SIZE = 6


def margins(points):
    """A failure is a corner that lies 3 nominal deviations out, on two of six axes; noise does not count."""
    return 3.0 - points[:, 1] + points[:, 4]


def shares(method, iterations=12, n=256, seed=0):
    """How much of each iteration fails."""
    sampler, random, found = make_sampler(method, SIZE), np.random.default_rng(seed), []
    for _ in range(iterations):
        points = sampler.ask(n, random)
        found.append(float((margins(points) <= 0).mean()))
        sampler.tell(points, margins(points))
    return found


@pytest.mark.parametrize("method", ["cross-entropy", "cma"])
def test_a_search_finds_what_random_points_seldom_do(method):
    assert np.mean(shares("random")) < 0.04
    assert np.mean(shares(method)[-3:]) > 0.7


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_points_and_the_global_generator_is_left_alone(method):
    state = np.random.get_state()[1].tolist()
    assert shares(method, 3, seed=4) == shares(method, 3, seed=4)
    assert np.random.get_state()[1].tolist() == state


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [1, 2, 23])
def test_points_have_the_size_asked_for(method, size):
    sampler = make_sampler(method, size)
    points = sampler.ask(100, np.random.default_rng(0))
    assert points.shape == (100, size)
    sampler.tell(points, points[:, 0])


def test_random_points_are_nominal():
    points = make_sampler("random", 3).ask(100_000, np.random.default_rng(0))
    np.testing.assert_allclose(points.mean(0), 0, atol=0.02)
    np.testing.assert_allclose(np.cov(points.T), np.eye(3), atol=0.02)


def test_nothing_is_learnt_where_all_margins_are_the_same():
    sampler = make_sampler("cross-entropy", 2)
    sampler.tell(np.random.default_rng(0).normal(5, 1, (50, 2)), np.zeros(50))
    assert sampler.proposal().mean.tolist() == [0, 0]


def test_a_fit_follows_the_weights_and_never_collapses():
    points = np.array([[0.0, 1.0], [4.0, 1.0], [100.0, 100.0]])
    fit = fitted(points, np.array([3.0, 1.0, 0.0]))
    np.testing.assert_allclose(fit.mean, [1.0, 1.0])
    np.testing.assert_allclose(fit.deviation, [np.sqrt(3), NARROWEST])


def test_the_density_adds_up_to_one():
    normals = Normals(np.array([0.5, -1.0]), np.array([0.4, 2.0]))
    axis = np.linspace(-12, 12, 601)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    assert np.exp(normals.log_density(grid)).sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-6)


def test_unknown_methods_are_refused():
    with pytest.raises(ValueError, match="unknown method 'annealing'"):
        make_sampler("annealing", 3)


def test_cma_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cma", None)
    with pytest.raises(ImportError, match=r"slipstream\[falsify\]"):
        make_sampler("cma", 3)
