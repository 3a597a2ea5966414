"""Slipstream's simulator: highway-env's traffic, batched and exact, on CPU or CUDA."""

from typing import Any

from sim.vector import VectorEnv

__all__ = ["VectorEnv", "make_vec"]


def make_vec(env_id: str, num_envs: int = 1, **options: Any) -> VectorEnv:
    """Return `num_envs` worlds of an id as a Gymnasium vector environment; `options` are `VectorEnv`'s."""
    return VectorEnv(env_id, num_envs, **options)
