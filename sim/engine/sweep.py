"""`Road.act` on a single straight road: one walk from its front to its back knows the vehicle ahead on each lane.

The result is that of `drivers.act_all`, which searches; a test compares the two.
"""

from typing import Any

import warp as wp

from sim.engine import COLD
from sim.engine import lanes as lane
from sim.engine.drivers import (
    LANE_CHANGE_MIN_SPEED,
    abort_lane_change,
    consider_lane_change,
    control,
    following_acceleration,
    is_candidate,
    is_driven,
    is_due,
    look_ahead,
    mobil,
)
from sim.engine.network import MARGIN
from sim.engine.state import Kind


@wp.func
def _pass(lanes: Any, world: Any, w: int, v: int, level: bool):
    """Note `v` as the nearest vehicle on the lanes it is on, its own or also one next to it."""
    if world.cars[w, v].kind == Kind.LANDMARK:
        return
    y = world.cars[w, v].y
    s = world.cars[w, v].x - lanes.lanes[0].x
    margin = type(y)(MARGIN)
    on = world.cars[w, v].lane
    lateral = y - lanes.lanes[on].y
    if wp.abs(lateral) < lanes.lanes[on].alone:  # too far from the next lanes to be on them
        if lane.on_lane(lanes, on, s, lateral, margin):
            _note(world, w, v, on, level)
    else:
        for side in range(-1, 2):
            near = on + side
            if near >= 0 and near < lanes.lanes.shape[0]:
                if lane.on_lane(lanes, near, s, y - lanes.lanes[near].y, margin):
                    _note(world, w, v, near, level)


@wp.func
def _note(world: Any, w: int, v: int, on: int, level: bool):
    """Note `v` as the nearest on a lane, unless it is level with the one noted, which stands later in the list."""
    if level:
        noted = world.ahead[w, on]
        if noted >= 0:
            if world.cars[w, noted].x == world.cars[w, v].x:
                return
    world.ahead[w, on] = v


@wp.func
def _behind(world: Any, model: Any, w: int, v: int, front: int):
    """What `front` (-1: none) adds to the acceleration of `v` [m/s2]; the road runs along x."""
    if front < 0:
        return type(model.dt)(0.0)
    return following_acceleration(world, model, w, v, v, front, world.cars[w, front].x - world.cars[w, v].x)


@wp.func
def _consider_lane_change(lanes: Any, world: Any, model: Any, w: int, v: int):
    """`drivers.consider_lane_change` with the vehicles ahead known."""
    current = world.cars[w, v].lane
    world.cars[w, v].timer = type(model.dt)(0.0)
    if wp.abs(world.cars[w, v].speed) < type(model.dt)(LANE_CHANGE_MIN_SPEED):
        return
    candidate = current - 1
    while candidate <= current + 1:
        if is_candidate(lanes, world, w, v, candidate):
            if mobil(lanes, world, model, w, v, candidate, world.ahead[w, candidate], world.ahead[w, current]):
                world.cars[w, v].target_lane = candidate
        candidate = candidate + 2


@wp.func
def act_swept(lanes: Any, world: Any, model: Any, w: int):
    """`Road.act`, front to back.

    Vehicles that keep their lane, or decide to leave it, depend on no other vehicle's decision, so they decide and
    control in one go. Those already changing lanes look at the others' new targets: they follow, in list order.
    The road ends at its end, so `follow_road` has nothing to do here.
    """
    for near in range(lanes.lanes.shape[0]):
        world.ahead[w, near] = -1
    changing = int(0)
    level = bool(False)
    k = world.rows[w].count - 1
    behind = world.order[w, k]
    while k >= 0:
        v = behind
        k = k - 1
        level_ahead = level
        level = False  # equal coordinates count as ahead, and the sweep has not met the one behind yet
        if k >= 0:
            behind = world.order[w, k]
            level = world.cars[w, behind].x == world.cars[w, v].x
        if is_driven(world, w, v):
            following = type(model.dt)(0.0)
            current = world.cars[w, v].lane
            if world.cars[w, v].kind == Kind.MDP:
                control(lanes, world, model, w, v, following)
            elif current != world.cars[w, v].target_lane:
                changing = changing + 1
            else:
                due = is_due(world, model, w, v)
                if level:
                    if due:
                        consider_lane_change(lanes, world, model, w, v)
                    following = look_ahead(lanes, world, model, w, v)
                else:
                    if due:
                        _consider_lane_change(lanes, world, model, w, v)
                    following = _behind(world, model, w, v, world.ahead[w, current])
                    target = world.cars[w, v].target_lane
                    if target != current:
                        following = wp.min(following, _behind(world, model, w, v, world.ahead[w, target]))
                control(lanes, world, model, w, v, following)
        _pass(lanes, world, w, v, level_ahead)
    if changing > 0:
        _act_changing(lanes, world, model, w)


@wp.func(inline=COLD)
def _act_changing(lanes: Any, world: Any, model: Any, w: int):
    """Act for the vehicles that were changing lanes before this frame, in list order."""
    for v in range(world.rows[w].count):
        if world.cars[w, v].lane != world.cars[w, v].target_lane and is_driven(world, w, v):
            started_now = world.cars[w, v].timer == type(model.dt)(0.0)
            if world.cars[w, v].kind != Kind.MDP and not started_now:
                if world.cars[w, v].changes_lanes:
                    abort_lane_change(lanes, world, model, w, v, True)
                control(lanes, world, model, w, v, look_ahead(lanes, world, model, w, v))
