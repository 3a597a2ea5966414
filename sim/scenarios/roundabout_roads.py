"""The roads of the roundabouts: circles in the middle, and four arms with a road in and a road out.

Source: highway_env/envs/roundabout_env.py `_make_road`, 1.12.1.
"""

from dataclasses import dataclass

import numpy as np

from sim.engine.lanes import CircularLane, Lane, LineType, SineLane, StraightLane
from sim.engine.network import Graph, Network

Point = tuple[float, float]

RADIUS = 20  # m, of the inner circle of roundabout-v0
LANES = 2  # circles of roundabout-v0
LANE_WIDTH = 4  # m, from a circle to the next
ALPHA = 24  # deg, between an arm's axis and the points where its roads meet the circle
ROAD_OFFSET = 2.0  # m, from an arm's axis to the middle of each of its two roads
ACCESS = 170.0  # m, from the centre to the far end of an arm of roundabout-v0
DEVIATION = 85.0  # m, side of the square outside of which the arms of roundabout-v0 are straight
BEND = 0.2 * DEVIATION  # m, that a bent road takes along the arm's axis
AMPLITUDE = 5.0  # m, of a bent road's sine
# roundabout-generic-v0
LEAST_DEVIATION = 100.0  # m
DEVIATION_MARGIN = 40.0  # m, by which the square is larger than the outer circle
STRAIGHT = 40.0  # m, by which the arms' ends lie beyond the square's side

# Roads of the circles, counter-clockwise, between angles [deg].
ARCS = (
    ("se", "ex", 90 - ALPHA, ALPHA),
    ("ex", "ee", ALPHA, -ALPHA),
    ("ee", "nx", -ALPHA, -90 + ALPHA),
    ("nx", "ne", -90 + ALPHA, -90 - ALPHA),
    ("ne", "wx", -90 - ALPHA, -180 + ALPHA),
    ("wx", "we", -180 + ALPHA, -180 - ALPHA),
    ("we", "sx", 180 - ALPHA, 90 + ALPHA),
    ("sx", "se", 90 + ALPHA, 90 - ALPHA),
)
# South, east, north and west: the angles [deg] at which an arm's entry and exit meet the circle.
ARMS = (
    ("s", 90 - ALPHA, 90 + ALPHA),
    ("e", -ALPHA, ALPHA),
    ("n", -90 - ALPHA, -90 + ALPHA),
    ("w", 180 - ALPHA, -180 + ALPHA),
)


@dataclass
class Bend:
    """The sine of a bent road, in the frame of the south arm [m, rad/m, rad]."""

    axis: float  # x of the sine's axis
    inner: float  # y where it meets the circle
    amplitude: float
    pulsation: float
    phase: float


def roundabout() -> Network:
    """Return the road of roundabout-v0."""
    graph: Graph = {}
    add_circles(graph, RADIUS, LANES)
    pulsation = 2 * np.pi / DEVIATION
    axis, inner = ROAD_OFFSET + AMPLITUDE, DEVIATION / 2 - BEND
    phase = -np.pi / 2
    entry = Bend(axis, inner, AMPLITUDE, pulsation, phase)
    leave = Bend(-axis, inner, AMPLITUDE, pulsation, phase + pulsation * (DEVIATION - BEND))
    for turns, (arm, _, _) in enumerate(ARMS):
        add_arm(graph, arm, turns, ACCESS, DEVIATION / 2, entry, leave)
    return Network(graph)


def generic_roundabout(radius: float, lanes: int) -> Network:
    """Return the road of roundabout-generic-v0 with `lanes` circles, the innermost of `radius` [m]."""
    graph: Graph = {}
    add_circles(graph, radius, lanes)
    outer_radius = radius + LANE_WIDTH * (lanes - 1)
    deviation = max(LEAST_DEVIATION, 2 * outer_radius + DEVIATION_MARGIN)
    for turns, (arm, entry_angle, exit_angle) in enumerate(ARMS):
        x, y = turned(on_circle(outer_radius, entry_angle), -turns)
        amplitude = (x - ROAD_OFFSET) / 2
        entry = Bend(ROAD_OFFSET + amplitude, y, amplitude, np.pi / (deviation / 2 - y), -np.pi / 2)
        x, y = turned(on_circle(outer_radius, exit_angle), -turns)
        amplitude = (x + ROAD_OFFSET) / 2
        leave = Bend(x - amplitude, y, amplitude, np.pi / (deviation / 2 - y), -np.pi / 2)
        add_arm(graph, arm, turns, deviation + STRAIGHT, deviation / 2, entry, leave)
    return Network(graph)


def add_circles(graph: Graph, radius: float, lanes: int) -> None:
    """Add the circles' roads, inner lanes first; only the innermost and outermost markings are continuous."""
    for i in range(lanes):
        left = LineType.CONTINUOUS if i == 0 else LineType.NONE
        right = LineType.CONTINUOUS if i == lanes - 1 else LineType.STRIPED
        for start, end, begin, finish in ARCS:
            arc = CircularLane(
                (0.0, 0.0),
                float(radius + LANE_WIDTH * i),
                float(np.deg2rad(begin)),
                float(np.deg2rad(finish)),
                clockwise=False,
                line_types=(left, right),
            )
            add(graph, start, end, arc)


def add_arm(graph: Graph, arm: str, turns: int, far: float, outer: float, entry: Bend, leave: Bend) -> None:
    """Add an arm's road in and road out: straight from `far` to `outer` [m from the centre], then bent."""
    none, continuous, striped = LineType.NONE, LineType.CONTINUOUS, LineType.STRIPED

    def straight(x: float, begin: float, finish: float, left: LineType) -> StraightLane:
        return StraightLane(turned((x, begin), turns), turned((x, finish), turns), line_types=(left, continuous))

    def bent(bend: Bend, begin: float, finish: float) -> SineLane:
        ends = (turned((bend.axis, y), turns) for y in (begin, finish))
        return SineLane(*ends, bend.amplitude, bend.pulsation, bend.phase, line_types=(continuous, continuous))

    add(graph, f"{arm}er", f"{arm}es", straight(ROAD_OFFSET, far, outer, striped))
    add(graph, f"{arm}es", f"{arm}e", bent(entry, outer, entry.inner))
    add(graph, f"{arm}x", f"{arm}xs", bent(leave, leave.inner, outer))
    add(graph, f"{arm}xs", f"{arm}xr", straight(-ROAD_OFFSET, outer, far, none))


def add(graph: Graph, start: str, end: str, lane: Lane) -> None:
    """Add a lane to the right of those that the edge has."""
    graph.setdefault(start, {}).setdefault(end, []).append(lane)


def on_circle(radius: float, angle: float) -> Point:
    """Return the point of a circle around the origin [m] at an angle [deg]."""
    phi = np.deg2rad(angle)
    return float(radius * np.cos(phi)), float(radius * np.sin(phi))


def turned(point: Point, turns: int) -> Point:
    """Turn a point by quarters of a circle, counter-clockwise on the screen: south becomes east. This is exact."""
    x, y = point
    for _ in range(turns % 4):
        x, y = y, -x
    return x, y
