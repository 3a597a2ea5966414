import os
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from highway_env.vehicle import behavior

from sim.evaluation.oracle import (
    ENDLESS_STEPS,
    fresh_classes,
    has_ended,
    leaves,
    make_real,
    most_steps,
    plain_numpy,
    real_episode,
    real_episodes,
    real_ids,
)

INTERSECTION_WRITES = {"DISTANCE_WANTED": 7, "COMFORT_ACC_MAX": 6, "COMFORT_ACC_MIN": -3}
LANE_LEFT, SLOWER = 0, 4
AS_DECLARED = {"DISTANCE_WANTED": 10.0, "COMFORT_ACC_MAX": 3.0, "COMFORT_ACC_MIN": -5.0}


def constants(cls):
    return {name: getattr(cls, name) for name in AS_DECLARED}


@pytest.mark.parametrize("name", ["IDMVehicle", "LinearVehicle", "AggressiveVehicle"])
def test_what_an_intersection_writes_into_its_traffic_is_undone(name):
    cls = getattr(behavior, name)
    own = {key for key in vars(cls) if key.isupper()}
    with fresh_classes():
        assert constants(cls) == AS_DECLARED
        make_real("intersection-v0", {"other_vehicles_type": f"highway_env.vehicle.behavior.{name}"}).close()
        assert constants(cls) == INTERSECTION_WRITES
    assert constants(cls) == AS_DECLARED
    assert {key for key in vars(cls) if key.isupper()} == own
    assert constants(behavior.DefensiveVehicle) == AS_DECLARED


def test_a_class_that_was_changed_before_is_fresh():
    behavior.DefensiveVehicle.DISTANCE_WANTED = 99
    behavior.IDMVehicle.COMFORT_ACC_MAX = 99
    with fresh_classes():
        assert constants(behavior.DefensiveVehicle) == AS_DECLARED
        assert constants(behavior.IDMVehicle) == AS_DECLARED


def test_an_episode_does_not_depend_on_an_intersection_before_it():
    alone = real_episodes("racetrack-v0", {"other_vehicles": 4}, [3], most=8)[0]
    real_episodes("intersection-v0", None, [0], most=1)
    after = real_episodes("racetrack-v0", {"other_vehicles": 4}, [3], most=8)[0]
    np.testing.assert_array_equal(alone.observations[""], after.observations[""])


@pytest.mark.parametrize("env_id", real_ids())
def test_every_id_takes_a_config(env_id):
    env = make_real(env_id, {"simulation_frequency": 12, "policy_frequency": 3})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env.reset(seed=0)
    assert (env.unwrapped.config["simulation_frequency"], env.unwrapped.config["policy_frequency"]) == (12, 3)


def test_a_config_that_changes_the_spaces_of_an_id_without_constructor_arguments():
    config = {"observation": {"type": "Kinematics", "vehicles_count": 3}, "action": {"type": "DiscreteMetaAction"}}
    episode = real_episodes("parking-parked-v0", config, [0], most=2)[0]
    assert episode.observations[""].shape == (3, 3, 5)
    assert episode.actions.shape == (2,)


def test_time_limits_cut_episodes():
    idle = real_episodes("lane-keeping-v0", None, [0], style="idle")[0]
    assert len(idle.truncated) == 200
    assert idle.truncated.tolist() == [False] * 199 + [True]
    assert set(idle.observations) == {"state", "derivative", "reference_state"}

    def carefully(space, seed, steps):
        return np.resize([LANE_LEFT, SLOWER, SLOWER, SLOWER, SLOWER], steps)

    slowly = real_episodes("two-way-v0", None, [0], style=carefully)[0]
    assert slowly.truncated.tolist() == [False] * 14 + [True]


def test_agents_have_their_own_rewards_and_ends():
    episode = real_episodes("intersection-multi-agent-v1", None, [0], most=3)[0]
    steps = len(episode.truncated)
    assert episode.rewards.shape == episode.terminated.shape == (steps, 2)
    assert set(episode.observations) == {"0", "1"}
    assert [one.shape for one in episode.actions] == [(steps,), (steps,)]
    np.testing.assert_array_equal(episode.infos["agents_rewards"], episode.rewards)


def test_infos_of_a_step():
    episode = real_episodes("parking-v0", None, [0], most=2)[0]
    assert set(episode.infos) == {"speed", "crashed", "is_success"}
    assert set(episode.observations) == {"observation", "achieved_goal", "desired_goal"}
    merge = real_episodes("merge-v0", None, [0], most=2)[0]
    assert {"rewards/lane_change_reward", "rewards/merging_speed_reward", "speed"} <= set(merge.infos)


def test_the_longest_episode():
    assert most_steps({"duration": 300, "policy_frequency": 5}, None) >= 1501  # racetracks: rounded times
    assert most_steps({"duration": 4.5, "policy_frequency": 7 / 3}, None) >= 11
    assert most_steps({"duration": 40, "policy_frequency": 1}, None, 7) == 7
    assert most_steps({"policy_frequency": 5}, 15) == 15
    assert most_steps({"policy_frequency": 5}, 15, 20) == 15
    assert most_steps({"policy_frequency": 5}, None) == ENDLESS_STEPS
    assert most_steps({}, None, 0) == 0


def test_an_episode_ends_when_it_is_cut_or_over_for_all_agents():
    assert has_ended(True, False) and has_ended(False, True) and not has_ended(False, False)
    assert has_ended((True, True), False) and not has_ended((True, False), False) and has_ended((True, False), True)
    worlds = has_ended(np.array([[True, True], [True, False], [False, False]]), np.array([False, False, True]))
    assert worlds.tolist() == [True, False, True]
    assert has_ended(np.array([True, False]), np.array([False, False])).tolist() == [True, False]


def test_leaves_of_a_nested_observation():
    assert leaves(1) == {"": 1}
    assert leaves(({"a": 1, "b": 2}, 3)) == {"0/a": 1, "0/b": 2, "1": 3}


ELEMENTARY = """
import math, numpy
angles = numpy.random.default_rng(0).uniform(-1, 1, 20_000)
functions = [(numpy.tan, math.tan), (numpy.arcsin, math.asin), (numpy.arctan, math.atan), (numpy.sin, math.sin)]
print(sum(one(float(a)) != other(a) for one, other in functions for a in angles))
"""


def test_plain_numpy_is_the_c_library():
    before = os.environ.get("NPY_DISABLE_CPU_FEATURES")
    with plain_numpy():
        done = subprocess.run([sys.executable, "-c", ELEMENTARY], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "0", done.stderr
    assert os.environ.get("NPY_DISABLE_CPU_FEATURES") == before


def test_following_keeps_the_lane_for_a_lap():
    config = {"other_vehicles": 0, "observation": {"type": "Kinematics"}}  # a faster one
    episode = real_episodes("racetrack-v0", config, [0], most=200, style="follow")[0]
    assert len(episode.truncated) == 200 and not episode.terminated.any()


@pytest.mark.parametrize("kind", ["ContinuousAction", "DiscreteAction", "DiscreteMetaAction"])
def test_following_gives_actions_of_the_space(kind):
    action = {"type": kind, "actions_per_axis": 4, "acceleration_range": [-3, 4]}
    config = {"action": {"type": "MultiAgentAction", "action_config": action}, "controlled_vehicles": 2}
    env = make_real("highway-fast-v0", config)
    episode = real_episode(env, 0, most=4, style="follow")
    assert isinstance(env.action_space, gymnasium.spaces.Tuple)
    for agent, space in zip(episode.actions, env.action_space, strict=True):
        assert all(space.contains(one) for one in agent)
