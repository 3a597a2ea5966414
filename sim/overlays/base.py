"""What overlays share: whose observation it is, and where things stand."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.observations import TupleObservation


def first_observation(envs: Any) -> Any:
    """Returns the observation type of the first agent."""
    kind = envs.observation_type
    while isinstance(kind, TupleObservation):
        kind = kind.members[0]
    return kind


def first_leaf(observation: Any) -> Any:
    """Returns the tensor [N, ...] that the first agent saw."""
    while isinstance(observation, tuple):
        observation = observation[0]
    return observation


def lag_of(moment: Any) -> float:
    """Returns how long before its frame a moment is [s]."""
    return float(getattr(moment, "lag", 0.0))


def place_of(moment: Any, slot: int) -> np.ndarray:
    """Returns where the middle of a vehicle is, [2] [m]."""
    return np.array([float(moment.x[0, slot]), float(moment.y[0, slot])])


def corners_of(moment: Any, slot: int, margin: float) -> np.ndarray:
    """Returns the corners [4, 2] of a vehicle that is `margin` larger on each side [m]."""
    length, width, heading = (float(getattr(moment, name)[0, slot]) for name in ("length", "width", "heading"))
    return box(place_of(moment, slot), heading, length, width, margin)


def box(place: np.ndarray, heading: float, length: float, width: float, margin: float) -> np.ndarray:
    """Returns the corners [4, 2] of a rectangle, the front left one first [m]."""
    half_length, half_width = length / 2 + margin, width / 2 + margin
    corners = np.array([(1, -1), (1, 1), (-1, 1), (-1, -1)]) * np.array([half_length, half_width])
    turn = np.array([[np.cos(heading), np.sin(heading)], [-np.sin(heading), np.cos(heading)]])
    return place + corners @ turn
