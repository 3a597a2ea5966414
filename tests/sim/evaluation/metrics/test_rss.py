import math

import numpy as np
import pytest

from sim.engine.lanes import CircularLane
from sim.engine.network import Network
from sim.evaluation.metrics import rss
from sim.evaluation.metrics.rss import PARAMETERS
from sim.world import Kind
from tests.sim.evaluation.metrics.hand_made import Car, changed_facts, cruise, episodes, with_facts
from tests.sim.evaluation.metrics.random_scenes import SAME, assert_alone_as_together, assert_same, random_episodes

KEYS = {name: f"rss_{name.replace('-', '_')}" for name in PARAMETERS}


def measured(*cars, dt=0.1, name="adlib-default", **fields):
    """Share of time in danger, least margin, violations of one episode."""
    found = rss.measure(episodes(list(cars), dt=dt, **fields))
    return [found[KEYS[name] + part].value[0].item() for part in ("", "_margin", "_violations")]


def margin(*cars, name="adlib-default", **fields):
    return measured(*cars, name=name, **fields)[1]


def stand(x, y=0.0, speed=0.0, **rest):
    return cruise(x, y, speed=speed, frames=1, **rest)


def travelled(speed, response, acceleration, braking, h=1e-4):
    """How far a car gets that speeds up for its response time and then brakes, by small steps; and its path."""
    path, t = [0.0], 0.0
    while t < response or speed > 0:
        speed += (acceleration if t < response else -braking) * h
        path.append(path[-1] + speed * h)
        t += h
    return np.array(path)


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize(("rear", "front"), [(25, 25), (25, 5), (10, 20), (0, 0), (30, 0)])
def test_the_least_distance_just_avoids_the_worst_case(name, rear, front):
    asked = PARAMETERS[name]
    follower = travelled(rear, asked.ego_response, asked.acceleration, asked.braking)
    leader = travelled(front, 0.0, 0.0, asked.hardest_braking)
    needed = max(follower[-1] - leader[-1], 0.0)
    assert 205 - 5 - margin(stand(0, speed=rear), stand(205, speed=front), name=name) == pytest.approx(needed, abs=0.02)
    follower = travelled(rear, asked.other_response, asked.acceleration, asked.braking)
    needed = max(follower[-1] - leader[-1], 0.0)
    behind = margin(stand(0, speed=front), stand(-305, speed=rear), name=name)
    assert 300 - behind == pytest.approx(needed, abs=0.02)


def test_published_distances_at_25_metres_a_second():
    cars = [stand(0, speed=25), stand(105, speed=25)]
    assert 100 - margin(*cars) == pytest.approx(89, abs=0.5)
    assert 100 - margin(*cars, name="dense-traffic") == pytest.approx(30, abs=0.5)


@pytest.mark.parametrize("name", PARAMETERS)
def test_oncoming_cars_both_stop_in_time(name):
    asked = PARAMETERS[name]
    mine = travelled(20, asked.ego_response, asked.acceleration, asked.own_lane_braking)[-1]
    theirs = travelled(15, asked.other_response, asked.acceleration, asked.braking)[-1]
    found = margin(stand(0, speed=20), stand(405, speed=15, heading=math.pi), name=name)
    assert 400 - found == pytest.approx(mine + theirs, abs=0.02)
    # On the lane of the oncoming car it is the ego that has to brake harder.
    made = episodes([stand(0, speed=20), stand(405, speed=15, heading=math.pi)])
    found = rss.measure(changed_facts(made, lane_heading=math.pi))[KEYS[name] + "_margin"].value.item()
    mine = travelled(20, asked.ego_response, asked.acceleration, asked.braking)[-1]
    theirs = travelled(15, asked.other_response, asked.acceleration, asked.own_lane_braking)[-1]
    assert 400 - found == pytest.approx(mine + theirs, abs=0.02)


def test_who_has_gone_by_is_no_danger():
    assert margin(stand(0, speed=20), stand(-15, speed=20, heading=math.pi)) == pytest.approx(10)


@pytest.mark.parametrize("drift", [0.0, 0.05])
def test_the_least_distance_across(drift):
    asked = PARAMETERS["adlib-default"]
    speed = 20 * math.sin(drift)
    mine = travelled(speed, asked.ego_response, 0.2, 0.8)[-1]
    theirs = travelled(0.0, asked.other_response, 0.2, 0.8)[-1]
    found = margin(stand(0, speed=20, heading=drift), stand(1, 4, speed=20))
    gap = 4 - 1 - (math.cos(drift) + 2.5 * math.sin(drift))
    assert gap - found == pytest.approx(0.1 + mine + theirs, abs=2e-3)


def test_danger_needs_both_distances():
    assert measured(stand(0, speed=25), stand(40, speed=25))[0] == 1
    assert measured(stand(0, speed=25), stand(40, speed=25), name="dense-traffic")[0] == 0
    assert measured(stand(0, speed=25), stand(0, 8, speed=25))[0] == 0
    assert measured(stand(0, speed=25), stand(200, speed=25))[0] == 0
    assert measured(stand(0, speed=25), stand(20, -10, speed=10, heading=math.pi / 2))[0] == 0  # crosses


def test_nobody_and_obstacles():
    share, least, violations = measured(cruise(0))
    assert (share, violations) == (0, 0)
    assert math.isnan(least)
    assert math.isnan(margin(stand(0), stand(10, kind=Kind.LANDMARK)))
    cone = {"length": 2.0, "kind": Kind.OBSTACLE}
    asked = PARAMETERS["adlib-default"]
    needed = travelled(10, asked.ego_response, asked.acceleration, asked.braking)[-1]
    for heading in (0.0, math.pi):
        found = margin(stand(0, speed=10), stand(103.5, heading=heading, **cone))
        assert 100 - found == pytest.approx(needed, abs=0.02)
    found = rss.measure(episodes([cruise(0, frames=5).crashing(0), cruise(10, frames=5)]))
    assert not any(one.valid[0] for one in found.values())


@pytest.mark.parametrize("dt", [0.05, 0.1])
@pytest.mark.parametrize(("braking", "violations"), [(0.0, 1), (3.9, 1), (4.0, 0), (6.0, 0)])
def test_the_ego_has_to_brake_after_its_response_time(braking, violations, dt):
    steady = {"frames": round(4 / dt), "dt": dt}
    ego = cruise(0, speed=25, acceleration=-braking, **steady)
    share, _, found = measured(ego, cruise(40, speed=25, acceleration=-braking, **steady), dt=dt)
    assert share > 0.5  # until both stand
    assert found == violations
    made = episodes([ego, cruise(40, speed=25, acceleration=-braking, **steady)], dt=dt)
    frame = rss.measure(made)["rss_adlib_default_violations"].frame[0]
    assert int(frame) == (round(1 / dt) if violations else -1)


def test_the_leader_need_not_react_and_a_standing_ego_has_done_so():
    assert measured(cruise(0, speed=25), cruise(-20, speed=25))[::2] == [1, 0]
    assert measured(cruise(0, speed=0), cruise(7, speed=0))[::2] == [1, 0]


def test_who_drifts_has_to_stop_drifting():
    # Side by side at the same speed, the distance along is too small all the time; then the one across breaks.
    t = np.arange(48) * 0.1

    def beside(drift):
        return Car(20 * t, 4 - drift * t, 20.0, -math.asin(drift / 20))

    def settling(braking):  # from 2 s on; with the defaults the distance across breaks after 1.5 s
        speed = np.clip(0.4 - braking * (t - 2.0), 0.0, 0.4)
        return Car(20 * t, np.cumsum(speed) * 0.1, 20.0, np.arcsin(speed / 20))

    for name in PARAMETERS:
        assert measured(settling(0.0), beside(0.0), name=name)[2] == 1
        assert measured(cruise(0, frames=48), beside(0.4), name=name)[2] == 0  # the other one's drift
    assert measured(settling(1.0), beside(0.0))[2] == 0
    assert measured(settling(0.1), beside(0.0))[2] == 1


def test_who_closes_in_has_to_brake():
    # The distance across is too small all the time; the one along, 195 m - 10 m/s t, breaks when it is below 147.03 m
    # (30 m/s behind 20 m/s), at 4.797 s: a second after frame 48 the ego has to brake.
    made = episodes([cruise(0, speed=30, frames=70), cruise(200, speed=20, frames=70)])
    found = rss.measure(made)["rss_adlib_default_violations"]
    assert (float(found.value[0]), int(found.frame[0])) == (1, 58)


def test_who_was_close_is_known_by_its_number():
    # Beside the ego and a little behind it drives one that the ego drifts towards: first the distance along is too
    # small, then the one across too, so the ego has to stop drifting. Meanwhile the one in the slot before leaves.
    t = np.arange(48) * 0.1
    drifting = Car(20 * t, 0.4 * t, 20.0, math.asin(0.4 / 20))
    scene = [drifting, cruise(900, frames=48), cruise(-1, 4, frames=48)]
    plain = rss.measure(episodes(scene))
    assert float(plain["rss_adlib_default_violations"].value[0]) == 1
    danger = round((1 - float(plain["rss_adlib_default"].value[0])) * 48)
    made = episodes(scene)
    for name in ("x", "y", "heading", "speed", "number", "lane"):
        getattr(made, name)[danger:, 0, 1] = getattr(made, name)[danger:, 0, 2]
    made.kind[danger:, 0, 2], made.number[danger:, 0, 2] = Kind.ABSENT, -1
    assert_same(rss.measure(made), plain)


def test_two_on_one_arc_are_in_line():
    radius, angle = 100.0, 0.5
    network = Network({"0": {"1": [CircularLane((0, 0), radius, 0.0, 3.0)]}})

    def on_arc(phase):
        x, y = radius * math.cos(phase), radius * math.sin(phase)
        return Car(np.array([x]), y, 10.0, phase + math.pi / 2, lane=0)

    made = episodes([on_arc(0.0), on_arc(angle)], network=network)
    made = changed_facts(made, lane_heading=math.pi / 2)
    found = rss.measure(made)["rss_adlib_default_margin"].value.item()
    turned = 5 * math.cos(angle / 2) + 2 * math.sin(angle / 2)
    asked = PARAMETERS["adlib-default"]
    follower = travelled(10, asked.ego_response, asked.acceleration, asked.braking)[-1]
    leader = travelled(10, 0, 0, asked.hardest_braking)[-1]
    assert found == pytest.approx(2 * radius * math.sin(angle / 2) - turned - follower + leader, abs=0.02)


def test_a_vehicle_keeps_its_clock_when_slots_move_up():
    scene = [cruise(0, speed=25), cruise(300, 8, speed=25), cruise(40, speed=25)]
    made, plain = episodes(scene), episodes(scene)
    for name in ("x", "y", "speed", "number", "lane"):
        getattr(made, name)[7:, 0, 1] = getattr(made, name)[7:, 0, 2]
    made.kind[7:, 0, 2], made.number[7:, 0, 2] = Kind.ABSENT, -1
    made = with_facts(made, plain.facts)
    assert_same(rss.measure(made), rss.measure(plain))
    assert int(rss.measure(made)["rss_adlib_default_violations"].frame[0]) == 10


@pytest.mark.parametrize("same", SAME)
def test_random_traffic_does_not_depend_on_the_view(same):
    made = random_episodes()
    ours = rss.measure(made)
    assert ours["rss_adlib_default_violations"].value.nan_to_num(0).sum() > 3
    assert_same(ours, rss.measure(SAME[same](made)), rtol=1e-9, atol=1e-9)


def test_an_episode_does_not_depend_on_its_batch(monkeypatch):
    made = random_episodes(12)
    assert_alone_as_together(rss.measure, made)
    whole = rss.measure(made)
    monkeypatch.setattr("sim.evaluation.metrics.device_boxes.BLOCK", 5)  # other episodes side by side
    assert_same(whole, rss.measure(made))
