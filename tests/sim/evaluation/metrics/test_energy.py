import math

import numpy as np
import pytest

from sim.evaluation.metrics.energy import AIR, DRAG_AREA, GRAVITY, MASS, ROLLING, measure
from tests.sim.evaluation.metrics.hand_made import Car, cruise, episodes, rotated
from tests.sim.evaluation.metrics.random_scenes import assert_alone_as_together, assert_same, random_episodes


def energy(*cars, dt=0.1):
    return measure(episodes(list(cars), dt=dt))["energy"].value[0].item()


@pytest.mark.parametrize("speed", [10.0, 30.0])
def test_a_steady_speed_pays_for_rolling_and_air(speed):
    newton = MASS * GRAVITY * ROLLING + AIR * DRAG_AREA * speed**2 / 2
    assert energy(cruise(0, speed=speed)) == pytest.approx(newton)
    assert energy(cruise(0, speed=-speed)) == pytest.approx(newton)


@pytest.mark.parametrize("dt", [0.02, 0.1, 0.2])
def test_speeding_up_pays_for_the_speed_gained(dt):
    # From 10 to 20 m/s at 2 m/s2: 75 m, kinetic energy, rolling, drag: the integral of v^3 is (v1^4 - v0^4) / 4a.
    work = MASS * (20**2 - 10**2) / 2 + MASS * GRAVITY * ROLLING * 75
    work += AIR * DRAG_AREA / 2 * (20**4 - 10**4) / (4 * 2)
    found = energy(cruise(0, speed=10, acceleration=2, frames=round(5 / dt) + 1, dt=dt), dt=dt)
    assert found == pytest.approx(work / 75, rel=1e-9)


def test_braking_wins_nothing_back():
    assert energy(cruise(0, speed=20, acceleration=-3, frames=60)) == 0
    # Up to 20 m/s and down again costs as much as up alone.
    t = np.arange(101) * 0.1
    speed = np.where(t < 5, 10 + 2 * t, 30 - 2 * t)
    way = np.concatenate([[0], np.cumsum((speed[1:] + speed[:-1]) / 2 * 0.1)])
    up = energy(cruise(0, speed=10, acceleration=2, frames=51))
    assert energy(Car(way, 0.0, speed)) == pytest.approx(up * 75 / 150)


def test_a_way_too_short_and_frames_after_a_crash_do_not_count():
    assert math.isnan(energy(cruise(0, speed=1, frames=20)))
    crashed = energy(cruise(0, speed=20, frames=60).crashing(30))
    assert crashed == pytest.approx(energy(cruise(0, speed=20, frames=30)))


def test_it_depends_on_nothing_else():
    made = random_episodes(8)
    assert_same(measure(made), measure(rotated(made, 0.7)), rtol=1e-9, atol=1e-9)
    assert_alone_as_together(measure, made)
