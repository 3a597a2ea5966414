"""A stand-in for a batch of worlds whose every episode is known in advance."""

from types import SimpleNamespace

import numpy as np
import torch
from gymnasium import spaces


class CountingWorlds:
    """World i lasts 1 + seed % 5 policy steps, earns `seed` a step, and drives 10 m a step at 10 m/s.

    Even seeds end in a crash, odd ones at the time limit. After its end a world goes on rewarding 1e6 a step. The
    observation is the seed.
    """

    id = "counting-v0"
    config = {"action": {"type": "DiscreteMetaAction"}}
    device = torch.device("cpu")
    single_action_space = spaces.Discrete(5)
    single_observation_space = spaces.Box(-np.inf, np.inf, (1,))

    def __init__(self, num_envs):
        self.num_envs = num_envs

    def reset(self, seed):
        assert len(seed) == self.num_envs
        self.seeds, self.steps = torch.tensor(seed), 0
        return self.seeds[:, None].float(), {}

    def step(self, actions):
        assert actions.shape == (self.num_envs,)
        self.steps += 1
        last = 1 + self.seeds % 5
        done, over = self.steps == last, self.steps > last
        reward = torch.where(over, 1e6, self.seeds.double())
        even = self.seeds % 2 == 0
        return self.seeds[:, None].float(), reward, done & even, done & ~even, {}

    @property
    def world(self):
        n, steps = self.num_envs, torch.tensor(float(self.steps))
        crashed = (self.steps >= 1 + self.seeds % 5) & (self.seeds % 2 == 0)
        return SimpleNamespace(
            x=(10 * steps).expand(n, 1),
            y=torch.zeros(n, 1),
            speed=torch.full((n, 1), 10.0),
            lane=torch.zeros(n, 1, dtype=torch.int32),
            crashed=crashed[:, None],
            ego=torch.zeros(n, 1, dtype=torch.int64),
        )
