"""Maps as dicts: highway-env's `RoadNetwork.to_config` and `from_config` are the oracle, on all families' roads."""

import copy
import json
import math

import numpy as np
import pytest
from highway_env.road import lane as real_lanes
from highway_env.road.road import RoadNetwork

from sim.engine.lanes import PolyLane
from sim.engine.map_config import JOINT_GAP, MODULE
from sim.engine.network import Network
from tests.sim.engine.twins import network_twin, real_network

FAMILIES = (
    "highway-v0", "merge-v0", "merge-generic-v0", "roundabout-v0", "roundabout-generic-v0", "intersection-v0",
    "exit-v0", "racetrack-v0", "racetrack-large-v0", "racetrack-oval-v0", "two-way-v0", "u-turn-v0",
)  # fmt: skip
APART = ("parking-v0", "lane-keeping-v0")  # roads whose lanes do not meet
BEND = [(0.0, 0.0), (30.0, 5.0), (60.0, 0.0), (80.5, -20.0)]
LEFT = [(0.0, -3.0), (30.0, 2.0), (60.0, -2.5), (78.0, -22.0)]
RIGHT = [(0.0, 2.0), (30.0, 7.5), (61.0, 3.0), (83.0, -18.0)]


def straight(start, end, **fields) -> dict:
    return {"class_path": MODULE + "StraightLane", "config": {"start": start, "end": end} | fields}


def through_json(config: dict) -> dict:
    return json.loads(json.dumps(config))


def assert_same_network(found: Network, expected: Network) -> None:
    assert found.graph == expected.graph
    assert found.edges == expected.edges  # the order of a dict does not count in ==


@pytest.mark.parametrize("env_id", FAMILIES + APART)
def test_highway_envs_map_is_the_same_road(env_id):
    network = real_network(env_id)
    config = through_json(network.to_config())
    before = copy.deepcopy(config)
    ours = Network.from_config(config, connected=env_id in FAMILIES)
    assert config == before
    assert_same_network(ours, network_twin(network))


@pytest.mark.parametrize("env_id", FAMILIES + APART)
def test_our_map_of_it_is_highway_envs(env_id):
    network = real_network(env_id)
    written = through_json(network_twin(network).to_config())
    assert written == through_json(network.to_config())
    assert_same_network(network_twin(RoadNetwork.from_config(written)), network_twin(network))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("PolyLaneFixedWidth", {"lane_points": BEND, "width": 5.0, "speed_limit": None, "priority": 3}),
        ("PolyLane", {"lane_points": BEND, "left_boundary_points": LEFT, "right_boundary_points": RIGHT}),
    ],
)
def test_a_polyline_lies_where_highway_envs_lies(name, config):
    lane = {"class_path": MODULE + name, "config": config | {"line_types": [1, 3]}}
    ours = Network.from_config({"a": {"b": [lane]}})
    again = Network.from_config(through_json(ours.to_config()))
    assert_same_polylines(ours.lanes[0], RoadNetwork.from_config({"a": {"b": [lane]}}).graph["a"]["b"][0])
    assert_same_polylines(again.lanes[0], RoadNetwork.from_config(ours.to_config()).graph["a"]["b"][0])


@pytest.mark.parametrize(
    "lane",
    [
        real_lanes.PolyLaneFixedWidth(BEND, width=3.5, line_types=[0, 2], forbidden=True),
        real_lanes.PolyLane(BEND, LEFT, RIGHT, line_types=[0, 2], speed_limit=12.5),
    ],
    ids=lambda lane: type(lane).__name__,
)
def test_what_highway_envs_polylines_write_is_read(lane):
    """It writes points 1 m apart, without the rest of less than a metre, and no class_path."""
    written = lane.to_config()
    config = dict(written["config"])
    if "ordered_boundary_points" in config:
        del config["ordered_boundary_points"]
        for side in ("left", "right"):
            config[f"{side}_boundary_points"] = [pose.position for pose in getattr(lane, f"{side}_boundary").poses]
    expected = type(lane)(**config)
    assert_same_polylines(Network.from_config({"a": {"b": [through_json(written)]}}).lanes[0], expected)


def assert_same_polylines(ours: PolyLane, real: real_lanes.PolyLaneFixedWidth) -> None:
    assert ours.length == pytest.approx(real.length, rel=1e-12)
    for name in ("forbidden", "speed_limit", "priority"):
        assert getattr(ours, name) == getattr(real, name)
    assert list(ours.line_types) == real.line_types
    samples = ours.width_samples()
    for s in np.linspace(0, real.length, 40):
        np.testing.assert_allclose(ours.position(s, 1.5), real.position(s, 1.5), rtol=0, atol=1e-9)
        assert samples[min(int(s), len(samples) - 1)] == pytest.approx(real.width_at(s), abs=1e-9)


def test_what_a_map_leaves_out_has_highway_envs_defaults():
    arc = {"center": [0, 0], "radius": 20, "start_phase": 0.0, "end_phase": 1.0}
    config = {"a": {"b": [straight([0, 0], [50, 0])]}, "b": {"c": [{"class_path": MODULE + "CircularLane"}]}}
    config["b"]["c"][0]["config"] = arc
    assert_same_network(
        Network.from_config(config, connected=False), network_twin(RoadNetwork.from_config(copy.deepcopy(config)))
    )


GOOD = {"start": [0, 0], "end": [100, 0]}
SINE = GOOD | {"amplitude": 1, "pulsation": 0.1, "phase": 0}
ARC = {"center": [0, 0], "radius": 20, "start_phase": 0, "end_phase": 1}


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("BentLane", GOOD, r"class_path 'highway_env.road.lane.BentLane'; allowed: .*StraightLane, .*PolyLane$"),
        ("StraightLane", {"start": [0, 0]}, "StraightLane without 'end'; it needs start, end"),
        ("SineLane", GOOD, "SineLane without 'amplitude'"),
        ("StraightLane", GOOD | {"speedlimit": 3}, "unknown field 'speedlimit'; allowed: start, end, width"),
        ("PolyLane", {"lane_points": BEND, "width": 3}, "unknown field 'width'|without 'left_boundary_points'"),
        ("StraightLane", GOOD | {"end": [0, 0]}, "length of 0 m; it must be above 0"),
        ("CircularLane", ARC | {"end_phase": 0}, "length of 0 m"),
        ("CircularLane", ARC | {"clockwise": False}, "length of -20 m.*clockwise=False its end_phase"),
        ("StraightLane", GOOD | {"end": [math.nan, 0]}, r"'end': \[nan, 0\]; it must be two finite numbers"),
        ("StraightLane", GOOD | {"start": [0, 0, 0]}, "'start'.* two finite numbers"),
        ("StraightLane", GOOD | {"start": "ab"}, "'start': 'ab'.* two finite numbers"),
        ("SineLane", SINE | {"phase": math.inf}, "'phase': inf; it must be a finite number"),
        ("SineLane", SINE | {"amplitude": True}, "'amplitude': True"),
        ("CircularLane", ARC | {"radius": 0}, "'radius': 0; it must be a finite number above 0"),
        ("CircularLane", ARC | {"radius": math.nan}, "'radius': nan; it must be a finite number above 0"),
        ("StraightLane", GOOD | {"width": -4}, "'width': -4; it must be a finite number above 0"),
        ("StraightLane", GOOD | {"speed_limit": "fast"}, r"'speed_limit': 'fast'; .* \[m/s\] or None"),
        ("StraightLane", GOOD | {"line_types": [0, 7]}, r"'line_types': \[0, 7\]; .* 3 \(CONTINUOUS_LINE\)"),
        ("StraightLane", GOOD | {"line_types": 1}, "'line_types': 1; "),
        ("StraightLane", GOOD | {"forbidden": "no"}, "'forbidden': 'no'; it must be True or False"),
        ("StraightLane", GOOD | {"priority": 0.5}, "'priority': 0.5; it must be an integer"),
        ("PolyLaneFixedWidth", {"lane_points": [[0, 0]]}, "'lane_points'.* at least two points"),
        ("PolyLaneFixedWidth", {"lane_points": [[0, 0], [9, 0], [9, 0]]}, "different from the one before"),
        ("PolyLaneFixedWidth", {"lane_points": [[0, 0], [0.5, 0]]}, "'lane_points'.* at least 1 m"),
        (
            "PolyLane",
            {"lane_points": BEND, "ordered_boundary_points": BEND[:1]},
            "ordered_boundary_points' that do not",
        ),
    ],
)
def test_a_lane_that_cannot_be_built_is_one_clear_error(name, config, message):
    lane = {"class_path": MODULE + name, "config": config}
    good = straight([0, 4], [100, 4])
    with pytest.raises(ValueError, match=message) as error:
        Network.from_config({"a": {"b": [good, lane]}})
    assert "lane ('a', 'b', 1) of the map" in str(error.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "the map has no lanes"),
        ({"a": {}}, "the map has no lanes"),
        ({"a": {"b": []}}, "no lanes from 'a' to 'b'"),
        ([], "a map is a dict .*not list"),
        ({0: {"b": [straight([0, 0], [9, 0])]}}, "strings for the nodes; found 0: dict"),
        ({"a": [straight([0, 0], [9, 0])]}, "found 'a': list"),
        ({"a": {"b": straight([0, 0], [9, 0])}}, "found 'a': {'b': dict}"),
        ({"a": {"b": ["StraightLane"]}}, r"lane \('a', 'b', 0\) of the map must be a dict"),
        ({"a": {"b": [{"class_path": MODULE + "StraightLane"}]}}, "must be a dict"),
        ({"a": {"b": [{"config": GOOD}]}}, "class_path None; allowed"),
    ],
)
def test_what_is_no_map_is_one_clear_error(config, message):
    with pytest.raises(ValueError, match=message):
        Network.from_config(config)


def road(lanes: int, start: float, end: float, y: float = 0.0) -> list[dict]:
    return [straight([start, y + 4 * i], [end, y + 4 * i]) for i in range(lanes)]


@pytest.mark.parametrize(
    ("config", "lane", "why"),
    [
        # an edge of its own
        (
            {"a": {"b": road(2, 0, 100)}, "b": {"c": road(2, 100, 200)}, "x": {"y": road(1, 0, 100, 8)}},
            ("x", "y", 0),
            "no chain of common nodes joins 'x' and 'y' to the lanes from 'a' to 'b'",
        ),
        # names that agree, places that do not
        ({"a": {"b": road(1, 0, 100)}, "b": {"c": road(1, 130, 200)}}, ("a", "b", 0), "ends 30.0 m from .* go on"),
        ({"b": {"c": road(1, 130, 200)}, "a": {"b": road(1, 0, 100)}}, ("b", "c", 0), "starts 30.0 m from .* lead"),
        # one lane of several, mistyped at its start and at its end
        (
            {"a": {"b": road(2, 0, 100)}, "b": {"c": [*road(1, 100, 200), straight([100, 40], [200, 4])]}},
            ("b", "c", 1),
            "at node 'b' it starts 36.0 m",
        ),
        (
            {"a": {"b": [*road(1, 0, 100), straight([0, 4], [10, 4])]}, "b": {"c": road(2, 100, 200)}},
            ("a", "b", 1),
            "at node 'b' it ends 90.0 m from the nearest of the lanes that go on from there",
        ),
        # drawn the wrong way round
        ({"a": {"b": road(1, 0, 100)}, "b": {"c": [straight([200, 0], [100, 0])]}}, ("a", "b", 0), "ends 100.0 m"),
    ],
)
def test_an_unconnected_lane_is_one_clear_error(config, lane, why):
    lanes = sum(len(some) for ends in config.values() for some in ends.values())
    with pytest.raises(ValueError, match=why) as error:
        Network.from_config(config)
    assert str(error.value).startswith(f"lane {lane} of the map is not connected")
    assert str(error.value).endswith("load it with connected=False")
    assert len(Network.from_config(config, connected=False).lanes) == lanes


def test_a_road_may_narrow_widen_fork_and_end():
    """Four lanes go on with one, that with three; one of these ends nowhere, as a closed road does."""
    config = {
        "a": {"b": road(4, 0, 100)},
        "b": {"c": road(1, 100 + JOINT_GAP, 200)},
        "c": {"d": road(3, 200, 300), "e": [straight([200, 0], [250, -50])]},
    }
    assert len(Network.from_config(config).lanes) == 9
    config["b"]["c"] = road(1, 100 + JOINT_GAP + 0.01, 200)
    with pytest.raises(ValueError, match=r"6.0 m from the nearest .* at most 6 m"):
        Network.from_config(config)
