"""The road of the intersection ids: four arms that meet, each with a lane in and a lane out.

Source: highway_env/envs/intersection_env.py `_make_road`, 1.12.1.
"""

import numpy as np

from sim.engine.lanes import DEFAULT_WIDTH, CircularLane, Lane, LineType, StraightLane
from sim.engine.network import Graph, Network

CORNERS = 4  # south, west, north, east
RIGHT_TURN_RADIUS = DEFAULT_WIDTH + 5  # m
LEFT_TURN_RADIUS = RIGHT_TURN_RADIUS + DEFAULT_WIDTH  # m
OUTER_DISTANCE = RIGHT_TURN_RADIUS + DEFAULT_WIDTH / 2  # m, from the middle to where the lanes begin to turn
ACCESS_LENGTH = 50 + 50  # m
SPEED_LIMIT = 10.0  # m/s
HORIZONTAL_PRIORITY = 3  # of straight lanes and right turns; a left turn has one less
VERTICAL_PRIORITY = 1


def junction() -> Network:
    """Return the network; nodes are "o" (outer) or "i" (inner) with "r" (right, in) or "l" (left, out), and the arm."""
    graph: Graph = {}
    for corner in range(CORNERS):
        for (start, end), one in corner_lanes(corner).items():
            graph.setdefault(start, {})[end] = [one]
    return Network(graph)


def corner_lanes(corner: int) -> dict[tuple[str, str], Lane]:
    """Return the five lanes of one arm of the junction by (start, end), in highway-env's order."""
    angle = np.radians(90 * corner)
    priority = HORIZONTAL_PRIORITY if corner % 2 else VERTICAL_PRIORITY
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def at(x: float, y: float) -> tuple[float, float]:
        return tuple((rotation @ np.array([x, y])).tolist())

    none, continuous, striped = LineType.NONE, LineType.CONTINUOUS, LineType.STRIPED
    shared = {"priority": priority, "speed_limit": SPEED_LIMIT}
    middle, outer, far = DEFAULT_WIDTH / 2, OUTER_DISTANCE, ACCESS_LENGTH + OUTER_DISTANCE
    center = at(-LEFT_TURN_RADIUS + middle, LEFT_TURN_RADIUS - middle)
    inner, right, left = f"ir{corner}", (corner - 1) % CORNERS, (corner + 1) % CORNERS
    return {
        (f"o{corner}", inner): StraightLane(
            at(middle, far), at(middle, outer), line_types=(striped, continuous), **shared
        ),
        (inner, f"il{right}"): CircularLane(
            at(outer, outer),
            RIGHT_TURN_RADIUS,
            float(angle + np.radians(180)),
            float(angle + np.radians(270)),
            line_types=(none, continuous),
            **shared,
        ),
        (inner, f"il{left}"): CircularLane(
            center,
            LEFT_TURN_RADIUS,
            float(angle + np.radians(0)),
            float(angle + np.radians(-90)),
            clockwise=False,
            line_types=(none, none),
            **shared | {"priority": priority - 1},
        ),
        (inner, f"il{(corner + 2) % CORNERS}"): StraightLane(
            at(middle, outer), at(middle, -outer), line_types=(striped, none), **shared
        ),
        (f"il{right}", f"o{right}"): StraightLane(
            at(outer, middle), at(far, middle), line_types=(none, continuous), **shared
        ),
    }


def is_exit(start: str, end: str) -> bool:
    """Does the edge between two nodes lead out of the junction?"""
    return "il" in start and "o" in end
