"""What a driver is, and the baselines that every table needs: random, idle, and blind to all but the ego."""

from __future__ import annotations

import time
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

    `sees` declares what the driver knows; one that sees the `world` is reported as privileged. Three more
    methods are optional: `prepare(envs, seeds)` is called before every batch of episodes and hands over the
    environment and the seed of each world; `scores(observation) -> (label, [N, A])` returns one figure an
    action (a probability or a Q value), which replays draw as bars; `plan() -> [N, P, 2]`, asked after `act`,
    returns where each world's first ego will be at the ends of the next policy steps [m], NaN beyond the plan.

    A driver with sensors has two more: `sense()` is called after every simulation frame (not after a reset, when `act`
    is asked next), and looks at the environment that `prepare` handed over while it shows that frame; it must change
    nothing there. What advances worlds for a driver does so by `stepped`, so that it is called everywhere: in `judge`
    and `evaluate`, in recordings and replays, in attacks. `notes()` returns what a result should tell of the driver's
    work, such as how long its stages took: a dict for JSON.
    """

    sees: Sees

    def reset(self, mask: Tensor) -> None:
        """Forgets the past of the worlds in `mask` (bool [N]), whose episode has just begun."""

    def act(self, observation: Any) -> Tensor:
        """Returns the actions, [N] integers or [N, D] floats, for the observations [N, ...].

        Observations are a tensor, or a dict or tuple of them, as the environment's space says. Where an environment
        takes the actions of C agents they are [N, C] or [N, C, D].
        """


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


class Watcher:
    """What a driver wants to be called after each simulation frame, and how long that took."""

    def __init__(self, sense: Callable[[], None]):
        self._sense, self._seconds = sense, 0.0

    def __call__(self) -> None:
        begun = time.perf_counter()
        self._sense()
        self._seconds += time.perf_counter() - begun

    def seconds(self) -> float:
        """Returns how long its calls took since this was asked last [s]."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds


def watchers(driver: Any) -> tuple[Watcher, ...]:
    """Returns what a driver wants to be called after each simulation frame: its `sense`, if it has one."""
    sense = getattr(driver, "sense", None)
    return () if sense is None else (Watcher(sense),)


def stepped(envs: Any, actions: Any, *watching: Callable[[], None]) -> tuple:
    """Advances the worlds by one policy step and returns what `step` does.

    All who are `watching` are called after each simulation frame; of environments without frames, such as those of
    highway-env, they see the last one only.
    """
    if not watching or not hasattr(envs, "frames"):
        outcome = envs.step(actions)
        for watcher in watching:
            watcher()
        return outcome
    frames = envs.frames(actions)
    while True:
        try:
            next(frames)
        except StopIteration as end:
            return end.value
        for watcher in watching:
            watcher()


class RandomDriver:
    """Draws every action uniformly, of each agent if there are several.

    Each world has a generator of its own, seeded by the driver's and the episode's seed: the actions of an
    episode depend neither on the batch nor on the simulator, so that two simulators can be compared action
    for action.
    """

    sees: Sees = "features"

    def __init__(self, seed: int = 0, device: str | torch.device = "cpu"):
        self.seed = seed
        self.device = torch.device(device)

    def prepare(self, envs: Any, seeds: Sequence[int]) -> None:
        self.space = envs.single_action_space
        _agents(self.space)
        self.generators = [torch.Generator().manual_seed(_mix(self.seed, seed)) for seed in seeds]

    def reset(self, mask: Tensor) -> None:
        """Nothing to forget."""

    def act(self, observation: Any) -> Tensor:
        return torch.stack([_drawn(self.space, generator) for generator in self.generators]).to(self.device)


class IdleDriver:
    """Asks for nothing: IDLE where actions have names, else the middle of the action space."""

    sees: Sees = "features"

    def __init__(self, device: str | torch.device = "cpu"):
        self.device = torch.device(device)

    def prepare(self, envs: Any, seeds: Sequence[int]) -> None:
        action = torch.as_tensor(idle_action(envs.single_action_space, envs.config), device=self.device)
        self.actions = action.expand(len(seeds), *action.shape)

    def reset(self, mask: Tensor) -> None:
        """Nothing to forget."""

    def act(self, observation: Any) -> Tensor:
        return self.actions.clone()


class ConstantDriver:
    """Takes the same action all the time, whoever is in the way.

    Args:
        action: the name of one of the id's meta-actions; FASTER, SLOWER and IDLE also stand for full acceleration, full
            braking and nothing where the ego is steered directly.
        device: where actions live.
    """

    sees: Sees = "features"

    def __init__(self, action: str = "IDLE", device: str | torch.device = "cpu"):
        self.action = action
        self.device = torch.device(device)

    def prepare(self, envs: Any, seeds: Sequence[int]) -> None:
        """Looks the action up; ValueError if the id has none of that name."""
        action = torch.as_tensor(constant_action(self.action, envs), device=self.device)
        self.actions = action.expand(len(seeds), *action.shape)

    def reset(self, mask: Tensor) -> None:
        """Nothing to forget."""

    def act(self, observation: Any) -> Tensor:
        return self.actions.clone()


class BlindDriver(ConstantDriver):
    """Knows the ego and its road only, and drives it as fast as it is allowed to in its lane.

    Whoever does not see the others has no better reason to do anything else; a suite on which this does well asks for
    no perception, and says nothing about drivers.
    """

    def __init__(self, device: str | torch.device = "cpu"):
        super().__init__("FASTER", device)


def constant_action(name: str, envs: Any) -> np.ndarray:
    """Returns the action of this name in an environment; ValueError, naming the known ones, if it has none."""
    space, names = envs.single_action_space, action_names(envs.config)
    action = idle_action(space, envs.config)
    if names is not None and name in names:
        return np.full_like(action, names.index(name))
    straight = {"IDLE": 0.0, "FASTER": 1.0, "SLOWER": -1.0}
    if names is None and name in straight:
        config = envs.config["action"]
        if isinstance(space, spaces.Box) and config.get("longitudinal", True):
            action[0] = straight[name]
        return action
    raise ValueError(f"{envs.id} has no action {name!r}; there are {', '.join(names or straight)}")


def action_names(config: dict) -> list[str] | None:
    """Returns the names of a DiscreteMetaAction's actions in highway-env's order; None for other types.

    Several agents have the same names.
    """
    action = config.get("action", {})
    if action.get("type") == "MultiAgentAction":
        action = action["action_config"]
    if action.get("type") != "DiscreteMetaAction":
        return None
    longitudinal, lateral = action.get("longitudinal", True), action.get("lateral", True)
    if longitudinal and lateral:
        return ["LANE_LEFT", "IDLE", "LANE_RIGHT", "FASTER", "SLOWER"]
    return ["SLOWER", "IDLE", "FASTER"] if longitudinal else ["LANE_LEFT", "IDLE", "LANE_RIGHT"]


def idle_action(space: spaces.Space, config: dict) -> np.ndarray:
    """Returns the action of `space` that asks for nothing; of several agents theirs, side by side."""
    if isinstance(space, spaces.Tuple):
        return np.stack([idle_action(one, config) for one in _agents(space)])
    _agents(space)
    if isinstance(space, spaces.Box):
        return ((space.low + space.high) / 2).astype(space.dtype)
    names = action_names(config)
    # A DiscreteAction enumerates a symmetric grid of the continuous axes: its middle entry is zero on all of
    # them.
    index = names.index("IDLE") if names else int(space.n) // 2
    return np.asarray(index + int(space.start), dtype=np.int64)


def _drawn(space: spaces.Space, generator: torch.Generator) -> Tensor:
    """One random action of a space, [] or [D]; of several agents, [C] or [C, D]."""
    if isinstance(space, spaces.Tuple):
        return torch.stack([_drawn(one, generator) for one in space.spaces])
    if isinstance(space, spaces.Discrete):
        return torch.randint(int(space.n), (), generator=generator) + int(space.start)
    low, high = torch.as_tensor(space.low), torch.as_tensor(space.high)
    return low + torch.rand(space.shape, generator=generator) * (high - low)


def _agents(space: spaces.Space) -> Sequence[spaces.Space]:
    """Returns the action space of each agent; ValueError if the baseline drivers don't know it."""
    members = space.spaces if isinstance(space, spaces.Tuple) else (space,)
    for member in members:
        if not isinstance(member, spaces.Discrete | spaces.Box):
            raise ValueError(
                f"the baseline drivers know Discrete and Box action spaces, and tuples of them, not {space}"
            )
    return members


def _mix(driver_seed: int, episode_seed: int) -> int:
    """Returns one 63-bit seed for a pair of seeds."""
    return int(np.random.SeedSequence([driver_seed, episode_seed]).generate_state(1, np.uint64)[0] >> 1)
