"""Which part of the world a frame shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class View:
    """A window onto the world; as in highway-env, y grows down the frame.

    Attributes:
        origin: the world point in its upper left corner [m]. scale: [px/m]. size: width and height [px].
    """

    origin: np.ndarray
    scale: float
    size: tuple[int, int]

    @classmethod
    def at(cls, x: float, y: float, scale: float, size: tuple[int, int], centering: tuple[float, float]) -> View:
        """Returns the view in which the point (x, y) [m] stands at the shares `centering` of width and height."""
        away = np.array(centering) * np.array(size) / scale
        return cls(np.array([x, y]) - away, scale, size)

    @property
    def extent(self) -> np.ndarray:
        """Width and height [m]."""
        return np.array(self.size) / self.scale

    @property
    def centre(self) -> np.ndarray:
        """The world point in the middle [m]."""
        return self.origin + self.extent / 2

    @property
    def radius(self) -> float:
        """Of the circle around all that is seen [m]."""
        return float(np.hypot(*self.extent)) / 2

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """World points [..., 2] in m to pixels."""
        return (points - self.origin) * self.scale
