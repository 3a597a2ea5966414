"""The outlines of lanes and their markings, for drawing; only what is in sight is ever sampled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sim.engine.lanes import LineType

SAMPLING = 1.0
"""Distance between the points of a curved lane [m]."""
OVERLAP = 0.1
"""How far a lane's surface is drawn past its ends [m]: lanes of racetracks meet with gaps of some centimetres."""
SHOULDER_MARGIN, ASPHALT_MARGIN = 1.6, 0.35
"""How far the shoulder and the asphalt reach beyond a lane's edge [m]."""
STRIPE_WIDTH = 0.25
"""Width of a painted line [m]."""
STRIPE_LENGTH, STRIPE_SPACING = 3.0, 13.0
"""A dash and about the distance from one to the next [m]: France's T1 marking. A car at 30 m/s moves less than half
a spacing in one frame of highway-fast-v0 (5 Hz), so the dashes never seem to run backwards."""
LONGEST_BAY = 12.0
"""A network without a longer lane is no road but a car park [m]."""


class RoadShapes:
    """Polygons of a list of lanes, computed from tables that are sampled once.

    A straight lane, however long, is two rows of its table; a curved one has a row a metre.
    """

    def __init__(self, lanes: Sequence[Any]):
        self.lanes = list(lanes)
        self.tables = [_sample(lane) for lane in self.lanes]

    def car_park(self) -> np.ndarray | None:
        """Returns the box around all lanes, [[low x, low y], [high x, high y]] [m], if they are parking bays."""
        if max(table[-1, 0] for table in self.tables) > LONGEST_BAY:
            return None
        outlines = [self.ribbon(lane, 0.0, table[-1, 0]) for lane, table in enumerate(self.tables)]
        points = np.concatenate(outlines)
        return np.stack([points.min(axis=0), points.max(axis=0)])

    def visible(self, centre: np.ndarray, radius: float) -> Iterator[tuple[int, float, float]]:
        """Yields (lane, start, end) [m] for the stretches of lanes within `radius` of `centre`."""
        for number, table in enumerate(self.tables):
            reach = radius + table[:, 5].max() + SAMPLING
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
        outline = self._strip(lane, start, end, (-0.5, -margin), (0.5, margin))
        for first, last, sign in ((0, -1, -OVERLAP), (len(outline) // 2 - 1, len(outline) // 2, OVERLAP)):
            aside = (outline[last] - outline[first]) / np.linalg.norm(outline[last] - outline[first])
            outline[[first, last]] += sign * np.array([aside[1], -aside[0]])
        return outline

    def markings(self, lane: int, start: float, end: float) -> Iterator[np.ndarray]:
        """Yields the outlines of the painted lines along a stretch of a lane."""
        for side, kind in zip((-0.5, 0.5), self.lanes[lane].line_types, strict=True):
            edges = ((side, -STRIPE_WIDTH / 2), (side, STRIPE_WIDTH / 2))
            if kind in (LineType.CONTINUOUS, LineType.CONTINUOUS_LINE):
                yield self._strip(lane, start, end, *edges)
            elif kind == LineType.STRIPED:
                # Dashes have places on the lane: they stand still while the camera moves. A whole number of spacings
                # makes up the lane, a dash in the middle of each: the lane after goes on in step, and one back along
                # the same line has its dashes in the same places.
                length = float(self.tables[lane][-1, 0])
                spacing = length / max(1, round(length / STRIPE_SPACING))
                half = min(STRIPE_LENGTH, spacing) / 2
                for number in range(int(start // spacing), int(np.ceil(end / spacing))):
                    middle = (number + 0.5) * spacing
                    yield self._strip(lane, middle - half, middle + half, *edges)

    def _strip(
        self, lane: int, start: float, end: float, left: tuple[float, float], right: tuple[float, float]
    ) -> np.ndarray:
        """The outline between two curves along a lane, each at (share of the lane's width, plus metres)."""
        s = np.array([start, end])
        if len(self.tables[lane]) > 2:
            s = np.linspace(start, end, max(2, int(np.ceil((end - start) / SAMPLING)) + 1))
        return np.concatenate([self._points(lane, s, *left), self._points(lane, s, *right)[::-1]])

    def _points(self, lane: int, s: np.ndarray, share: float, offset: float) -> np.ndarray:
        table = self.tables[lane]
        x, y, side_x, side_y, width = (np.interp(s, table[:, 0], column) for column in table[:, 1:].T)
        lateral = share * width + offset
        return np.stack([x + lateral * side_x, y + lateral * side_y], axis=-1)


def _sample(lane: Any) -> np.ndarray:
    """Returns a table [n, 6]: longitudinal, x, y of the centre line [m]; unit vector to its right; width [m]."""
    length = float(lane.length)
    widths = np.asarray(lane.width_samples() if hasattr(lane, "width_samples") else [lane.width], dtype=float)

    def rows(s: np.ndarray) -> np.ndarray:
        centre = np.array([_floats(lane.position(float(at), 0.0)) for at in s])
        right = np.array([_floats(lane.position(float(at), 1.0)) for at in s])
        width = np.interp(s, np.linspace(0.0, length, len(widths)), widths)
        return np.column_stack([s, centre, right - centre, width])

    # Unevenly spaced, so that no wave can be zero at every sample.
    coarse = rows(length * np.linspace(0.0, 1.0, 33) ** 1.3)
    chord = coarse[0, 1:3] + (coarse[-1, 1:3] - coarse[0, 1:3]) * (coarse[:, :1] / length)
    if np.abs(coarse[:, 1:3] - chord).max() < 1e-3 and np.ptp(widths) < 1e-3:
        return coarse[[0, -1]]
    return rows(np.linspace(0.0, length, int(length / SAMPLING) + 2))


def _floats(point: Any) -> tuple[float, float]:
    return float(point[0]), float(point[1])
