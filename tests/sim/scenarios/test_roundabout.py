"""The roundabouts beside highway-env's: roads, scenes, rewards, episodes."""

import numpy as np
import pytest
import torch
from highway_env.envs.roundabout_env import RoundaboutEnv

import sim
from sim.evaluation.conformance import Case, compare, compare_all, our_episodes
from sim.evaluation.oracle import make_real
from sim.scenarios.roundabout_roads import generic_roundabout, roundabout
from tests.sim.engine.twins import assert_same, network_twin
from tests.sim.scenarios.beside import assert_equal, assert_same_defaults

IDS = ("roundabout-v0", "roundabout-v1", "roundabout-generic-v0", "roundabout-generic-v1")
BEHAVIOR = "highway_env.vehicle.behavior."
FEATURES = ["presence", "x", "y", "vx", "vy", "heading", "cos_h", "sin_h", "cos_d", "sin_d", "long_off", "lat_off"]
ONE_AXIS = {"type": "ContinuousAction", "lateral": False}
# id and what differs from its defaults
CONFIGS = [
    ("roundabout-v0", {"other_vehicles_type": BEHAVIOR + "LinearVehicle", "incoming_vehicle_destination": 1}),
    ("roundabout-v1", {"other_vehicles_type": BEHAVIOR + "AggressiveVehicle", "incoming_vehicle_destination": -1}),
    ("roundabout-v0", {"other_vehicles_type": BEHAVIOR + "DefensiveVehicle", "policy_frequency": 5, "duration": 5}),
    ("roundabout-v1", {"normalize_reward": False, "on_road_reward": 0.3, "lane_change_reward": -2, "duration": 6}),
    (
        "roundabout-v0",
        {"action": {"type": "DiscreteMetaAction", "lateral": False, "target_speeds": [0, 5, 10, 15, 20]}},
    ),
    ("roundabout-v0", {"action": {"type": "DiscreteAction"}, "high_speed_reward": 0.7, "simulation_frequency": 10}),
    ("roundabout-v1", {"action": ONE_AXIS | {"speed_range": [0, 30], "acceleration_range": [-2, 5]}}),
    ("roundabout-v0", {"observation": {"type": "Kinematics", "features": FEATURES, "see_behind": True}}),
    ("roundabout-generic-v0", {"roundabout_lanes": 1, "roundabout_radius": 12.5, "vehicles_count": 9}),
    ("roundabout-generic-v1", {"roundabout_lanes": 4, "vehicles_count": 14, "incoming_vehicle_destination": 9}),
    ("roundabout-generic-v0", {"roundabout_radius": 45, "incoming_vehicle_destination": -4, "duration": 9}),
    ("roundabout-generic-v1", {"vehicles_count": 0, "lane_change_reward": 0.5}),
    ("roundabout-generic-v0", {"roundabout_radius": 6, "roundabout_lanes": 1, "vehicles_count": 50, "duration": 4}),
    ("roundabout-generic-v1", {"other_vehicles_type": BEHAVIOR + "LinearVehicle", "roundabout_lanes": 3}),
]


@pytest.mark.parametrize(("radius", "lanes"), [(1, 1), (1, 3), (20, 2), (26.5, 1), (26.5, 2), (80, 5)])
def test_the_generic_road_is_the_same_to_the_last_bit(radius, lanes):
    real = make_real("roundabout-generic-v0", {"roundabout_radius": radius, "roundabout_lanes": lanes})
    assert_same_road(generic_roundabout(radius, lanes), real)


def test_the_road_is_the_same_to_the_last_bit():
    assert_same_road(roundabout(), make_real("roundabout-v0"))


def assert_same_road(ours, real):
    twin = network_twin(real.unwrapped.road.network)
    assert ours.edges == twin.edges
    assert ours.graph == twin.graph


@pytest.mark.parametrize("env_id", IDS)
def test_the_default_configs_are_the_same(env_id):
    assert_same_defaults(env_id)


@pytest.mark.parametrize(("env_id", "config"), [*((env_id, {}) for env_id in IDS), *CONFIGS])
def test_a_seed_gives_the_same_scene(env_id, config, device):
    envs = sim.make_vec(env_id, 6, config=config, device=device, precision="float64")
    envs.reset(seed=100)
    real, roads = make_real(env_id, config).unwrapped, []
    for seed in range(100, 106):
        real.reset(seed=seed)
        roads.append(real.road)
    assert envs.world.count.tolist() == [len(road.vehicles) for road in roads]
    assert_same(envs.world, roads, network_twin(real.road.network))


@pytest.mark.parametrize("env_id", IDS)
def test_whole_episodes_are_the_same(env_id, device):
    assert_equal(compare(env_id, None, range(3), device=str(device)))
    assert_equal(compare(env_id, None, [3], device=str(device), style="gentle"))


@pytest.mark.parametrize(("env_id", "config"), CONFIGS)
def test_whole_episodes_of_varied_configs_are_the_same(env_id, config, device):
    assert_equal(compare(env_id, config, [20], device=str(device)))


@pytest.mark.parametrize(
    ("config", "actions"),
    [
        ({}, [3, 3, 0, 1, 2, 4, 2, 3, 1, 0, 3]),
        ({"action": {"type": "DiscreteAction"}}, [6, 6, 2, 0, 8, 3, 1, 2]),
        ({"action": ONE_AXIS | {"clip": False}}, [[0.0], [1.0], [2.0], [-1.0], [-0.0]]),
    ],
    ids=["meta", "grid", "one axis"],
)
def test_the_raw_actions_0_and_2_are_lane_changes(config, actions, device):
    def style(space, seed, steps):
        given = np.array(actions[:steps])
        return given.astype(space.dtype)

    case = Case("roundabout-v0", config | {"lane_change_reward": -3}, (3,), most=len(actions), style=style)
    (result,) = compare_all([case], device=str(device))
    assert_equal(result)
    terms = our_episodes("roundabout-v0", config, [3], most=len(actions), style=style)[0].infos
    assert set(terms["rewards/lane_change_reward"]) == {0.0, 1.0}


def test_an_action_of_two_axes_is_no_lane_change(monkeypatch, device):
    """highway-env cannot compare such an array with 0 and 2, and raises; the tuple of its numbers it can."""
    config = {"action": {"type": "ContinuousAction"}, "lane_change_reward": 5}
    with pytest.raises(ValueError, match="ambiguous"):
        make_real("roundabout-v0", config)
    rewards = RoundaboutEnv._rewards
    monkeypatch.setattr(RoundaboutEnv, "_rewards", lambda self, action: rewards(self, tuple(action)))
    assert_equal(compare("roundabout-v0", config, range(2), device=str(device)))
    config["action"]["dynamical"] = True  # whose tyres are chaotic when it reverses
    assert_equal(compare("roundabout-v0", config, range(2), device=str(device), style="follow"))


def test_float32_starts_where_float64_does(device):
    worlds = []
    for precision in ("float32", "float64"):
        envs = sim.make_vec("roundabout-generic-v0", 50, device=device, precision=precision)
        envs.reset(seed=0)
        worlds.append(envs.world)
    single, double = worlds
    assert torch.equal(single.count, double.count)
    for name in ("x", "y", "speed", "heading"):
        found, expected = (getattr(world, name)[world.valid].double() for world in worlds)
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("env_id", "config", "message"),
    [
        ("roundabout-v0", {"incoming_vehicle_destination": 3}, "incoming_vehicle_destination'.* -3 to 2"),
        ("roundabout-v0", {"incoming_vehicle_destination": -4}, "incoming_vehicle_destination'"),
        ("roundabout-v0", {"incoming_vehicle_destination": 1.0}, "incoming_vehicle_destination'"),
        ("roundabout-v0", {"incoming_vehicle_destination": "exr"}, "incoming_vehicle_destination'"),
        ("roundabout-generic-v0", {"incoming_vehicle_destination": -5}, "incoming_vehicle_destination'.* -4 to 3"),
        ("roundabout-v0", {"high_speed_reward": -1}, "normalize_reward"),
        ("roundabout-v0", {"on_road_reward": "much"}, "on_road_reward"),
        ("roundabout-v0", {"roundabout_lanes": 3}, "unknown config key 'roundabout_lanes'"),
        ("roundabout-generic-v0", {"roundabout_lanes": 0}, "roundabout_lanes'.* at least 1"),
        ("roundabout-generic-v0", {"roundabout_lanes": 2.0}, "roundabout_lanes'.* integer"),
        ("roundabout-generic-v0", {"roundabout_radius": 0}, "roundabout_radius'.* above 0"),
        ("roundabout-generic-v0", {"roundabout_radius": float("inf")}, "roundabout_radius'.* finite"),
        ("roundabout-generic-v0", {"vehicles_count": -1}, "vehicles_count'.* at least 0"),
    ],
)
def test_a_config_without_a_scene_is_one_clear_error(env_id, config, message):
    with pytest.raises(ValueError, match=message):
        sim.make_vec(env_id, config=config)
