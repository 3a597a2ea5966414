"""What vehicles decide: lane and speed tracking, meta-actions, IDM and MOBIL, the linear drivers.

Source: highway_env/vehicle/controller.py and behavior.py, 1.12.1.
"""

import math
from enum import IntEnum
from typing import Any

import warp as wp

from sim.engine import lanes as lane
from sim.engine.neighbours import front_vehicle, rear_vehicle
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

# IDMVehicle
ACC_MAX = 6.0  # m/s2
TIME_WANTED = 1.5  # s
POLITENESS = 0.0
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
def follow_road(lanes: Any, world: Any, w: int, v: int):
    """Go on to the next lane near the end of the target lane."""
    target = world.target_lane[w, v]
    if lane.after_end(lanes, target, world.x[w, v], world.y[w, v]):
        world.target_lane[w, v] = next_lane(lanes, world, w, v, target)


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
        index = wp.clamp(speed_to_index(model, world.speed[w, v]) + change, 0, model.target_speeds.shape[0] - 1)
        world.target_speed[w, v] = model.target_speeds[index]
    elif action == MetaAction.LANE_LEFT or action == MetaAction.LANE_RIGHT:
        target = world.target_lane[w, v]
        edge = lanes.edge[target]
        shift = int(1)
        if action == MetaAction.LANE_LEFT:
            shift = -1
        index = wp.clamp(lanes.index[target] + shift, 0, lanes.edge_count[edge] - 1)
        candidate = lanes.edge_first[edge] + index
        if lane.is_reachable_from(lanes, candidate, world.x[w, v], world.y[w, v]):
            world.target_lane[w, v] = candidate


@wp.func
def lane_distance(lanes: Any, world: Any, w: int, v: int, other: int):
    """Distance [m] from `v` to `other` along `v`'s lane."""
    on = world.lane[w, v]
    s, lateral = lane.local_coordinates(lanes, on, world.x[w, v], world.y[w, v])
    s_other, lateral_other = lane.local_coordinates(lanes, on, world.x[w, other], world.y[w, other])
    return s_other - s


@wp.func
def desired_gap(world: Any, model: Any, w: int, reasoner: int, v: int, front: int):
    """Gap [m] that `v` wants to `front`, by the parameters of `reasoner`."""
    speed = world.speed[w, v]
    front_speed = world.speed[w, front]
    cos_v = world.cos_heading[w, v]
    sin_v = world.sin_heading[w, v]
    closing = (speed * cos_v - front_speed * world.cos_heading[w, front]) * cos_v + (
        speed * sin_v - front_speed * world.sin_heading[w, front]
    ) * sin_v
    time_wanted = type(speed)(TIME_WANTED)
    if world.kind[w, reasoner] != Kind.IDM:
        time_wanted = type(speed)(LINEAR_TIME_WANTED)
    comfort = wp.sqrt(-model.comfort_acc_max * model.comfort_acc_min)
    return model.distance_wanted + speed * time_wanted + speed * closing / (type(speed)(2.0) * comfort)


@wp.func
def acceleration(lanes: Any, world: Any, model: Any, w: int, reasoner: int, v: int, front: int):
    """Acceleration [m/s2] that `v` would choose behind `front` (-1: none), by the driver model of `reasoner`."""
    zero = type(model.dt)(0.0)
    if v < 0 or world.kind[w, v] >= Kind.OBSTACLE:
        return zero
    speed = world.speed[w, v]
    has_target = world.kind[w, v] <= Kind.MDP  # directly steered vehicles have no target speed
    if world.kind[w, reasoner] != Kind.IDM:
        return _linear_acceleration(lanes, world, model, w, reasoner, v, front, has_target)
    target = zero
    if has_target:
        target = world.target_speed[w, v]
    limit = lanes.speed_limit[world.lane[w, v]]
    if limit >= zero:
        target = wp.clamp(target, zero, limit)
    ratio = wp.max(speed, zero) / wp.abs(not_zero(target))
    command = model.comfort_acc_max * (type(speed)(1.0) - wp.pow(ratio, world.delta[w, reasoner]))
    if front >= 0:
        gap = lane_distance(lanes, world, w, v, front)
        closeness = desired_gap(world, model, w, reasoner, v, front) / not_zero(gap)
        command = command - model.comfort_acc_max * closeness * closeness
    return command


@wp.func
def _linear_acceleration(
    lanes: Any, world: Any, model: Any, w: int, reasoner: int, v: int, front: int, has_target: bool
):
    speed = world.speed[w, v]
    zero = type(speed)(0.0)
    command = zero
    if has_target:
        command = world.gains[w, reasoner, 0] * (world.target_speed[w, v] - speed)
    if front >= 0:
        safe = model.distance_wanted + wp.max(speed, zero) * type(speed)(LINEAR_TIME_WANTED)
        gap = lane_distance(lanes, world, w, v, front)
        command = command + world.gains[w, reasoner, 1] * wp.min(world.speed[w, front] - speed, zero)
        command = command + world.gains[w, reasoner, 2] * wp.min(gap - safe, zero)
    return command


@wp.func
def mobil(lanes: Any, world: Any, model: Any, w: int, v: int, candidate: int):
    """Does MOBIL accept a change of `v` to the lane `candidate`?"""
    zero = type(model.dt)(0.0)
    braking = -type(zero)(LANE_CHANGE_MAX_BRAKING_IMPOSED)
    new_front = front_vehicle(lanes, world, model, w, v, candidate)
    new_rear = rear_vehicle(lanes, world, model, w, v, candidate)
    rear_after = acceleration(lanes, world, model, w, v, new_rear, v)
    if rear_after < braking:
        return False
    after = acceleration(lanes, world, model, w, v, v, new_front)
    head = world.route_head[w, v]
    if head < world.route_size[w, v] and world.route_lane[w, v, head] >= 0:
        target = lanes.index[world.target_lane[w, v]]
        wanted = _sign(world.route_lane[w, v, head] - target)
        if _sign(lanes.index[candidate] - target) != wanted:
            return False
        return after >= braking
    old_front = front_vehicle(lanes, world, model, w, v, world.lane[w, v])
    gain = after - acceleration(lanes, world, model, w, v, v, old_front)
    if wp.static(POLITENESS != 0.0):
        old_rear = rear_vehicle(lanes, world, model, w, v, world.lane[w, v])
        others = rear_after - acceleration(lanes, world, model, w, v, new_rear, new_front)
        others = others + acceleration(lanes, world, model, w, v, old_rear, old_front)
        others = others - acceleration(lanes, world, model, w, v, old_rear, v)
        gain = gain + type(zero)(POLITENESS) * others
    least = type(zero)(LANE_CHANGE_MIN_ACC_GAIN)
    if world.kind[w, v] == Kind.AGGRESSIVE or world.kind[w, v] == Kind.DEFENSIVE:
        least = type(zero)(STYLED_MIN_ACC_GAIN)
    return gain >= least


@wp.func
def _sign(n: int):
    return int(n > 0) - int(n < 0)


@wp.func
def change_lane(lanes: Any, world: Any, model: Any, w: int, v: int):
    """Start a lane change, or abort one when another vehicle enters the same gap (`change_lane_policy`).

    Called in list order: it reads the target lanes that earlier vehicles have just chosen.
    """
    current = world.lane[w, v]
    target = world.target_lane[w, v]
    if current != target:
        if lanes.edge[current] == lanes.edge[target] and _gap_is_taken(lanes, world, model, w, v, target):
            world.target_lane[w, v] = current
        return
    speed = world.speed[w, v]
    if not (world.timer[w, v] > type(speed)(LANE_CHANGE_DELAY)):
        return
    world.timer[w, v] = type(speed)(0.0)
    if wp.abs(speed) < type(speed)(LANE_CHANGE_MIN_SPEED):
        return
    first = lanes.edge_first[lanes.edge[current]]
    last = first + lanes.edge_count[lanes.edge[current]] - 1
    for side in range(2):  # left, then right; the right overrides the left
        candidate = current - 1 + 2 * side
        if candidate >= first and candidate <= last:
            if lane.is_reachable_from(lanes, candidate, world.x[w, v], world.y[w, v]):
                if mobil(lanes, world, model, w, v, candidate):
                    world.target_lane[w, v] = candidate


@wp.func
def _gap_is_taken(lanes: Any, world: Any, model: Any, w: int, v: int, target: int):
    """Is another vehicle ahead, closer than the desired gap, changing to the same lane?"""
    for other in range(world.count[w]):
        if world.target_lane[w, other] == target and world.lane[w, other] != target and other != v:
            if world.kind[w, other] <= Kind.MDP and world.kind[w, other] != Kind.ABSENT:
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
    target = world.target_lane[w, v]
    x = world.x[w, v]
    y = world.y[w, v]
    speed = world.speed[w, v]
    zero = type(x)(0.0)
    s, lateral = lane.local_coordinates(lanes, target, x, y)
    future = lane.heading_at(lanes, target, s + speed * type(x)(TAU_PURSUIT))
    error = future - world.heading[w, v]
    if lateral == zero and error == zero:
        return zero
    if wp.abs(lateral) < model.snap and wp.abs(error) < model.snap and lanes.shape[target] == lane.Shape.STRAIGHT:
        world.x[w, v] = x + lateral * lanes.dy[target]
        world.y[w, v] = y - lateral * lanes.dx[target]
        world.heading[w, v] = future
        world.cos_heading[w, v] = lanes.dx[target]
        world.sin_heading[w, v] = lanes.dy[target]
        return zero
    one = type(x)(1.0)
    safe = not_zero(speed)
    if world.kind[w, v] >= Kind.LINEAR and world.kind[w, v] <= Kind.DEFENSIVE:
        length = type(x)(LENGTH)
        steering = world.gains[w, v, 3] * lane.wrap_to_pi(error) * length / safe
        steering = steering - world.gains[w, v, 4] * lateral * length / (safe * safe)
        limit = type(x)(MAX_STEERING_ANGLE)
        half = type(x)(0.5) * wp.tan(wp.clamp(steering, -limit, limit))
        return half / wp.sqrt(one + half * half)
    command = wp.asin(wp.clamp(-type(x)(KP_LATERAL) * lateral / safe, -one, one))
    bound = type(x)(MAX_HEADING_COMMAND)
    rate = type(x)(KP_HEADING) * lane.wrap_to_pi(error + wp.clamp(command, -bound, bound))
    limit = type(x)(MAX_SLIP)
    return wp.clamp(type(x)(HALF_LENGTH) / safe * rate, -limit, limit)


@wp.func
def decide(lanes: Any, world: Any, model: Any, w: int, v: int):
    """First half of a vehicle's `act`: lanes. In list order, because it reads earlier vehicles' new target lanes."""
    kind = world.kind[w, v]
    if kind == Kind.MDP:
        follow_road(lanes, world, w, v)
    elif kind >= Kind.IDM and kind <= Kind.DEFENSIVE:
        if not world.crashed[w, v]:
            follow_road(lanes, world, w, v)
            if world.changes_lanes[w, v]:
                change_lane(lanes, world, model, w, v)


@wp.func
def control(lanes: Any, world: Any, model: Any, w: int, v: int):
    """Second half of a vehicle's `act`: slip and acceleration commands. Reads nothing that other vehicles' acts write."""
    kind = world.kind[w, v]
    if kind > Kind.MDP or kind == Kind.ABSENT or world.crashed[w, v]:
        return
    if kind == Kind.MDP:
        world.acceleration[w, v] = type(model.dt)(KP_A) * (world.target_speed[w, v] - world.speed[w, v])
    else:
        current = world.lane[w, v]
        target = world.target_lane[w, v]
        front = front_vehicle(lanes, world, model, w, v, current)
        command = acceleration(lanes, world, model, w, v, v, front)
        if current != target:
            front = front_vehicle(lanes, world, model, w, v, target)
            command = wp.min(command, acceleration(lanes, world, model, w, v, v, front))
        limit = type(command)(ACC_MAX)
        world.acceleration[w, v] = wp.clamp(command, -limit, limit)
    world.slip[w, v] = lane_following_slip(lanes, world, model, w, v)
