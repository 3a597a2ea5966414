"""Lane geometry: host descriptions of every lane type of highway-env, and the same curves as device functions.

Frame: x right, y down, metres and radians; a lane's lateral coordinate grows to the right of its travel direction.
Source: highway_env/road/lane.py and spline.py, 1.12.1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import warp as wp

from sim.engine import COLD
from sim.engine.elementary import angle_from, arctangent2, cosine_and_sine, dot, wrap_to_pi
from sim.engine.polyline import Polyline
from sim.engine.state import lane_struct

DEFAULT_WIDTH = 4.0  # m
HALF_PI = math.pi / 2
VEHICLE_LENGTH = 5.0  # m, how far past its ends a lane still holds a vehicle (AbstractLane.VEHICLE_LENGTH)
HALF_VEHICLE = VEHICLE_LENGTH / 2
BOX_ROUNDING = 1e-2  # m, what float32 may lose at 10 km
DEFAULT_SPEED_LIMIT = 20.0  # m/s
NO_SPEED_LIMIT = -1.0  # stands for highway-env's None in the tables


class LineType(IntEnum):
    """Marking on one side of a lane, highway-env's values."""

    NONE = 0
    STRIPED = 1
    CONTINUOUS = 2
    CONTINUOUS_LINE = 3


class Shape(IntEnum):
    """How a lane's curve is computed on the device."""

    STRAIGHT = 0
    SINE = 1
    CIRCULAR = 2
    POLYLINE = 3


@dataclass(kw_only=True)
class Lane:
    """What all lanes share."""

    width: float = DEFAULT_WIDTH  # m
    line_types: tuple[LineType, LineType] = (LineType.STRIPED, LineType.STRIPED)  # left, right
    forbidden: bool = False  # may no vehicle change to this lane
    speed_limit: float | None = DEFAULT_SPEED_LIMIT  # m/s
    priority: int = 0  # right of way at junctions, the higher goes first

    def box(self) -> tuple[float, float, float, float]:
        """Return low x, low y, high x, high y [m] of a box that no point is farther from than from the lane.

        "Farther" by the largest difference of a coordinate, against the lane's own measure: lateral offset plus the
        way beyond its ends. That holds for straight lanes, sines and arcs; a polyline gives no bound.
        """
        return -math.inf, -math.inf, math.inf, math.inf


@dataclass
class StraightLane(Lane):
    """A straight segment from `start` to `end` [m]."""

    start: tuple[float, float]
    end: tuple[float, float]

    @property
    def length(self) -> float:
        """Length of the chord [m]."""
        return float(np.linalg.norm(np.subtract(self.end, self.start)))

    @property
    def heading(self) -> float:
        """Direction of the chord [rad]."""
        return float(np.arctan2(self.end[1] - self.start[1], self.end[0] - self.start[0]))

    @property
    def direction(self) -> np.ndarray:
        """Unit vector of the chord."""
        return np.subtract(self.end, self.start) / self.length

    def position(self, longitudinal: np.ndarray, lateral: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return world x and y [m] of points in lane coordinates [m]."""
        dx, dy = self.direction
        return self.start[0] + longitudinal * dx - lateral * dy, self.start[1] + longitudinal * dy + lateral * dx

    def heading_at(self, longitudinal: np.ndarray) -> np.ndarray:
        """Return the lane's heading [rad] at longitudinal coordinates [m]."""
        return np.full_like(np.asarray(longitudinal, dtype=float), self.heading)

    def box(self) -> tuple[float, float, float, float]:
        """Return the box around the chord [m]."""
        return _widened(np.array([self.start, self.end]), 0.0)


@dataclass
class SineLane(StraightLane):
    """A sine around the chord: lateral offset `amplitude * sin(pulsation * s + phase)` [m, rad/m, rad]."""

    amplitude: float
    pulsation: float
    phase: float

    def position(self, longitudinal: np.ndarray, lateral: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return world x and y [m] of points in lane coordinates [m]."""
        wave = self.amplitude * np.sin(self.pulsation * longitudinal + self.phase)
        return super().position(longitudinal, lateral + wave)

    def heading_at(self, longitudinal: np.ndarray) -> np.ndarray:
        """Return the lane's heading [rad] at longitudinal coordinates [m]."""
        slope = self.amplitude * self.pulsation * np.cos(self.pulsation * longitudinal + self.phase)
        return self.heading + np.arctan(slope)

    def box(self) -> tuple[float, float, float, float]:
        """Return the box around the chord, widened by the amplitude [m]."""
        return _widened(np.array([self.start, self.end]), abs(self.amplitude))


@dataclass
class CircularLane(Lane):
    """An arc around `center` [m] from `start_phase` to `end_phase` [rad]."""

    center: tuple[float, float]
    radius: float
    start_phase: float
    end_phase: float
    clockwise: bool = True

    @property
    def turn(self) -> int:
        """1 for clockwise on the screen, -1 for counter-clockwise."""
        return 1 if self.clockwise else -1

    @property
    def length(self) -> float:
        """Length of the arc [m]."""
        return self.radius * (self.end_phase - self.start_phase) * self.turn

    def position(self, longitudinal: np.ndarray, lateral: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return world x and y [m] of points in lane coordinates [m]."""
        phi = self.turn * longitudinal / self.radius + self.start_phase
        radius = self.radius - lateral * self.turn
        return self.center[0] + radius * np.cos(phi), self.center[1] + radius * np.sin(phi)

    def heading_at(self, longitudinal: np.ndarray) -> np.ndarray:
        """Return the lane's heading [rad] at longitudinal coordinates [m]; not wrapped."""
        return self.turn * longitudinal / self.radius + self.start_phase + np.pi / 2 * self.turn

    def box(self) -> tuple[float, float, float, float]:
        """Return the box around the arc [m]."""
        low, high = sorted((self.start_phase, self.end_phase))
        right_angles = np.arange(math.ceil(low / HALF_PI), math.floor(high / HALF_PI) + 1) * HALF_PI
        phases = np.array([low, high, *right_angles])
        points = np.stack([np.cos(phases), np.sin(phases)], axis=1)
        return _widened(np.array(self.center) + self.radius * points, 0.0)


@dataclass
class PolyLane(Lane):
    """A polyline through `lane_points` [m]; with boundary points the width varies along it.

    Covers highway-env's `PolyLaneFixedWidth` (no boundaries) and `PolyLane`.
    """

    lane_points: Sequence[tuple[float, float]]
    left_boundary_points: Sequence[tuple[float, float]] | None = None
    right_boundary_points: Sequence[tuple[float, float]] | None = None
    curve: Polyline = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Sample the centre line."""
        self.curve = Polyline(self.lane_points)

    @property
    def length(self) -> float:
        """Length of the polyline [m]."""
        return self.curve.length

    def position(self, longitudinal: np.ndarray, lateral: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return world x and y [m] of points in lane coordinates [m]."""
        x, y = self.curve.position(longitudinal)
        heading = self.heading_at(longitudinal)
        return x - np.sin(heading) * lateral, y + np.cos(heading) * lateral

    def heading_at(self, longitudinal: np.ndarray) -> np.ndarray:
        """Return the lane's heading [rad] at longitudinal coordinates [m]."""
        index = np.clip(np.floor(np.asarray(longitudinal, dtype=float)), 0, len(self.curve.poses) - 1).astype(int)
        return np.arctan2(self.curve.poses[index, 3], self.curve.poses[index, 2])

    def width_samples(self) -> np.ndarray:
        """Return the width [m] at samples about 1 m apart; one sample where the width is fixed."""
        if self.left_boundary_points is None or self.right_boundary_points is None:
            return np.array([self.width])
        samples = np.linspace(0, self.length, num=int(np.ceil(self.length)) + 1)
        center = np.stack(self.curve.position(samples), axis=1)
        gaps = []
        for points in (self.left_boundary_points, self.right_boundary_points):
            boundary = Polyline(points)
            foot = np.stack(boundary.position(np.array([boundary.longitudinal(p) for p in center])), axis=1)
            gaps.append(np.linalg.norm(foot - center, axis=1))
        return np.maximum(2 * np.minimum(*gaps), DEFAULT_WIDTH)


def _widened(points: np.ndarray, margin: float) -> tuple[float, float, float, float]:
    """Return the box around points `[P, 2]`, widened by a margin and by what float32 may round away [m]."""
    low, high = points.min(axis=0) - margin - BOX_ROUNDING, points.max(axis=0) + margin + BOX_ROUNDING
    return (*map(float, low), *map(float, high))


@wp.func
def is_swept(lanes: lane_struct(wp.float32, False)):
    """Is this a single straight road, whose traffic acts in one sweep? Known when a kernel is compiled."""
    return False


@wp.func
def is_swept(lanes: lane_struct(wp.float64, False)):  # noqa: F811 - Warp picks the overload by type
    """Is this a single straight road, whose traffic acts in one sweep? Known when a kernel is compiled."""
    return False


@wp.func
def is_swept(lanes: lane_struct(wp.float32, True)):  # noqa: F811
    """Is this a single straight road, whose traffic acts in one sweep? Known when a kernel is compiled."""
    return True


@wp.func
def is_swept(lanes: lane_struct(wp.float64, True)):  # noqa: F811
    """Is this a single straight road, whose traffic acts in one sweep? Known when a kernel is compiled."""
    return True


@wp.func(inline=COLD)
def polyline_pose(lanes: Any, lane: int, x: Any, y: Any):
    """Index of the last pose of a polyline that a point is not behind; pose 0 takes the rest."""
    first = lanes.lanes[lane].pose_first
    pose = lanes.lanes[lane].pose_count - 1
    while pose > 0:
        k = first + pose
        ahead = (x - lanes.poses[k].x) * lanes.poses[k].dx + (y - lanes.poses[k].y) * lanes.poses[k].dy
        if ahead >= type(x)(0.0):
            return k
        pose = pose - 1
    return first


@wp.func
def local_coordinates(lanes: Any, lane: int, x: Any, y: Any):
    """Return the longitudinal and lateral coordinate [m] of a point on a lane."""
    along = x - lanes.lanes[lane].x
    across = y - lanes.lanes[lane].y
    if is_swept(lanes):  # along x
        return along, across
    shape = lanes.lanes[lane].shape
    if shape <= Shape.SINE:  # straight or sine
        s = dot(along, across, lanes.lanes[lane].dx, lanes.lanes[lane].dy)
        lateral = dot(along, across, -lanes.lanes[lane].dy, lanes.lanes[lane].dx)
        if shape == Shape.SINE:
            cosine, sine = cosine_and_sine(lanes.lanes[lane].pulsation * s + lanes.lanes[lane].phase)
            lateral = lateral - lanes.lanes[lane].amplitude * sine
        return s, lateral
    if shape == Shape.CIRCULAR:
        swept = angle_from(arctangent2(across, along), lanes.lanes[lane].phase)
        turn = lanes.lanes[lane].turn
        s = turn * swept * lanes.lanes[lane].radius
        return s, turn * (lanes.lanes[lane].radius - wp.sqrt(dot(along, across, along, across)))
    k = polyline_pose(lanes, lane, x, y)
    px = x - lanes.poses[k].x
    py = y - lanes.poses[k].y
    s = type(x)(k - lanes.lanes[lane].pose_first) + px * lanes.poses[k].dx + py * lanes.poses[k].dy
    return s, py * lanes.poses[k].dx - px * lanes.poses[k].dy


@wp.func
def heading_at(lanes: Any, lane: int, s: Any):
    """Return a lane's heading [rad] at longitudinal coordinate `s` [m]."""
    if is_swept(lanes):
        return type(s)(0.0)
    shape = lanes.lanes[lane].shape
    heading = lanes.lanes[lane].heading
    if shape == Shape.SINE:
        cosine, sine = cosine_and_sine(lanes.lanes[lane].pulsation * s + lanes.lanes[lane].phase)
        slope = lanes.lanes[lane].amplitude * lanes.lanes[lane].pulsation * cosine
        heading = heading + arctangent2(slope, type(s)(1.0))
    elif shape == Shape.CIRCULAR:
        turn = lanes.lanes[lane].turn
        heading = turn * s / lanes.lanes[lane].radius + lanes.lanes[lane].phase + type(s)(HALF_PI) * turn
    elif shape == Shape.POLYLINE:
        k = lanes.lanes[lane].pose_first + wp.clamp(int(wp.floor(s)), 0, lanes.lanes[lane].pose_count - 1)
        heading = wp.atan2(lanes.poses[k].dy, lanes.poses[k].dx)
    return heading


@wp.func
def width_at(lanes: Any, lane: int, s: Any):
    """Return a lane's width [m] at longitudinal coordinate `s` [m]."""
    if is_swept(lanes):
        return lanes.lanes[lane].width
    if lanes.lanes[lane].shape == Shape.POLYLINE:
        return lanes.widths[
            lanes.lanes[lane].width_first + wp.clamp(int(wp.floor(s)), 0, lanes.lanes[lane].width_count - 1)
        ]
    return lanes.lanes[lane].width


@wp.func
def position(lanes: Any, lane: int, s: Any, lateral: Any):
    """Return world x and y [m] of lane coordinates [m]."""
    shape = lanes.lanes[lane].shape
    if shape <= Shape.SINE:
        offset = lateral
        if shape == Shape.SINE:
            cosine, sine = cosine_and_sine(lanes.lanes[lane].pulsation * s + lanes.lanes[lane].phase)
            offset = lateral + lanes.lanes[lane].amplitude * sine
        x = lanes.lanes[lane].x + s * lanes.lanes[lane].dx - offset * lanes.lanes[lane].dy
        return x, lanes.lanes[lane].y + s * lanes.lanes[lane].dy + offset * lanes.lanes[lane].dx
    if shape == Shape.CIRCULAR:
        turn = lanes.lanes[lane].turn
        phi = turn * s / lanes.lanes[lane].radius + lanes.lanes[lane].phase
        radius = lanes.lanes[lane].radius - lateral * turn
        cosine, sine = cosine_and_sine(phi)
        return lanes.lanes[lane].x + radius * cosine, lanes.lanes[lane].y + radius * sine
    knot = lanes.lanes[lane].knot_first
    last = knot + lanes.lanes[lane].knot_count - 2
    while knot < last and lanes.knots[knot + 1].s <= s:
        knot = knot + 1
    share = (s - lanes.knots[knot].s) / (lanes.knots[knot + 1].s - lanes.knots[knot].s)
    heading = heading_at(lanes, lane, s)
    x = lanes.knots[knot].x + share * (lanes.knots[knot + 1].x - lanes.knots[knot].x) - wp.sin(heading) * lateral
    y = lanes.knots[knot].y + share * (lanes.knots[knot + 1].y - lanes.knots[knot].y) + wp.cos(heading) * lateral
    return x, y


@wp.func
def on_lane(lanes: Any, lane: int, s: Any, lateral: Any, margin: Any):
    """Is a point in lane coordinates [m] on the lane, widened by `margin` [m] on each side?"""
    reach = type(s)(VEHICLE_LENGTH)
    if wp.abs(lateral) > width_at(lanes, lane, s) * type(s)(0.5) + margin:
        return False
    return s >= -reach and s < lanes.lanes[lane].length + reach


@wp.func
def may_be_on(lanes: Any, lane: int, x: Any, y: Any):
    """Can a point be on the lane, widened as for a neighbour? False is sure, and cheap."""
    reach = lanes.lanes[lane].reach
    if x < lanes.lanes[lane].low_x - reach or x > lanes.lanes[lane].high_x + reach:
        return False
    return y >= lanes.lanes[lane].low_y - reach and y <= lanes.lanes[lane].high_y + reach


@wp.func
def is_reachable_from(lanes: Any, lane: int, x: Any, y: Any):
    """May a vehicle at (x, y) [m] change to this lane?"""
    if lanes.lanes[lane].forbidden != 0:
        return False
    s, lateral = local_coordinates(lanes, lane, x, y)
    if wp.abs(lateral) > type(x)(2.0) * width_at(lanes, lane, s):
        return False
    return s >= type(x)(0.0) and s < lanes.lanes[lane].length + type(x)(VEHICLE_LENGTH)


@wp.func
def offset_at(lanes: Any, lane: int, s: Any, lateral: Any):
    """L1 distance [m] from lane coordinates to the lane: beside it, and beyond its ends."""
    zero = type(s)(0.0)
    return wp.abs(lateral) + (wp.max(s - lanes.lanes[lane].length, zero) + wp.max(-s, zero))


@wp.func
def distance(lanes: Any, lane: int, x: Any, y: Any):
    """L1 distance [m] from a point to the lane."""
    s, lateral = local_coordinates(lanes, lane, x, y)
    return offset_at(lanes, lane, s, lateral)


@wp.func
def distance_at(lanes: Any, lane: int, s: Any, lateral: Any, heading: Any):
    """L1 distance [m] from lane coordinates to the lane plus the angle [rad] between a heading and the lane's."""
    return offset_at(lanes, lane, s, lateral) + wp.abs(wrap_to_pi(heading - heading_at(lanes, lane, s)))


@wp.func
def least_offset(lanes: Any, lane: int, x: Any, y: Any):
    """A lower bound [m] of the distance to a lane that needs no trigonometry."""
    if lanes.lanes[lane].shape == Shape.CIRCULAR:
        along = x - lanes.lanes[lane].x
        across = y - lanes.lanes[lane].y
        return wp.abs(lanes.lanes[lane].radius - wp.sqrt(along * along + across * across))
    return type(x)(0.0)
