"""What vehicles decide: lane and speed tracking, meta-actions, IDM and MOBIL, the linear drivers.

Source: highway_env/vehicle/controller.py and behavior.py, 1.12.1.
"""

import math
from enum import IntEnum
from typing import Any

import warp as wp

from sim.engine import lanes as lane
from sim.engine.neighbours import LaneSlots, enter_sweep, front_vehicle, rear_vehicle
from sim.engine.network import next_lane
from sim.engine.state import Kind
from sim.engine.vehicles import HALF_LENGTH, LENGTH, not_zero

# ControlledVehicle
TAU_PURSUIT = 0.1  # s
KP_A = 1 / 0.6  # 1/s
KP_HEADING = 5.0  # 1/s
KP_LATERAL = 1 / 0.6  # 1/s
MAX_HEADING_COMMAND = math.pi / 4  # rad
MAX_STEERING_ANGLE = math.pi / 3  # rad
# Sine of the slip angle at the largest steering angle: tan(slip) = tan(steering) / 2.
MAX_SLIP = math.sin(math.atan(math.tan(MAX_STEERING_ANGLE) / 2))

# IDMVehicle; its POLITENESS is 0, so MOBIL's terms for the others' accelerations are left out
ACC_MAX = 6.0  # m/s2
TIME_WANTED = 1.5  # s
LANE_CHANGE_MIN_ACC_GAIN = 0.2  # m/s2
LANE_CHANGE_MAX_BRAKING_IMPOSED = 2.0  # m/s2
LANE_CHANGE_DELAY = 1.0  # s
LANE_CHANGE_MIN_SPEED = 1.0  # m/s
# LinearVehicle, AggressiveVehicle, DefensiveVehicle
LINEAR_TIME_WANTED = 2.5  # s
STYLED_MIN_ACC_GAIN = 1.0  # m/s2


class MetaAction(IntEnum):
    """Discrete decisions of an MDP vehicle."""

    LANE_LEFT = 0
    IDLE = 1
    LANE_RIGHT = 2
    FASTER = 3
    SLOWER = 4


@wp.func
def is_driven(world: Any, w: int, v: int):
    """Does the vehicle steer itself (IDM, linear or MDP, and not crashed)?"""
    kind = world.cars[w, v].kind
    return kind >= Kind.IDM and kind <= Kind.MDP and not world.cars[w, v].crashed


@wp.func
def follow_road(lanes: Any, world: Any, w: int, v: int):
    """Go on to the next lane near the end of the target lane."""
    target = world.cars[w, v].target_lane
    if lanes.lanes[target].dead_end != 0 and world.cars[w, v].route_size == 0:
        return
    if lane.after_end(lanes, target, world.cars[w, v].x, world.cars[w, v].y):
        world.cars[w, v].target_lane = next_lane(lanes, world, w, v, target)


@wp.func
def speed_to_index(model: Any, speed: Any):
    """Index of the nearest target speed; the list is taken as evenly spaced, and halves go to the even index."""
    last = model.target_speeds.shape[0] - 1
    first_speed = model.target_speeds[0]
    share = (speed - first_speed) / (model.target_speeds[last] - first_speed)
    return int(wp.clamp(wp.rint(share * type(speed)(last)), type(speed)(0.0), type(speed)(last)))


@wp.func
def apply_meta_action(lanes: Any, world: Any, model: Any, w: int, v: int, action: int):
    """Change an MDP vehicle's target lane or target speed."""
    follow_road(lanes, world, w, v)
    if action == MetaAction.FASTER or action == MetaAction.SLOWER:
        change = int(1)
        if action == MetaAction.SLOWER:
            change = -1
        index = wp.clamp(speed_to_index(model, world.cars[w, v].speed) + change, 0, model.target_speeds.shape[0] - 1)
        world.cars[w, v].target_speed = model.target_speeds[index]
    elif action == MetaAction.LANE_LEFT or action == MetaAction.LANE_RIGHT:
        target = world.cars[w, v].target_lane
        edge = lanes.lanes[target].edge
        shift = int(1)
        if action == MetaAction.LANE_LEFT:
            shift = -1
        index = wp.clamp(lanes.lanes[target].index + shift, 0, lanes.edges[edge].count - 1)
        candidate = lanes.edges[edge].first + index
        if lane.is_reachable_from(lanes, candidate, world.cars[w, v].x, world.cars[w, v].y):
            world.cars[w, v].target_lane = candidate


@wp.func
def lane_distance(lanes: Any, world: Any, w: int, v: int, other: int):
    """Distance [m] from `v` to `other` along `v`'s lane."""
    on = world.cars[w, v].lane
    s, lateral = lane.local_coordinates(lanes, on, world.cars[w, v].x, world.cars[w, v].y)
    s_other, lateral_other = lane.local_coordinates(lanes, on, world.cars[w, other].x, world.cars[w, other].y)
    return s_other - s


@wp.func
def desired_gap(world: Any, model: Any, w: int, reasoner: int, v: int, front: int):
    """Gap [m] that `v` wants to `front`, by the parameters of `reasoner`."""
    speed = world.cars[w, v].speed
    front_speed = world.cars[w, front].speed
    cos_v = world.cars[w, v].cos_heading
    sin_v = world.cars[w, v].sin_heading
    closing = (speed * cos_v - front_speed * world.cars[w, front].cos_heading) * cos_v + (
        speed * sin_v - front_speed * world.cars[w, front].sin_heading
    ) * sin_v
    time_wanted = type(speed)(TIME_WANTED)
    if world.cars[w, reasoner].kind != Kind.IDM:
        time_wanted = type(speed)(LINEAR_TIME_WANTED)
    return model.distance_wanted + speed * time_wanted + speed * closing * model.closing_scale


@wp.func
def free_acceleration(lanes: Any, world: Any, model: Any, w: int, reasoner: int, v: int):
    """Acceleration [m/s2] of `v` on an empty road, by the driver model of `reasoner`."""
    speed = world.cars[w, v].speed
    zero = type(speed)(0.0)
    target = zero  # directly steered vehicles have no target speed
    if world.cars[w, v].kind <= Kind.MDP:
        target = world.cars[w, v].target_speed
    if world.cars[w, reasoner].kind != Kind.IDM:
        if world.cars[w, v].kind > Kind.MDP:
            return zero
        return world.cars[w, reasoner].gain_0 * (target - speed)
    limit = lanes.lanes[world.cars[w, v].lane].speed_limit
    if limit >= zero:
        target = wp.clamp(target, zero, limit)
    ratio = wp.max(speed, zero) / wp.abs(not_zero(target))
    return model.comfort_acc_max * (type(speed)(1.0) - wp.pow(ratio, world.cars[w, reasoner].delta))


@wp.func
def following_acceleration(lanes: Any, world: Any, model: Any, w: int, reasoner: int, v: int, front: int):
    """What a vehicle in front (-1: none) adds to the acceleration of `v` [m/s2], by the driver model of `reasoner`."""
    speed = world.cars[w, v].speed
    zero = type(speed)(0.0)
    if front < 0:
        return zero
    gap = lane_distance(lanes, world, w, v, front)
    if world.cars[w, reasoner].kind == Kind.IDM:
        closeness = desired_gap(world, model, w, reasoner, v, front) / not_zero(gap)
        return -model.comfort_acc_max * closeness * closeness
    safe = model.distance_wanted + wp.max(speed, zero) * type(speed)(LINEAR_TIME_WANTED)
    command = world.cars[w, reasoner].gain_1 * wp.min(world.cars[w, front].speed - speed, zero)
    return command + world.cars[w, reasoner].gain_2 * wp.min(gap - safe, zero)


@wp.func
def acceleration(lanes: Any, world: Any, model: Any, w: int, reasoner: int, v: int, front: int):
    """Acceleration [m/s2] that `v` would choose behind `front` (-1: none), by the driver model of `reasoner`.

    Zero where there is no vehicle `v`, or it is an object.
    """
    if v < 0:
        return type(model.dt)(0.0)
    if world.cars[w, v].kind >= Kind.OBSTACLE:
        return type(model.dt)(0.0)
    free = free_acceleration(lanes, world, model, w, reasoner, v)
    return free + following_acceleration(lanes, world, model, w, reasoner, v, front)


@wp.func
def mobil(lanes: Any, world: Any, model: Any, w: int, v: int, candidate: int, old_front: int):
    """Does MOBIL accept a change of `v` from behind `old_front` to the lane `candidate`?

    highway-env tests the new follower first; the order does not matter to the answer, and the own gain is cheaper.
    """
    braking = -type(model.dt)(LANE_CHANGE_MAX_BRAKING_IMPOSED)
    new_front = front_vehicle(lanes, world, model, w, v, candidate)
    new_rear = int(-1)
    head = world.cars[w, v].route_head
    wanted = int(-1)
    if head < world.cars[w, v].route_size:
        wanted = world.route_lane[w, v, head]
    if wanted >= 0:
        target = lanes.lanes[world.cars[w, v].target_lane].index
        if _sign(lanes.lanes[candidate].index - target) != _sign(wanted - target):
            return False
        if acceleration(lanes, world, model, w, v, v, new_front) < braking:
            return False
        new_rear = rear_vehicle(lanes, world, model, w, v, candidate)
    else:
        # the acceleration on an empty road is the same before and after, so it drops out of the gain
        gain = following_acceleration(lanes, world, model, w, v, v, new_front)
        gain = gain - following_acceleration(lanes, world, model, w, v, v, old_front)
        least = type(gain)(LANE_CHANGE_MIN_ACC_GAIN)
        if world.cars[w, v].kind == Kind.AGGRESSIVE or world.cars[w, v].kind == Kind.DEFENSIVE:
            least = type(gain)(STYLED_MIN_ACC_GAIN)
        if gain < least:
            return False
        new_rear = rear_vehicle(lanes, world, model, w, v, candidate)
    return acceleration(lanes, world, model, w, v, new_rear, v) >= braking


@wp.func
def _sign(n: int):
    return int(n > 0) - int(n < 0)


@wp.func
def change_lane(lanes: Any, world: Any, model: Any, w: int, v: int):
    """Start a lane change, or abort one when another vehicle enters the same gap (`change_lane_policy`).

    For vehicles that are changing lanes, and for others once LANE_CHANGE_DELAY has passed since their last thought.
    Called in list order: it reads the target lanes that earlier vehicles have just chosen.
    """
    current = world.cars[w, v].lane
    target = world.cars[w, v].target_lane
    if current != target:
        if lanes.lanes[current].edge == lanes.lanes[target].edge and _gap_is_taken(lanes, world, model, w, v, target):
            world.cars[w, v].target_lane = current
        return
    speed = world.cars[w, v].speed
    world.cars[w, v].timer = type(speed)(0.0)
    if wp.abs(speed) < type(speed)(LANE_CHANGE_MIN_SPEED):
        return
    old_front = front_vehicle(lanes, world, model, w, v, current)
    first = lanes.edges[lanes.lanes[current].edge].first
    last = first + lanes.edges[lanes.lanes[current].edge].count - 1
    candidate = current - 1
    while candidate <= current + 1:  # left, then right; the right overrides the left
        if candidate >= first and candidate <= last:
            if lane.is_reachable_from(lanes, candidate, world.cars[w, v].x, world.cars[w, v].y):
                if mobil(lanes, world, model, w, v, candidate, old_front):
                    world.cars[w, v].target_lane = candidate
        candidate = candidate + 2


@wp.func
def _gap_is_taken(lanes: Any, world: Any, model: Any, w: int, v: int, target: int):
    """Is another vehicle ahead, closer than the desired gap, changing to the same lane?"""
    for other in range(world.rows[w].count):
        if world.cars[w, other].target_lane == target and world.cars[w, other].lane != target and other != v:
            if world.cars[w, other].kind <= Kind.MDP and world.cars[w, other].kind != Kind.ABSENT:
                gap = lane_distance(lanes, world, w, v, other)
                if gap > type(gap)(0.0) and gap < desired_gap(world, model, w, v, v, other):
                    return True
    return False


@wp.func
def lane_following_slip(lanes: Any, world: Any, model: Any, w: int, v: int):
    """Return the slip (its sine) that steers `v` to its target lane.

    highway-env computes `steering = clip(atan(2 tan(asin(slip))))` and later `slip = atan(tan(steering) / 2)`; clipping the
    sine once is the same. Exactly on a straight lane the command is exactly zero, and no trigonometry is needed.
    """
    target = world.cars[w, v].target_lane
    x = world.cars[w, v].x
    y = world.cars[w, v].y
    speed = world.cars[w, v].speed
    zero = type(x)(0.0)
    s, lateral = lane.local_coordinates(lanes, target, x, y)
    future = lane.heading_at(lanes, target, s + speed * type(x)(TAU_PURSUIT))
    error = future - world.cars[w, v].heading
    if lateral == zero and error == zero:
        return zero
    if wp.abs(lateral) < model.snap and wp.abs(error) < model.snap and lanes.lanes[target].shape == lane.Shape.STRAIGHT:
        world.cars[w, v].x = x + lateral * lanes.lanes[target].dy
        world.cars[w, v].y = y - lateral * lanes.lanes[target].dx
        world.cars[w, v].heading = future
        world.cars[w, v].cos_heading = lanes.lanes[target].dx
        world.cars[w, v].sin_heading = lanes.lanes[target].dy
        return zero
    one = type(x)(1.0)
    safe = not_zero(speed)
    if world.cars[w, v].kind >= Kind.LINEAR and world.cars[w, v].kind <= Kind.DEFENSIVE:
        length = type(x)(LENGTH)
        steering = world.cars[w, v].gain_3 * lane.wrap_to_pi(error) * length / safe
        steering = steering - world.cars[w, v].gain_4 * lateral * length / (safe * safe)
        limit = type(x)(MAX_STEERING_ANGLE)
        half = type(x)(0.5) * wp.tan(wp.clamp(steering, -limit, limit))
        return half / wp.sqrt(one + half * half)
    command = wp.asin(wp.clamp(-type(x)(KP_LATERAL) * lateral / safe, -one, one))
    bound = type(x)(MAX_HEADING_COMMAND)
    rate = type(x)(KP_HEADING) * lane.wrap_to_pi(error + wp.clamp(command, -bound, bound))
    limit = type(x)(MAX_SLIP)
    return wp.clamp(type(x)(HALF_LENGTH) / safe * rate, -limit, limit)


@wp.func
def decide_all(lanes: Any, world: Any, model: Any, w: int):
    """First half of every vehicle's `act`: lanes. In list order: a vehicle sees the new target lanes of earlier ones."""
    for v in range(world.rows[w].count):
        if is_driven(world, w, v):
            follow_road(lanes, world, w, v)
            if world.cars[w, v].kind != Kind.MDP and world.cars[w, v].changes_lanes:
                # tested here, because most vehicles have nothing to think about
                changing = world.cars[w, v].lane != world.cars[w, v].target_lane
                if changing or world.cars[w, v].timer > type(model.dt)(LANE_CHANGE_DELAY):
                    change_lane(lanes, world, model, w, v)


@wp.func
def control(lanes: Any, world: Any, model: Any, w: int, v: int, front: int, target_front: int):
    """Second half of a vehicle's `act`: slip and acceleration commands. Reads nothing that other vehicles' acts write.

    `front` and `target_front` are the vehicles ahead on the current and the target lane.
    """
    if world.cars[w, v].kind == Kind.MDP:
        command = type(model.dt)(KP_A) * (world.cars[w, v].target_speed - world.cars[w, v].speed)
    else:
        free = free_acceleration(lanes, world, model, w, v, v)
        command = following_acceleration(lanes, world, model, w, v, v, front)
        if world.cars[w, v].lane != world.cars[w, v].target_lane:
            command = wp.min(command, following_acceleration(lanes, world, model, w, v, v, target_front))
        limit = type(command)(ACC_MAX)
        command = wp.clamp(free + command, -limit, limit)
    world.cars[w, v].acceleration = command
    world.cars[w, v].slip = lane_following_slip(lanes, world, model, w, v)


@wp.func
def control_all(lanes: Any, world: Any, model: Any, w: int):
    """Control every vehicle that steers itself, each behind the vehicle ahead of it."""
    for v in range(world.rows[w].count):
        if is_driven(world, w, v):
            front = int(-1)
            target_front = int(-1)
            if world.cars[w, v].kind != Kind.MDP:
                front = front_vehicle(lanes, world, model, w, v, world.cars[w, v].lane)
                if world.cars[w, v].lane != world.cars[w, v].target_lane:
                    target_front = front_vehicle(lanes, world, model, w, v, world.cars[w, v].target_lane)
            control(lanes, world, model, w, v, front, target_front)


@wp.func
def control_swept(lanes: Any, world: Any, model: Any, w: int):
    """`control_all` on a single straight road: one walk from its front to its back knows the vehicle ahead on each lane."""
    ahead = LaneSlots(-1)
    count = world.rows[w].count
    for step in range(count):
        k = count - 1 - step
        v = world.order[w, k]
        if is_driven(world, w, v):
            current = world.cars[w, v].lane
            target = world.cars[w, v].target_lane
            front = ahead[current]
            target_front = ahead[target]
            if k > 0:
                behind = world.order[w, k - 1]
                if world.cars[w, behind].x == world.cars[w, v].x:  # equal coordinates count as ahead
                    front = front_vehicle(lanes, world, model, w, v, current)
                    target_front = front_vehicle(lanes, world, model, w, v, target)
            control(lanes, world, model, w, v, front, target_front)
        ahead = enter_sweep(lanes, world, w, v, ahead)
