"""Contacts between rectangles: now (a crash) or within the coming frame (a push, and a crash one frame later).

highway-env assigns impacts pair by pair in list order, so the last contact of a vehicle wins: with an object, else
with the highest later slot, else with the highest earlier slot. `impact_rank` keeps that order whatever the order of
the search.
Source: highway_env/vehicle/objects.py `handle_collisions`, utils.py `are_polygons_intersecting`, 1.12.1.
"""

import math
from typing import Any

import warp as wp

from sim.engine import COLD
from sim.engine.neighbours import axis_coordinate, sort_in
from sim.engine.state import Kind
from sim.engine.vehicles import LENGTH, OBJECT_SIZE, WIDTH, step_vehicle

VEHICLE_DIAGONAL = math.hypot(LENGTH, WIDTH)  # m
OBJECT_DIAGONAL = math.hypot(OBJECT_SIZE, OBJECT_SIZE)  # m
MIXED_DIAGONAL = (VEHICLE_DIAGONAL + OBJECT_DIAGONAL) / 2


@wp.func
def _interval_gap(low_a: Any, high_a: Any, low_b: Any, high_b: Any):
    """Signed gap of two intervals, negative where they overlap (`interval_distance`)."""
    if low_a < low_b:
        return low_b - high_a
    return low_a - high_b


@wp.func(inline=COLD)
def contact(world: Any, w: int, a: int, b: int, dt: Any):
    """Return (intersecting, will_intersect, push x, push y [m]) of two vehicles or objects.

    The separating axes are the two of each rectangle; each is tried in both directions because the stretched interval
    is not symmetric. A push parts two vehicles to a gap of exactly zero, where rounding decides: positions are
    projected before they are subtracted, as in highway-env, which gives its very answer for vehicles along an axis.
    """
    zero = type(dt)(0.0)
    intersecting = bool(True)
    will_intersect = bool(True)
    center_x = world.cars[w, b].x - world.cars[w, a].x
    center_y = world.cars[w, b].y - world.cars[w, a].y
    cos_a = world.cars[w, a].cos_heading
    sin_a = world.cars[w, a].sin_heading
    cos_b = world.cars[w, b].cos_heading
    sin_b = world.cars[w, b].sin_heading
    moved_x = world.cars[w, a].speed * cos_a * dt - world.cars[w, b].speed * cos_b * dt
    moved_y = world.cars[w, a].speed * sin_a * dt - world.cars[w, b].speed * sin_b * dt
    half = type(dt)(0.5)
    length_a = half * type(dt)(LENGTH)
    width_a = half * type(dt)(WIDTH)
    length_b = length_a
    width_b = width_a
    if world.cars[w, a].kind >= Kind.OBSTACLE:
        length_a = half * type(dt)(OBJECT_SIZE)
        width_a = length_a
    if world.cars[w, b].kind >= Kind.OBSTACLE:
        length_b = half * type(dt)(OBJECT_SIZE)
        width_b = length_b
    smallest = type(dt)(wp.inf)
    push_x = zero
    push_y = zero
    # Edge normals in highway-env's order: backwards, right, forwards, left of a, then of b.
    for k in range(8):
        cos_n = cos_a
        sin_n = sin_a
        if k >= 4:
            cos_n = cos_b
            sin_n = sin_b
        normal_x = -cos_n
        normal_y = -sin_n
        if k % 2 == 1:
            normal_x = -sin_n
            normal_y = cos_n
        if k % 4 >= 2:
            normal_x = -normal_x
            normal_y = -normal_y
        half_a = length_a * wp.abs(normal_x * cos_a + normal_y * sin_a) + width_a * wp.abs(
            normal_y * cos_a - normal_x * sin_a
        )
        half_b = length_b * wp.abs(normal_x * cos_b + normal_y * sin_b) + width_b * wp.abs(
            normal_y * cos_b - normal_x * sin_b
        )
        center = center_x * normal_x + center_y * normal_y
        at_a = world.cars[w, a].x * normal_x + world.cars[w, a].y * normal_y
        at_b = world.cars[w, b].x * normal_x + world.cars[w, b].y * normal_y
        low_a = at_a - half_a
        high_a = at_a + half_a
        if _interval_gap(low_a, high_a, at_b - half_b, at_b + half_b) > zero:
            intersecting = False
        shift = moved_x * normal_x + moved_y * normal_y
        low_a = low_a + wp.min(shift, zero)
        high_a = high_a + wp.max(shift, zero)
        gap = _interval_gap(low_a, high_a, at_b - half_b, at_b + half_b)
        if gap > zero:
            will_intersect = False
        if not intersecting and not will_intersect:
            break
        if wp.abs(gap) < smallest:
            smallest = wp.abs(gap)
            push_x = -normal_x * smallest
            push_y = -normal_y * smallest
            if -center > zero:  # the push points from b to a
                push_x = -push_x
                push_y = -push_y
    return intersecting, will_intersect, push_x, push_y


@wp.func
def _take_impact(world: Any, w: int, v: int, rank: int, x: Any, y: Any):
    if rank >= world.cars[w, v].impact_rank:
        world.cars[w, v].impact_rank = rank
        world.cars[w, v].impact_x = x
        world.cars[w, v].impact_y = y


@wp.func
def collide_pair(world: Any, w: int, first: int, second: int, dt: Any):
    """`first.handle_collisions(second)`: the two in list order, so an object is always second."""
    if not world.cars[w, first].checks_collisions:
        if not world.cars[w, second].checks_collisions:
            return
    distance_x = world.cars[w, second].x - world.cars[w, first].x
    distance_y = world.cars[w, second].y - world.cars[w, first].y
    diagonal = type(dt)(VEHICLE_DIAGONAL)
    if world.cars[w, second].kind >= Kind.OBSTACLE:
        diagonal = type(dt)(MIXED_DIAGONAL)
    reach = diagonal + world.cars[w, first].speed * dt
    if wp.sqrt(distance_x * distance_x + distance_y * distance_y) > reach:
        return
    if world.cars[w, first].kind >= Kind.OBSTACLE:  # highway-env lets vehicles alone look for contacts
        return
    intersecting, will_intersect, x, y = contact(world, w, first, second, dt)
    if world.cars[w, second].kind == Kind.LANDMARK:
        if intersecting:
            world.cars[w, second].crashed = True  # a landmark's flag means "hit"
        return
    count = world.rows[w].count
    if will_intersect:
        if world.cars[w, second].kind == Kind.OBSTACLE:
            _take_impact(world, w, first, 2 * count + second, x, y)
        else:
            half = type(dt)(0.5)
            _take_impact(world, w, first, count + second, half * x, half * y)
            _take_impact(world, w, second, first, -half * x, -half * y)
    if intersecting:
        world.cars[w, first].crashed = True
        world.cars[w, second].crashed = True


@wp.func
def step_and_collide(lanes: Any, world: Any, model: Any, w: int):
    """`Road.step`: move all vehicles, restore their order along the axis, and handle the contacts.

    Vehicles are taken from the back of the road to its front. Two that are near each other are tested when the second
    has moved and is sorted in: against those before it, and those it has overtaken.
    """
    fastest = type(model.dt)(0.0)
    last = -type(model.dt)(wp.inf)
    for k in range(world.rows[w].count):
        v = world.order[w, k]
        step_vehicle(lanes, world, model, w, v)
        fastest = wp.max(fastest, world.cars[w, v].speed)
        reach = type(model.dt)(VEHICLE_DIAGONAL) + fastest * model.dt
        key = axis_coordinate(world, model, w, v)
        if key - last <= reach:  # out of order, or near the vehicle before
            _sort_in_and_collide(world, model, w, k, reach)
            last = axis_coordinate(world, model, w, world.order[w, k])
        else:
            last = key


@wp.func
def _sort_in_and_collide(world: Any, model: Any, w: int, k: int, reach: Any):
    place = sort_in(world, model, w, k)
    v = world.order[w, place]
    key = axis_coordinate(world, model, w, v)
    before = place - 1
    while before >= 0:
        other = world.order[w, before]
        if key - axis_coordinate(world, model, w, other) > reach:
            break
        collide_pair(world, w, wp.min(v, other), wp.max(v, other), model.dt)
        before = before - 1
    overtaken = place + 1
    while overtaken <= k:
        other = world.order[w, overtaken]
        if axis_coordinate(world, model, w, other) - key > reach:
            break
        collide_pair(world, w, wp.min(v, other), wp.max(v, other), model.dt)
        overtaken = overtaken + 1
