"""Contacts between rectangles: now (a crash) or within the coming frame (a push, and a crash one frame later).

highway-env assigns impacts pair by pair in list order, so the last contact of a vehicle wins: with an object, else with
the highest later slot, else with the highest earlier slot. `impact_rank` keeps that order whatever the order of the search.
Source: highway_env/vehicle/objects.py `handle_collisions`, utils.py `are_polygons_intersecting`, 1.12.1.
"""

import math
from typing import Any

import warp as wp

from sim.engine.state import Kind
from sim.engine.vehicles import LENGTH, OBJECT_SIZE, WIDTH

VEHICLE_DIAGONAL = math.hypot(LENGTH, WIDTH)  # m
OBJECT_DIAGONAL = math.hypot(OBJECT_SIZE, OBJECT_SIZE)  # m
MIXED_DIAGONAL = (VEHICLE_DIAGONAL + OBJECT_DIAGONAL) / 2


@wp.func
def _interval_gap(center: Any, half_a: Any, half_b: Any, shift: Any):
    """Signed gap of intervals a = [-half_a, half_a], b around `center`; a stretched by `shift` (`interval_distance`)."""
    zero = type(center)(0.0)
    low_a = -half_a + wp.min(shift, zero)
    high_a = half_a + wp.max(shift, zero)
    low_b = center - half_b
    if low_a < low_b:
        return low_b - high_a
    return low_a - (center + half_b)


@wp.func
def contact(world: Any, w: int, a: int, b: int, dt: Any):
    """Return (intersecting, will_intersect, push x, push y [m]) of two vehicles or objects.

    The separating axes are the two of each rectangle; each is tried in both directions because the stretched interval
    is not symmetric.
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
    moved_x = (world.cars[w, a].speed * cos_a - world.cars[w, b].speed * cos_b) * dt
    moved_y = (world.cars[w, a].speed * sin_a - world.cars[w, b].speed * sin_b) * dt
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
        half_a = length_a * wp.abs(normal_x * cos_a + normal_y * sin_a) + width_a * wp.abs(normal_y * cos_a - normal_x * sin_a)
        half_b = length_b * wp.abs(normal_x * cos_b + normal_y * sin_b) + width_b * wp.abs(normal_y * cos_b - normal_x * sin_b)
        center = center_x * normal_x + center_y * normal_y
        if _interval_gap(center, half_a, half_b, zero) > zero:
            intersecting = False
        gap = _interval_gap(center, half_a, half_b, moved_x * normal_x + moved_y * normal_y)
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
    """`first.handle_collisions(second)`: the two in list order, an object always second."""
    distance_x = world.cars[w, second].x - world.cars[w, first].x
    distance_y = world.cars[w, second].y - world.cars[w, first].y
    diagonal = type(dt)(VEHICLE_DIAGONAL)
    if world.cars[w, second].kind >= Kind.OBSTACLE:
        diagonal = type(dt)(MIXED_DIAGONAL)
    reach = diagonal + world.cars[w, first].speed * dt
    if wp.sqrt(distance_x * distance_x + distance_y * distance_y) > reach:
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
def handle_collisions(world: Any, model: Any, w: int):
    """Test all pairs near each other along the sorted axis in which at least one vehicle checks its collisions."""
    dt = model.dt
    count = world.rows[w].count
    fastest = type(dt)(0.0)
    for v in range(count):
        fastest = wp.max(fastest, world.cars[w, v].speed)
    reach = type(dt)(VEHICLE_DIAGONAL) + fastest * dt
    for k in range(count):
        v = world.order[w, k]
        if world.cars[w, v].checks_collisions:
            key = world.cars[w, v].x * model.axis_x + world.cars[w, v].y * model.axis_y
            for ahead in range(k + 1, count):
                other = world.order[w, ahead]
                if world.cars[w, other].x * model.axis_x + world.cars[w, other].y * model.axis_y - key > reach:
                    break
                collide_pair(world, w, wp.min(v, other), wp.max(v, other), dt)
            behind = k - 1
            while behind >= 0:
                other = world.order[w, behind]
                if key - (world.cars[w, other].x * model.axis_x + world.cars[w, other].y * model.axis_y) > reach:
                    break
                if not world.cars[w, other].checks_collisions:  # else its own turn has found the pair
                    collide_pair(world, w, wp.min(v, other), wp.max(v, other), dt)
                behind = behind - 1
