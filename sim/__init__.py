"""Slipstream's simulator: highway-env's traffic, batched and exact, on CPU or CUDA."""

from typing import Any

from sim.registry import announce, load_scenarios, register
from sim.scenarios import SCENARIOS
from sim.single import Env
from sim.vector import VectorEnv

__all__ = ["Env", "VectorEnv", "load_scenarios", "make", "make_vec", "register"]


def make_vec(env_id: str, num_envs: int = 1, **options: Any) -> VectorEnv:
    """Return `num_envs` worlds of an id as a Gymnasium vector environment; `options` are `VectorEnv`'s."""
    return VectorEnv(env_id, num_envs, **options)


def make(env_id: str, config: dict[str, Any] | None = None, **options: Any) -> Env:
    """Return one world of an id as a plain Gymnasium environment; `options` are `Env`'s."""
    return Env(env_id, config, **options)


for _id in SCENARIOS:
    announce(_id)
