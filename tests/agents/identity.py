"""A stand-in for the environments: say back what you see. It keeps the contract of `sim.make_vec`."""

from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor


class IdentityEnvs(gymnasium.vector.VectorEnv):
    """Reward 1 for the action that equals the observation; episodes are cut after `length` steps.

    Discrete: the observation is a one-hot row of `size`, and answering the last symbol with symbol 0
    terminates (crashes). Continuous: it is a number in -1 .. 1, and the reward falls with the squared error.
    """

    metadata = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}

    def __init__(self, num_envs: int, size: int = 4, length: int = 8, continuous: bool = False, device: str = "cpu"):
        self.num_envs, self.size, self.length, self.continuous = num_envs, size, length, continuous
        self.device = torch.device(device)
        self.id, self.precision, self.config = "identity", "float32", {"size": size, "length": length}
        box = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        symbols = gymnasium.spaces.Box(0.0, 1.0, (size,), np.float32)
        self.single_observation_space = box if continuous else symbols
        self.single_action_space = box if continuous else gymnasium.spaces.Discrete(size)
        self.generator = torch.Generator()

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Tensor, dict[str, Any]]:
        self.generator.manual_seed(0 if seed is None else seed)
        # Worlds start at different ages, so that not all episodes end in the same step.
        self.age = torch.arange(self.num_envs, device=self.device) % self.length
        self._draw()
        return self._observation(), {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        if self.continuous:
            assert actions.shape == (self.num_envs, 1) and actions.abs().max() <= 1
            reward = 1 - (actions[:, 0] - self.symbol).square()
            terminated = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        else:
            assert actions.shape == (self.num_envs,) and actions.dtype == torch.int64
            reward = (actions == self.symbol).float()
            terminated = (self.symbol == self.size - 1) & (actions == 0) & (self.size > 1)
        self.age = self.age + 1
        truncated = self.age >= self.length
        self._draw()
        final = self._observation()
        done = terminated | truncated
        self.age = torch.where(done, 0, self.age)
        before = self.symbol
        self._draw()
        self.symbol = torch.where(done, self.symbol, before)
        info = {
            "crashed": terminated,
            "final_obs": final,
            "_final_obs": done,
            "final_info": {"crashed": terminated},
        }
        return self._observation(), reward, terminated, truncated, info

    def state_dict(self) -> dict[str, Tensor]:
        return {"age": self.age, "symbol": self.symbol, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.age, self.symbol = state["age"].to(self.device), state["symbol"].to(self.device)
        self.generator.set_state(state["generator"])

    def _draw(self) -> None:
        if self.continuous:
            self.symbol = (2 * torch.rand(self.num_envs, generator=self.generator) - 1).to(self.device)
        else:
            self.symbol = torch.randint(self.size, (self.num_envs,), generator=self.generator).to(self.device)

    def _observation(self) -> Tensor:
        if self.continuous:
            return self.symbol[:, None].clone()
        return torch.nn.functional.one_hot(self.symbol, self.size).float()


class GoalEnvs(IdentityEnvs):
    """The same in a goal environment's words: what is seen is the goal, beside a state that says nothing."""

    def __init__(self, num_envs: int, device: str = "cpu"):
        super().__init__(num_envs, device=device)
        box = gymnasium.spaces.Box(-np.inf, np.inf, (self.size,), np.float64)
        names = ("observation", "achieved_goal", "desired_goal")
        self.single_observation_space = gymnasium.spaces.Dict(dict.fromkeys(names, box))

    def _observation(self) -> dict[str, Tensor]:
        goal = super()._observation().double()
        state = torch.zeros_like(goal)
        return {"observation": state, "achieved_goal": state, "desired_goal": goal}
