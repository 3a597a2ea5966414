import math

import numpy as np
import pytest
import torch

from sim.evaluation.metrics import collisions
from sim.evaluation.metrics.collisions import CollisionClass
from sim.world import Kind
from tests.sim.evaluation.metrics.hand_made import Car, changed_facts, circle, cruise, episodes, shuffled
from tests.sim.evaluation.metrics.random_scenes import (
    SAME,
    assert_alone_as_together,
    assert_same,
    crash,
    random_episodes,
)

DOWN = math.pi / 2  # heading of a car that crosses the road from left to right

# Who hits whom, the class, and whether it is the ego's fault.
SCENES = {
    "hit from behind while standing": ([cruise(0, speed=0), cruise(-30, speed=20)], CollisionClass.STOPPED_EGO, False),
    "into a standing car": ([cruise(0, speed=20), cruise(30, speed=0)], CollisionClass.STOPPED_TRACK, True),
    "into an obstacle": (
        [cruise(0, speed=20), cruise(30, speed=0, length=2.0, kind=Kind.OBSTACLE)],
        CollisionClass.STOPPED_TRACK,
        True,
    ),
    "hit from behind": ([cruise(0, speed=10), cruise(-20, 0.5, speed=20)], CollisionClass.ACTIVE_REAR, False),
    "into a slower car": ([cruise(0, speed=20), cruise(20, speed=10)], CollisionClass.ACTIVE_FRONT, True),
    "corner into a slower car": ([cruise(0, speed=20), cruise(20, 1.9, speed=10)], CollisionClass.ACTIVE_FRONT, True),
    "head-on": ([cruise(0, speed=20), cruise(60, speed=15, heading=math.pi)], CollisionClass.ACTIVE_FRONT, True),
    "into the side of a crossing car": (
        [cruise(0, speed=10), cruise(20, -20, speed=10, heading=DOWN)],
        CollisionClass.ACTIVE_FRONT,
        True,
    ),
    "hit in the side by a crossing car": (
        [cruise(0, speed=10), cruise(17, -23, speed=10, heading=DOWN)],
        CollisionClass.ACTIVE_LATERAL,
        False,
    ),
    "changing lane into a car beside": (
        [cruise(0, speed=20, heading=0.1), cruise(-3, 4, speed=20)],
        CollisionClass.ACTIVE_LATERAL,
        True,
    ),
    "a car beside changes lane": (
        [cruise(0, speed=20), cruise(-3, 4, speed=20, heading=-0.1)],
        CollisionClass.ACTIVE_LATERAL,
        False,
    ),
}


@pytest.mark.parametrize("name", SCENES)
def test_class_and_fault(name):
    cars, expected, fault = SCENES[name]
    made = episodes(crash(*cars))
    found = collisions.measure(made)
    assert CollisionClass(int(found["collision_class"].value[0])) is expected
    assert bool(found["at_fault_collision"].value[0]) == fault
    assert float(found["collision"].value[0]) == 1
    assert int(found["collision"].other[0]) == 1
    assert int(found["collision"].frame[0]) == int(made.frames[0]) - 2


@pytest.mark.parametrize("same", SAME)
@pytest.mark.parametrize("name", SCENES)
def test_class_and_fault_do_not_depend_on_the_view(name, same):
    made = episodes(crash(*SCENES[name][0]))
    assert_same(collisions.measure(made), collisions.measure(SAME[same](made)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dt", [1 / 60, 1 / 15, 0.2])
@pytest.mark.parametrize("name", SCENES)
def test_the_class_does_not_depend_on_the_frame_rate(name, dt):
    cars, expected, _ = SCENES[name]
    again = [
        cruise(car.x[0], np.atleast_1d(car.y)[0], np.atleast_1d(car.speed)[0], heading=car.heading, frames=int(5 / dt),
               dt=dt, length=car.length, kind=car.kind)
        for car in cars
    ]  # fmt: skip
    found = collisions.measure(episodes(crash(*again), dt=dt))
    assert int(found["collision_class"].value[0]) == expected


def severity(*cars):
    found = collisions.measure(episodes(crash(*cars)))
    return [float(found[name].value[0]) for name in ("delta_v", "closing_speed", "overlap_angle")]


def test_severity():
    assert severity(cruise(0, speed=20), cruise(20, speed=10)) == pytest.approx([5, 10, 0])
    head_on = severity(cruise(0, speed=20), cruise(60, speed=15, heading=math.pi))
    assert head_on == pytest.approx([17.5, 35, math.pi])
    crossing = severity(cruise(0, speed=10), cruise(20, -20, speed=10, heading=DOWN))
    assert crossing == pytest.approx([math.sqrt(200) / 2, 10, math.pi / 2])
    beside = severity(cruise(0, speed=20, heading=0.1), cruise(-3, 4, speed=20))
    assert beside[1:] == pytest.approx([20 * math.sin(0.1), 0.1])


def test_mass_goes_with_size_and_an_obstacle_does_not_move():
    assert severity(cruise(0, speed=20), cruise(30, speed=10, length=10.0))[0] == pytest.approx(10 * 2 / 3)
    assert severity(cruise(0, speed=20), cruise(30, speed=0, length=2.0, kind=Kind.OBSTACLE))[0] == pytest.approx(20)


def test_the_partner_is_the_one_that_overlaps_by_number():
    beside, hit = cruise(0, 4, speed=20, number=7), cruise(20, speed=10, number=4)
    made = episodes(crash(cruise(0, number=9), beside, hit))
    assert int(collisions.measure(made)["delta_v"].other[0]) == 4
    for seed in range(5):
        assert int(collisions.measure(shuffled(made, seed))["delta_v"].other[0]) == 4


def test_the_partner_keeps_its_number_when_slots_move_up():
    scene = crash(cruise(0, number=0), cruise(200, 8, speed=0, number=1), cruise(20, speed=10, number=2))
    plain = episodes(scene)
    made = episodes(scene)
    contact = int(made.contact[0])
    for name in ("x", "y", "heading", "speed", "length", "width", "kind", "number", "lane", "target_lane"):
        getattr(made, name)[contact:, 0, 1] = getattr(made, name)[contact:, 0, 2]
    made.kind[contact:, 0, 2], made.number[contact:, 0, 2] = Kind.ABSENT, -1
    assert_same(collisions.measure(plain), collisions.measure(made))


def test_nearest_if_the_push_has_parted_them():
    scene = crash(cruise(0, speed=20), cruise(20, speed=10), cruise(-7, speed=20))
    made = episodes(scene)
    made.x[int(made.contact[0]), 0, 1] += 2.0
    assert int(collisions.measure(made)["collision"].other[0]) == 1


def test_what_the_contact_does_to_the_vehicles_does_not_count():
    made, plain = (episodes(crash(cruise(0, speed=20), cruise(20, speed=10))) for _ in range(2))
    contact = int(made.contact[0])
    made.speed[contact:] = 0.0
    made.heading[contact:, 0, 0] = 1.0
    assert_same(collisions.measure(made), collisions.measure(plain))


def test_no_collision_and_crash_at_the_start():
    made = episodes([cruise(0, frames=10)], crash(cruise(0, frames=10), cruise(3, frames=10)))
    found = collisions.measure(made)
    assert found["collision"].value.tolist() == [0, 1]
    for name in ("collision_class", "delta_v", "overlap_angle", "collision_after_cut_in"):
        assert found[name].valid.tolist() == [False, True]
    assert found["collision"].other.tolist() == [-1, 1]
    assert not found["off_road"].valid[1]


def test_flags():
    cut_in = cruise(8, 4, speed=15, heading=-0.2, frames=30)
    aims = Car(**{**vars(cut_in), "lane": (cut_in.y < 2).astype(int) * -1 + 1, "target_lane": 0})
    steady = cruise(20, speed=10, frames=30)
    changing = cruise(0, 0.5, speed=20, lane=0, target_lane=1, frames=30)
    crossing = cruise(0, 1.6, speed=20, lane=0, frames=30)
    scenes = [(cruise(0, frames=30), aims), (cruise(0, frames=30), steady), (changing, steady), (crossing, steady)]
    found = collisions.measure(episodes(*(crash(*scene) for scene in scenes)))
    assert found["collision_after_cut_in"].value.tolist() == [1, 0, 0, 0]
    assert found["collision_changing_lane"].value.tolist() == [0, 0, 1, 1]


def test_leaving_the_road():
    t = np.arange(61) * 0.1
    away = Car(20 * t, -t, 20.0)  # 1 m/s to the left from the leftmost lane: the body is at the edge after 1 s
    found = collisions.measure(episodes([away], [cruise(0, frames=61)]))
    assert found["off_road"].value.tolist() == [1, 0]
    assert found["off_road_depth"].value.tolist() == pytest.approx([5, 0])
    assert found["off_road_time"].value.tolist() == pytest.approx([4.7, 0], abs=0.11)
    assert found["off_road"].frame.tolist() == [60, -1]
    slight = Car(20 * t, -np.minimum(t, 1.2), 20.0)
    assert float(collisions.measure(episodes([slight]))["off_road"].value[0]) == 0


def test_lanes_that_do_not_bound_the_way_say_nothing():
    parking = changed_facts(episodes([cruise(0)]), off_road=5.0, s=-10.0)
    beside = changed_facts(episodes([cruise(0)]), off_road=5.0, lateral=7.0)
    for found in map(collisions.measure, (parking, beside)):
        for name in ("off_road", "off_road_time", "off_road_depth", "wrong_way_distance"):
            assert not found[name].valid[0]


def test_who_starts_at_the_start_of_a_lane_is_not_off_the_road():
    made = episodes([cruise(0)])
    outside = (2.5 - made.of_ego("x")).clamp(min=-1.0)  # the rear
    found = collisions.measure(changed_facts(made, off_road=outside))
    assert [float(found[name].value[0]) for name in ("off_road", "off_road_time")] == [0, 0]


@pytest.mark.parametrize("dt", [0.05, 0.1, 0.2])
def test_wrong_way(dt):
    def measured(*cars):
        return collisions.measure(episodes(*([car] for car in cars), dt=dt))["wrong_way_distance"].value.tolist()

    steady = {"frames": round(4 / dt) + 1, "dt": dt}
    t = np.arange(steady["frames"]) * dt
    shortly = Car(-5 * np.clip(t - 1, 0, 0.4), 0.0, -5.0)
    assert measured(cruise(0, speed=-5, **steady), cruise(0, **steady), shortly) == pytest.approx([5, 0, 2])
    # A whole circle against the flow and with it: the worst second is the chord around its farthest point.
    radius, speed = 10.0, 10.0
    frames = round(2 * math.pi * radius / speed / dt)
    chord = 2 * radius * math.sin(speed / radius / 2)
    whole = circle(radius, speed, frames=frames, dt=dt, center=(0.0, 4.0))
    assert measured(whole) == pytest.approx([chord], rel=2e-2 * (dt / 0.1) ** 2)


@pytest.mark.parametrize("same", SAME)
def test_random_traffic_does_not_depend_on_the_view(same):
    made = random_episodes()
    assert int((made.contact >= 0).sum()) > 5
    assert_same(collisions.measure(made), collisions.measure(SAME[same](made)), rtol=1e-9, atol=1e-9)


def test_an_episode_does_not_depend_on_its_batch():
    assert_alone_as_together(collisions.measure, random_episodes(12))


def test_float32_gives_the_same_classes():
    made = random_episodes()
    names = ("x", "y", "heading", "speed", "acceleration", "length", "width")
    single = type(made)(**{**{k: v for k, v in vars(made).items() if k in made.__dataclass_fields__},
                           **{name: getattr(made, name).float() for name in names}})  # fmt: skip
    single.__dict__["facts"] = made.facts
    ours, theirs = collisions.measure(single), collisions.measure(made)
    for name in ("collision_class", "at_fault_collision"):
        assert torch.equal(ours[name].value.nan_to_num(-1), theirs[name].value.nan_to_num(-1))
