"""What a driver is, and the baselines that every table needs: random and idle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

Sees = Literal["features", "frames", "scene", "world"]


@runtime_checkable
class Driver(Protocol):
    """Anything that turns observations into actions.

    `sees` declares what the driver knows; one that sees the `world` is reported as privileged. Two more
    methods are optional: `prepare(envs, seeds)` is called before every batch of episodes and hands over the
    environment and the seed of each world; `scores(observation) -> (label, [N, A])` returns one figure an
    action (a probability or a Q value), which replays draw as bars.
    """

    sees: Sees

    def reset(self, mask: Tensor) -> None:
        """Forgets the past of the worlds in `mask` (bool [N]), whose episode has just begun."""

    def act(self, observation: Tensor) -> Tensor:
        """Returns the actions, [N] integers or [N, D] floats, for the observations [N, ...]."""


@dataclass(frozen=True)
class DriverSpec:
    """How to make a driver anew, here or in a worker process.

    Attributes:
        name: what reports print.
        make: a callable that a worker process can import; called with `arguments` and `device=`.
        arguments: its positional arguments: names, paths, numbers.
        options: its keyword arguments.
    """

    name: str
    make: Callable[..., Driver]
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def build(self, device: str | torch.device = "cpu") -> Driver:
        """Returns a fresh driver whose actions live on `device`."""
        return self.make(*self.arguments, device=device, **self.options)


def prepare(driver: Driver, envs: Any, seeds: Sequence[int]) -> None:
    """Calls the driver's optional `prepare` hook."""
    hook = getattr(driver, "prepare", None)
    if hook is not None:
        hook(envs, list(seeds))


class RandomDriver:
    """Draws every action uniformly.

    Each world has a generator of its own, seeded by the driver's and the episode's seed: the actions of an
    episode depend neither on the batch nor on the simulator, so that two simulators can be compared action
    for action.
    """

    sees: Sees = "features"

    def __init__(self, seed: int = 0, device: str | torch.device = "cpu"):
        self.seed = seed
        self.device = torch.device(device)

    def prepare(self, envs: Any, seeds: Sequence[int]) -> None:
        self.space = _check_space(envs.single_action_space)
        self.generators = [torch.Generator().manual_seed(_mix(self.seed, seed)) for seed in seeds]

    def reset(self, mask: Tensor) -> None:
        """Nothing to forget."""

    def act(self, observation: Tensor) -> Tensor:
        if isinstance(self.space, spaces.Discrete):
            draws = [torch.randint(int(self.space.n), (), generator=g) for g in self.generators]
            return (torch.stack(draws) + int(self.space.start)).to(self.device)
        low, high = torch.as_tensor(self.space.low), torch.as_tensor(self.space.high)
        draws = [torch.rand(self.space.shape, generator=g) for g in self.generators]
        return (low + torch.stack(draws) * (high - low)).to(self.device)


class IdleDriver:
    """Holds lane and speed: IDLE where actions have names, else the middle of the action space."""

    sees: Sees = "features"

    def __init__(self, device: str | torch.device = "cpu"):
        self.device = torch.device(device)

    def prepare(self, envs: Any, seeds: Sequence[int]) -> None:
        self.action = torch.as_tensor(idle_action(envs.single_action_space, envs.config), device=self.device)

    def reset(self, mask: Tensor) -> None:
        """Nothing to forget."""

    def act(self, observation: Tensor) -> Tensor:
        return self.action.expand(len(observation), *self.action.shape).clone()


def action_names(config: dict) -> list[str] | None:
    """Returns the names of a DiscreteMetaAction's actions in highway-env's order; None for other types."""
    action = config.get("action", {})
    if action.get("type") != "DiscreteMetaAction":
        return None
    longitudinal, lateral = action.get("longitudinal", True), action.get("lateral", True)
    if longitudinal and lateral:
        return ["LANE_LEFT", "IDLE", "LANE_RIGHT", "FASTER", "SLOWER"]
    return ["SLOWER", "IDLE", "FASTER"] if longitudinal else ["LANE_LEFT", "IDLE", "LANE_RIGHT"]


def idle_action(space: spaces.Space, config: dict) -> np.ndarray:
    """Returns the action of `space` that asks for nothing."""
    space = _check_space(space)
    if isinstance(space, spaces.Box):
        return ((space.low + space.high) / 2).astype(space.dtype)
    names = action_names(config)
    # A DiscreteAction enumerates a symmetric grid of the continuous axes: its middle entry is zero on all of
    # them.
    index = names.index("IDLE") if names else int(space.n) // 2
    return np.asarray(index + int(space.start), dtype=np.int64)


def _check_space(space: spaces.Space) -> spaces.Space:
    if not isinstance(space, spaces.Discrete | spaces.Box):
        raise ValueError(f"the baseline drivers know Discrete and Box action spaces, not {space}")
    return space


def _mix(driver_seed: int, episode_seed: int) -> int:
    """Returns one 63-bit seed for a pair of seeds."""
    return int(np.random.SeedSequence([driver_seed, episode_seed]).generate_state(1, np.uint64)[0] >> 1)
