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
"""The per-episode metrics and their units, in the order of the arrays; `success` follows where an id reports it."""


class EpisodeMetrics:
    """Adds up the metrics of one episode a world, at policy steps.

    A world counts only while it is alive: whatever happens after its episode has ended leaves its figures
    alone.

    * return: sum of the rewards. length: policy steps. crashed: whether the ego crashed (one of them, if several are
      driven).
    * speed: mean over policy steps of the ego's speed after each [m/s], highway-env's `info["speed"]`.
    * distance: sum of the displacements between policy steps [m].
    * lane_changes: how often the ego's current lane differed from that of the policy step before, on the same road:
      to pass from one road to the next is no lane change.
    * success: whether the goal was reached when the episode ended, highway-env's `info["is_success"]`.

    Args:
        world: the state right after the reset; anything with `x, y, speed [N, V]`, `lane`, `crashed` and `ego
            [N, C]`.
        roads: number of the road that each lane is part of, [L]; None where there is one road.
        egos: how many of the egos are driven; all figures but `crashed` are the first one's.
    """

    def __init__(self, world: Any, roads: Tensor | None = None, egos: int = 1):
        self.roads, self.egos = roads, egos
        self.x, self.y, _, self.lane, _ = self._ego_of(world)
        n, device = len(self.x), self.x.device
        self.total = {name: torch.zeros(n, dtype=torch.float64, device=device) for name in UNITS}

    def update(self, world: Any, reward: Tensor, alive: Tensor, success: Tensor | None = None) -> None:
        """Adds one policy step of the worlds in `alive` (bool [N]); `reward` and `success` are [N]."""
        x, y, speed, lane, crashed = self._ego_of(world)
        self._add("return", reward, alive)
        self._add("length", torch.ones_like(x), alive)
        self._add("speed", speed, alive)
        self._add("distance", torch.hypot(x - self.x, y - self.y), alive)
        same_road = True if self.roads is None else self.roads[lane] == self.roads[self.lane]
        self._add("lane_changes", (lane != self.lane) & same_road, alive)
        self._add("crashed", crashed, alive & (self.total["crashed"] == 0))
        if success is not None:
            before = self.total.get("success", torch.zeros_like(self.total["return"]))
            self.total["success"] = torch.where(alive, success.to(torch.float64), before)
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

    def _ego_of(self, world: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Copies of x, y [m], speed [m/s] and lane of each world's first ego, and who crashed, [N] each."""
        slots = world.ego[:, : self.egos].long()
        x, y, speed, lane = (getattr(world, name).gather(1, slots)[:, 0] for name in ("x", "y", "speed", "lane"))
        crashed = world.crashed.gather(1, slots).any(1)
        return x.double(), y.double(), speed.double(), lane.long(), crashed
