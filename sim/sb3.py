"""Stable-Baselines3 on Slipstream: one line of an existing script changes.

env = sim.sb3.VecEnv("highway-fast-v0", num_envs=64)      # was: make_vec_env("highway-fast-v0", n_envs=64)
model = stable_baselines3.PPO("MlpPolicy", env)
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv as BaseVecEnv

from sim.vector import VectorEnv


class VecEnv(BaseVecEnv):
    """A Slipstream `VectorEnv` as a Stable-Baselines3 `VecEnv`; takes `VectorEnv`'s arguments.

    Each finished episode's info holds `terminal_observation`, `TimeLimit.truncated` and, as from a `Monitor`,
    `episode` (return `r`, length `l`, seconds `t`); the infos of other worlds are empty.
    """

    def __init__(self, env_id: str, num_envs: int = 1, **options: Any) -> None:
        self.envs = VectorEnv(env_id, num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **options)
        self.render_mode = None
        super().__init__(num_envs, self.envs.single_observation_space, self.envs.single_action_space)
        self._actions: np.ndarray = np.zeros(0)
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, dtype=int)
        self._start = time.perf_counter()

    def reset(self) -> np.ndarray:
        """Start new episodes, with the seeds given to `seed` if it was called since the last reset."""
        seeds = None if any(seed is None for seed in self._seeds) else [int(seed) for seed in self._seeds]
        observation, _ = self.envs.reset(seed=seeds)
        self._reset_seeds()
        self._returns[:], self._lengths[:] = 0, 0
        return observation.cpu().numpy()

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = np.asarray(actions)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Step all worlds and return (observation, reward, done, infos)."""
        observation, reward, terminated, truncated, info = self.envs.step(self._actions)
        rewards = reward.float().cpu().numpy()
        done = (terminated | truncated).cpu().numpy()
        self._returns += rewards
        self._lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if done.any():
            final, crashed = info["final_obs"].cpu().numpy(), info["final_info"]["crashed"].cpu().numpy()
            only_truncated = (truncated & ~terminated).cpu().numpy()
            elapsed = time.perf_counter() - self._start
            for i in done.nonzero()[0]:
                episode = {"r": float(self._returns[i]), "l": int(self._lengths[i]), "t": round(elapsed, 6)}
                infos[i] = {
                    "terminal_observation": final[i],
                    "TimeLimit.truncated": bool(only_truncated[i]),
                    "crashed": bool(crashed[i]),
                    "episode": episode,
                }
            self._returns[done], self._lengths[done] = 0, 0
        return observation.cpu().numpy(), rewards, done, infos

    def close(self) -> None:
        """Nothing to release: the tensors go with the object."""

    def get_attr(self, attr_name: str, indices: int | Sequence[int] | None = None) -> list[Any]:
        """Return an attribute of the batch, once for each world asked for."""
        return [getattr(self.envs, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: int | Sequence[int] | None = None) -> None:
        """Raise: worlds of one batch share their attributes."""
        raise NotImplementedError(
            f"set_attr({attr_name!r}): the worlds of a batch share one config; make another VecEnv"
        )

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Raise: there are no environments to call one by one."""
        raise NotImplementedError(f"env_method({method_name!r}): worlds are rows of tensors; see VecEnv.envs")

    def env_is_wrapped(self, wrapper_class: type, indices: int | Sequence[int] | None = None) -> list[bool]:
        """Episodes are counted as by a `Monitor`; there are no other wrappers."""
        return [wrapper_class.__name__ == "Monitor" for _ in self._get_indices(indices)]
