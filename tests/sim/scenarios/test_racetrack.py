"""The racetracks beside highway-env's: roads, scenes, rewards, episodes."""

import pytest

import sim
from sim.evaluation.conformance import compare
from sim.evaluation.oracle import make_real
from sim.scenarios import SCENARIOS
from tests.sim.engine.twins import assert_same, network_twin
from tests.sim.scenarios.beside import assert_equal, assert_same_defaults

IDS = [env_id for env_id in SCENARIOS if env_id.startswith("racetrack")]
KINEMATICS = {"type": "Kinematics", "features": ["x", "y", "vx", "vy", "heading", "lat_off"], "vehicles_count": 6}
TRAFFIC = {"observation": KINEMATICS, "other_vehicles": 9}
AGENTS = {
    "controlled_vehicles": 3,
    "action": {"type": "MultiAgentAction", "action_config": {"type": "ContinuousAction"}},
    "observation": {"type": "MultiAgentObservation", "observation_config": KINEMATICS},
}
# id, what differs from its defaults, how the ego is steered, the most steps
CONFIGS = [
    ("racetrack-v1", TRAFFIC, "follow", 45),
    ("racetrack-large-v1", TRAFFIC | {"speed_limit": 14}, "follow", 45),
    ("racetrack-oval-v1", TRAFFIC, "follow", 45),
    ("racetrack-v0", TRAFFIC | {"terminate_off_road": False, "on_road_reward": 0.3, "duration": 8}, "random", 45),
    ("racetrack-v0", TRAFFIC | {"collision_reward": -2, "action_reward": -0.5, "lane_centering_cost": 2}, "gentle", 30),
    ("racetrack-v0", {"action": {"type": "DiscreteAction", "actions_per_axis": 5}}, "random", 30),
    ("racetrack-v0", {"action": {"type": "ContinuousAction", "dynamical": True}, "other_vehicles": 0}, "gentle", 30),
    ("racetrack-v0", AGENTS | {"other_vehicles": 4}, "follow", 20),
    ("racetrack-large-v0", TRAFFIC | {"speed_limit": 0, "lane_centering_reward": 3}, "gentle", 8),
    ("racetrack-oval-v0", TRAFFIC | {"no_lanes": 5, "length": 60.5, "block_lane": True}, "follow", 30),
    ("racetrack-oval-v0", TRAFFIC | {"no_lanes": 1, "force_decision": True}, "follow", 30),
    ("racetrack-oval-v0", TRAFFIC | {"no_lanes": 2, "block_lane": True, "force_decision": True}, "gentle", 20),
]
ROADS = [(env_id, {}) for env_id in IDS]
ROADS += [("racetrack-large-v0", {"speed_limit": 7})]
ROADS += [("racetrack-oval-v0", {"no_lanes": count, "length": 133.3 + count}) for count in (1, 2, 7)]


@pytest.mark.parametrize(("env_id", "config"), ROADS)
def test_the_road_is_the_same_to_the_last_bit(env_id, config):
    real, family = make_real(env_id, config).unwrapped, SCENARIOS[env_id]
    twin, ours = network_twin(real.road.network), family.network(family.defaults() | config)
    assert ours.edges == twin.edges
    assert ours.graph == twin.graph


@pytest.mark.parametrize("env_id", IDS)
def test_the_default_configs_are_the_same(env_id):
    assert_same_defaults(env_id)


@pytest.mark.parametrize(("env_id", "config"), [*((env_id, {}) for env_id in IDS), *(case[:2] for case in CONFIGS)])
def test_a_seed_gives_the_same_scene(env_id, config, device):
    envs = sim.make_vec(env_id, 8, config=config, device=device, precision="float64")
    envs.reset(seed=100)
    real, roads = make_real(env_id, config).unwrapped, []
    for seed in range(100, 108):
        real.reset(seed=seed)
        roads.append(real.road)
    assert envs.world.count.tolist() == [len(road.vehicles) + len(road.objects) for road in roads]
    assert_same(envs.world, roads, network_twin(real.road.network))


@pytest.mark.parametrize("env_id", IDS)
def test_episodes_are_the_same(env_id, device):
    assert_equal(compare(env_id, None, range(4), device=str(device), most=20))


@pytest.mark.parametrize(("env_id", "config", "style", "most"), CONFIGS)
def test_episodes_of_varied_configs_are_the_same(env_id, config, style, most, device):
    assert_equal(compare(env_id, config, [1, 2], device=str(device), style=style, most=most))


def test_an_oval_of_length_0_draws_one_from_100_to_200_m():
    envs = [sim.make_vec("racetrack-oval-v0", config={"length": 0, "block_lane": True}) for _ in range(8)]
    lengths = {one.network.graph["b"]["c"][0].center[0] for one in envs}
    assert len(lengths) > 1
    assert all(100 <= length < 200 and length == int(length) for length in lengths)
    last = envs[-1]
    last.reset(seed=0)
    ahead = last.network.graph["b"]["c"][0].center[0] - last.world.x[0, 2:]  # after the ego and one vehicle
    assert ahead.tolist() == [40, 40, 43, 43, 46, 46, 49, 49]


@pytest.mark.parametrize(
    ("env_id", "config", "message"),
    [
        ("racetrack-v0", {"action": {"type": "DiscreteMetaAction"}}, "no DiscreteMetaAction"),
        (
            "racetrack-v0",
            {"action": {"type": "MultiAgentAction", "action_config": {"type": "DiscreteMetaAction"}}},
            "no DiscreteMetaAction",
        ),
        ("racetrack-v0", {"controlled_vehicles": 0}, "controlled_vehicles'.* at least 1"),
        ("racetrack-v0", {"other_vehicles": -1}, "other_vehicles'.* at least 0"),
        ("racetrack-v0", {"collision_reward": 1}, "collision_reward'.* must differ"),
        ("racetrack-v0", {"on_road_reward": None}, "on_road_reward"),
        ("racetrack-v0", {"no_lanes": 2}, "unknown config key 'no_lanes'"),
        ("racetrack-large-v0", {"speed_limit": -3}, "speed_limit'.* at least 0"),
        ("racetrack-oval-v0", {"no_lanes": 0}, "no_lanes' is 0|no_lanes'\\] is 0"),
        ("racetrack-oval-v0", {"no_lanes": -2}, "no_lanes'.* at least 1"),
        ("racetrack-oval-v0", {"length": -5}, "length'.* above 0"),
    ],
)
def test_a_config_without_a_scene_is_one_clear_error(env_id, config, message):
    with pytest.raises(ValueError, match=message):
        sim.make_vec(env_id, config=config)
