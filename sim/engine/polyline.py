"""The curve of a polyline lane.

Source: highway_env/road/spline.py, 1.12.1.
"""

from collections.abc import Sequence

import numpy as np


class Polyline:
    """A piecewise linear curve with poses `[P, 4]` (x, y, unit tangent) 1 m apart (highway-env's `LinearSpline2D`)."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        self.points = np.asarray(points, dtype=float)
        steps = np.linalg.norm(np.diff(self.points, axis=0), axis=1)
        self.knots = np.concatenate([[0.0], np.cumsum(steps)])
        self.length = float(self.knots[-1])
        x, y = self.position(np.arange(int(np.floor(self.length)) + 1, dtype=float))
        dx, dy = np.diff(x), np.diff(y)
        dx, dy = np.append(dx, dx[-1]), np.append(dy, dy[-1])
        norm = np.sqrt(dx**2 + dy**2)
        self.poses = np.stack([x, y, dx / norm, dy / norm], axis=1)

    def position(self, longitudinal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y [m]; beyond the ends the first or last segment goes on."""
        s = np.asarray(longitudinal, dtype=float)
        k = np.clip(np.searchsorted(self.knots, s, side="right") - 1, 0, len(self.knots) - 2)
        share = (s - self.knots[k]) / (self.knots[k + 1] - self.knots[k])
        point = self.points[k] + share[..., None] * (self.points[k + 1] - self.points[k])
        return point[..., 0], point[..., 1]

    def longitudinal(self, point: np.ndarray) -> float:
        """Project a point on the curve: the last pose it is not behind [m]."""
        ahead = ((point - self.poses[:, :2]) * self.poses[:, 2:]).sum(axis=1)
        # highway-env scans from the end and leaves out pose 0, which takes whatever remains
        for index in range(len(ahead) - 1, 0, -1):
            if ahead[index] >= 0:
                return index + float(ahead[index])
        return float(ahead[0])
