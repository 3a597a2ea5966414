import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from sim.config import complete
from sim.evaluation.metrics import progress, routes
from sim.scenarios import SCENARIOS
from sim.world import Kind
from tests.sim.evaluation.metrics.hand_made import (
    Car,
    circle,
    cruise,
    episodes,
    mirrored,
    moved,
    reordered,
    rotated,
    shuffled,
)
from tests.sim.evaluation.metrics.on_lanes import car, drive, road, walk


def value(made, name: str, world: int = 0) -> float:
    measure = progress.measure(made)[name]
    assert bool(measure.valid[world]), name
    return float(measure.value[world])


def highway(*scenes, **fields):
    """Episodes of highway-fast-v0, planned for 30 s at 20 m/s or more."""
    return episodes(*scenes, id="highway-fast-v0", config=complete("highway-fast-v0", None), **fields)


def test_distance_duration_and_speed_of_an_arc():
    made = episodes([circle(40.0, 8.0, frames=101, dt=0.05)], dt=0.05)
    assert value(made, "duration") == pytest.approx(5)
    assert value(made, "distance") == pytest.approx(40, rel=1e-4)  # chords
    assert value(made, "mean_speed") == pytest.approx(8, rel=1e-4)


def test_backwards_is_a_distance_too():
    assert value(episodes([cruise(0, speed=-3, frames=11)]), "distance") == pytest.approx(3)


def test_what_follows_a_contact_is_not_driven():
    made = episodes([cruise(0, speed=10, frames=51).crashing(31)])
    assert value(made, "distance") == pytest.approx(30)
    assert value(made, "duration") == pytest.approx(3)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([Car(20, 4, 20), Car(-20, 4, 30)], 1.0),
        ([Car(20, 4, 20), Car(300, 4, 90)], 1.25),  # who is far away does not count
        ([Car(20, 4, 20), Car(30, 8, 0, kind=Kind.PARKED), Car(40, 8, 0, kind=Kind.OBSTACLE)], 1.25),
        ([Car(20, 4, 20), Car(30, 8, 0, kind=Kind.ABSENT)], 1.25),
        ([Car(50, 8, -12.5)], 2.0),  # a speed has no direction
    ],
)
def test_relative_speed(others, expected):
    assert value(episodes([cruise(0, speed=25, frames=11), *others]), "relative_speed") == pytest.approx(expected)


def test_without_traffic_or_in_standing_traffic_there_is_no_relative_speed():
    for others in ([], [Car(500, 4, 20)], [Car(20, 4, 0)]):
        measure = progress.measure(episodes([cruise(0, frames=11), *others]))["relative_speed"]
        assert not bool(measure.valid)


def test_only_frames_with_traffic_are_compared():
    t = np.arange(101) * 0.1
    speeds = np.where(t < 5, 10.0, 30.0)
    alone_later = Car(np.where(t < 5, 20.0, 1e4), 4.0, 20.0)  # near in the first half only
    assert value(episodes([Car(0.0 * t, 0.0, speeds), alone_later]), "relative_speed") == pytest.approx(0.5)


@pytest.mark.parametrize(("seconds", "stuck"), [(10.0, 1), (9.9, 0)])
def test_standing_for_ten_seconds_is_stuck(seconds, stuck):
    t = np.arange(300) * 0.1
    standing = (t >= 5) & (t <= 5 + seconds + 1e-9)
    made = episodes([Car(0.0 * t, 0.0, np.where(standing, 0.09, 1.0))])
    measure = progress.measure(made)["stuck"]
    assert measure.value.tolist() == [stuck]
    assert measure.frame.tolist() == [50 if stuck else -1]


def test_standing_twice_is_not_standing_long():
    t = np.arange(300) * 0.1
    made = episodes([Car(0.0 * t, 0.0, np.where((t < 7) | (t > 8) & (t < 15), 0.0, 1.0))])
    assert value(made, "stuck") == 0


@pytest.mark.parametrize(("speed", "seconds", "expected"), [(20, 30, 1.0), (10, 30, 0.5), (30, 30, 1.0), (20, 15, 0.5)])
def test_a_road_without_an_end_is_measured_by_what_is_planned(speed, seconds, expected):
    made = highway([cruise(0, speed=speed, frames=seconds * 5 + 1, dt=0.2)], dt=0.2)
    assert value(made, "completion") == pytest.approx(expected)


def test_a_crash_keeps_what_was_done_until_then():
    made = highway([cruise(0, speed=20, frames=151, dt=0.2).crashing(76)], dt=0.2)
    assert value(made, "completion") == pytest.approx(0.5)


def test_driving_back_and_forth_completes_nothing():
    t = np.arange(151) * 0.2
    made = highway([Car(30 * np.sin(t), 0.0, 30 * np.cos(t), 0.0)], dt=0.2)
    assert value(made, "completion") == pytest.approx(30 / 600, rel=0.01)


def ring(*ends: str) -> list[tuple[str, str, int]]:
    nodes = ["ser", "ses", "se", *ends]
    return [(a, b, 0) for a, b in pairwise(nodes)]


MAIN = [("a", "b", 1), ("b", "c", 1), ("c", "d", 1)]
TO_EXIT = [("0", "1", 5), ("1", "2", 6)]
WAYS = {
    "merge-v0": (MAIN, 30.0, 370.0),
    "merge-generic-v0": (MAIN, 30.0, 370.0),
    "exit-v0": (TO_EXIT, 0.0, 400.0),
    "u-turn-v0": ([("a", "b", 0), ("b", "c", 0), ("c", "d", 0)], 0.0, 2 * 128 + 20 * math.pi),
    "roundabout-v0": (ring("ex", "ee", "nx", "nxs"), 125.0, None),
    "roundabout-generic-v0": (ring("ex", "ee", "nx", "nxs"), 20.0, None),
}


@pytest.mark.parametrize("id", WAYS)
def test_completion_grows_along_the_way_and_ends_at_its_goal(id):
    edges, start, goal = WAYS[id]
    places = walk(road(id), edges, 2.0, start)
    made = drive(id, places, 20.0)
    found = progress.measure(made)
    assert value(made, "completion") == pytest.approx(1.0)
    half = routes.progress(drive(id, places[: len(places) // 2], 20.0))
    assert 0.2 < float(half.completion) < 0.8
    frame = int(found["time_to_goal"].frame)
    assert bool(found["time_to_goal"].valid)
    assert float(found["time_to_goal"].value) == pytest.approx(frame * 0.1)
    if goal is not None:
        assert start + 2.0 * frame == pytest.approx(goal, abs=8)  # the frame after it, and lanes of unequal length


def test_who_misses_the_exit_does_not_complete_it():
    places = walk(road("exit-v0"), [("0", "1", 5), ("1", "2", 5), ("2", "3", 5)], 5.0)
    made = drive("exit-v0", places, 25.0)
    assert value(made, "completion") == pytest.approx(0.8, abs=0.02)
    assert not bool(progress.measure(made)["time_to_goal"].valid)


@pytest.mark.parametrize("turn", ["1", "2", "3"])
@pytest.mark.parametrize("destination", ["o1", None])
def test_a_junction_is_crossed_25_m_into_any_exit(turn, destination):
    network = road("intersection-v0")
    lanes = [("o0", "ir0", 0), ("ir0", f"il{turn}", 0), (f"il{turn}", f"o{turn}", 0)]
    places = walk(network, lanes, 0.5, 40.0)
    made = drive("intersection-v0", places, 5.0, config={"destination": destination})
    assert value(made, "completion") == pytest.approx(1)
    reached = int(routes.progress(made).reached)
    number, s = places[reached]
    assert number == network.lane_number(f"il{turn}", f"o{turn}", 0)
    assert 25 <= s < 25.6
    assert value(drive("intersection-v0", places[:reached], 5.0), "completion") < 1


@pytest.mark.parametrize(
    ("destination", "inside"), [("o1", 13 * math.pi / 2), ("o2", 22.0), ("o3", 9 * math.pi / 2), (None, 22.0)]
)
def test_the_way_to_a_junction_is_a_share_of_the_way_to_the_destination(destination, inside):
    places = walk(road("intersection-v0"), [("o0", "ir0", 0)], 0.5, 40.0)
    made = drive("intersection-v0", places, 5.0, config={"destination": destination})
    assert value(made, "completion") == pytest.approx(60 / (60 + inside + 25))


def test_an_unknown_way_is_invalid():
    for id in ("parking-v0", "hand-made"):
        made = episodes([cruise(0)], id=id, config={} if id == "hand-made" else complete(id, None))
        assert not bool(progress.measure(made)["completion"].valid)


def test_a_parked_car_reaches_its_goal_at_the_end():
    made = episodes(
        [cruise(0, frames=31)], [cruise(0, frames=51)], id="parking-v0", config=complete("parking-v0", None),
        success=torch.tensor([True, False]), reports_success=True,
    )  # fmt: skip
    measure = progress.measure(made)["time_to_goal"]
    assert measure.valid.tolist() == [True, False]
    assert measure.value.tolist()[0] == pytest.approx(3)


@pytest.mark.parametrize("id", sorted(SCENARIOS))
def test_every_id_has_a_way_but_parking(id):
    network = road(id)
    starts = {"roundabout": "ser", "intersection": "o0", "u-turn": "a"}
    node = next((start for family, start in starts.items() if family in id), network.edges[0][0])
    number = int(network.edge_first[[start for start, _ in network.edges].index(node)])
    places = [(number, 0.0), (number, 1.0)]
    made = drive(id, places, 10.0, (car(network, places, 10.0),))
    assert bool(progress.measure(made)["completion"].valid) == ("parking" not in id)


def scenes():
    t = np.arange(80) * 0.1
    weaving = Car(15 * t, np.sin(t), 15 + np.sin(t), 0.07 * np.cos(t))
    return highway(
        [weaving, cruise(30, 4, 12.0, frames=80), cruise(-20, 8, 18.0, frames=80)],
        [cruise(0, speed=8, acceleration=-1, frames=120), cruise(15, 4, 3.0, frames=120)],
        [cruise(0, speed=22, frames=60)],
    )


@pytest.mark.parametrize(
    "change", [lambda e: rotated(e, 2.0), lambda e: moved(e, -50, 400), mirrored, shuffled], ids=["r", "t", "m", "s"]
)
def test_the_place_in_the_world_does_not_matter(change):
    before, after = progress.measure(scenes()), progress.measure(change(scenes()))
    for name, measure in before.items():
        torch.testing.assert_close(after[name].value, measure.value, equal_nan=True, atol=1e-9, rtol=1e-9)


def test_the_batch_does_not_matter():
    whole = progress.measure(scenes())
    for order in ([2, 0, 1], [1], [0, 2]):
        part = progress.measure(reordered(scenes(), order))
        for name, measure in whole.items():
            assert str(part[name].value.tolist()) == str(measure.value[order].tolist()), name
