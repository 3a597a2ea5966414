"""Small batches of worlds, random actions and comparisons, for the tests of the vector environment."""

import numpy as np
import torch

import sim

FAST = "highway-fast-v0"
STREAM = {"observation": {"type": "Kinematics", "order": "shuffled", "vehicles_count": 7}}  # draws at each observation
SHORT = {"duration": 4}  # ends come often, both kinds


def make(num_envs=1, device="cpu", config=None, **options):
    return sim.make_vec(FAST, num_envs, device=device, config=config, **options)


def actions_of(seeds, steps, device="cpu"):
    """Random actions [steps, N]; a seed's column does not depend on the other seeds."""
    columns = [np.random.default_rng(seed).integers(5, size=steps) for seed in seeds]
    return torch.from_numpy(np.stack(columns, axis=1)).to(device)


def play(envs, seeds, steps=60):
    """Observations [steps + 1, N, K, F], rewards, terminated and truncated [steps, N]."""
    actions = actions_of(seeds, steps, envs.device)
    observations, rewards, terminated, truncated = [envs.reset(seed=list(seeds))[0]], [], [], []
    for t in range(steps):
        observation, reward, end, cut, _ = envs.step(actions[t])
        observations.append(observation)
        rewards.append(reward)
        terminated.append(end)
        truncated.append(cut)
    return [torch.stack(part) for part in (observations, rewards, terminated, truncated)]


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)


def tensors(result):
    if isinstance(result, torch.Tensor):
        return [result]
    values = result.values() if isinstance(result, dict) else result
    return [tensor for value in values for tensor in tensors(value)]
