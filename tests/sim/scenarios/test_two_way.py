"""The two-way road beside highway-env's: road, scenes, rewards, episodes."""

import pytest

import sim
from sim.evaluation.conformance import compare, our_episodes
from sim.evaluation.oracle import make_real
from tests.sim.scenarios.beside import (
    BEHAVIOR,
    EVERYTHING,
    assert_equal,
    assert_same_defaults,
    assert_same_road,
    assert_same_scenes,
    assert_same_scenes_in_float32,
)

META = {"type": "DiscreteMetaAction"}
CONFIGS = [
    {"observation": EVERYTHING},
    {"observation": EVERYTHING, "other_vehicles_type": BEHAVIOR + "LinearVehicle"},
    {"observation": EVERYTHING, "other_vehicles_type": BEHAVIOR + "AggressiveVehicle"},
    {"observation": EVERYTHING, "other_vehicles_type": BEHAVIOR + "DefensiveVehicle"},
    {"observation": EVERYTHING, "neighbour_vehicles_connected_lanes": True, "simulation_frequency": 10},
    {"policy_frequency": 3, "left_lane_reward": 1, "high_speed_reward": -0.3, "collision_reward": -4},
    {"action": META | {"target_speeds": [5, 10, 15, 20, 30]}, "left_lane_constraint": 0},
    {"action": META | {"lateral": False}},
    {"action": {"type": "MultiAgentAction", "action_config": META}},
]


def test_the_road_is_the_same_to_the_last_bit():
    assert_same_road("two-way-v0", {})


def test_the_default_configs_are_the_same():
    assert_same_defaults("two-way-v0")


@pytest.mark.parametrize("config", [{}, *CONFIGS[1:4]])
def test_a_seed_gives_the_same_scene(config, device):
    assert_same_scenes("two-way-v0", config, range(100, 120), device)


def test_float32_starts_where_float64_does(device):
    assert_same_scenes_in_float32("two-way-v0", device)


def test_whole_episodes_are_the_same(device):
    assert_equal(compare("two-way-v0", None, range(6), device=str(device)))


@pytest.mark.parametrize("config", CONFIGS)
def test_episodes_of_varied_configs_are_the_same(config, device):
    assert_equal(compare("two-way-v0", config, [20, 21, 22], device=str(device)))


def test_an_episode_is_cut_after_fifteen_steps(device):
    config = {"policy_frequency": 5}
    assert_equal(compare("two-way-v0", config, range(4), device=str(device), style="idle"))
    episodes = our_episodes("two-way-v0", config, range(4), str(device), style="idle")
    assert {len(episode.truncated) for episode in episodes if episode.truncated[-1]} == {15}


def test_every_term_of_the_reward_is_met(device):
    """The left lane, and all target speeds."""
    met = our_episodes("two-way-v0", None, range(12), str(device))
    for name, values in (("left_lane_reward", {0.0, 1.0}), ("high_speed_reward", {0.0, 0.5, 1.0})):
        assert set().union(*(episode.infos[f"rewards/{name}"].tolist() for episode in met)) == values


@pytest.mark.parametrize("kind", ["ContinuousAction", "DiscreteAction"])
@pytest.mark.parametrize("agents", [False, True])
def test_only_meta_actions_can_be_rewarded(kind, agents):
    action = {"type": "MultiAgentAction", "action_config": {"type": kind}} if agents else {"type": kind}
    config = {"action": action, "observation": EVERYTHING}
    with pytest.raises(ValueError, match=f"config\\['action'\\] is of type {kind}.* DiscreteMetaAction"):
        sim.make_vec("two-way-v0", config=config)
    with pytest.raises(AttributeError, match="speed_index"):
        make_real("two-way-v0", config)


def test_an_unknown_key_is_an_error():
    with pytest.raises(ValueError, match="unknown config key 'lanes_count'"):
        sim.make_vec("two-way-v0", config={"lanes_count": 3})
