"""What of the ground is road: the lanes, and the corners in which the edges of two lanes meet, rounded as kerbs are.

Lanes are strips; where an arm meets a roundabout's ring, none covers the corner between them, over which every car
drives that turns there. A real kerb is an arc there. So a corner of 90 degrees or more is filled up to the arc of
`KERB_RADIUS` that touches both edges; a narrower wedge, such as the gore between two lanes that part or the strip
between two carriageways, is not.

Source of the radius: kerb returns for cars are 4.5 m to 7.5 m, entries of roundabouts 10 m and more (AASHTO, A policy
on geometric design of highways and streets; FHWA, Roundabouts: an informational guide).
"""

import math
from typing import Any

import warp as wp

from sim.engine import COLD
from sim.engine import lanes as lane

KERB_RADIUS = 10.0  # m, of the arc in a corner
STRAIGHTEST = math.cos(math.radians(10.0))  # edges that differ by less meet in no corner
STEP = 2.0  # m, for which both edges must go on from the corner
BENT = 1.0  # m, by which an edge may be elsewhere there, as lanes bend and end a little before or after


@wp.func
def outside(lanes: Any, on: int, x: Any, y: Any):
    """How far a point is outside a lane [m]; zero or less inside."""
    s, lateral = lane.local_coordinates(lanes, on, x, y)
    beside = wp.abs(lateral) - lane.width_at(lanes, on, s) * type(s)(0.5)
    return wp.max(beside, wp.max(-s, s - lanes.lanes[on].length))


@wp.func
def edge(lanes: Any, on: int, x: Any, y: Any):
    """Return how far a point is beside a lane or its continuation [m], and the unit vector to its edge.

    Not beside it: -1.
    """
    radius = type(x)(KERB_RADIUS)
    s, lateral = lane.local_coordinates(lanes, on, x, y)
    beside = wp.abs(lateral) - lane.width_at(lanes, on, s) * type(s)(0.5)
    heading = lane.heading_at(lanes, on, s)
    side = wp.where(lateral < type(x)(0.0), type(x)(-1.0), type(x)(1.0))
    if s < -radius or s > lanes.lanes[on].length + radius:
        beside = type(x)(-1.0)
    return beside, wp.sin(heading) * side, -wp.cos(heading) * side


@wp.func
def goes_on(lanes: Any, on: int, x: Any, y: Any, to_x: Any, to_y: Any, other_x: Any, other_y: Any):
    """Does a lane's edge go on from a corner, on the side that lies away from the other edge?

    to_x, to_y: unit vector across the edge, towards the lane. other_x, other_y: towards the other lane.
    """
    along = type(x)(STEP)
    if to_x * other_y - to_y * other_x > type(x)(0.0):
        along = -along
    return outside(lanes, on, x - to_y * along, y + to_x * along) <= type(x)(BENT)


@wp.func
def beyond_kerb(lanes: Any, one: int, other: int, x: Any, y: Any, least: Any):
    """How far a point is beyond the kerb in the corner of two lanes [m], negative on the road; `least` if in none."""
    zero = type(x)(0.0)
    radius = type(x)(KERB_RADIUS)
    a, a_x, a_y = edge(lanes, one, x, y)
    b, b_x, b_y = edge(lanes, other, x, y)
    cosine = a_x * b_x + a_y * b_y
    if a < zero or a > radius or b < zero or b > radius or cosine < zero or cosine > type(x)(STRAIGHTEST):
        return least
    square = type(x)(1.0) - cosine * cosine
    # The corner, from the distances along both vectors; and the point, from the middle of the arc.
    p = (a - b * cosine) / square
    q = (b - a * cosine) / square
    corner_x = x + p * a_x + q * b_x
    corner_y = y + p * a_y + q * b_y
    u = radius - a
    v = radius - b
    if u < v * cosine or v < u * cosine:  # past where the arc touches an edge
        return least
    if not goes_on(lanes, one, corner_x, corner_y, a_x, a_y, b_x, b_y):
        return least
    if not goes_on(lanes, other, corner_x, corner_y, b_x, b_y, a_x, a_y):
        return least
    return wp.min(least, radius - wp.sqrt((u * u + v * v - type(x)(2.0) * u * v * cosine) / square))


@wp.func(inline=COLD)
def beyond_kerbs(lanes: Any, x: Any, y: Any, least: Any):
    """The same of all corners, for a point that is outside every lane by `least` [m]."""
    beyond = least
    for one in range(lanes.lanes.shape[0]):
        beside, to_x, to_y = edge(lanes, one, x, y)
        if beside >= type(x)(0.0) and beside <= type(x)(KERB_RADIUS):
            for other in range(one):
                beyond = wp.min(beyond, beyond_kerb(lanes, one, other, x, y, least))
    return beyond


@wp.func
def off_road(lanes: Any, on: int, x: Any, y: Any):
    """How far a point is off the road [m], the lane `on` looked at first; zero or less on it."""
    least = outside(lanes, on, x, y)
    zero = type(x)(0.0)
    other = int(0)
    while least > zero and other < lanes.lanes.shape[0]:
        if other != on:
            least = wp.min(least, outside(lanes, other, x, y))
        other = other + 1
    if least > zero and least < type(x)(KERB_RADIUS):
        least = beyond_kerbs(lanes, x, y, least)
    return least
