from dataclasses import replace

import numpy as np
import pytest
import torch

from sim.evaluation.episodes import REALS
from sim.evaluation.metrics.boxes import Boxes, distance, touching
from sim.evaluation.metrics.nearness import HORIZON, nearest
from sim.world import Kind
from tests.sim.evaluation.metrics.hand_made import cruise, episodes, rotated
from tests.sim.evaluation.metrics.random_scenes import random_episodes


def of_all_pairs(made):
    """Least distance and time of each episode from the exact formulas for all pairs of all frames, [N] each."""
    others = (made.present & made.counts[:, :, None]).flatten().nonzero()[:, 0]
    n, v = made.x.shape[1:]
    egos = others // v * v + made.ego.flatten()[others // v]
    a, b = Boxes.at(made, egos), Boxes.at(made, others)
    first, last = touching(a, b)
    time = torch.where((first <= last) & (last >= 0) & (first <= HORIZON), first.clamp(min=0), torch.inf)
    found = []
    for values in (distance(a, b), time):
        least = torch.full((n,), torch.inf, dtype=torch.float64)
        found.append(least.scatter_reduce(0, others // v % n, values, "amin"))
    return found


def crowded(seed, count=30):
    """Episodes of twelve cars each, any way turned, near and far, slow and fast."""
    rng = np.random.default_rng(seed)
    scenes = []
    for _ in range(count):
        low, high = [-50, -50, -10, -3.2, 2, 1], [50, 50, 30, 3.2, 12, 3]
        parts = [rng.uniform(low, high) for _ in range(12)]
        scenes.append([
            cruise(x, y, speed, heading=heading, frames=15, length=length, width=width)
            for x, y, speed, heading, length, width in parts
        ])  # fmt: skip
    return episodes(*scenes)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", [random_episodes, lambda: crowded(0), lambda: rotated(crowded(1), 0.0)])
def test_nothing_is_left_out(make, kind):
    made = make()
    made = replace(made, **{name: getattr(made, name).to(kind) for name in REALS})
    for ours, theirs in zip(nearest(made), of_all_pairs(made), strict=True):
        assert torch.equal(ours.valid, theirs < torch.inf)
        torch.testing.assert_close(ours.value[ours.valid], theirs[ours.valid], rtol=1e-12, atol=1e-12)
        assert int(ours.valid.sum()) > 4


def test_of_two_at_the_same_distance_the_lower_number_at_the_first_frame():
    beside = [cruise(0, side, frames=4, number=number) for side, number in ((4, 7), (-4, 3))]
    gap, _ = nearest(episodes([cruise(0, frames=4), *beside]))
    assert (float(gap.value[0]), int(gap.frame[0]), int(gap.other[0])) == (2.0, 0, 3)


def test_a_slow_approach():
    gap, time = nearest(episodes([cruise(0, speed=10, frames=1), cruise(7.5, speed=9, frames=1)]))
    assert (float(gap.value[0]), float(time.value[0])) == (pytest.approx(2.5), pytest.approx(2.5))


def test_nobody_is_near():
    alone, goal = [cruise(0, frames=3)], [cruise(0, frames=3), cruise(9, frames=3, kind=Kind.LANDMARK)]
    for one in nearest(episodes(alone, goal)):
        assert not one.valid.any()
