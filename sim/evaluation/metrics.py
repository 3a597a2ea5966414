"""What is measured of an episode, for many worlds at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

UNITS = {
    "return": "",
    "length": "steps",
    "crashed": "",
    "speed": "m/s",
    "distance": "m",
    "lane_changes": "",
}
"""The per-episode metrics and their units, in the order of the arrays."""


class EpisodeMetrics:
    """Adds up the metrics of one episode a world, at policy steps.

    A world counts only while it is alive: whatever happens after its episode has ended leaves its figures
    alone.

    * return: sum of the rewards. length: policy steps. crashed: whether the ego crashed.
    * speed: mean over policy steps of the ego's speed after each [m/s], highway-env's `info["speed"]`.
    * distance: sum of the displacements between policy steps [m].
    * lane_changes: how often the ego's current lane differed from that of the policy step before. On a network
      of several roads, passing from one to the next would count too; the straight highway has one road.

    Args:
        world: the state right after the reset; anything with `x, y, speed [N, V]`, `lane`, `crashed` and `ego
            [N, C]`.
    """

    def __init__(self, world: Any):
        self.x, self.y, _, self.lane, _ = _ego_of(world)
        n, device = len(self.x), self.x.device
        self.total = {name: torch.zeros(n, dtype=torch.float64, device=device) for name in UNITS}

    def update(self, world: Any, reward: Tensor, alive: Tensor) -> None:
        """Adds one policy step of the worlds in `alive` (bool [N]); `reward` is [N]."""
        x, y, speed, lane, crashed = _ego_of(world)
        self._add("return", reward, alive)
        self._add("length", torch.ones_like(x), alive)
        self._add("speed", speed, alive)
        self._add("distance", torch.hypot(x - self.x, y - self.y), alive)
        self._add("lane_changes", lane != self.lane, alive)
        self._add("crashed", crashed, alive & (self.total["crashed"] == 0))
        self.x, self.y, self.lane = x, y, lane

    def finish(self) -> dict[str, np.ndarray]:
        """Returns the metrics as float64 arrays [N], all worlds having ended."""
        steps = self.total["length"].clamp(min=1)
        totals = {**self.total, "speed": self.total["speed"] / steps}
        return {name: values.cpu().numpy() for name, values in totals.items()}

    def _add(self, name: str, values: Tensor, alive: Tensor) -> None:
        # `where`, not a product: a finished world may hold anything, and 0 times NaN is NaN.
        values = values.to(torch.float64)
        self.total[name] += torch.where(alive, values, torch.zeros_like(values))


def _ego_of(world: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Returns copies of x, y [m], speed [m/s], lane and crashed of each world's first ego, [N] each."""
    slot = world.ego[:, :1].long()
    x, y, speed, lane, crashed = (
        getattr(world, name).gather(1, slot)[:, 0] for name in ("x", "y", "speed", "lane", "crashed")
    )
    return x.double(), y.double(), speed.double(), lane, crashed
