"""KinematicsGoal beside highway-env's car parks: whole scenes and drives."""

import gymnasium
import highway_env  # noqa: F401 - registers the ids
import numpy as np
import pytest
import torch

import sim

PARKING = "parking-v0"
GOAL = {
    "type": "KinematicsGoal",
    "features": ["x", "y", "vx", "vy", "cos_h", "sin_h"],
    "scales": [100, 100, 5, 5, 1, 1],
}
ALL = ["presence", "x", "y", "vx", "vy", "cos_h", "sin_h", "cos_d", "sin_d"]
AGENTS = {
    "controlled_vehicles": 3,
    "observation": {"type": "MultiAgentObservation", "observation_config": GOAL},
    "action": {"type": "MultiAgentAction", "action_config": {"type": "ContinuousAction"}},
}
CONFIGS = {
    "default": {},
    "all features": {"observation": GOAL | {"features": ALL, "scales": [1, 7, 10, 0.3, 5, -1, 1, 2, 3]}},
    "one twice": {"observation": GOAL | {"features": ["y", "x", "y"], "scales": [2, 3, 4]}},
    "one scale": {"observation": {"type": "KinematicsGoal", "scales": 50, "normalize": False, "absolute": True}},
    "dynamical": {"action": {"type": "ContinuousAction", "dynamical": True}},
    "agents": AGENTS,
    "pair": {"observation": {"type": "TupleObservation", "observation_configs": [GOAL, {"type": "Kinematics"}]}},
}


def actions(env_space, seed, steps):
    """Random actions [steps, ...] in [-1, 1], those of several agents side by side."""
    agents = len(env_space) if isinstance(env_space, gymnasium.spaces.Tuple) else 1
    rng = np.random.default_rng(seed)
    shape = (steps, agents, 2) if agents > 1 else (steps, 2)
    return rng.uniform(-1, 1, size=shape).astype(np.float32)


def real_episode(config, seed, steps):
    env = gymnasium.make(PARKING, config=config, disable_env_checker=True).unwrapped
    seen = [env.reset(seed=seed)[0]]
    for action in actions(env.action_space, seed, steps):
        seen.append(env.step(tuple(action) if action.ndim > 1 else action)[0])
    return seen, env.observation_space


def assert_equal(found, expected, world):
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        found, expected = list(found.values()), list(expected.values())
    if isinstance(expected, (list, tuple)):
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other, world)
        return
    one = found[world].cpu().numpy()
    assert one.dtype == expected.dtype and one.shape == expected.shape
    np.testing.assert_allclose(one, expected, rtol=0, atol=1e-9 if one.dtype == np.float64 else 1e-6)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_goals_equal_highway_envs(config, device):
    seeds, steps = (0, 1, 2, 3), 12
    envs = sim.make_vec(
        PARKING, len(seeds), device=device, config=config, precision="float64", autoreset_mode="Disabled"
    )
    chosen = np.stack([actions(envs.single_action_space, seed, steps) for seed in seeds], axis=1)
    found = [envs.reset(seed=list(seeds))[0]]
    found += [envs.step(torch.from_numpy(action).to(device))[0] for action in chosen]
    for world, seed in enumerate(seeds):
        expected, space = real_episode(config, seed, steps)
        assert envs.single_observation_space == space
        assert_equal(found, expected, world)


def test_agents_have_goals_of_their_own(device):
    envs = sim.make_vec(PARKING, 20, device=device, config=AGENTS, precision="float64")
    seen, _ = envs.reset(seed=0)
    goals = torch.stack([part["desired_goal"][:, :2] for part in seen], dim=1)
    assert (torch.cdist(goals, goals) + torch.eye(3, device=device) > 0).all()


def test_the_three_parts_are_tensors_of_their_own(device):
    seen, _ = sim.make_vec(PARKING, 2, device=device, precision="float64").reset(seed=0)
    assert list(seen) == ["observation", "achieved_goal", "desired_goal"]
    seen["observation"].zero_()
    assert (seen["achieved_goal"] != 0).any()


def test_unfit_environments_and_options_are_refused():
    with pytest.raises(ValueError, match="parking"):
        sim.make_vec("highway-fast-v0", config={"observation": GOAL})
    for name in ("heading", "long_off", "lat_off", "ang_off", "z"):
        with pytest.raises(ValueError, match=name):
            sim.make_vec(PARKING, config={"observation": GOAL | {"features": [name], "scales": [1]}})
    with pytest.raises(ValueError, match="'scales'"):
        sim.make_vec(PARKING, config={"observation": GOAL | {"scale": [1]}})
    for scales in (None, [1, 2], [100, 100, 5, 5, 1, 0], "wide", [1, 2, 3, 4, 5, float("nan")]):
        with pytest.raises(ValueError, match="scales"):
            sim.make_vec(PARKING, config={"observation": GOAL | {"scales": scales}})
