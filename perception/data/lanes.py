"""Lane lines in the picture: where each marking of the road runs, from the camera's geometry.

A line goes on through its gaps between dashes, through worn paint and behind other vehicles, as in TuSimple and CULane;
each point says whether it can be seen. Lines are numbered from the camera outwards: -1 is the first to its left,
+1 the first to its right, -2 and +2 the next; 0 runs across its way, such as the road that is crossed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.engine.lanes import LineType
from sim.engine.network import Network
from sim.road_shapes import RoadShapes
from sim.sensors.camera.frames import Frames

REACH = 80.0
"""How far lines are followed [m]."""
SAMPLING = 1.0
"""Distance between the points of a line [m]."""
NEAR = 0.1
"""Closer to the camera's plane nothing is projected [m]."""
JOINT, BEND = 0.7, math.radians(20.0)
"""Markings whose ends are so close [m] and turn so little [rad] are one line."""
SAME = 0.4
"""Two markings this close to each other all along are one [m]: neighbouring lanes both name the line between them."""
ACROSS = math.radians(60.0)
"""A line at a larger angle [rad] to the camera's way has no place beside it."""
APART = 2.0
"""Distance between the points of a line in the picture [px]."""
SHORTEST = 3.0
"""Less of a line in the picture is no label [px]."""
ABSENT = -2
"""x of a lane where it has none, as in TuSimple's files."""
ORDERS = (-2, -1, 1, 2)
"""The lanes of a list by rows, from left to right."""


@dataclass(frozen=True, eq=False)
class LaneLine:
    """One line in one picture.

    Attributes:
        order: -1, -2, ... to the left of the camera, +1, +2, ... to its right, 0 across its way.
        kind: "striped" or "continuous"; where that changes another line begins, of the same order.
        points: float32 [n, 2], x and y [px], from near to far, inside the frame; straight in between.
        seen: bool [n]: nothing stands in front of the point.
    """

    order: int
    kind: str
    points: np.ndarray
    seen: np.ndarray

    def at_rows(self, rows: Sequence[float]) -> np.ndarray:
        """Return x [px] where the line crosses rows, float32 [R]; ABSENT where it does not. The nearest counts."""
        rows = np.asarray(rows, dtype=np.float64)
        (x_0, y_0), (x_1, y_1) = self.points[:-1].T[..., None].astype(float), self.points[1:].T[..., None].astype(float)
        crosses = (np.minimum(y_0, y_1) <= rows) & (rows <= np.maximum(y_0, y_1)) & (y_0 != y_1)
        share = (rows - y_0) / np.where(y_0 == y_1, 1.0, y_1 - y_0)
        first = crosses.argmax(axis=0)
        x = np.take_along_axis(x_0 + share * (x_1 - x_0), first[None], axis=0)[0]
        return np.where(crosses.any(axis=0), x, ABSENT).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Curve:
    """A painted line of the road.

    Attributes:
        points: [P, 2] [m] about SAMPLING apart, or the two ends of a straight one.
        kinds: [P] LineType from each point to the next.
    """

    points: np.ndarray
    kinds: np.ndarray

    def near(self, eye: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
        """Return its points [n, 2] within `reach` of a place, and their kinds; straight lines are sampled here."""
        if len(self.points) > 2:
            inside = np.hypot(*(self.points - eye).T) < reach
            stretch = slice(*np.flatnonzero(inside)[[0, -1]] + (0, 1)) if inside.any() else slice(0)
            return self.points[stretch], self.kinds[stretch]
        start, end = self.points
        length = float(np.linalg.norm(end - start))
        along = (end - start) / length
        middle = float((eye - start) @ along)
        low, high = max(0.0, middle - reach), min(length, middle + reach)
        if low >= high or abs((eye - start) @ np.array([-along[1], along[0]])) > reach:
            return self.points[:0], self.kinds[:0]
        points = start + _spaced(low, high)[:, None] * along
        return points, np.repeat(self.kinds[:1], len(points))

    def dense(self) -> _Curve:
        """Return the same line sampled, if it is straight and kept as two points."""
        if len(self.points) > 2:
            return self
        share = _spaced(0.0, _length(self.points)) / _length(self.points)
        points = self.points[0] + share[:, None] * (self.points[1] - self.points[0])
        return _Curve(points, np.repeat(self.kinds[:1], len(points)))


class LaneLines:
    """The painted lines of a road network, to be found in pictures.

    Args:
        network: whose lanes have markings.
        reach: how far lines are followed from the camera [m].
    """

    def __init__(self, network: Network, reach: float = REACH):
        self.reach = reach
        self.bays = RoadShapes(network.lanes).car_park() is not None  # of a car park: nobody keeps between its lines
        self.curves = _joined(_distinct(_markings(network)))

    def seen(self, rig: Any, frames: Frames) -> list[list[LaneLine]]:
        """Return the lines in each picture that a rig has just rendered: N * C lists, ordered from left to right.

        Args:
            rig: a `sim.sensors.rig.CameraRig` whose worlds have not moved since.
            frames: what it rendered.
        """
        poses = rig.poses()
        cameras = [tensor.cpu().double().numpy() for tensor in (poses.place, poses.axes, poses.focal)]
        cameras = [array.reshape(-1, *array.shape[2:]) for array in cameras]
        hidden = frames.instance.cpu().numpy() != 0
        hidden = hidden.reshape(-1, *hidden.shape[2:])
        return [self.lines(*row) for row in zip(*cameras, hidden, strict=True)]

    def lines(self, eye: np.ndarray, axes: np.ndarray, focal: float, hidden: np.ndarray) -> list[LaneLine]:
        """Return the lines that one camera has in its frame, ordered from left to right.

        Args:
            eye: [3] where the camera is: x, y, height [m].
            axes: [3, 3] its x (right), y (down) and z (forward) axis as rows, in the world's x, y, height.
            focal: focal length [px].
            hidden: bool [H, W]: something stands on the road here.
        """
        size = np.array([hidden.shape[1], hidden.shape[0]], dtype=float)
        ahead = axes[2, :2] / max(float(np.linalg.norm(axes[2, :2])), 1e-9)
        near = [curve.near(eye[:2], self.reach) for curve in self.curves]
        near = [(points, kinds) for points, kinds in near if len(points) > 1]
        if not near:
            return []
        found, places = [], {}
        curve_of = np.repeat(np.arange(len(near)), [len(points) for points, _ in near])
        every, kinds = (np.concatenate(parts) for parts in zip(*near, strict=True))
        for run, first in _projected(every, curve_of, kinds, eye, axes, focal, size):
            curve = curve_of[first]
            if curve not in places:
                places[curve] = None if self.bays else _beside(near[curve][0], eye[:2], ahead)
            found.append((places[curve], kinds[first], run))
        return [
            LaneLine(order, "striped" if kind == LineType.STRIPED else "continuous", run, _open(run, hidden))
            for order, kind, run in _ordered(found)
        ]


def _beside(points: np.ndarray, eye: np.ndarray, ahead: np.ndarray) -> float | None:
    """How far to the right of the camera a line passes [m], as it runs where it is nearest; None if it runs across."""
    nearest = int(np.argmin(((points - eye) ** 2).sum(axis=1)))
    before, after = max(nearest - 1, 0), min(nearest + 1, len(points) - 1)
    along = (points[after] - points[before]) / max(float(np.linalg.norm(points[after] - points[before])), 1e-9)
    along = along if along @ ahead >= 0 else -along
    if along @ ahead < math.cos(ACROSS):
        return None
    offset = points[nearest] - eye
    return float(along[0] * offset[1] - along[1] * offset[0])


def _projected(
    points: np.ndarray,
    curve_of: np.ndarray,
    kinds: np.ndarray,
    eye: np.ndarray,
    axes: np.ndarray,
    focal: float,
    size: np.ndarray,
) -> list[tuple[np.ndarray, int]]:
    """The stretches of one kind of lines on the ground inside the frame: (pixels float32 [n, 2], one of its pieces).

    Piece i goes from point i of points [P, 2] [m] to the next, if both are of one curve, int [P]; kinds [P] are theirs.
    """
    offset = (points - eye[:2]) @ axes[:, :2].T - eye[2] * axes[:, 2]
    pieces = np.flatnonzero((curve_of[1:] == curve_of[:-1]) & (np.maximum(offset[1:, 2], offset[:-1, 2]) > NEAR))
    start, step = offset[pieces], offset[pieces + 1] - offset[pieces]
    # The share of each piece that lies before the camera, then of what is left the share inside the frame.
    enter, leave = _clipped(np.zeros(len(start)), np.ones(len(start)), start[:, 2] - NEAR, step[:, 2])
    first, last = start + enter[:, None] * step, start + leave[:, None] * step
    first, last = (part[:, :2] / np.maximum(part[:, 2:], NEAR / 2) * focal + size / 2 for part in (first, last))
    way = last - first
    low, high = np.zeros(len(start)), np.ones(len(start))
    for axis in (0, 1):
        low, high = _clipped(low, high, first[:, axis], way[:, axis])
        low, high = _clipped(low, high, size[axis] - first[:, axis], -way[:, axis])
    inside = np.flatnonzero(low < high)
    begin, end = first[inside] + low[inside, None] * way[inside], first[inside] + high[inside, None] * way[inside]
    pieces, open_0, open_1 = pieces[inside], (low + enter)[inside] > 0, ((high < 1) | (leave < 1))[inside]
    breaks = open_1[:-1] | open_0[1:] | (np.diff(pieces) != 1) | (np.diff(kinds[pieces]) != 0)
    runs = []
    for part in np.split(np.arange(len(pieces)), np.flatnonzero(breaks) + 1) if len(pieces) else []:
        pixels, last = np.vstack([begin[part[:1]], end[part]]), pieces[part[-1]] + 1
        if offset[pieces[part[0]], 2] > offset[last, 2]:
            pixels = pixels[::-1]
        walked = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(pixels, axis=0).T))])
        if walked[-1] >= SHORTEST:
            runs.append((np.clip(_thinned(pixels, walked), 0.0, size).astype(np.float32), int(pieces[part[0]])))
    return runs


def _clipped(low: np.ndarray, high: np.ndarray, at: np.ndarray, way: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shrink shares [low, high] of pieces to where `at + share * way` is not negative (Liang and Barsky, 1984)."""
    root = -at / np.where(way == 0, 1.0, way)
    low = np.where(way > 0, np.maximum(low, root), low)
    high = np.where(way < 0, np.minimum(high, root), high)
    return low, np.where((way == 0) & (at < 0), low, high)


def _thinned(pixels: np.ndarray, walked: np.ndarray) -> np.ndarray:
    """The line without points closer than APART to the one before, its ends kept; `walked` is its length so far."""
    steps = np.floor(walked / APART)
    kept = np.ones(len(pixels), dtype=bool)
    kept[1:-1] = steps[1:-1] != steps[:-2]
    return pixels[kept]


def _open(pixels: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Which points of a line nothing stands in front of, bool [n]."""
    column, row = (np.clip(pixels[:, i].astype(int), 0, hidden.shape[1 - i] - 1) for i in (0, 1))
    return ~hidden[row, column]


def _ordered(found: list[tuple[float | None, int, np.ndarray]]) -> list[tuple[int, int, np.ndarray]]:
    """Number lines by how far beside the camera they pass; those that pass at the same place have one number."""
    numbered = [(0, kind, run) for beside, kind, run in found if beside is None]
    for sign in (-1, 1):
        side = [one for one in found if one[0] is not None and (one[0] >= 0) == (sign > 0)]
        order, last = 0, -math.inf
        for beside, kind, run in sorted(side, key=lambda one: abs(one[0])):
            if abs(beside) - last > SAME:
                order, last = order + sign, abs(beside)
            numbered.append((order, kind, run))
    return sorted(numbered, key=lambda one: one[0])


def by_rows(lines: Sequence[LaneLine], rows: Sequence[float]) -> np.ndarray:
    """Return x [px] of the lanes -2, -1, +1, +2 at rows, float32 [4, R]; ABSENT where there is none."""
    table = np.full((len(ORDERS), len(rows)), ABSENT, dtype=np.float32)
    for line in lines:
        if line.order in ORDERS:
            row = table[ORDERS.index(line.order)]
            np.copyto(row, line.at_rows(rows), where=row == ABSENT)
    return table


def rows_of(height: int, count: int = 28) -> list[int]:
    """Return rows [px] for lists by rows: evenly from the middle of the picture, where the horizon is, to its end."""
    return [int(row) for row in np.linspace(height / 2, height - 1, count).round()]


def _markings(network: Network) -> list[_Curve]:
    """The painted lines of all lanes."""
    shapes, curves = RoadShapes(network.lanes), []
    for lane, table in zip(shapes.lanes, shapes.tables, strict=True):
        for side, kind in zip((-0.5, 0.5), lane.line_types, strict=True):
            if kind != LineType.NONE:
                points = table[:, 1:3] + side * table[:, 5:6] * table[:, 3:5]
                curves.append(_Curve(points, np.full(len(points), int(kind))))
    return curves


def _distinct(curves: list[_Curve]) -> list[_Curve]:
    """The curves without those that lie on another; a line that two lanes paint is kept once."""
    kept: list[_Curve] = []
    for curve in sorted(curves, key=lambda one: -_length(one.points)):
        samples = curve.points if len(curve.points) > 2 else np.linspace(*curve.points, 64)
        if not any((_distance(samples, other.points) < SAME).all() for other in kept):
            kept.append(curve)
    return kept


def _joined(curves: list[_Curve]) -> list[_Curve]:
    """The curves, each with the one that goes on where it ends."""
    pending, done = list(curves), []
    while pending:
        curve = pending.pop(0)
        follower = _follower(curve, pending)
        if follower is None:
            done.append(curve)
            continue
        pending.remove(follower)
        one, other = curve.dense(), follower.dense()
        pending.append(
            _Curve(np.concatenate([one.points, other.points[1:]]), np.concatenate([one.kinds[:-1], other.kinds]))
        )
    return done


def _follower(curve: _Curve, others: list[_Curve]) -> _Curve | None:
    """The curve that begins where this one ends, and as it runs there; the straightest one if there are several."""
    best, least = None, BEND
    for other in others:
        if np.linalg.norm(other.points[0] - curve.points[-1]) < JOINT:
            (ax, ay), (bx, by) = curve.points[-1] - curve.points[-2], other.points[1] - other.points[0]
            bend = abs(math.atan2(ax * by - ay * bx, ax * bx + ay * by))
            if bend < least:
                best, least = other, bend
    return best


def _spaced(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, max(2, int(np.ceil((high - low) / SAMPLING)) + 1))


def _length(points: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def _distance(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Distance [n] of points [n, 2] to a polyline [P, 2]."""
    start, step = line[None, :-1], np.diff(line, axis=0)[None]
    share = ((points[:, None] - start) * step).sum(-1) / np.maximum((step**2).sum(-1), 1e-12)
    foot = start + np.clip(share, 0.0, 1.0)[..., None] * step
    return np.linalg.norm(points[:, None] - foot, axis=-1).min(axis=1)
