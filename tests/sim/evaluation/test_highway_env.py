"""The real highway-env behind our names: every id, its TimeLimit, its classes, its agents."""

import numpy as np
import pytest
import torch

from sim.evaluation.driver import IdleDriver, RandomDriver
from sim.evaluation.highway_env import HighwayEnv
from sim.evaluation.runner import run_batch
from sim.world import Kind

IDS = ["two-way-v0", "lane-keeping-v0", "parking-v0", "exit-v0", "intersection-v1", "intersection-multi-agent-v1"]


def batched(space, observation):
    """Whether an observation lies in its space once the first axis is taken off each part."""
    if isinstance(observation, dict):
        return set(observation) == set(space.spaces) and all(batched(space[k], v) for k, v in observation.items())
    if isinstance(observation, tuple):
        return len(observation) == len(space.spaces) and all(map(batched, space.spaces, observation))
    return len(observation) == 1 and space.shape == observation.shape[1:] and space.dtype == observation.numpy().dtype


@pytest.mark.parametrize("id", IDS)
def test_observations_of_any_structure_have_a_first_axis_of_one(id):
    envs, driver = HighwayEnv(id), RandomDriver()
    driver.prepare(envs, [0])
    observation, _ = envs.reset(seed=[0])
    assert batched(envs.single_observation_space, observation)
    observation, reward, terminated, truncated, _ = envs.step(driver.act(observation))
    assert batched(envs.single_observation_space, observation)
    agents = (2,) if id.endswith("agent-v1") else ()
    assert reward.shape == terminated.shape == (1, *agents) and truncated.shape == (1,)
    envs.close()


@pytest.mark.parametrize(("id", "limit"), [("two-way-v0", 15), ("lane-keeping-v0", 200)])
def test_a_time_limit_of_the_id_truncates(id, limit):
    envs, driver = HighwayEnv(id), IdleDriver()
    for seed in range(3):
        driver.prepare(envs, [seed])
        observation, _ = envs.reset(seed=[seed])
        length, over = 0, False
        while not over:
            observation, _, terminated, truncated, _ = envs.step(driver.act(observation))
            length, over = length + 1, bool(terminated | truncated)
        assert length == limit or bool(terminated)
        assert bool(truncated) == (length == limit)


@pytest.mark.parametrize(
    ("id", "own"), [("parking-ActionRepeat-v0", {"policy_frequency": 1}), ("parking-parked-v0", {"vehicles_count": 10})]
)
def test_ids_whose_constructor_takes_no_config_are_configured_all_the_same(id, own):
    features = {"type": "KinematicsGoal", "features": ["x", "y"], "scales": [100, 100], "normalize": False}
    envs = HighwayEnv(id, {"duration": 7, "observation": features, "action": {"type": "DiscreteAction"}})
    assert envs.config["duration"] == 7 and own.items() <= envs.config.items()
    assert envs.single_action_space.n == 9
    assert envs.single_observation_space["desired_goal"].shape == (2,)
    assert envs.reset(seed=[0])[0]["desired_goal"].shape == (1, 2)
    parked = (envs.world.kind == Kind.PARKED).sum()
    assert parked == envs.config["vehicles_count"]


def test_each_episode_begins_with_the_classes_of_a_fresh_process():
    """IntersectionEnv writes 7 m into the class that merge-v0's traffic is made of, where a fresh process has 10 m."""
    from highway_env.vehicle.behavior import IDMVehicle

    junction, merge = HighwayEnv("intersection-v0"), HighwayEnv("merge-v0")
    before = run_batch(merge, IdleDriver(), [2])
    junction.reset(seed=[0])
    assert IDMVehicle.DISTANCE_WANTED == 7
    after = run_batch(merge, IdleDriver(), [2])
    assert all(np.array_equal(before[name], after[name]) for name in before)
    junction.reset(seed=[0])
    junction.close()
    assert (IDMVehicle.DISTANCE_WANTED, IDMVehicle.COMFORT_ACC_MAX, IDMVehicle.COMFORT_ACC_MIN) == (10, 3, -5)


def test_success_is_passed_on_where_it_is_told():
    envs = HighwayEnv("parking-v0", {"success_goal_reward": 100})
    envs.reset(seed=[0])
    _, _, terminated, _, info = envs.step(torch.zeros(1, 2))
    assert info["is_success"].tolist() == [True] and terminated.tolist() == [True]
    assert HighwayEnv("merge-v0").reset(seed=[0])[1] == {}


def test_actions_outside_the_space_are_refused():
    for id, action in (("racetrack-v0", [[1.5]]), ("racetrack-v0", [[float("nan")]]), ("intersection-v0", [3])):
        envs = HighwayEnv(id)
        envs.reset(seed=[0])
        with pytest.raises(ValueError, match="lies outside"):
            envs.step(torch.tensor(action))


def test_the_world_has_the_sizes_of_things():
    envs = HighwayEnv("parking-v0")
    envs.reset(seed=[0])
    world = envs.world
    walls = world.kind[0] == Kind.OBSTACLE
    assert sorted(world.length[0][walls].tolist()) == [42, 42, 70, 70]
    assert set(world.width[0][walls].tolist()) == {1}
    assert world.kind[0, int(world.ego[0, 0])] == Kind.VEHICLE
