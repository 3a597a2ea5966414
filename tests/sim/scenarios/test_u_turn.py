"""The u-turn beside highway-env's: road, scenes, rewards, episodes."""

import pytest

import sim
from sim.evaluation.conformance import compare
from sim.evaluation.oracle import make_real
from sim.scenarios.u_turn import UTurn
from tests.sim.engine.twins import assert_same, network_twin
from tests.sim.scenarios.beside import assert_equal, assert_same_defaults

IDS = ("u-turn-v0", "u-turn-v1")
BEHAVIOR = "highway_env.vehicle.behavior."
KINEMATICS = {"type": "Kinematics", "features": ["x", "y", "vx", "vy", "heading", "cos_d", "sin_d", "lat_off"]}
# id and what differs from its defaults
CONFIGS = [
    ("u-turn-v0", {"observation": KINEMATICS}),
    ("u-turn-v1", {"observation": KINEMATICS, "policy_frequency": 2, "duration": 5.5}),
    ("u-turn-v0", {"other_vehicles_type": BEHAVIOR + "LinearVehicle", "observation": KINEMATICS}),
    ("u-turn-v1", {"other_vehicles_type": BEHAVIOR + "AggressiveVehicle", "observation": KINEMATICS}),
    ("u-turn-v0", {"other_vehicles_type": BEHAVIOR + "DefensiveVehicle", "observation": KINEMATICS}),
    ("u-turn-v0", {"normalize_reward": False, "on_road_reward": 0.3, "left_lane_reward": -1, "duration": 4}),
    ("u-turn-v1", {"reward_speed_range": [20, 4], "high_speed_reward": 2, "offroad_terminal": True}),
    ("u-turn-v0", {"action": {"type": "ContinuousAction"}, "observation": KINEMATICS}),
    ("u-turn-v1", {"action": {"type": "ContinuousAction", "dynamical": True}, "observation": KINEMATICS}),
    ("u-turn-v0", {"action": {"type": "DiscreteAction", "actions_per_axis": 5}, "observation": KINEMATICS}),
    ("u-turn-v0", {"action": {"type": "DiscreteMetaAction", "target_speeds": [0, 4, 8, 12], "lateral": False}}),
]


def test_the_road_is_the_same_to_the_last_bit():
    twin, ours = network_twin(make_real("u-turn-v0").unwrapped.road.network), UTurn(connected=False).network({})
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
    assert_same(envs.world, roads, network_twin(real.road.network))


@pytest.mark.parametrize("env_id", IDS)
def test_whole_episodes_are_the_same(env_id, device):
    assert_equal(compare(env_id, None, range(6), device=str(device)))
    assert_equal(compare(env_id, None, [10, 11], device=str(device), style="gentle"))


@pytest.mark.parametrize(("env_id", "config"), CONFIGS)
def test_whole_episodes_of_varied_configs_are_the_same(env_id, config, device):
    assert_equal(compare(env_id, config, [20, 21], device=str(device)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"reward_speed_range": [8, 8]}, "reward_speed_range'.* different"),
        ({"collision_reward": 0.5, "left_lane_reward": 0.25, "high_speed_reward": 0.25}, "normalize_reward"),
        ({"on_road_reward": None}, "on_road_reward"),
        ({"vehicles_count": 3}, "unknown config key 'vehicles_count'"),
    ],
)
def test_a_config_without_a_scene_is_one_clear_error(config, message):
    with pytest.raises(ValueError, match=message):
        sim.make_vec("u-turn-v0", config=config)
