import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from sim.config import complete
from sim.evaluation.metrics import extras
from sim.evaluation.metrics.base import Measure
from sim.scenarios import SCENARIOS
from sim.world import Kind
from tests.sim.evaluation.metrics.hand_made import Car, changed_facts, cruise, episodes
from tests.sim.evaluation.metrics.on_lanes import car, drive, road, walk, with_goal


def only(measure: Measure) -> float | None:
    """The value of a single episode, None where it is not valid."""
    return float(measure.value) if bool(measure.valid) else None


def highway(*cars: Car, **fields):
    return episodes(list(cars), id="highway-v0", config=complete("highway-v0", None), **fields)


def moving_over(frames: int = 60, at: int = 30, speed: float = 20.0) -> Car:
    lane = np.where(np.arange(frames) < at, 0, 1)
    return Car(np.arange(frames) * speed * 0.1, lane * 4.0, speed, lane=lane)


def test_gaps_and_time_to_collision_at_a_lane_change():
    frames = np.arange(60)
    behind = Car(frames * 2.5 - 40, 4.0, 25.0)  # at frame 30: 25 m behind the middle, 20 m free, 5 m/s faster
    ahead = Car(frames * 2.0 + 30, 4.0, 20.0)
    found = extras.measure(highway(moving_over(), behind, ahead))
    assert only(found["lane_change_gap_ahead"]) == pytest.approx(25)
    assert only(found["lane_change_gap_behind"]) == pytest.approx(20)
    assert only(found["cut_in_ttc"]) == pytest.approx(4)
    assert [int(found[name].other) for name in ("lane_change_gap_ahead", "cut_in_ttc")] == [2, 1]
    assert int(found["cut_in_ttc"].frame) == 30


def test_no_gap_without_a_lane_change_or_a_neighbour():
    for cars in ([cruise(0, frames=60), Car(30 + np.arange(60) * 2.0, 0.0, 20.0)], [moving_over()]):
        found = extras.measure(highway(*cars))
        assert [only(measure) for measure in found.values()] == [None] * 3


@pytest.mark.parametrize("id", sorted(SCENARIOS))
def test_an_id_has_the_extras_of_its_family_alone(id):
    network = road(id)
    places = [(0, 1.0), (0, 2.0), (0, 3.0)]
    found = extras.measure(drive(id, places, 10.0, (car(network, places, 10.0),)))
    assert set(found) <= set(extras.SPECS)
    assert found
    for name in extras.SPECS:
        families, colon, _ = extras.SPECS[name].about.partition(":")
        known = [family for family in families.split(", ") if id.startswith(family)]
        changes = not colon and id.startswith(extras.CHANGING_LANES)
        assert (name in found) == bool(known or changes), name


def test_an_id_of_ones_own_has_no_extras():
    assert extras.measure(episodes([cruise(0)], id="highway-of-mine-v0")) == {}


def on_ramp(network, leave: float | None, frames: int = 100, speed: float = 20.0, **rest) -> Car:
    """The merging vehicle, from 140 m on; it leaves the joining lane at x = `leave` [m]."""
    places = []
    for x in 140 + np.arange(frames) * speed * 0.1:
        edge = ("j", "k", 0) if x < 150 else ("k", "b", 0) if x < 230 else ("b", "c", 2) if x < 310 else ("c", "d", 1)
        start = {"j": 0, "k": 150, "b": 230, "c": 310}[edge[0]]
        if leave is not None and x >= leave:
            edge = (*edge[:2], 1)
        places.append((network.lane_number(*edge), x - start))
    return car(network, places, speed, **rest)


def test_the_merge_of_the_ramps_vehicle():
    network = road("merge-v0")
    frames = 80
    ego = [(network.lane_number("a", "b", 0), 30.0 + i) for i in range(frames)]
    braking = np.where(np.arange(frames) == 40, -3.5, 0.0)
    merging = on_ramp(network, 271.0, frames, acceleration=braking)
    behind = Car(110.0 + np.arange(frames) * 2.0, 4.0, 20.0, lane=np.where(np.arange(frames) < 60, 1, 3))
    found = extras.measure(drive("merge-v0", ego, 10.0, (merging, behind)))
    assert only(found["merged"]) == 1
    assert only(found["merge_remaining"]) == pytest.approx(310 - 272)  # the first frame behind 271 m
    assert int(found["merged"].frame) == 66
    assert only(found["merge_gap"]) == pytest.approx((30 - 5) / 20)
    assert only(found["merge_braking"]) == 3.5
    assert int(found["merge_braking"].frame) == 40


def test_a_vehicle_that_stays_on_the_ramp_has_not_merged():
    network = road("merge-v0")
    ego = [(network.lane_number("a", "b", 0), 30.0 + i) for i in range(70)]
    found = extras.measure(drive("merge-v0", ego, 10.0, (on_ramp(network, None, 70),)))
    assert only(found["merged"]) == 0
    assert only(found["merge_remaining"]) is None
    assert only(extras.measure(drive("merge-v0", ego, 10.0))["merged"]) is None


def test_the_exit_is_taken_or_missed():
    network = road("exit-v0")
    straight = walk(network, [("0", "1", 5), ("1", "2", 5), ("2", "3", 5)], 5.0)
    missed = extras.measure(drive("exit-v0", straight, 25.0))
    assert only(missed["exit_missed"]) == 1
    assert only(missed["exit_remaining"]) is None
    assert network.lane_index(straight[int(missed["exit_missed"].frame)][0])[:2] == ("2", "3")
    on_lane = network.lane_number("1", "2", 5)
    late = [(on_lane + 1, s) if i == on_lane and s >= 60 else (i, s) for i, s in straight]
    late = late[: [i for i, _ in late].index(network.lane_number("2", "3", 5))]
    taken = extras.measure(drive("exit-v0", late, 25.0))
    assert only(taken["exit_missed"]) == 0
    assert only(taken["exit_remaining"]) == pytest.approx(40)


def crossing(speeds: dict[int, float], frames: int = 120) -> tuple[list, np.ndarray]:
    """Places of an ego from the south to the north, and its speeds, which hold from these frames on [m/s]."""
    network = road("intersection-v0")
    places = walk(network, [("o0", "ir0", 0), ("ir0", "il2", 0), ("il2", "o2", 0)], 1.0, 80.0)[:frames]
    speed = np.full(len(places), 5.0)
    for frame, value in speeds.items():
        speed[frame:] = value
    return places, speed


def test_waiting_before_the_junction_and_blocking_it():
    places, speed = crossing({5: 0.0, 10: 5.0, 30: 0.0, 37: 5.0})
    found = extras.measure(drive("intersection-v0", places, speed))
    assert only(found["waiting_time"]) == pytest.approx(0.5)
    assert only(found["blocking_time"]) == pytest.approx(0.7)
    assert only(found["priority_braking"]) == 0


@pytest.mark.parametrize(
    ("arm", "s", "at", "expected"),
    [
        (1, 90.0, 30, 3.0),  # from the west, which has right of way; at frame 30 the ego is in the middle
        (2, 90.0, 30, 0.0),  # from the north, which has not
        (0, 90.0, 30, 0.0),  # the next one from the south, behind the ego
        (1, 90.0, 5, 0.0),  # the ego is not inside yet
        (1, 90.0, 40, 0.0),  # the ego has crossed its lane
        (1, 75.0, 30, 0.0),  # 36 m away
    ],
)
def test_who_has_right_of_way_should_not_brake(arm, s, at, expected):
    places, speed = crossing({})
    network = road("intersection-v0")
    coming = [(network.lane_number(f"o{arm}", f"ir{arm}", 0), s)] * len(places)
    other = car(network, coming, 8.0, acceleration=np.where(np.arange(len(places)) == at, -3.0, 0.0))
    found = extras.measure(drive("intersection-v0", places, speed, (other,)))
    assert only(found["priority_braking"]) == expected
    assert only(found["right_of_way_violated"]) == (expected > 2)
    assert int(found["priority_braking"].other) == (1 if expected else -1)


def ring(*ends: str) -> list[tuple[str, str, int]]:
    nodes = ["ser", "ses", "se", *ends]
    return [(a, b, int(b not in ("ses", "se") and len(road("roundabout-v0").graph[a][b]) > 1))
            for a, b in pairwise(nodes)]  # fmt: skip


@pytest.mark.parametrize(("ends", "right"), [(("ex", "ee", "nx", "nxs"), 1), (("ex", "exs"), 0)])
def test_the_roundabouts_exit_and_time_on_the_ring(ends, right):
    network = road("roundabout-v0")
    places = walk(network, ring(*ends), 1.0, 120.0)
    found = extras.measure(drive("roundabout-v0", places, 10.0))
    angle = 42 if right == 0 else 132  # deg, of the ring driven on, at 24 m
    assert only(found["circulating_time"]) == pytest.approx(math.radians(angle) * 24 / 10, abs=0.6)
    assert only(found["correct_exit"]) == right
    assert only(found["ring_stops"]) == 0
    assert only(found["entry_gap"]) is None
    inside = extras.measure(drive("roundabout-v0", places[:40], 10.0))
    assert only(inside["correct_exit"]) is None


def test_stops_on_the_ring():
    places = walk(road("roundabout-v0"), ring("ex", "ee", "nx", "nxs"), 1.0, 120.0)
    speed = np.full(len(places), 8.0)
    speed[40:45] = speed[50:52] = speed[2:4] = 0.0  # the last before the ring
    assert only(extras.measure(drive("roundabout-v0", places, speed))["ring_stops"]) == 2


def test_the_gap_at_the_entry_of_the_roundabout():
    network = road("roundabout-v0")
    places = walk(network, ring("ex", "ee", "nx", "nxs"), 1.0, 120.0)
    circle = network.lanes[network.lane_number("sx", "se", 1)]
    # Standing still in this scene, so that its place at the entry is known: 48 degrees before the ego's at 24 m.
    coming = [(network.lane_number("sx", "se", 1), 0.0)] * len(places)
    braking = np.where(np.arange(len(places)) == 40, -2.5, 0.0)
    other = car(network, coming, 6.0, acceleration=braking)
    gone = car(network, [(network.lane_number("ex", "ee", 1), 0.0)] * len(places), 6.0)
    found = extras.measure(drive("roundabout-v0", places, 10.0, (other, gone)))
    assert only(found["entry_gap"]) == pytest.approx((circle.length - 5) / 6, abs=0.2)
    assert int(found["entry_gap"].other) == 1
    assert only(found["entry_braking"]) == 2.5
    assert only(extras.measure(drive("roundabout-v0", places, 10.0, (gone,)))["entry_gap"]) is None


def overtaking(back: int | None, x_of_slow: float = 60.0, frames: int = 150):
    """The ego at 20 m/s is on the left from frame 20 until `back`, passing (or not) a car at 10 m/s."""
    network = road("two-way-v0")
    lane = np.where((np.arange(frames) >= 20) & (np.arange(frames) < (back or frames)), 0, 1)
    places = [(int(i), 30.0 + 2.0 * t) for t, i in enumerate(lane)]
    slow = car(network, [(1, x_of_slow + t) for t in range(frames)], 10.0)
    oncoming = car(network, [(2, 200.0 + 1.5 * t) for t in range(frames)], 15.0)  # from x = 600 m towards the ego
    return extras.measure(drive("two-way-v0", places, 20.0, (slow, oncoming)))


def test_overtaking_and_returning():
    found = overtaking(80)
    assert only(found["oncoming_time"]) == pytest.approx(6)
    assert only(found["overtakes"]) == 1
    assert only(found["aborted_overtakes"]) == 0
    # at frame 80 the ego is at 190 m, the oncoming car at 480 m
    assert only(found["return_ttc"]) == pytest.approx((290 - 5) / 35)
    assert int(found["return_ttc"].other) == 2


def test_giving_up_an_overtaking():
    found = overtaking(40, x_of_slow=200.0, frames=60)
    assert [only(found[name]) for name in ("overtakes", "aborted_overtakes")] == [0, 1]
    away = overtaking(None)
    assert [only(away[name]) for name in ("return_ttc", "aborted_overtakes")] == [None, 0]


def parked(x: float, y: float, heading: float, success: bool = True):
    """An ego that drives 10 m along x, backs 2 m, and jumps to where it ends; the goal is at (8, 0), turned by 90."""
    way = np.concatenate([np.arange(0, 10.1, 0.5), np.arange(9.5, 7.9, -0.5)])
    speed = np.concatenate([np.full(21, 5.0), np.full(len(way) - 22, -5.0), [0.0]])
    ego = Car(np.append(way[:-1], x), np.append(0 * way[:-1], y), speed, np.append(0 * way[:-1], heading))
    goal = Car(8.0, 0.0, 0.0, math.pi / 2, kind=Kind.LANDMARK)
    wall = Car(30.0, 0.0, 0.0, kind=Kind.OBSTACLE)
    made = episodes([ego, goal, wall], id="parking-v0", config=complete("parking-v0", None))
    return extras.measure(with_goal(made, success))


def test_how_well_a_car_is_parked():
    found = parked(8.3, 0.4, math.pi / 2 + 0.1)
    assert only(found["position_error"]) == pytest.approx(0.5)
    assert only(found["heading_error"]) == pytest.approx(0.1)
    assert only(found["gear_reversals"]) == 1
    whole_turns = parked(8.0, 0.0, math.pi / 2 + 4 * math.pi)
    assert only(whole_turns["heading_error"]) == pytest.approx(0)
    assert only(whole_turns["detour"]) == pytest.approx(12 / 8)
    assert only(parked(8.0, 0.0, 0.0, success=False)["detour"]) is None


def test_standing_between_two_gears_is_one_reversal():
    speed = np.array([2.0, 1, 0, 0, -1, -2, 0, -1, 0, 0, 1, 1])
    made = episodes([Car(np.arange(12.0), 0.0, speed), Car(9.0, 0, 0, kind=Kind.LANDMARK)], id="parking-v0")
    assert only(extras.measure(made)["gear_reversals"]) == 2


@pytest.mark.parametrize("index", [0, 1])
def test_a_lap_is_a_lap_on_either_lane(index):
    network = road("racetrack-v0")
    lap = walk(network, [(*edge, index) for edge in network.edges], 0.5)
    made = drive("racetrack-v0", lap, 10.0)
    assert only(extras.measure(made)["laps"]) == pytest.approx(1, abs=0.02)
    back = drive("racetrack-v0", lap[::-1], -10.0)
    assert only(extras.measure(back)["laps"]) == pytest.approx(-1, abs=0.02)


def test_beside_the_middle_and_off_the_track():
    lap = walk(road("racetrack-v0"), [("a", "b", 0)], 0.5)[:100]
    t = torch.arange(100)[:, None]
    made = changed_facts(
        drive("racetrack-v0", lap, 10.0),
        lateral=torch.where(t % 2 == 0, 0.3, -0.5).double(),
        off_road=torch.where(t < 20, 0.31, 0.29).double(),
    )
    found = extras.measure(made)
    assert only(found["lateral_error"]) == pytest.approx(math.sqrt((0.09 + 0.25) / 2))
    assert only(found["off_track_time"]) == pytest.approx(2.0)


def test_an_episode_that_begins_with_a_contact_is_measured_all_the_same():
    for id in sorted(SCENARIOS):
        network = road(id)
        places = [(0, 1.0), (0, 2.0)]
        made = drive(id, places, 10.0, (car(network, places, 10.0),))
        made = replace(made, crashed=torch.ones_like(made.crashed))
        made.__dict__["facts"] = drive(id, places, 10.0, (car(network, places, 10.0),)).facts
        for measure in extras.measure(made).values():
            assert not bool((measure.value.isnan() & measure.valid).any())
