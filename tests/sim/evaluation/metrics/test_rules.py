import numpy as np
import pytest
import torch

from sim.evaluation.metrics import rules
from sim.world import Kind
from tests.sim.evaluation.metrics.hand_made import (
    Car,
    changed_facts,
    cruise,
    episodes,
    mirrored,
    moved,
    reordered,
    rotated,
    shuffled,
)
from tests.sim.evaluation.metrics.on_lanes import drive, road, walk


def value(made, name: str, world: int = 0) -> float:
    measure = rules.measure(made)[name]
    assert bool(measure.valid[world]), name
    return float(measure.value[world])


def changing(moves: dict[int, int], frames: int = 200, speed: float = 20.0, start: int = 1, **rest) -> Car:
    """A car that is on the next lane at once: +1 to the right, -1 to the left, from these frames on."""
    lane = np.full(frames, start)
    for frame, side in moves.items():
        lane[frame:] += side
    return Car(np.arange(frames) * speed * 0.1, lane * 4.0, speed, lane=lane, **rest)


def test_lane_changes_are_counted_and_found():
    made = episodes([changing({30: 1, 110: -1, 180: -1}, 251)], [changing({}, 251)], [changing({100: 1}, 101)])
    found = rules.measure(made)
    assert found["lane_changes"].value.tolist() == [3, 0, 1]
    assert found["lane_changes"].frame.tolist() == [30, -1, 100]
    assert value(made, "lane_changes_per_km") == pytest.approx(3 / 0.5, rel=0.03)  # 500 m, and the jumps aside


def test_a_change_after_the_contact_is_none():
    made = episodes([changing({30: 1, 50: 1}, start=0).crashing(50)])
    assert value(made, "lane_changes") == 1


def test_the_next_road_is_no_lane_change():
    network = road("merge-v0")
    straight = walk(network, [("a", "b", 1), ("b", "c", 1), ("c", "d", 1)], 3.0)
    assert value(drive("merge-v0", straight, 30.0), "lane_changes") == 0
    crossing = walk(network, [("a", "b", 1), ("b", "c", 0), ("c", "d", 0)], 3.0)  # 2, then 3 lanes: not said
    assert value(drive("merge-v0", crossing, 30.0), "lane_changes") == 0
    inner = walk(road("u-turn-v0"), [("a", "b", 0), ("b", "c", 1), ("c", "d", 1)], 3.0)  # 2 lanes all along
    assert value(drive("u-turn-v0", inner, 16.0), "lane_changes") == 1


@pytest.mark.parametrize(
    ("moves", "count"),
    [
        ({50: 1, 100: -1}, 1),  # exactly 5 s
        ({50: 1, 101: -1}, 0),
        ({50: 1, 60: 1}, 0),  # on to a third lane
        ({50: 1, 60: -1, 70: 1, 80: -1}, 3),
        ({50: 1}, 0),
    ],
)
def test_taking_a_lane_change_back_within_five_seconds(moves, count):
    made = episodes([changing(moves, start=0)], [changing({})])
    assert rules.measure(made)["oscillations"].value.tolist() == [count, 0]
    frame = rules.measure(made)["oscillations"].frame.tolist()
    assert frame == [sorted(moves)[1] if count else -1, -1]


def test_two_episodes_do_not_oscillate_together():
    made = episodes([changing({195: 1})], [changing({2: -1})])
    assert rules.measure(made)["oscillations"].value.tolist() == [0, 0]


@pytest.mark.parametrize(("over", "expected"), [(0.0, 1.0), (2.23 / 2, 0.5), (2.23, 0.0), (5.0, 0.0), (-10.0, 1.0)])
def test_speed_above_the_limit(over, expected):
    made = episodes([cruise(0, speed=30 + over)])
    assert value(made, "speed_compliance") == pytest.approx(expected)
    assert value(made, "speeding_share") == (over > 0)


def test_a_quarter_of_the_time_too_fast():
    speed = np.where(np.arange(100) < 25, 31.0, 25.0)
    made = episodes([Car(np.arange(100) * 2.5, 0.0, speed)])
    assert value(made, "speeding_share") == 0.25
    assert value(made, "speed_compliance") == pytest.approx(1 - 0.25 / 2.23)
    made = episodes([Car(np.arange(100) * 2.5, 0.0, np.where(speed > 30, 30.05, 25))])  # rounding is no speeding
    assert value(made, "speeding_share") == 0


def test_without_a_limit_there_is_nothing_to_keep():
    made = changed_facts(episodes([cruise(0, speed=50)]), speed_limit=torch.tensor(torch.nan))
    assert not bool(rules.measure(made)["speed_compliance"].valid)


def test_keeping_right():
    made = episodes([changing({50: 1}, 200)], [cruise(0, 0)], [cruise(0, 8)])
    assert [value(made, "keep_right_share", n) for n in range(3)] == [0.75, 0, 1]
    assert not bool(rules.measure(episodes([cruise(0)], lanes=1))["keep_right_share"].valid)


@pytest.mark.parametrize(("seconds", "offset", "kept"), [(2.0, 0.6, 0), (1.9, 0.6, 1), (5.0, 0.4, 1), (5.0, -0.6, 0)])
def test_keeping_the_lane(seconds, offset, kept):
    t = np.arange(150) * 0.1
    y = np.where((t >= 3) & (t <= 3 + seconds + 1e-9), 4 + offset, 4.0)
    measure = rules.measure(episodes([Car(20 * t, y, 20.0)]))["lane_kept"]
    assert measure.value.tolist() == [kept]
    assert measure.frame.tolist() == [-1 if kept else 30]


def test_a_lane_change_may_cross_the_lane():
    t = np.arange(200) * 0.1
    for seconds, kept in ((12.0, 1), (14.0, 0)):  # from lane to lane, more than 0.5 m off for 4.5 or 5.25 s each
        y = 4 * np.clip((t - 10) / seconds + 0.5, 0, 1)
        assert value(episodes([Car(20 * t, y, 20.0)]), "lane_kept") == kept


def test_a_wanted_lane_change_may_leave_the_middle():
    t = np.arange(200) * 0.1
    lane = np.zeros(200, dtype=int)
    y = np.where((t > 4) & (t < 8), 1.5, 0.0)
    for kind, target, kept in ((Kind.MDP, 1, 1), (Kind.MDP, 0, 0), (Kind.VEHICLE, 1, 0)):
        made = episodes([Car(20 * t, y, 20.0, kind=kind, lane=lane, target_lane=np.where(y > 1, target, 0))])
        assert value(made, "lane_kept") == kept


def braking(times: dict[int, float], y: float, x: float = -30.0, frames: int = 200, **rest) -> Car:
    """A car behind that brakes at these frames [m/s2]."""
    acceleration = np.zeros(frames)
    for frame, hard in times.items():
        acceleration[frame] = -hard
    return Car(x + np.arange(frames) * 2.0, y, 20.0, acceleration=acceleration, **rest)


@pytest.mark.parametrize(
    ("follower", "expected", "frame"),
    [
        (braking({60: 3.0, 70: 1.0}, 8), 3.0, 60),
        (braking({80: 2.5}, 8), 2.5, 80),  # 3 s after
        (braking({81: 2.5}, 8), 0.0, -1),
        (braking({49: 9.0, 60: 1.5}, 8), 1.5, 60),  # before it, the ego was not in its way
        (braking({60: -2.0}, 8), 0.0, -1),  # speeds up
        (braking({60: 3.0, 65: 9.0}, 8).crashing(64), 3.0, 60),  # a wreck does not brake
        (braking({60: 3.0}, 4), 0.0, -1),  # on the lane that was left
        (braking({60: 3.0}, 8, 30.0), 0.0, -1),  # ahead
        (braking({60: 3.0}, 8, kind=Kind.PARKED), 0.0, -1),
    ],
)
def test_braking_forced_on_the_new_follower(follower, expected, frame):
    made = episodes([changing({50: 1}), follower])
    for name, wanted in (("forced_braking", expected), ("hard_braking_forced", expected > 2)):
        measure = rules.measure(made)[name]
        assert measure.value.tolist() == [pytest.approx(float(wanted))]
        assert measure.frame.tolist() == [frame]
        assert measure.other.tolist() == [1 if frame >= 0 else -1]


def test_braking_after_the_contact_is_not_forced_by_a_lane_change():
    made = episodes([changing({50: 1}).crashing(58), braking({57: 1.2, 58: 6.0, 60: 6.0}, 8)])
    assert value(made, "forced_braking") == 1.2


def test_the_follower_is_followed_when_slots_move_up():
    follower = braking({70: 4.0}, 8, number=7)
    other = braking({72: 9.0}, 0, -60.0, number=3)
    made = episodes([changing({50: 1}), follower, other])
    swapped = made.__dict__["facts"]
    for name in ("x", "y", "speed", "acceleration", "lane", "number", "heading"):
        field = getattr(made, name)
        field[65:, :, 1:] = field[65:, :, 1:].flip(2).clone()
    made.__dict__["facts"] = swapped
    measure = rules.measure(made)["forced_braking"]
    assert (measure.value.tolist(), measure.other.tolist()) == ([4.0], [7])


def test_without_a_lane_change_nothing_is_forced():
    made = rules.measure(episodes([changing({}), braking({60: 5.0}, 4)]))
    assert not bool(made["forced_braking"].valid)
    assert made["hard_braking_forced"].value.tolist() == [0]


def test_success_is_what_the_id_reports():
    made = episodes([cruise(0)], [cruise(0)], success=torch.tensor([True, False]), reports_success=True)
    assert rules.measure(made)["success"].value.tolist() == [1, 0]
    assert not rules.measure(episodes([cruise(0)]))["success"].valid.any()


def test_spots_are_no_lanes():
    found = rules.measure(episodes([changing({50: 1})], id="parking-v0"))
    assert not any(bool(measure.valid) for measure in found.values())


def scenes():
    return episodes(
        [changing({50: 1, 70: -1}), braking({55: 2.5, 75: 1.0}, 8), braking({72: 3.0}, 4, -70.0)],
        [changing({100: -1, 140: -1}, start=2, speed=31.0), braking({120: 2.9}, 4, -10.0)],
        [changing({})],
    )


@pytest.mark.parametrize(
    "change", [lambda e: rotated(e, 2.0), lambda e: moved(e, -50, 400), mirrored, shuffled], ids=["r", "t", "m", "s"]
)
def test_the_place_in_the_world_does_not_matter(change):
    before, after = rules.measure(scenes()), rules.measure(change(scenes()))
    for name, measure in before.items():
        if (name, change) != ("keep_right_share", mirrored):  # right is left there
            torch.testing.assert_close(after[name].value, measure.value, equal_nan=True, atol=1e-9, rtol=1e-9)
            assert after[name].other.tolist() == measure.other.tolist()


def test_the_batch_does_not_matter():
    whole = rules.measure(scenes())
    for order in ([2, 0, 1], [1], [0, 2]):
        part = rules.measure(reordered(scenes(), order))
        for name, measure in whole.items():
            assert str(part[name].value.tolist()) == str(measure.value[order].tolist()), name
            assert part[name].frame.tolist() == measure.frame[order].tolist()
