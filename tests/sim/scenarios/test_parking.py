"""The car park beside highway-env's: road, scenes, rewards, episodes."""

import numpy as np
import pytest

import sim
from sim.evaluation.conformance import compare
from sim.evaluation.oracle import make_real
from sim.scenarios import SCENARIOS
from sim.world import Kind
from tests.sim.engine.twins import assert_same, network_twin
from tests.sim.scenarios.beside import assert_equal, assert_same_defaults

IDS = [env_id for env_id in SCENARIOS if env_id.startswith("parking")]
KINEMATICS = {"type": "Kinematics", "features": ["x", "y", "vx", "vy", "cos_h"], "vehicles_count": 6}
STEERED = {"type": "MultiAgentAction", "action_config": {"type": "ContinuousAction"}}
OWN_GOALS = {
    "type": "MultiAgentObservation",
    "observation_config": {
        "type": "KinematicsGoal",
        "features": ["presence", "x", "vx", "vy", "sin_h", "cos_d"],
        "scales": [1, 100, 50, 7, 1, 1],
    },
}
# id and what differs from its defaults
CONFIGS = [
    ("parking-v0", {"controlled_vehicles": 3, "vehicles_count": 40, "add_walls": False, "observation": KINEMATICS}),
    ("parking-v0", {"controlled_vehicles": 7, "vehicles_count": 5, "action": STEERED, "duration": 6}),
    ("parking-v0", {"controlled_vehicles": 3, "action": STEERED, "observation": OWN_GOALS, "success_goal_reward": 0.4}),
    ("parking-v0", {"reward_weights": [0.5, 0.3, 0.1, 0.1, 0.02, 0.02], "collision_reward": -2.5, "duration": 8}),
    # reached 1 m nearer to the goal's row
    ("parking-v0", {"success_goal_reward": 0.36, "reward_weights": [0, 1, 0, 0, 0, 0], "policy_frequency": 3}),
    ("parking-parked-v0", {"action": {"type": "DiscreteMetaAction", "target_speeds": [0, 2, 4]}}),
    ("parking-parked-v0", {"action": {"type": "DiscreteAction"}, "observation": KINEMATICS}),
    ("parking-ActionRepeat-v0", {"vehicles_count": 3, "duration": 9}),
]


def test_the_road_is_the_same_to_the_last_bit():
    family = SCENARIOS["parking-v0"]
    twin, ours = network_twin(make_real("parking-v0").unwrapped.road.network), family.network(family.defaults())
    assert ours.edges == twin.edges
    assert ours.graph == twin.graph


@pytest.mark.parametrize("env_id", IDS)
def test_the_default_configs_are_the_same(env_id):
    assert_same_defaults(env_id)


@pytest.mark.parametrize(("env_id", "config"), [*((env_id, {}) for env_id in IDS), *CONFIGS])
def test_a_seed_gives_the_same_scene(env_id, config, device):
    envs = sim.make_vec(env_id, 8, config=config, device=device, precision="float64")
    envs.reset(seed=100)
    real, roads = make_real(env_id, config).unwrapped, []
    for world, seed in enumerate(range(100, 108)):
        real.reset(seed=seed)
        roads.append(real.road)
        things = [*real.road.vehicles, *real.road.objects]
        goals = [things.index(ego.goal) for ego in real.controlled_vehicles]
        assert envs.world.goal[world].tolist() == goals
        assert set(envs.world.kind[world, goals].tolist()) == {int(Kind.LANDMARK)}
        sizes = [[thing.LENGTH, thing.WIDTH] for thing in things]
        found = np.stack([envs.world.length[world].cpu(), envs.world.width[world].cpu()], axis=1)
        assert found[: len(things)].tolist() == sizes
        parked = [things.index(one) for one in real.road.vehicles if one not in real.controlled_vehicles]
        assert (envs.world.kind[world] == Kind.PARKED).nonzero()[:, 0].tolist() == parked
        envs.world.kind[world, parked] = Kind.VEHICLE  # highway-env's class of them
    assert envs.world.count.tolist() == [len(road.vehicles) + len(road.objects) for road in roads]
    assert_same(envs.world, roads, network_twin(real.road.network))


@pytest.mark.parametrize("env_id", IDS)
def test_episodes_are_the_same(env_id, device):
    assert_equal(compare(env_id, None, range(4), device=str(device), most=60))


@pytest.mark.parametrize(("env_id", "config"), CONFIGS)
def test_episodes_of_varied_configs_are_the_same(env_id, config, device):
    assert_equal(compare(env_id, config, [20, 21], device=str(device), most=40))


def test_the_time_limit_is_the_same(device):
    result = compare("parking-v0", {"duration": 3, "add_walls": False}, range(2), device=str(device), style="gentle")
    assert_equal(result)
    assert result.steps == 2 * 3 * 5  # at 5 Hz


def test_each_agent_tells_its_own_success(device):
    config = {
        "controlled_vehicles": 3,
        "success_goal_reward": 0.35,
        "reward_weights": [0, 1, 0, 0, 0, 0],
        "observation": OWN_GOALS,
        "action": STEERED,
    }
    result = compare("parking-v0", config, range(8), device=str(device), most=4)
    assert_equal(result)
    envs = sim.make_vec("parking-v0", 8, config=config, device=device)
    success = envs.reset(seed=0)[1]["is_success"]
    assert success.shape == (8, 3)
    assert success.any()
    assert not success.all()


def test_highway_env_too_takes_no_more_than_seven_egos():
    real = make_real("parking-v0", {"controlled_vehicles": 7}).unwrapped
    for seed in range(20):
        real.reset(seed=seed)
    real.configure({"controlled_vehicles": 8})
    with pytest.raises(ValueError, match="not in list"):
        for seed in range(20):
            real.reset(seed=seed)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"controlled_vehicles": 8}, "controlled_vehicles'.* allowed: 1 to 7"),
        ({"controlled_vehicles": 0}, "controlled_vehicles'.* at least 1"),
        ({"vehicles_count": -1}, "vehicles_count'.* at least 0"),
        ({"reward_weights": [1, 0.3]}, "reward_weights'.* 6 numbers"),
        ({"reward_weights": 1}, "reward_weights'.* 6 numbers"),
        ({"reward_weights": [1, 0.3, 0, 0, None, 0]}, "reward_weights'.* 6 numbers"),
        ({"observation": {"type": "MultiAgentObservation", "observation_config": KINEMATICS}}, "KinematicsGoal"),
        (
            {
                "observation": {
                    "type": "MultiAgentObservation",
                    "observation_config": {"type": "KinematicsGoal", "features": ["x", "y"], "scales": [1, 1]},
                }
            },
            "must be 6 features",
        ),
    ],
)
def test_a_config_without_a_scene_is_one_clear_error(config, message):
    with pytest.raises(ValueError, match=message):
        sim.make_vec("parking-v0", config=config)
