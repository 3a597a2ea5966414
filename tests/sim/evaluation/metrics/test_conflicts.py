import math

import numpy as np
import pytest
import shapely

from sim.evaluation.metrics import conflicts
from sim.evaluation.metrics.boxes import distance, separation, touching
from sim.world import Kind
from tests.sim.evaluation.metrics.hand_made import Car, cruise, episodes
from tests.sim.evaluation.metrics.random_scenes import (
    SAME,
    assert_alone_as_together,
    assert_same,
    boxes,
    polygons,
    random_episodes,
)

DOWN = math.pi / 2


def measured(*scenes, dt=0.1, **fields):
    """Values by name, [N] each, NaN where invalid."""
    found = conflicts.measure(episodes(*scenes, dt=dt, **fields))
    return {name: one.value.tolist() for name, one in found.items()}


def value(name, *cars, dt=0.1):
    return measured(list(cars), dt=dt)[name][0]


def test_a_steady_approach():
    # 100 m bumper to bumper, closing by 10 m/s: 9 s later 10 m are left.
    found = measured([cruise(0, speed=20, frames=91), cruise(105, speed=10, frames=91)])
    assert found["min_ttc"] == pytest.approx([1.0])
    assert found["min_ttc_2d"] == pytest.approx([1.0])
    assert found["min_mttc"] == pytest.approx([1.0])
    assert found["min_thw"] == pytest.approx([0.5])
    assert found["max_drac"] == pytest.approx([5.0])
    assert found["min_gap"] == pytest.approx([10.0])
    assert math.isnan(found["min_pet"][0])


@pytest.mark.parametrize("dt", [0.01, 0.05, 0.1])
def test_time_and_integral_below_the_threshold(dt):
    frames = round(9 / dt) + 1
    cars = [cruise(0, speed=20, frames=frames, dt=dt), cruise(105, speed=10, frames=frames, dt=dt)]
    found = measured(cars, dt=dt)
    # The TTC falls from 1.5 s to 1 s in the last half second; the ego has driven 180 m.
    assert found["tet"] == pytest.approx([0.5], abs=1.1 * dt)
    assert found["tit"] == pytest.approx([0.125], abs=0.5 * dt)
    assert found["tet_per_km"][0] == pytest.approx(found["tet"][0] / 0.18)
    assert found["tit_per_km"][0] == pytest.approx(found["tit"][0] / 0.18)
    # The headway falls below 1 s when the gap, 100 m - 10 m/s t, falls below 20 m: in the last of 9 s.
    assert found["thw_below_1s"] == pytest.approx([1 / 9], abs=1.1 * dt / 9 + 1e-3)


def mttc(gap, speed, acceleration, leader_speed, leader_acceleration):
    ego = cruise(0, speed=speed, acceleration=acceleration, frames=1)
    leader = cruise(gap + 5, speed=leader_speed, acceleration=leader_acceleration, frames=1)
    if leader_speed == 0:
        leader = Car(np.array([gap + 5.0]), 0.0, 0.0, acceleration=leader_acceleration)
    return value("min_mttc", ego, leader)


def test_mttc():
    assert mttc(10, 20, 0, 20, -5) == pytest.approx(2.0)  # 10 m = 5 t^2 / 2
    assert mttc(45, 20, 0, 10, -5) == pytest.approx(2.75)  # the leader stands after 10 m, 55 m at 20 m/s
    # The leader stands after 25/6 m and 5/6 s; the ego needs as long as 10 t + t^2 takes to 28 m more than that.
    assert mttc(28, 10, 2, 10, -12) == pytest.approx(math.sqrt(25 + 28 + 25 / 6) - 5)
    assert mttc(20, 20, 0, 10, 0) == pytest.approx(2.0)  # no acceleration: TTC
    assert mttc(20, 20, 1, 10, 1) == pytest.approx(2.0)  # none between them
    assert mttc(20, 20, 1e-9, 10, 0) == pytest.approx(2.0)
    assert mttc(20, 10, 0, 0, -3) == pytest.approx(2.0)  # who stands stays, whatever the brake says
    assert math.isnan(mttc(5, 10, -5, 10, -5))  # both stop, one behind the other
    assert math.isnan(mttc(20, 10, -5, 0, 0))  # 10 m to a stand
    assert math.isnan(mttc(20, 10, 0, 20, 0))
    assert mttc(20, 10, 4, 12, 0) == pytest.approx((2 + math.sqrt(164)) / 4)  # opens first, then closes in


def test_mttc_against_motion_in_small_steps():
    rng = np.random.default_rng(1)
    h, meeting = 1e-3, []
    cases = rng.uniform([5, 5, -6, 0, -6], [40, 30, 3, 30, 3], (12, 5))
    for gap, speed, acceleration, other, braking in cases:
        hit, t = math.nan, 0.0
        while t < 20 and math.isnan(hit):
            gap, t = gap - (speed - other) * h, t + h
            speed, other = max(speed + acceleration * h, 0), max(other + braking * h, 0)
            hit = t if gap <= 0 else math.nan
        meeting.append(hit)
    ours = [mttc(*case) for case in cases]
    ours = [math.nan if one > 20 else one for one in ours]
    np.testing.assert_allclose(ours, meeting, rtol=5e-3)
    assert 2 < np.isnan(meeting).sum() < 10


def test_nobody_to_follow():
    found = measured([cruise(0, frames=30)], [cruise(0, frames=30), cruise(30, 4, frames=30)], [cruise(0, frames=1)])
    for name in ("min_ttc", "min_mttc", "min_thw", "max_drac", "min_ttc_2d", "min_pet"):
        assert np.isnan(found[name]).all(), name
    for name in ("tet", "tit", "thw_below_1s"):
        assert found[name] == [0, 0, 0]
    assert found["tet_per_km"][:2] == [0, 0]
    assert math.isnan(found["tet_per_km"][2])  # it went nowhere
    np.testing.assert_allclose(found["min_gap"], [math.nan, math.hypot(25, 2), math.nan])


def test_standing_still():
    found = measured([cruise(0, speed=0), cruise(8, speed=0)])  # both
    for name in ("min_ttc", "min_ttc_2d", "min_mttc", "min_thw"):
        assert math.isnan(found[name][0]), name
    assert found["max_drac"] == [0]
    assert found["min_gap"] == pytest.approx([3])
    ahead = measured([cruise(0, speed=10, frames=11), cruise(35, speed=0, frames=11)])
    assert ahead["min_ttc"] == pytest.approx([2])
    assert ahead["max_drac"] == pytest.approx([2.5])


def test_a_crash_ends_the_frames_that_count():
    ego, leader = cruise(0, speed=20, frames=60), cruise(65, speed=10, frames=60)
    found = measured([ego.crashing(51), leader], [ego.crashing(0), leader])
    assert found["min_gap"] == pytest.approx([10, math.nan], nan_ok=True)
    assert found["min_ttc"] == pytest.approx([1, math.nan], nan_ok=True)
    assert math.isnan(found["tet"][1])


def test_who_and_when():
    cars = [cruise(0, speed=20, frames=41, number=3), cruise(105, speed=10, frames=41, number=8)]
    found = conflicts.measure(episodes([*cars, cruise(30, 8, frames=41, number=5)]))
    for name in ("min_ttc", "min_mttc", "min_thw", "max_drac"):
        assert (int(found[name].frame[0]), int(found[name].other[0])) == (40, 8), name
    assert int(found["min_gap"].other[0]) == 5


# --- rectangles in motion


def test_distance_is_that_of_the_polygons():
    rng = np.random.default_rng(0)
    a, b = (rng.uniform([-9, -9, -4, 2, 1], [9, 9, 4, 9, 4], (500, 5)).T for _ in range(2))
    ours = distance(boxes(*a), boxes(*b)).numpy()
    theirs = shapely.distance(polygons(*a), polygons(*b))
    np.testing.assert_allclose(ours.clip(min=0), theirs, atol=1e-9)
    assert ((ours < 0) == shapely.intersects(polygons(*a), polygons(*b))).all()
    assert (separation(boxes(*a), boxes(*b)).numpy() <= ours + 1e-12).all()


def test_moving_apart_by_the_depth_parts_two_boxes():
    rng = np.random.default_rng(0)
    a, b = (rng.uniform([-2, -2, -4, 2, 1], [2, 2, 4, 9, 4], (60, 5)).T for _ in range(2))
    depth = -separation(boxes(*a), boxes(*b)).numpy()
    deep = depth > 0.01
    directions = np.linspace(0, 2 * math.pi, 181)
    for extra, parted in ((-0.005, False), (0.005, True)):  # in no direction a bit less; in some direction a bit more
        x = b[0][:, None] + (depth + extra)[:, None] * np.cos(directions)
        y = b[1][:, None] + (depth + extra)[:, None] * np.sin(directions)
        shape = polygons(x, y, *(np.broadcast_to(part[:, None], x.shape) for part in b[2:]))
        apart = ~shapely.intersects(polygons(*a)[:, None], shape)
        assert (apart.any(1) == parted)[deep].mean() > 0.99


def test_touching_is_when_the_polygons_first_meet():
    rng = np.random.default_rng(2)
    low, high = [-15, -15, -4, 3, 1.5, -5], [15, 15, 4, 6, 2.5, 20]
    a, b = (rng.uniform(low, high, (120, 6)).T for _ in range(2))
    first, last = (part.numpy() for part in touching(boxes(*a), boxes(*b)))
    step = 0.01
    t = np.arange(0, 3, step)

    def swept(x, y, heading, length, width, speed):
        gone = speed[:, None] * t
        cosine, sine = np.cos(heading)[:, None], np.sin(heading)[:, None]
        rest = (np.broadcast_to(part[:, None], gone.shape) for part in (heading, length, width))
        return polygons(x[:, None] + gone * cosine, y[:, None] + gone * sine, *rest)

    meet = shapely.intersects(swept(*a), swept(*b))
    hits = (first <= last) & (last >= 0) & (first < 3 - step)
    sure = ~hits | (np.minimum(last, 3) - np.maximum(first, 0) > 2 * step)
    assert (meet.any(1) == hits)[sure].all()
    assert 15 < hits.sum() < 100
    seen = hits & sure
    np.testing.assert_allclose(t[meet.argmax(1)][seen], first.clip(min=0)[seen], atol=1.01 * step)


def test_ttc_2d_of_paths_that_cross():
    # The ego's front is at the other's near side (x = -1) after 26.5 m, while the other is in the ego's lane.
    ego = cruise(-30, speed=10, frames=1)
    assert value("min_ttc_2d", ego, cruise(0, -25, speed=10, heading=DOWN, frames=1)) == pytest.approx(2.65)
    # It has gone by after 23.5 m, at 2.35 s.
    assert math.isnan(value("min_ttc_2d", ego, cruise(0, -20, speed=10, heading=DOWN, frames=1)))
    # Later than 3 s is not looked at.
    assert math.isnan(value("min_ttc_2d", cruise(0, frames=1), cruise(66, speed=0, frames=1)))
    assert value("min_ttc_2d", cruise(0, frames=1), cruise(64, speed=0, frames=1)) == pytest.approx(2.95)


def test_ttc_2d_knows_obstacles_and_standing_egos_but_not_goals():
    ego, there = cruise(0, speed=10, frames=1), {"speed": 0, "frames": 1}
    assert value("min_ttc_2d", ego, cruise(15, kind=Kind.OBSTACLE, **there)) == pytest.approx(1.0)
    assert math.isnan(value("min_ttc_2d", ego, cruise(15, kind=Kind.LANDMARK, **there)))
    assert value("min_ttc_2d", cruise(0, **there), cruise(-15, speed=10, frames=1)) == pytest.approx(1.0)


# --- all of them


@pytest.mark.parametrize("same", SAME)
def test_random_traffic_does_not_depend_on_the_view(same):
    made = random_episodes()
    assert_same(conflicts.measure(made), conflicts.measure(SAME[same](made)), rtol=1e-9, atol=1e-9)


def test_an_episode_does_not_depend_on_its_batch(monkeypatch):
    made = random_episodes(12)
    assert_alone_as_together(conflicts.measure, made)
    whole = conflicts.measure(made)
    monkeypatch.setattr("sim.evaluation.metrics.device_boxes.BLOCK", 5)  # other episodes side by side
    assert_same(whole, conflicts.measure(made))
