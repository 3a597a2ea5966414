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
from sim.engine.elementary import dot, fused
from sim.engine.neighbours import axis_coordinate, sort_in
from sim.engine.state import Kind
from sim.engine.vehicles import LENGTH, WIDTH, step_vehicle

VEHICLE_DIAGONAL = math.hypot(LENGTH, WIDTH)  # m
HALF_VEHICLE_DIAGONAL = VEHICLE_DIAGONAL / 2
Corners = wp.types.matrix(shape=(4, 2), dtype=wp.float64)
ROUNDING = 1e-3  # m, by how much more than needed two things must be apart to be left out early


@wp.func
def _interval_gap(low_a: Any, high_a: Any, low_b: Any, high_b: Any):
    """Signed gap of two intervals, negative where they overlap (`interval_distance`)."""
    if low_a < low_b:
        return low_b - high_a
    return low_a - high_b


@wp.func
def _corners(world: Any, w: int, v: int):
    """Corners [m] of a vehicle or object, rounded as NumPy's matrix product does it."""
    half_length = wp.float64(0.5) * world.cars[w, v].length
    half_width = wp.float64(0.5) * world.cars[w, v].width
    cosine = world.cars[w, v].cos_heading
    sine = world.cars[w, v].sin_heading
    corners = Corners()
    for k in range(4):
        along = half_length
        across = half_width
        if k < 2:
            along = -half_length
        if k == 0 or k == 3:
            across = -half_width
        corners[k, 0] = fused(-sine, across, cosine * along) + world.cars[w, v].x
        corners[k, 1] = fused(cosine, across, sine * along) + world.cars[w, v].y
    return corners


@wp.func
def _extent(corners: Corners, normal_x: wp.float64, normal_y: wp.float64):
    """Lowest and highest projection [m] of four corners on a normal (`project_polygon`)."""
    low = dot(corners[0, 0], corners[0, 1], normal_x, normal_y)
    high = low
    for k in range(1, 4):
        at = dot(corners[k, 0], corners[k, 1], normal_x, normal_y)
        low = wp.min(low, at)
        high = wp.max(high, at)
    return low, high


@wp.func
def _middle(corners: Corners, axis: int):
    """Mean of a coordinate of four corners [m]."""
    return (corners[0, axis] + corners[1, axis] + corners[2, axis] + corners[3, axis]) / wp.float64(4.0)


@wp.func(inline=COLD)
def contact(world: Any, w: int, a: int, b: int, dt: wp.float64):
    """Return (intersecting, will_intersect, push x, push y [m]) of two vehicles or objects.

    Operation by operation as in highway-env: a push parts two vehicles to a gap of exactly zero, and in the next frame
    rounding decides whether they still touch.
    """
    zero = wp.float64(0.0)
    intersecting = bool(True)
    will_intersect = bool(True)
    corners_a = _corners(world, w, a)
    corners_b = _corners(world, w, b)
    moved_x = (world.cars[w, a].speed * world.cars[w, a].cos_heading) * dt - (
        world.cars[w, b].speed * world.cars[w, b].cos_heading
    ) * dt
    moved_y = (world.cars[w, a].speed * world.cars[w, a].sin_heading) * dt - (
        world.cars[w, b].speed * world.cars[w, b].sin_heading
    ) * dt
    between_x = _middle(corners_a, 0) - _middle(corners_b, 0)
    between_y = _middle(corners_a, 1) - _middle(corners_b, 1)
    smallest = wp.float64(wp.inf)
    push_x = zero
    push_y = zero
    for polygon in range(2):
        for k in range(4):
            after = (k + 1) % 4
            normal_x = corners_a[k, 1] - corners_a[after, 1]
            normal_y = corners_a[after, 0] - corners_a[k, 0]
            if polygon == 1:
                normal_x = corners_b[k, 1] - corners_b[after, 1]
                normal_y = corners_b[after, 0] - corners_b[k, 0]
            size = wp.sqrt(dot(normal_x, normal_y, normal_x, normal_y))
            normal_x = normal_x / size
            normal_y = normal_y / size
            low_a, high_a = _extent(corners_a, normal_x, normal_y)
            low_b, high_b = _extent(corners_b, normal_x, normal_y)
            if _interval_gap(low_a, high_a, low_b, high_b) > zero:
                intersecting = False
            shift = dot(normal_x, normal_y, moved_x, moved_y)
            if shift < zero:
                low_a = low_a + shift
            else:
                high_a = high_a + shift
            gap = _interval_gap(low_a, high_a, low_b, high_b)
            if gap > zero:
                will_intersect = False
            if not intersecting and not will_intersect:
                break
            if wp.abs(gap) < smallest:
                smallest = wp.abs(gap)
                push_x = normal_x
                push_y = normal_y
                if not dot(between_x, between_y, normal_x, normal_y) > zero:
                    push_x = -push_x
                    push_y = -push_y
    return intersecting, will_intersect, smallest * push_x, smallest * push_y


@wp.func(inline=COLD)
def contact(world: Any, w: int, a: int, b: int, dt: wp.float32):  # noqa: F811 - Warp picks the overload by type
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
    moved_x = world.cars[w, a].speed * cos_a * dt - world.cars[w, b].speed * cos_b * dt
    moved_y = world.cars[w, a].speed * sin_a * dt - world.cars[w, b].speed * sin_b * dt
    half = type(dt)(0.5)
    length_a = half * world.cars[w, a].length
    width_a = half * world.cars[w, a].width
    length_b = half * world.cars[w, b].length
    width_b = half * world.cars[w, b].width
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
    """`first.handle_collisions(second)` of two vehicles in list order."""
    if not world.cars[w, first].checks_collisions:
        if not world.cars[w, second].checks_collisions:
            return
    if world.cars[w, second].kind >= Kind.OBSTACLE:  # see collide_with_objects
        return
    distance_x = world.cars[w, second].x - world.cars[w, first].x
    distance_y = world.cars[w, second].y - world.cars[w, first].y
    reach = type(dt)(VEHICLE_DIAGONAL) + world.cars[w, first].speed * dt
    if wp.sqrt(dot(distance_x, distance_y, distance_x, distance_y)) > reach:
        return
    intersecting, will_intersect, x, y = contact(world, w, first, second, dt)
    if will_intersect:
        half = type(dt)(0.5)
        _take_impact(world, w, first, world.rows[w].count + second, half * x, half * y)
        _take_impact(world, w, second, first, -half * x, -half * y)
    if intersecting:
        world.cars[w, first].crashed = True
        world.cars[w, second].crashed = True


@wp.func
def _collide_with_object(world: Any, w: int, v: int, thing: int, dt: Any):
    """`v.handle_collisions(thing)` of a vehicle and an object."""
    distance_x = world.cars[w, thing].x - world.cars[w, v].x
    distance_y = world.cars[w, thing].y - world.cars[w, v].y
    half = type(dt)(0.5)
    length = world.cars[w, thing].length
    width = world.cars[w, thing].width
    cos_h = world.cars[w, thing].cos_heading
    sin_h = world.cars[w, thing].sin_heading
    near = type(dt)(HALF_VEHICLE_DIAGONAL) + wp.abs(world.cars[w, v].speed) * dt + type(dt)(ROUNDING)
    if wp.abs(distance_y * cos_h - distance_x * sin_h) > near + half * width:  # a wall is long and thin
        return
    if wp.abs(distance_x * cos_h + distance_y * sin_h) > near + half * length:
        return
    reach = half * (type(dt)(VEHICLE_DIAGONAL) + wp.sqrt(length * length + width * width)) + world.cars[w, v].speed * dt
    if wp.sqrt(dot(distance_x, distance_y, distance_x, distance_y)) > reach:
        return
    intersecting, will_intersect, x, y = contact(world, w, v, thing, dt)
    if world.cars[w, thing].kind == Kind.LANDMARK:
        if intersecting:
            world.cars[w, thing].crashed = True  # a landmark's flag means "hit"
        return
    if will_intersect:
        _take_impact(world, w, v, 2 * world.rows[w].count + thing, x, y)
    if intersecting:
        world.cars[w, v].crashed = True
        world.cars[w, thing].crashed = True


@wp.func(inline=COLD)
def collide_with_objects(world: Any, w: int, dt: Any):
    """Handle the contacts of all vehicles with the objects, which are few."""
    vehicles = world.rows[w].count - world.rows[w].objects
    for thing in range(vehicles, world.rows[w].count):
        for v in range(vehicles):
            _collide_with_object(world, w, v, thing, dt)


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
    if world.rows[w].objects > 0:
        collide_with_objects(world, w, model.dt)


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
