import copy

import numpy as np
import pytest
import torch

import sim
from sim.config import VIEWER_ONLY, complete

FAST = "highway-fast-v0"
DRIVERS = "highway_env.vehicle.behavior."

# Every key that decides what happens, with a value other than its default.
EFFECTIVE = {
    "observation": {"type": "Kinematics", "absolute": True},
    "action": {"type": "ContinuousAction"},
    "simulation_frequency": 10,
    "policy_frequency": 2,
    "other_vehicles_type": DRIVERS + "AggressiveVehicle",
    "manual_control": True,
    "lanes_count": 4,
    "vehicles_count": 21,
    "controlled_vehicles": 2,
    "initial_lane_id": 1,
    "duration": 5,
    "ego_spacing": 2,
    "vehicles_density": 1.1,
    "collision_reward": -2,
    "right_lane_reward": 0.2,
    "high_speed_reward": 0.5,
    "on_road_reward": 0.1,
    "reward_speed_range": [15, 30],
    "normalize_reward": False,
    "offroad_terminal": True,
}
PICTURED = {"screen_width": 200, "screen_height": 100, "scaling": 8, "centering_position": [0.5, 0.5]}
# highway-env reads the first nowhere, and one road has no lanes connected to it.
WITHOUT_EFFECT = {"lane_change_reward": -1, "neighbour_vehicles_connected_lanes": True} | dict.fromkeys(
    VIEWER_ONLY, True
)


def played(config):
    """What can be seen of ten steps in 30 worlds."""
    base = {"action": {"type": "ContinuousAction"}} if "offroad_terminal" in config else {}
    envs = sim.make_vec(FAST, 30, config=base | config, autoreset_mode="Disabled", precision="float64")
    seen = [envs.reset(seed=0)[0]]
    envs.action_space.seed(0)
    for _ in range(10):
        seen += envs.step(envs.action_space.sample())[:4]
    return seen


def same(one, other):
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_lists_below_hold_every_key():
    keys = set(complete(FAST, None)) | {"on_road_reward"}
    assert set(EFFECTIVE) | set(PICTURED) | set(WITHOUT_EFFECT) == keys


@pytest.mark.parametrize("key", EFFECTIVE)
def test_a_key_changes_what_happens(key):
    if key == "offroad_terminal":
        default = played({key: False})
    else:
        default = played({})
    assert not same(played({key: EFFECTIVE[key]}), default)


@pytest.mark.parametrize("key", sorted({*WITHOUT_EFFECT, *PICTURED}))
def test_a_key_of_the_viewer_changes_nothing(key):
    changed = (WITHOUT_EFFECT | PICTURED)[key]
    assert same(played({key: changed}), played({}))


def test_connected_neighbours_reach_the_engine():
    flags = [sim.make_vec(FAST, config={"neighbour_vehicles_connected_lanes": on})._model() for on in (False, True)]
    assert [flag.connected_lanes for flag in flags] == [0, 1]


@pytest.mark.parametrize("key", PICTURED)
def test_a_key_changes_the_picture(key):
    pictures = []
    for config in ({}, {key: PICTURED[key]}):
        env = sim.make(FAST, config, render_mode="rgb_array")
        env.reset(seed=0)
        pictures.append(env.render())
        env.close()
    assert not np.array_equal(*pictures)


def test_changes_replace_whole_values_and_stay_apart():
    changes = {"observation": {"type": "Kinematics", "features": ["x"]}, "reward_speed_range": [10, 20]}
    before = copy.deepcopy(changes)
    config = complete(FAST, changes)
    assert config["observation"] == changes["observation"]
    config["observation"]["features"].append("y")
    config["reward_speed_range"][0] = 0
    assert changes == before
    assert complete(FAST, None)["reward_speed_range"] == [20, 30]
    complete(FAST, None)["centering_position"][0] = 9
    assert complete(FAST, None)["centering_position"] == [0.3, 0.5]


def test_ids_with_and_without_the_namespace():
    assert complete("slipstream/" + FAST, None) == complete(FAST, None)
    assert sim.make_vec("slipstream/" + FAST).id == FAST


@pytest.mark.parametrize(
    "env_id, error, words",
    [
        ("highway-fast-v1", ValueError, "unknown environment id 'highway-fast-v1'; did you mean 'highway-fast-v0'?"),
        ("CartPole", ValueError, "unknown environment id 'CartPole'; allowed: exit-v0, "),
        (None, TypeError, "environment id None is not a string; allowed: highway-"),
    ],
)
@pytest.mark.parametrize("make", [sim.make, sim.make_vec])
def test_unknown_ids(make, env_id, error, words):
    with pytest.raises(error) as caught:
        make(env_id)
    assert words in str(caught.value)


BAD = [
    ("lane_count", 3, "unknown config key 'lane_count'; did you mean 'lanes_count'?"),
    ("reward_speed", [1, 2], "did you mean 'reward_speed_range'?"),
    ("zzz", 3, "unknown config key 'zzz'; allowed: action, "),
    (5, 3, "unknown config key 5"),
    ("lanes_count", 0, "an integer of at least 1"),
    ("lanes_count", 2.0, "an integer of at least 1"),
    ("vehicles_count", -1, "an integer of at least 0"),
    ("vehicles_count", "20", "it must be a number"),
    ("controlled_vehicles", 0, "an integer of at least 1"),
    ("initial_lane_id", 3, "allowed: None or 0 to 2"),
    ("initial_lane_id", -1, "allowed: None or 0 to 2"),
    ("initial_lane_id", True, "allowed: None or 0 to 2"),
    ("simulation_frequency", 0, "above 0"),
    ("simulation_frequency", float("inf"), "above 0 and finite"),
    ("simulation_frequency", "15", "it must be a number"),
    ("policy_frequency", -1, "above 0"),
    ("policy_frequency", 6, "config['simulation_frequency'] must be at least config['policy_frequency']"),
    ("policy_frequency", None, "it must be a number"),
    ("duration", float("nan"), "it must be a number"),
    ("duration", True, "it must be a number"),
    ("vehicles_density", 0, "above 0"),
    ("ego_spacing", -1, "above 0"),
    ("collision_reward", None, "it must be a number"),
    ("on_road_reward", "much", "it must be a number"),
    ("reward_speed_range", [20, 20], "two different numbers [low, high]"),
    ("reward_speed_range", [20], "two numbers [low, high]"),
    ("reward_speed_range", 20, "two numbers [low, high]"),
    ("reward_speed_range", ["a", "b"], "two numbers [low, high]"),
    ("normalize_reward", "no", "it must be True or False"),
    ("other_vehicles_type", "IDMVehicle", f"allowed: {DRIVERS}IDMVehicle, {DRIVERS}LinearVehicle, "),
    ("other_vehicles_type", None, "allowed: highway_env."),
    ("observation", "Kinematics", "it must be a dict"),
    ("observation", {}, "unknown observation type '(missing)'; allowed: AttributesObservation, "),
    ("observation", {"type": "Kinematic"}, "unknown observation type 'Kinematic'; did you mean 'Kinematics'?"),
    ("observation", {"type": ["Kinematics"]}, "unknown observation type ['Kinematics']"),
    (
        "observation",
        {"type": "Kinematics", "feature": ["x"]},
        "unknown observation key 'feature'; did you mean 'features'",
    ),
    ("observation", {"type": "Kinematics", "features": ["vz"]}, "unknown observation feature 'vz'"),
    ("observation", {"type": "Kinematics", "features": "xy"}, "it must be a list of names"),
    ("observation", {"type": "Kinematics", "vehicles_count": 0}, "an integer of at least 1"),
    ("observation", {"type": "Kinematics", "order": "random"}, "unknown observation order 'random'"),
    ("observation", {"type": "Kinematics", "features_range": {"speed": [0, 1]}}, "unknown observation feature 'speed'"),
    (
        "observation",
        {"type": "Kinematics", "features_range": {"x": [1, 1]}},
        "features_range['x'] is [1, 1]; it must be two",
    ),
    ("observation", {"type": "Kinematics", "features_range": {"x": 5}}, "features_range['x'] is 5; it must be two"),
    ("observation", {"type": "Kinematics", "features_range": [1, 2]}, "it must be a dict"),
    ("action", None, "it must be a dict"),
    ("action", {"type": "MetaAction"}, "unknown action type 'MetaAction'; did you mean 'DiscreteMetaAction'?"),
    ("action", {"type": "DiscreteMetaAction", "laterl": True}, "unknown action key 'laterl'; did you mean 'lateral'?"),
    ("action", {"type": "DiscreteMetaAction", "lateral": False, "longitudinal": False}, "longitudinal or lateral"),
    ("action", {"type": "ContinuousAction", "lateral": False, "longitudinal": False}, "longitudinal or lateral"),
    ("action", {"type": "DiscreteMetaAction", "target_speeds": [30, 20]}, "at least two rising speeds"),
    ("action", {"type": "DiscreteMetaAction", "target_speeds": [20]}, "at least two rising speeds"),
    ("action", {"type": "DiscreteMetaAction", "target_speeds": "fast"}, "at least two rising speeds"),
    ("action", {"type": "DiscreteAction", "actions_per_axis": 1}, "an integer of at least 2"),
    (
        "action",
        {"type": "ContinuousAction", "acceleration_range": 5},
        "acceleration_range is 5; it must be two numbers",
    ),
    ("action", {"type": "ContinuousAction", "steering_range": [1, "b"]}, "steering_range is [1, 'b']; it must be two"),
    ("action", {"type": "ContinuousAction", "speed_range": [1, 2, 3]}, "speed_range is [1, 2, 3]; it must be two"),
]


@pytest.mark.parametrize("key, value, words", BAD, ids=lambda part: None if isinstance(part, dict) else str(part)[:30])
def test_bad_configs(key, value, words):
    with pytest.raises((ValueError, TypeError)) as caught:
        sim.make_vec(FAST, config={key: value})
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("config", ["lanes_count", [("lanes_count", 3)], 3])
def test_a_config_is_a_dict(config):
    with pytest.raises(TypeError, match="config must be a dict, not "):
        sim.make_vec(FAST, config=config)


def test_a_reward_that_cannot_be_normalised():
    with pytest.raises(ValueError, match="normalize_reward needs collision_reward to differ"):
        complete(FAST, {"collision_reward": 0.5})
    complete(FAST, {"collision_reward": 0.5, "normalize_reward": False})
