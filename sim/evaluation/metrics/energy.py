"""What the ego's wheels have to give for its way: a simple longitudinal model of a usual passenger car on a flat road.

Power = (inertia + rolling resistance + air drag) times speed, where it is positive; nothing is won back by braking, and
the drive train's losses are not counted. The figures are those of a mid-size car: energy per metre tells drivers apart,
not cars. Source: T. D. Gillespie (1992), "Fundamentals of vehicle dynamics", chapter 4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics.base import Measure, Spec
from sim.evaluation.metrics.signals import total

MASS = 1500.0  # kg
GRAVITY = 9.81  # m/s2
ROLLING = 0.01  # coefficient of rolling resistance
AIR = 1.2  # kg/m3
DRAG_AREA = 0.65  # m2, drag coefficient times frontal area
SHORTEST_DRIVE = 10.0  # m, below which nothing is given per metre

SPECS: dict[str, Spec] = {
    "energy": Spec("J/m", "lower", False, "tractive energy per distance, a usual car's on a flat road; from 10 m on"),
}


def measure(episodes: Episodes) -> dict[str, Measure]:
    """Return the energy of N episodes."""
    work, gone = tractive_work(episodes)
    driven = total(gone, episodes.counts[1:])
    far = driven >= SHORTEST_DRIVE
    return {"energy": Measure.of(total(work, episodes.counts[1:]) / torch.where(far, driven, 1.0), far)}


def tractive_work(episodes: Episodes) -> tuple[Tensor, Tensor]:
    """Return the work of the wheels [J] and the way [m] between each two frames, float64 [T - 1, N] each.

    Between two frames the acceleration is taken as steady; a vehicle that reverses pays as one that drives on.
    """
    speed = episodes.of_ego("speed").double().abs()
    before, after = speed[:-1], speed[1:]
    gain = (after - before) / episodes.dt
    middle = (before + after) / 2
    way = middle * episodes.dt
    # The mean of v^2 over the way at steady acceleration is (v0^2 + v1^2) / 2.
    force = MASS * (gain + GRAVITY * ROLLING) + AIR * DRAG_AREA / 2 * (before * before + after * after) / 2
    return force.clamp(min=0) * way, way
