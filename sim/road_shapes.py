"""The outlines of lanes and their markings, for drawing; only what is in sight is ever sampled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sim.engine.lanes import LineType

SAMPLING = 1.0
"""Distance between the points of a curved lane [m]."""
STRIPE_WIDTH = 0.25
"""Width of a painted line [m]."""
STRIPE_LENGTH, STRIPE_SPACING = 3.0, 13.0
"""A dash and the distance from one to the next [m]: France's T1 marking. A car at 30 m/s moves less than half
a spacing in one frame of highway-fast-v0 (5 Hz), so the dashes never seem to run backwards."""


class RoadShapes:
    """Polygons of a list of lanes, computed from tables that are sampled once.

    A straight lane, however long, is two rows of its table; a curved one has a row a metre.
    """

    def __init__(self, lanes: Sequence[Any]):
        self.lanes = list(lanes)
        self.tables = [_sample(lane) for lane in self.lanes]

    def visible(self, centre: np.ndarray, radius: float) -> Iterator[tuple[int, float, float]]:
        """Yields (lane, start, end) [m] for the stretches of lanes within `radius` of `centre`."""
        for number, (lane, table) in enumerate(zip(self.lanes, self.tables, strict=True)):
            reach = radius + lane.width + SAMPLING
            s, points = table[:, 0], table[:, 1:3]
            if len(table) == 2:
                length = s[1] - s[0]
                along = (points[1] - points[0]) / length
                middle = float((centre - points[0]) @ along)
                start, end = max(0.0, middle - reach), min(length, middle + reach)
                aside = abs(float((centre - points[0]) @ np.array([-along[1], along[0]])))
                if start < end and aside < reach:
                    yield number, start, end
                continue
            inside = np.hypot(*(points - centre).T) < reach
            edges = np.flatnonzero(np.diff(np.concatenate(([0], inside.astype(int), [0]))))
            for first, last in zip(edges[::2], edges[1::2] - 1, strict=True):
                if last > first:
                    yield number, float(s[first]), float(s[last])

    def ribbon(self, lane: int, start: float, end: float, margin: float = 0.0) -> np.ndarray:
        """Returns the outline [n, 2] of a stretch of a lane, widened by `margin` [m] on both sides."""
        half = self.lanes[lane].width / 2 + margin
        return self._strip(lane, start, end, -half, half)

    def markings(self, lane: int, start: float, end: float) -> Iterator[np.ndarray]:
        """Yields the outlines of the painted lines along a stretch of a lane."""
        for side, kind in zip((-0.5, 0.5), self.lanes[lane].line_types, strict=True):
            lateral = side * self.lanes[lane].width
            edges = (lateral - STRIPE_WIDTH / 2, lateral + STRIPE_WIDTH / 2)
            if kind in (LineType.CONTINUOUS, LineType.CONTINUOUS_LINE):
                yield self._strip(lane, start, end, *edges)
            elif kind == LineType.STRIPED:
                # Dashes are counted from the start of the lane: they stay in place while the camera moves.
                for number in range(int(start // STRIPE_SPACING), int(end // STRIPE_SPACING) + 1):
                    first = number * STRIPE_SPACING
                    last = min(first + STRIPE_LENGTH, self.tables[lane][-1, 0])
                    if last > first:
                        yield self._strip(lane, first, last, *edges)

    def _strip(self, lane: int, start: float, end: float, left: float, right: float) -> np.ndarray:
        s = np.array([start, end])
        if len(self.tables[lane]) > 2:
            s = np.linspace(start, end, max(2, int(np.ceil((end - start) / SAMPLING)) + 1))
        return np.concatenate([self._points(lane, s, left), self._points(lane, s, right)[::-1]])

    def _points(self, lane: int, s: np.ndarray, lateral: float) -> np.ndarray:
        table = self.tables[lane]
        x, y, side_x, side_y = (np.interp(s, table[:, 0], column) for column in table[:, 1:].T)
        return np.stack([x + lateral * side_x, y + lateral * side_y], axis=-1)


def _sample(lane: Any) -> np.ndarray:
    """Returns a table [n, 5]: longitudinal, x, y of the centre line [m]; unit vector to its right."""

    def rows(s: np.ndarray) -> np.ndarray:
        centre = np.array([_floats(lane.position(float(at), 0.0)) for at in s])
        right = np.array([_floats(lane.position(float(at), 1.0)) for at in s])
        return np.column_stack([s, centre, right - centre])

    length = float(lane.length)
    # Unevenly spaced, so that no wave can be zero at every sample.
    coarse = rows(length * np.linspace(0.0, 1.0, 33) ** 1.3)
    chord = coarse[0, 1:3] + (coarse[-1, 1:3] - coarse[0, 1:3]) * (coarse[:, :1] / length)
    if np.abs(coarse[:, 1:3] - chord).max() < 1e-3:
        return coarse[[0, -1]]
    return rows(np.linspace(0.0, length, int(length / SAMPLING) + 2))


def _floats(point: Any) -> tuple[float, float]:
    return float(point[0]), float(point[1])
