"""The real highway-env behind the few names of our vector environments that evaluation uses.

The only file of `sim` that imports highway-env, and only when an environment is made: it is the judge, not
the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
"""highway-env's classes by name; any other is Kind.VEHICLE."""


class HighwayEnv:
    """One world of the real highway-env.

    Attributes:
        id, config, num_envs, device, single_observation_space, single_action_space: as in `sim.make_vec`.
        network: has `.lanes`, highway-env's lane objects by flat index.
        world: the state as tensors [1, V], made anew at each access.
    """

    num_envs = 1
    device = torch.device("cpu")

    def __init__(self, id: str, config: dict | None = None):
        import gymnasium
        import highway_env

        gymnasium.register_envs(highway_env)
        known = sorted(s.id for s in gymnasium.registry.values() if str(s.entry_point).startswith("highway_env."))
        if id not in known:
            raise ValueError(f"unknown environment id {id!r}; highway-env has {', '.join(known)}")
        self.id = id
        self.env = gymnasium.make(id, config=dict(config or {}), disable_env_checker=True).unwrapped
        self.config = self.env.config
        self.single_observation_space = self.env.observation_space
        self.single_action_space = self.env.action_space

    def reset(self, seed: int | Sequence[int], options: dict | None = None) -> tuple[Tensor, dict]:
        """Starts the episode of `seed`; returns the observation [1, ...] and the info."""
        seed = int(seed if isinstance(seed, int) else seed[0])
        observation, info = self.env.reset(seed=seed)
        graph = self.env.road.network.graph
        index = {
            (a, b, i): lane for a, ends in graph.items() for b, road in ends.items() for i, lane in enumerate(road)
        }
        self._lane_number = {lane_index: number for number, lane_index in enumerate(index)}
        self.network = SimpleNamespace(lanes=list(index.values()))
        return torch.as_tensor(observation)[None], info

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict]:
        """Takes one policy step with `actions` [1] or [1, D]; returns tensors with a first axis of one."""
        action = torch.as_tensor(actions)[0].numpy()
        if not np.isfinite(action).all() or not self.single_action_space.contains(_as_sample(action)):
            raise ValueError(f"action {action} lies outside {self.single_action_space}")
        observation, reward, terminated, truncated, info = self.env.step(_as_sample(action))
        return (
            torch.as_tensor(observation)[None],
            torch.tensor([float(reward)], dtype=torch.float64),
            torch.tensor([bool(terminated)]),
            torch.tensor([bool(truncated)]),
            info,
        )

    def close(self) -> None:
        """Frees highway-env's viewer, if any."""
        self.env.close()

    @property
    def world(self) -> SimpleNamespace:
        """The present state: the fields of `sim.world.World` that metrics and drawing read."""
        env = self.env
        things = [*env.road.vehicles, *env.road.objects]

        def column(read: Any, dtype: torch.dtype = torch.float64) -> Tensor:
            return torch.tensor([[read(thing) for thing in things]], dtype=dtype)

        return SimpleNamespace(
            x=column(lambda v: v.position[0]),
            y=column(lambda v: v.position[1]),
            heading=column(lambda v: v.heading),
            speed=column(lambda v: v.speed),
            steering=column(lambda v: _command(v, "steering")),
            acceleration=column(lambda v: _command(v, "acceleration")),
            lane=column(lambda v: self._lane_number[v.lane_index], torch.int32),
            kind=column(lambda v: KINDS.get(type(v).__name__, Kind.VEHICLE), torch.int32),
            crashed=column(lambda v: getattr(v, "crashed", False), torch.bool),
            ego=torch.tensor([[_place(things, vehicle) for vehicle in env.controlled_vehicles]]),
            time=torch.tensor([env.time], dtype=torch.float64),
            count=torch.tensor([len(things)], dtype=torch.int32),
        )

    def let_idm_drive(self) -> None:
        """Puts an IDM + MOBIL vehicle in the ego's place; actions have no effect until the next reset."""
        from highway_env.vehicle.behavior import IDMVehicle

        ego = self.env.vehicle
        driver = IDMVehicle.create_from(ego)
        self.env.road.vehicles[_place(self.env.road.vehicles, ego)] = driver
        self.env.controlled_vehicles[0] = driver
        self.env.observation_type.observer_vehicle = driver
        # An action would make the vehicle decide twice in the first frame of a policy step.
        self.env.action_type.act = lambda action: None


def _as_sample(action: np.ndarray) -> Any:
    """Returns an action as highway-env wants it: a Python int, or a float32 array."""
    return int(action) if np.issubdtype(action.dtype, np.integer) else action.astype(np.float32)


def _command(thing: Any, name: str) -> float:
    return float(getattr(thing, "action", {}).get(name, 0.0))


def _place(things: list, wanted: Any) -> int:
    return next(i for i, thing in enumerate(things) if thing is wanted)
