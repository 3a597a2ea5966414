"""Drivers made of rules: IDM + MOBIL, the classical baseline of highway driving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from sim.engine.drivers import LANE_CHANGE_DELAY
from sim.engine.spawn import DELTA
from sim.evaluation.driver import Sees, idle_action
from sim.evaluation.highway_env import HighwayEnv
from sim.world import Kind


class IdmDriver:
    """Hands the ego to the simulator's own IDM + MOBIL traffic model.

    The model reads the true state of all vehicles, so the driver is privileged. The ego keeps the target
    speed that it had at the reset (where the agent steers by itself, the speed). Works in ours and in the real
    highway-env, wherever the task is to follow lanes among traffic.
    """

    sees: Sees = "world"

    def __init__(self, device: str | torch.device = "cpu"):
        self.device = torch.device(device)

    def prepare(self, envs: Any, seeds: Sequence[int]) -> None:
        """Remembers the environment whose egos it will drive; ValueError if they cannot be driven so."""
        reason = None
        if isinstance(envs.single_action_space, spaces.Tuple):
            reason = "it drives one agent only"
        elif isinstance(envs.single_observation_space, spaces.Dict):
            reason = "there is no traffic to follow along a lane"
        elif envs.config["action"].get("dynamical", False):
            reason = "it knows no tyre slip"
        if reason:
            raise ValueError(f"the idm driver cannot drive in {envs.id}: {reason}")
        self.envs = envs
        action = torch.as_tensor(idle_action(envs.single_action_space, envs.config), device=self.device)
        self.actions = action.expand(len(seeds), *action.shape)

    def reset(self, mask: Tensor) -> None:
        """Turns the first ego of each world in `mask` (bool [N]) into an IDM vehicle."""
        if isinstance(self.envs, HighwayEnv):
            self.envs.let_idm_drive()
            return
        let_idm_drive(self.envs.world, torch.as_tensor(mask, device=self.envs.world.x.device))

    def act(self, observation: Any) -> Tensor:
        """Returns IDLE for every world: an IDM vehicle takes no orders."""
        return self.actions.clone()


def let_idm_drive(world: Any, mask: Tensor) -> None:
    """Turns the first ego of each world in `mask` into an IDM vehicle, in place.

    Source: highway_env.vehicle.behavior.IDMVehicle.create_from, 1.12.1.
    """
    rows = mask.nonzero()[:, 0]
    slots = world.ego[rows, 0].long()
    steered = world.kind[rows, slots] != int(Kind.MDP)  # by the agent, without a lane or speed to aim at
    for aim, present in (("target_lane", "lane"), ("target_speed", "speed")):
        values = getattr(world, aim)
        values[rows, slots] = torch.where(steered, getattr(world, present)[rows, slots], values[rows, slots])
    world.kind[rows, slots] = int(Kind.IDM)
    world.delta[rows, slots] = DELTA  # not randomised, unlike the traffic's
    world.changes_lanes[rows, slots] = True
    place = world.x[rows, slots] + world.y[rows, slots]
    world.timer[rows, slots] = torch.remainder(place * math.pi, LANE_CHANGE_DELAY)
