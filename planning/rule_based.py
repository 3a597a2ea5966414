"""Drivers made of rules: IDM + MOBIL, the classical baseline of highway driving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sim.engine.drivers import LANE_CHANGE_DELAY
from sim.engine.spawn import DELTA
from sim.evaluation.driver import Sees, idle_action
from sim.evaluation.highway_env import HighwayEnv
from sim.world import Kind


class IdmDriver:
    """Hands the ego to the simulator's own IDM + MOBIL traffic model.

    The model reads the true state of all vehicles, so the driver is privileged. The ego keeps the target
    speed that it had at the reset. Works in ours and in the real highway-env.
    """

    sees: Sees = "world"

    def __init__(self, device: str | torch.device = "cpu"):
        self.device = torch.device(device)

    def prepare(self, envs: Any, seeds: Sequence[int]) -> None:
        """Remembers the environment whose egos it will drive."""
        self.envs = envs
        self.action = torch.as_tensor(idle_action(envs.single_action_space, envs.config), device=self.device)

    def reset(self, mask: Tensor) -> None:
        """Turns the first ego of each world in `mask` (bool [N]) into an IDM vehicle."""
        if isinstance(self.envs, HighwayEnv):
            self.envs.let_idm_drive()
            return
        let_idm_drive(self.envs.world, torch.as_tensor(mask, device=self.envs.world.x.device))

    def act(self, observation: Tensor) -> Tensor:
        """Returns IDLE for every world: an IDM vehicle takes no orders."""
        return self.action.expand(len(observation), *self.action.shape).clone()


def let_idm_drive(world: Any, mask: Tensor) -> None:
    """Turns the first ego of each world in `mask` into an IDM vehicle, in place.

    Source: highway_env.vehicle.behavior.IDMVehicle.create_from, 1.12.1.
    """
    rows = mask.nonzero()[:, 0]
    slots = world.ego[rows, 0].long()
    world.kind[rows, slots] = int(Kind.IDM)
    world.delta[rows, slots] = DELTA  # not randomised, unlike the traffic's
    world.changes_lanes[rows, slots] = True
    place = world.x[rows, slots] + world.y[rows, slots]
    world.timer[rows, slots] = torch.remainder(place * math.pi, LANE_CHANGE_DELAY)
