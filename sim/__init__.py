"""Slipstream's simulator: highway-env's traffic, batched and exact, on CPU or CUDA."""

from typing import Any

import gymnasium

from sim.scenarios import SCENARIOS
from sim.single import Env
from sim.vector import VectorEnv

__all__ = ["Env", "VectorEnv", "make", "make_vec"]


def make_vec(env_id: str, num_envs: int = 1, **options: Any) -> VectorEnv:
    """Return `num_envs` worlds of an id as a Gymnasium vector environment; `options` are `VectorEnv`'s."""
    return VectorEnv(env_id, num_envs, **options)


def make(env_id: str, config: dict[str, Any] | None = None, **options: Any) -> Env:
    """Return one world of an id as a plain Gymnasium environment; `options` are `Env`'s."""
    return Env(env_id, config, **options)


for _id in SCENARIOS:
    gymnasium.register(
        f"slipstream/{_id}",
        entry_point="sim.single:Env",
        vector_entry_point="sim.vector:VectorEnv",
        kwargs={"env_id": _id},
    )
