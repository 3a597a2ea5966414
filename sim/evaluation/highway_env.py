"""The real highway-env behind the few names of our vector environments that evaluation uses.

It is the judge, not the engine, and imported only when an environment is made.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sim.evaluation.oracle import fresh_classes, make_real, real_ids
from sim.world import Kind

KINDS = {
    "IDMVehicle": Kind.IDM,
    "LinearVehicle": Kind.LINEAR,
    "AggressiveVehicle": Kind.AGGRESSIVE,
    "DefensiveVehicle": Kind.DEFENSIVE,
    "MDPVehicle": Kind.MDP,
    "ControlledVehicle": Kind.MDP,
    "BicycleVehicle": Kind.BICYCLE,
    "Obstacle": Kind.OBSTACLE,
    "Landmark": Kind.LANDMARK,
}
"""highway-env's classes by name; any other is Kind.VEHICLE if an agent steers it, else Kind.PARKED."""


class HighwayEnv:
    """One world of the real highway-env, with its id's TimeLimit and rewards of each agent.

    Attributes:
        id, config, num_envs, device, single_observation_space, single_action_space: as in `sim.make_vec`.
        env: highway-env's environment, without wrappers.
        network: has `.lanes`, highway-env's lane objects by flat index, and `.edge_first`, the first lane of each road.
        world: the state as tensors [1, V], made anew at each access.
    """

    num_envs = 1
    device = torch.device("cpu")

    def __init__(self, id: str, config: dict | None = None):
        known = sorted(real_ids())
        if id not in known:
            raise ValueError(f"unknown environment id {id!r}; highway-env has {', '.join(known)}")
        self.id = id
        # IntersectionEnv changes the traffic's classes for the whole process: each episode begins with fresh ones.
        self._classes = ExitStack()
        with fresh_classes():
            self._wrapped = make_real(id, dict(config or {}))
            self.env = self._wrapped.unwrapped
            with _quiet():
                self.env.reset()  # the spaces of an environment that was made without its config
        self.config = self.env.config

    @property
    def single_observation_space(self) -> gymnasium.Space:
        """The space of one observation."""
        return self.env.observation_space

    @property
    def single_action_space(self) -> gymnasium.Space:
        """The space of one action."""
        return self.env.action_space

    def reset(self, seed: int | Sequence[int], options: dict | None = None) -> tuple[Any, dict]:
        """Starts the episode of `seed`; returns the observation [1, ...] and the info."""
        seed = int(seed if isinstance(seed, int) else seed[0])
        self._classes.close()
        self._classes.enter_context(fresh_classes())
        with _quiet():
            observation, info = self._wrapped.reset(seed=seed)
        roads = {(a, b): road for a, ends in self.env.road.network.graph.items() for b, road in ends.items()}
        names = [(*edge, i) for edge, road in roads.items() for i in range(len(road))]
        self._lane_number = {lane_index: number for number, lane_index in enumerate(names)}
        lanes = [lane for road in roads.values() for lane in road]
        self.network = SimpleNamespace(lanes=lanes, edge_first=[0, *accumulate(map(len, roads.values()))])
        return _batched(observation), _reported(info)

    def step(self, actions: Tensor) -> tuple[Any, Tensor, Tensor, Tensor, dict]:
        """Takes one policy step with `actions` [1, ...]; returns tensors with a first axis of one."""
        action = torch.as_tensor(actions)[0].cpu().numpy()
        sample = _as_sample(action, self.single_action_space)
        if not np.isfinite(action).all() or not self.single_action_space.contains(sample):
            raise ValueError(f"action {action} lies outside {self.single_action_space}")
        with _quiet():
            observation, reward, terminated, truncated, info = self._wrapped.step(sample)
        return (
            _batched(observation),
            torch.tensor(np.asarray(reward, dtype=np.float64)[None]),
            torch.tensor(np.asarray(terminated, dtype=bool)[None]),
            torch.tensor([bool(truncated)]),
            _reported(info),
        )

    def close(self) -> None:
        """Frees highway-env's viewer, if any, and gives its classes back as they were."""
        self._wrapped.close()
        self._classes.close()

    @property
    def world(self) -> SimpleNamespace:
        """The present state: the fields of `sim.world.World` that metrics and drawing read."""
        env = self.env
        things = [*env.road.vehicles, *env.road.objects]

        def column(read: Any, dtype: torch.dtype = torch.float64) -> Tensor:
            return torch.tensor([[read(thing) for thing in things]], dtype=dtype)

        def kind(thing: Any) -> Kind:
            steered = any(thing is vehicle for vehicle in env.controlled_vehicles)
            return KINDS.get(type(thing).__name__, Kind.VEHICLE if steered else Kind.PARKED)

        return SimpleNamespace(
            x=column(lambda v: v.position[0]),
            y=column(lambda v: v.position[1]),
            heading=column(lambda v: v.heading),
            speed=column(lambda v: v.speed),
            steering=column(lambda v: _command(v, "steering")),
            acceleration=column(lambda v: _command(v, "acceleration")),
            length=column(lambda v: v.LENGTH),
            width=column(lambda v: v.WIDTH),
            lane=column(lambda v: self._lane_number[v.lane_index], torch.int32),
            kind=column(kind, torch.int32),
            crashed=column(lambda v: v.crashed if v.solid else v.hit, torch.bool),  # a landmark is hit
            ego=torch.tensor([[_place(things, vehicle) for vehicle in env.controlled_vehicles]]),
            time=torch.tensor([env.time], dtype=torch.float64),
            count=torch.tensor([len(things)], dtype=torch.int32),
        )

    def let_idm_drive(self) -> None:
        """Puts an IDM + MOBIL vehicle in the ego's place; actions have no effect until the next reset."""
        from highway_env.vehicle.behavior import IDMVehicle
        from highway_env.vehicle.controller import MDPVehicle

        ego = self.env.vehicle
        if isinstance(ego, MDPVehicle):
            driver = IDMVehicle.create_from(ego)
            # It keeps its target speed: rewards and observations that ask which of the agent's it is get an answer.
            for name in ("target_speeds", "speed_index", "index_to_speed"):
                setattr(driver, name, getattr(ego, name))
        else:
            driver = IDMVehicle(ego.road, ego.position, heading=ego.heading, speed=ego.speed)
        self.env.road.vehicles[_place(self.env.road.vehicles, ego)] = driver
        self.env.controlled_vehicles[0] = driver
        self.env.observation_type.observer_vehicle = driver
        # An action would make the vehicle decide twice in the first frame of a policy step.
        self.env.action_type.act = lambda action: None


@contextmanager
def _quiet() -> Iterator[None]:
    """Ignores what highway-env's own arithmetic warns of, such as an OccupancyGrid's NaN cast to an image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def _batched(observation: Any) -> Any:
    """Arrays of an observation, in dicts and tuples of any depth, as tensors with a first axis of one."""
    if isinstance(observation, dict):
        return {name: _batched(part) for name, part in observation.items()}
    if isinstance(observation, tuple):
        return tuple(_batched(part) for part in observation)
    return torch.tensor(np.asarray(observation)[None])


def _reported(info: dict[str, Any]) -> dict[str, Any]:
    """What evaluation reads of an info, as a tensor [1] or [1, C]."""
    return {"is_success": torch.tensor(np.asarray(info["is_success"])[None])} if "is_success" in info else {}


def _as_sample(action: np.ndarray, space: spaces.Space) -> Any:
    """Returns an action as highway-env wants it: a Python int, a float32 array, or a tuple of them."""
    if isinstance(space, spaces.Tuple):
        return tuple(_as_sample(part, one) for part, one in zip(action, space.spaces, strict=True))
    return int(action) if np.issubdtype(action.dtype, np.integer) else action.astype(np.float32)


def _command(thing: Any, name: str) -> float:
    return float(getattr(thing, "action", {}).get(name, 0.0))


def _place(things: list, wanted: Any) -> int:
    return next(i for i, thing in enumerate(things) if thing is wanted)
