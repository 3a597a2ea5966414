"""Outlines in metres: boxes, the car, and where they stand in the world."""

from __future__ import annotations

import numpy as np


def box(length: float, width: float, ahead: float = 0.0, aside: float = 0.0) -> np.ndarray:
    """Returns the corners [4, 2] of a rectangle centred at (ahead, aside) [m] in a vehicle's frame."""
    a, b = length / 2, width / 2
    return np.array([(-a, -b), (a, -b), (a, b), (-a, b)]) + np.array([ahead, aside])


def rectangle(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Returns the corners [4, 2] of the box between two opposite ones [m]."""
    return box(*(high - low), *((low + high) / 2))


def placed(shape: np.ndarray, position: np.ndarray, heading: float) -> np.ndarray:
    """Returns a shape [n, 2] of a vehicle's frame in the world."""
    cos, sin = np.cos(heading), np.sin(heading)
    return shape @ np.array([[cos, sin], [-sin, cos]]) + position


def _mirrored(half: list[tuple[float, float]]) -> np.ndarray:
    """A closed outline, symmetric about the vehicle's axis, from its right half listed front to rear [m]."""
    return np.array(half + [(x, -y) for x, y in reversed(half)])


# Outlines of a car of sim.engine.vehicles.LENGTH x WIDTH, 5 m x 2 m.
CAR_BODY = _mirrored([(2.5, 0.62), (2.3, 0.9), (1.9, 1.0), (-2.1, 1.0), (-2.4, 0.92), (-2.5, 0.72)])
CAR_CABIN = _mirrored([(1.15, 0.74), (0.5, 0.84), (-1.3, 0.84), (-1.9, 0.7)])
CAR_ROOF = _mirrored([(0.35, 0.68), (-1.2, 0.7)])
