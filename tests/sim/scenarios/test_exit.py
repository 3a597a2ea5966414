"""The exit beside highway-env's: road, scenes, rewards, success, episodes."""

import numpy as np
import pytest

import sim
from sim.evaluation.conformance import compare, our_episodes
from sim.evaluation.oracle import make_real
from sim.scenarios.exit import lane_shares
from tests.sim.scenarios.beside import (
    BEHAVIOR,
    EVERYTHING,
    assert_equal,
    assert_same_defaults,
    assert_same_road,
    assert_same_scenes,
    assert_same_scenes_in_float32,
)

IDS = ("exit-v0", "exit-v1")
LANE_RIGHT = 2
META = {"type": "DiscreteMetaAction", "target_speeds": [18, 24, 30]}
EACH = {"type": "MultiAgentObservation", "observation_config": {"type": "ExitObservation", "vehicles_count": 6}}
# id and what differs from its defaults
CONFIGS = [
    ("exit-v0", {"other_vehicles_type": BEHAVIOR + "LinearVehicle", "observation": EVERYTHING}),
    ("exit-v1", {"other_vehicles_type": BEHAVIOR + "AggressiveVehicle", "lanes_count": 3}),
    ("exit-v0", {"other_vehicles_type": BEHAVIOR + "DefensiveVehicle", "duration": 3.5}),
    # traffic that starts beyond the end of its lane, on the second and the third section
    ("exit-v1", {"lanes_count": 2, "vehicles_count": 30, "vehicles_density": 0.5, "observation": EVERYTHING}),
    ("exit-v0", {"lanes_count": 11, "observation": EVERYTHING}),  # with negative speed limits
    (
        "exit-v0",
        {
            "normalize_reward": False,
            "right_lane_reward": 0.3,
            "collision_reward": -2,
            "reward_speed_range": [10, 22],
            "duration": 1.5,
            "policy_frequency": 5,
        },
    ),
    ("exit-v1", {"ego_spacing": 0.5, "simulation_frequency": 15, "policy_frequency": 2, "goal_reward": 3}),
    ("exit-v0", {"action": {"type": "DiscreteAction"}, "vehicles_count": 5}),
    ("exit-v1", {"action": {"type": "ContinuousAction"}, "offroad_terminal": True, "initial_lane_id": 2}),
    (
        "exit-v0",
        {"controlled_vehicles": 3, "action": {"type": "MultiAgentAction", "action_config": META}, "observation": EACH},
    ),
    ("exit-v1", {"controlled_vehicles": 2, "vehicles_count": 8, "lane_change_reward": -1}),
    ("exit-v0", {"lanes_count": 1, "vehicles_count": 0}),
]


@pytest.mark.parametrize("lanes", [1, 2, 6, 12])
def test_the_road_is_the_same_to_the_last_bit(lanes):
    assert_same_road("exit-v0", {"lanes_count": lanes, "vehicles_count": 0})


@pytest.mark.parametrize("env_id", IDS)
def test_the_default_configs_are_the_same(env_id):
    assert_same_defaults(env_id)


@pytest.mark.parametrize("lanes", [2, 6, 13])
def test_lanes_are_drawn_as_numpy_draws_them(lanes):
    ids = np.arange(lanes)
    rng, choosing = np.random.default_rng(5), np.random.default_rng(5)
    for _ in range(500):
        expected = choosing.choice(ids, size=1, p=ids / ids.sum())[0]
        assert np.searchsorted(lane_shares(lanes), rng.random(), side="right") == expected
    assert rng.random() == choosing.random()


@pytest.mark.parametrize(("env_id", "config"), [("exit-v0", {}), *CONFIGS])
def test_a_seed_gives_the_same_scene(env_id, config, device):
    assert_same_scenes(env_id, config, range(100, 110), device)


def test_float32_starts_where_float64_does(device):
    assert_same_scenes_in_float32("exit-v0", device)


@pytest.mark.parametrize("env_id", IDS)
def test_whole_episodes_are_the_same(env_id, device):
    assert_equal(compare(env_id, None, range(3), device=str(device)))


@pytest.mark.parametrize(("env_id", "config"), CONFIGS)
def test_episodes_of_varied_configs_are_the_same(env_id, config, device):
    assert_equal(compare(env_id, config, [20, 21], device=str(device), most=6))


def test_the_goal_is_reached_and_passed(device):
    """Always to the right: onto the lane that leads to the exit, and the ramp beyond it."""

    def right(space, seed, steps):
        return np.full(steps, LANE_RIGHT)

    config = {"vehicles_count": 0, "duration": 22, "lanes_count": 2, "observation": EVERYTHING}
    assert_equal(compare("exit-v0", config, [0, 1], device=str(device), style=right))
    for episode in our_episodes("exit-v0", config, [0, 1], str(device), style=right):
        assert np.diff(episode.infos["is_success"].astype(int)).tolist().count(1) == 1
        assert episode.infos["is_success"][-1]
        x, y = episode.observations[""][-1, 0, 1:3]
        assert x > 500  # where the ramp begins
        assert y > 8


def test_success_is_the_first_egos_alone(device):
    config = {"controlled_vehicles": 3, "observation": EACH}
    info = sim.make_vec("exit-v0", 4, config=config, device=device).reset(seed=0)[1]
    assert info["is_success"].shape == (4,)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"lanes_count": 0}, "lanes_count'.* at least 1"),
        ({"lanes_count": 1}, "lanes_count'. is 1.* at least 2"),
        ({"lanes_count": 2.5}, "lanes_count'.* integer"),
        ({"vehicles_count": -1}, "vehicles_count'.* at least 0"),
        ({"controlled_vehicles": 0}, "controlled_vehicles'.* at least 1"),
        ({"vehicles_density": 0}, "vehicles_density'.* above 0"),
        ({"ego_spacing": -1}, "ego_spacing'.* above 0"),
        ({"reward_speed_range": [3, 3]}, "reward_speed_range'.* different"),
        ({"goal_reward": 0}, "normalize_reward"),
        ({"goal": 0}, "unknown config key 'goal'"),
    ],
)
def test_a_config_without_a_scene_is_one_clear_error(config, message):
    with pytest.raises(ValueError, match=message):
        sim.make_vec("exit-v0", config=config)


def test_highway_env_too_has_no_scene_of_one_lane_with_traffic():
    with pytest.raises(ValueError, match="contain NaN"), np.errstate(invalid="ignore"):
        make_real("exit-v0", {"lanes_count": 1})
