"""Stable-Baselines3 on Slipstream: one line of an existing script changes.

env = sim.sb3.VecEnv("highway-fast-v0", num_envs=64)      # was: make_vec_env("highway-fast-v0", n_envs=64)
model = stable_baselines3.PPO("MlpPolicy", env)

Observations may be dicts: SAC with hindsight (HerReplayBuffer) parks cars as it does in highway-env.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv as BaseVecEnv

from sim.observations import Observation, mapped
from sim.vector import VectorEnv

Array = np.ndarray | dict[str, np.ndarray]


class VecEnv(BaseVecEnv):
    """A Slipstream `VectorEnv` as a Stable-Baselines3 `VecEnv`; takes `VectorEnv`'s arguments.

    Each finished episode's info holds `terminal_observation`, `TimeLimit.truncated`, `is_success` where the id
    reports it and, as from a `Monitor`, `episode` (return `r`, length `l`, seconds `t`); the infos of other worlds are
    empty.

    Raises:
        ValueError: an id or config whose observations or actions are tuples, such as those of several agents.
    """

    def __init__(self, env_id: str, num_envs: int = 1, **options: Any) -> None:
        self.envs = VectorEnv(env_id, num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **options)
        self.render_mode = None
        given = (self.envs.single_observation_space, self.envs.single_action_space)
        for name, space in zip(("observation", "action"), given, strict=True):
            if isinstance(space, spaces.Tuple):
                raise ValueError(f"Stable-Baselines3 knows no Tuple spaces: {env_id} has the {name} space {space}")
        super().__init__(num_envs, *given)
        self._actions: np.ndarray = np.zeros(0)
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, dtype=int)
        self._start = time.perf_counter()

    def reset(self) -> Array:
        """Start new episodes, with the seeds given to `seed` if it was called since the last reset."""
        seeds = None if any(seed is None for seed in self._seeds) else [int(seed) for seed in self._seeds]
        observation, _ = self.envs.reset(seed=seeds)
        self._reset_seeds()
        self._returns[:], self._lengths[:] = 0, 0
        return _arrays(observation)

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = np.asarray(actions)

    def step_wait(self) -> tuple[Array, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Step all worlds and return (observation, reward, done, infos)."""
        observation, reward, terminated, truncated, info = self.envs.step(self._actions)
        rewards = reward.float().cpu().numpy()
        done = (terminated | truncated).cpu().numpy()
        self._returns += rewards
        self._lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if done.any():
            final = _arrays(info["final_obs"])
            said = {name: info["final_info"][name] for name in ("crashed", "is_success") if name in info["final_info"]}
            flags = {"TimeLimit.truncated": truncated & ~terminated} | said
            flags = {name: values.cpu().numpy() for name, values in flags.items()}
            elapsed = time.perf_counter() - self._start
            for i in done.nonzero()[0]:
                episode = {"r": float(self._returns[i]), "l": int(self._lengths[i]), "t": round(elapsed, 6)}
                infos[i] = {name: bool(values[i]) for name, values in flags.items()} | {
                    "terminal_observation": mapped(lambda array, i=i: array[i], final),
                    "episode": episode,
                }
            self._returns[done], self._lengths[done] = 0, 0
        return _arrays(observation), rewards, done, infos

    def close(self) -> None:
        """Nothing to release: the tensors go with the object."""

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any) -> np.ndarray:
        """Return the rewards [B] of having achieved goals [B, F] when others were desired, as parking-v0's."""
        if not hasattr(self.envs.scenario, "goal_reward"):
            raise NotImplementedError(f"compute_reward: {self.envs.id} sets no goals; the parking ids do")
        return self.envs.scenario.goal_reward(achieved_goal, desired_goal, self.envs.config)

    def get_attr(self, attr_name: str, indices: int | Sequence[int] | None = None) -> list[Any]:
        """Return an attribute of the batch, once for each world asked for."""
        return [getattr(self.envs, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: int | Sequence[int] | None = None) -> None:
        """Raise: worlds of one batch share their attributes."""
        raise NotImplementedError(
            f"set_attr({attr_name!r}): the worlds of a batch share one config; make another VecEnv"
        )

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Return `compute_reward`, all that hindsight asks for; raise for others: there is no environment to call."""
        if method_name != "compute_reward":
            raise NotImplementedError(f"env_method({method_name!r}): worlds are rows of tensors; see VecEnv.envs")
        reward = self.compute_reward(*args, **kwargs)
        return [reward for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: int | Sequence[int] | None = None) -> list[bool]:
        """Episodes are counted as by a `Monitor`; there are no other wrappers."""
        return [wrapper_class.__name__ == "Monitor" for _ in self._get_indices(indices)]


def _arrays(observation: Observation) -> Array:
    """Return an observation as NumPy arrays."""
    return mapped(lambda tensor: tensor.cpu().numpy(), observation)
