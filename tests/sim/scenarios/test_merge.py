"""The merges beside highway-env's: road, scenes, rewards, episodes."""

import numpy as np
import pytest
from highway_env.envs.merge_env import MergeEnv

import sim
from sim.evaluation.conformance import compare, first_difference, info_difference, our_episodes
from sim.evaluation.oracle import real_episodes
from tests.sim.scenarios.beside import (
    BEHAVIOR,
    EVERYTHING,
    assert_equal,
    assert_same_defaults,
    assert_same_road,
    assert_same_scenes,
    assert_same_scenes_in_float32,
)

IDS = ("merge-v0", "merge-v1", "merge-generic-v0", "merge-generic-v1")
SECTIONS = {
    "before_merge_length": 33.3,
    "converge_merge_length": 40.7,
    "parallel_merge_length": 200,
    "after_merge_length": 90,
}
# id and what differs from its defaults
CONFIGS = [
    ("merge-v0", {"other_vehicles_type": BEHAVIOR + "LinearVehicle", "observation": EVERYTHING}),
    ("merge-v1", {"other_vehicles_type": BEHAVIOR + "AggressiveVehicle", "observation": EVERYTHING}),
    ("merge-v0", {"other_vehicles_type": BEHAVIOR + "DefensiveVehicle", "observation": EVERYTHING}),
    (
        "merge-v1",
        {
            "simulation_frequency": 7,
            "policy_frequency": 3,
            "reward_speed_range": [5, 25],
            "lane_change_reward": 0.3,
            "merging_speed_reward": -2,
            "right_lane_reward": 0.4,
            "high_speed_reward": 1,
            "collision_reward": -3,
        },
    ),
    ("merge-v0", {"action": {"type": "DiscreteMetaAction", "lateral": False, "target_speeds": [0, 10, 20, 30]}}),
    ("merge-v1", {"action": {"type": "DiscreteAction"}}),
    ("merge-v0", {"action": {"type": "ContinuousAction", "lateral": False}, "observation": EVERYTHING}),
    ("merge-v1", {"action": {"type": "MultiAgentAction", "action_config": {"type": "ContinuousAction"}}}),
    ("merge-generic-v0", {"lanes_count": 3, "vehicles_count": 9}),
    ("merge-generic-v1", {"lanes_count": 4, "vehicles_count": 12, "observation": EVERYTHING} | SECTIONS),
    ("merge-generic-v0", {"lanes_count": 1, "vehicles_count": 0, "policy_frequency": 2}),
    ("merge-generic-v1", {"vehicles_count": 12, "other_vehicles_type": BEHAVIOR + "LinearVehicle"}),
]


@pytest.mark.parametrize(
    ("env_id", "config"),
    [
        ("merge-v0", {}),
        ("merge-generic-v0", {}),
        ("merge-generic-v0", SECTIONS),
        ("merge-generic-v1", {"lanes_count": 1, "after_merge_length": 97.31}),
        ("merge-generic-v1", {"lanes_count": 5, "converge_merge_length": 0.7}),
    ],
)
def test_the_road_is_the_same_to_the_last_bit(env_id, config):
    assert_same_road(env_id, config)


@pytest.mark.parametrize("env_id", IDS)
def test_the_default_configs_are_the_same(env_id):
    assert_same_defaults(env_id)


@pytest.mark.parametrize(("env_id", "config"), [("merge-v0", {}), ("merge-generic-v0", {}), *CONFIGS])
def test_a_seed_gives_the_same_scene(env_id, config, device):
    assert_same_scenes(env_id, config, range(100, 110), device)


@pytest.mark.parametrize("env_id", ["merge-v0", "merge-generic-v0"])
def test_float32_starts_where_float64_does(env_id, device):
    assert_same_scenes_in_float32(env_id, device)


@pytest.mark.parametrize("env_id", IDS)
def test_whole_episodes_are_the_same(env_id, device):
    assert_equal(compare(env_id, None, range(3), device=str(device)))


@pytest.mark.parametrize(("env_id", "config"), CONFIGS)
def test_episodes_of_varied_configs_are_the_same(env_id, config, device):
    assert_equal(compare(env_id, config, [20, 21], device=str(device), most=7, style="gentle"))
    assert_equal(compare(env_id, config, [22], device=str(device), most=7))


def test_every_term_of_the_reward_is_met(device):
    """What the comparisons above compare is not zero all the time, and the obstacle is run into."""
    met = our_episodes("merge-v0", None, range(12), str(device))
    for name, least in (("lane_change_reward", 1.0), ("merging_speed_reward", 0.1), ("collision_reward", 1.0)):
        assert max(episode.infos[f"rewards/{name}"].max() for episode in met) >= least


def test_a_target_speed_of_zero_gives_what_numpy_gives(device):
    """With three lanes, lane 2 of the second section is a normal one, on which the ego starts here and stops."""
    config = {"action": {"type": "DiscreteMetaAction", "target_speeds": [0, 30]}, "lanes_count": 3}
    config |= {"vehicles_count": 0, "before_merge_length": 10, "converge_merge_length": 10}
    result = compare("merge-generic-v0", config, [0], device=str(device), most=6, style=lambda *_: np.full(6, 4))
    assert_equal(result)
    ours = our_episodes("merge-generic-v0", config, [0], str(device), most=2, style=lambda *_: np.full(2, 4))
    assert np.isinf(ours[0].infos["rewards/merging_speed_reward"]).all()


def test_arrays_of_two_axes_are_no_lane_changes(monkeypatch, device):
    """highway-env cannot compare such an action with 0 and 2, and raises; the tuple of its numbers it can."""
    config = {"action": {"type": "ContinuousAction"}, "lane_change_reward": 5}
    with pytest.raises(ValueError, match="ambiguous"):
        real_episodes("merge-v0", config, [0])
    rewards = MergeEnv._rewards
    monkeypatch.setattr(MergeEnv, "_rewards", lambda self, action: rewards(self, tuple(action)))
    for real, ours in zip(
        real_episodes("merge-v0", config, [0, 1], most=8),
        our_episodes("merge-v0", config, [0, 1], str(device), most=8),
        strict=True,
    ):
        assert first_difference(ours, real) is None
        assert info_difference(ours, real) is None


@pytest.mark.parametrize(
    ("env_id", "config", "message"),
    [
        ("merge-v0", {"lanes_count": 3}, "unknown config key 'lanes_count'"),
        ("merge-v0", {"duration": 3}, "unknown config key 'duration'"),
        ("merge-v0", {"reward_speed_range": [20, 20]}, "reward_speed_range'.* different"),
        ("merge-v1", {"collision_reward": 0.8}, "must differ; both are 0.3"),
        ("merge-v0", {"other_vehicles_type": "IDMVehicle"}, "other_vehicles_type'.* allowed"),
        ("merge-generic-v0", {"lanes_count": 0}, "lanes_count'.* at least 1"),
        ("merge-generic-v0", {"lanes_count": 2.0}, "lanes_count'.* integer"),
        ("merge-generic-v1", {"vehicles_count": -1}, "vehicles_count'.* at least 0"),
        ("merge-generic-v0", {"before_merge_length": 0}, "before_merge_length'.* above 0 m"),
        ("merge-generic-v0", {"converge_merge_length": -5}, "converge_merge_length'.* above 0 m"),
        ("merge-generic-v1", {"parallel_merge_length": float("inf")}, "parallel_merge_length'.* finite"),
        ("merge-generic-v0", {"after_merge_length": 89.9}, "after_merge_length'.* at least 90 m"),
    ],
)
def test_a_config_without_a_scene_is_one_clear_error(env_id, config, message):
    with pytest.raises(ValueError, match=message):
        sim.make_vec(env_id, config=config)
