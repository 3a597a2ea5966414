"""Where the driver means to go."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.overlays.base import lag_of, place_of
from sim.recording.replay import Frame
from sim.render import PLAN, Mark

DOT = 0.35
"""Radius of the dot at each policy step of a plan [m]."""


def require_plan(driver: Any) -> None:
    """Raises ValueError for a driver that tells no plan."""
    if not hasattr(driver, "plan"):
        name = "the driver" if driver is None else type(driver).__name__
        raise ValueError(f"the overlay 'plan' needs a driver that tells its plan, as search does; {name} has none")


def plan(frame: Frame, moment: Any) -> list[Mark]:
    """A line from where the first ego is through the places that its driver means to be at, policy step by step."""
    if frame.plan is None:
        return []
    dt = 1 / frame.envs.config["policy_frequency"]
    passed = (frame.age - lag_of(moment)) / dt  # of a step, since the driver decided
    ahead = np.arange(1, len(frame.plan) + 1) > passed
    points = frame.plan[ahead & np.isfinite(frame.plan).all(axis=1)]
    if not len(points):
        return []
    ego = int(moment.ego[0, 0])
    around = np.arange(10) * (2 * np.pi / 10)
    circle = DOT * np.stack([np.cos(around), np.sin(around)], axis=-1)
    line = Mark(np.concatenate([[place_of(moment, ego)], points]), PLAN, closed=False, width=2, alpha=0.9, under=True)
    return [line, *(Mark(circle + point, PLAN, width=0, under=True) for point in points)]
