"""`Road.act` on a single straight road: one walk from its front to its back knows the vehicle ahead on each lane.

The result is that of `drivers.act_all`, which searches; a test compares the two.
"""

from typing import Any

import warp as wp

from sim.engine import lanes as lane
from sim.engine.drivers import (
    LANE_CHANGE_MIN_SPEED,
    abort_lane_change,
    consider_lane_change,
    control,
    follow_road,
    following_acceleration,
    is_candidate,
    is_driven,
    is_due,
    look_ahead,
    mobil,
)
from sim.engine.network import MARGIN, MAX_SWEPT_LANES
from sim.engine.state import Kind

LaneSlots = wp.types.vector(MAX_SWEPT_LANES, wp.int32)


@wp.func
def _pass(lanes: Any, world: Any, w: int, v: int, ahead: LaneSlots):
    """Return `ahead`, the nearest vehicle on each lane, after passing `v`."""
    x = world.cars[w, v].x
    y = world.cars[w, v].y
    margin = type(x)(MARGIN)
    on = world.cars[w, v].lane
    s, lateral = lane.local_coordinates(lanes, on, x, y)
    if wp.abs(lateral) < lanes.lanes[on].alone:  # so far from the next lanes that it is on its own only
        if lane.on_lane(lanes, on, s, lateral, margin):
            ahead[on] = v
        return ahead
    for side in range(-1, 2):
        near = on + side
        if near >= 0 and near < lanes.lanes.shape[0]:
            s, lateral = lane.local_coordinates(lanes, near, x, y)
            if lane.on_lane(lanes, near, s, lateral, margin):
                ahead[near] = v
    return ahead


@wp.func
def _behind(world: Any, model: Any, w: int, v: int, front: int):
    """What `front` (-1: none) adds to the acceleration of `v` [m/s2]; the road runs along x."""
    if front < 0:
        return type(model.dt)(0.0)
    return following_acceleration(world, model, w, v, v, front, world.cars[w, front].x - world.cars[w, v].x)


@wp.func
def _consider_lane_change(lanes: Any, world: Any, model: Any, w: int, v: int, ahead: LaneSlots):
    """`drivers.consider_lane_change` with the vehicles ahead known."""
    current = world.cars[w, v].lane
    world.cars[w, v].timer = type(model.dt)(0.0)
    if wp.abs(world.cars[w, v].speed) < type(model.dt)(LANE_CHANGE_MIN_SPEED):
        return
    candidate = current - 1
    while candidate <= current + 1:
        if is_candidate(lanes, world, w, v, candidate):
            if mobil(lanes, world, model, w, v, candidate, ahead[candidate], ahead[current]):
                world.cars[w, v].target_lane = candidate
        candidate = candidate + 2


@wp.func
def _level(world: Any, w: int, k: int):
    """Has the vehicle at place `k` of the order an equal coordinate behind it? Equal ones count as ahead."""
    if k == 0:
        return False
    return world.cars[w, world.order[w, k - 1]].x == world.cars[w, world.order[w, k]].x


@wp.func
def act_swept(lanes: Any, world: Any, model: Any, w: int):
    """`Road.act`, front to back.

    Vehicles that keep their lane, or decide to leave it, depend on no other vehicle's decision, so they decide and
    control in one go. Those already changing lanes look at the others' new targets: they follow, in list order.
    """
    ahead = LaneSlots(-1)
    count = world.rows[w].count
    changing = int(0)
    for step in range(count):
        k = count - 1 - step
        v = world.order[w, k]
        if is_driven(world, w, v):
            follow_road(lanes, world, w, v)
            following = type(model.dt)(0.0)
            current = world.cars[w, v].lane
            if world.cars[w, v].kind == Kind.MDP:
                control(lanes, world, model, w, v, following)
            elif current != world.cars[w, v].target_lane:
                changing = changing + 1
            else:
                due = is_due(world, model, w, v)
                if _level(world, w, k):
                    if due:
                        consider_lane_change(lanes, world, model, w, v)
                    following = look_ahead(lanes, world, model, w, v)
                else:
                    if due:
                        _consider_lane_change(lanes, world, model, w, v, ahead)
                    following = _behind(world, model, w, v, ahead[current])
                    target = world.cars[w, v].target_lane
                    if target != current:
                        following = wp.min(following, _behind(world, model, w, v, ahead[target]))
                control(lanes, world, model, w, v, following)
        ahead = _pass(lanes, world, w, v, ahead)
    if changing > 0:
        _act_changing(lanes, world, model, w)


@wp.func
def _act_changing(lanes: Any, world: Any, model: Any, w: int):
    """Act for the vehicles that were changing lanes before this frame, in list order."""
    for v in range(world.rows[w].count):
        if world.cars[w, v].lane != world.cars[w, v].target_lane and is_driven(world, w, v):
            started_now = world.cars[w, v].timer == type(model.dt)(0.0)
            if world.cars[w, v].kind != Kind.MDP and not started_now:
                if world.cars[w, v].changes_lanes:
                    abort_lane_change(lanes, world, model, w, v, True)
                control(lanes, world, model, w, v, look_ahead(lanes, world, model, w, v))
