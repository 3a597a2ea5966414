"""What vehicles decide: lane and speed tracking, meta-actions, IDM and MOBIL, the linear drivers.

Source: highway_env/vehicle/controller.py and behavior.py, 1.12.1.
"""

import math
from enum import IntEnum
from typing import Any

import warp as wp

from sim.engine import COLD, HOT
from sim.engine import lanes as lane
from sim.engine.elementary import arcsine, dot, ratio_power
from sim.engine.neighbours import front_vehicle, rear_vehicle
from sim.engine.network import next_lane
from sim.engine.state import Kind
from sim.engine.steering import MAX_STEERING_ANGLE, slip_of_steering, slip_towards
from sim.engine.vehicles import HALF_LENGTH, LENGTH, coordinates, not_zero

# ControlledVehicle
TAU_PURSUIT = 0.1  # s
KP_A = 1 / 0.6  # 1/s
KP_HEADING = 5.0  # 1/s
KP_LATERAL = 1 / 0.6  # 1/s
MAX_HEADING_COMMAND = math.pi / 4  # rad

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
    s, lateral = coordinates(lanes, world, w, v, target)
    if s > lanes.lanes[target].length - type(s)(lane.HALF_VEHICLE):
        world.cars[w, v].target_lane = next_lane(lanes, world, w, v, target)


@wp.func
def speed_to_index(model: Any, speed: Any):
    """Index of the nearest target speed; the list is taken as evenly spaced, and halves go to the even index."""
    last = model.target_speeds.shape[0] - 1
    first_speed = model.target_speeds[0]
    share = (speed - first_speed) / (model.target_speeds[last] - first_speed)
    return int(wp.clamp(wp.rint(share * type(speed)(last)), type(speed)(0.0), type(speed)(last)))


@wp.func
def speed_index(model: Any, world: Any, w: int, v: int):
    """Index of the target speed that an MDP vehicle is tracking (its `speed_index`)."""
    index = int(0)
    for k in range(1, model.target_speeds.shape[0]):
        if world.cars[w, v].target_speed >= model.target_speeds[k]:
            index = k
    return index


@wp.func(inline=COLD)
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
def _gap(lanes: Any, world: Any, w: int, v: int, other: int):
    """`lane_distance` within a step, where coordinates are known."""
    on = world.cars[w, v].lane
    s, lateral = coordinates(lanes, world, w, v, on)
    s_other, lateral_other = coordinates(lanes, world, w, other, on)
    return s_other - s


@wp.func
def desired_gap(world: Any, model: Any, w: int, reasoner: int, v: int, front: int):
    """Gap [m] that `v` wants to `front`, by the parameters of `reasoner`."""
    speed = world.cars[w, v].speed
    front_speed = world.cars[w, front].speed
    cos_v = world.cars[w, v].cos_heading
    sin_v = world.cars[w, v].sin_heading
    closing_x = speed * cos_v - front_speed * world.cars[w, front].cos_heading
    closing_y = speed * sin_v - front_speed * world.cars[w, front].sin_heading
    closing = dot(closing_x, closing_y, cos_v, sin_v)
    time_wanted = type(speed)(TIME_WANTED)
    if world.cars[w, reasoner].kind != Kind.IDM:
        time_wanted = type(speed)(LINEAR_TIME_WANTED)
    return model.distance_wanted + speed * time_wanted + speed * closing / model.closing_divisor


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
    share = ratio_power(wp.max(speed, zero), wp.abs(not_zero(target)), world.cars[w, reasoner].delta)
    return model.comfort_acc_max * (type(speed)(1.0) - share)


@wp.func
def following_acceleration(world: Any, model: Any, w: int, reasoner: int, v: int, front: int, gap: Any):
    """What a vehicle `gap` m in front adds to the acceleration of `v` [m/s2], by the driver model of `reasoner`."""
    speed = world.cars[w, v].speed
    zero = type(speed)(0.0)
    if world.cars[w, reasoner].kind == Kind.IDM:
        closeness = desired_gap(world, model, w, reasoner, v, front) / not_zero(gap)
        return -(model.comfort_acc_max * (closeness * closeness))
    safe = model.distance_wanted + wp.max(speed, zero) * type(speed)(LINEAR_TIME_WANTED)
    command = world.cars[w, reasoner].gain_1 * wp.min(world.cars[w, front].speed - speed, zero)
    return command + world.cars[w, reasoner].gain_2 * wp.min(gap - safe, zero)


@wp.func
def acceleration_behind(lanes: Any, world: Any, model: Any, w: int, v: int, front: int):
    """What `front` (-1: none) adds to the acceleration of `v` [m/s2]."""
    if front < 0:
        return type(model.dt)(0.0)
    return following_acceleration(world, model, w, v, v, front, _gap(lanes, world, w, v, front))


@wp.func
def acceleration(lanes: Any, world: Any, model: Any, w: int, reasoner: int, v: int, front: int):
    """Acceleration [m/s2] that `v` would choose behind `front` (-1: none), by the driver model of `reasoner`.

    Zero where there is no vehicle `v`, or it is an object and the reasoner an IDM driver; linear ones don't ask.
    """
    if v < 0:
        return type(model.dt)(0.0)
    if world.cars[w, v].kind >= Kind.OBSTACLE:
        if world.cars[w, reasoner].kind == Kind.IDM:
            return type(model.dt)(0.0)
    free = free_acceleration(lanes, world, model, w, reasoner, v)
    if front < 0:
        return free
    return free + following_acceleration(world, model, w, reasoner, v, front, _gap(lanes, world, w, v, front))


@wp.func(inline=HOT)
def mobil(lanes: Any, world: Any, model: Any, w: int, v: int, candidate: int, new_front: int, old_front: int):
    """Does MOBIL accept a change of `v` from behind `old_front` to the lane `candidate`, behind `new_front`?

    highway-env tests the new follower first; the order does not matter to the answer, and the own gain is cheaper.
    """
    braking = -type(model.dt)(LANE_CHANGE_MAX_BRAKING_IMPOSED)
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
    else:
        # the acceleration on an empty road is the same before and after, so it drops out of the gain
        gain = acceleration_behind(lanes, world, model, w, v, new_front)
        gain = gain - acceleration_behind(lanes, world, model, w, v, old_front)
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
def is_candidate(lanes: Any, world: Any, w: int, v: int, candidate: int):
    """May `v` consider a change to this lane number, next to its own?"""
    edge = lanes.lanes[world.cars[w, v].lane].edge
    if candidate < lanes.edges[edge].first or candidate >= lanes.edges[edge].first + lanes.edges[edge].count:
        return False
    return lane.is_reachable_from(lanes, candidate, world.cars[w, v].x, world.cars[w, v].y)


@wp.func(inline=COLD)
def consider_lane_change(lanes: Any, world: Any, model: Any, w: int, v: int):
    """Let an IDM vehicle on its target lane choose a new one (`change_lane_policy` once its delay is over)."""
    current = world.cars[w, v].lane
    world.cars[w, v].timer = type(model.dt)(0.0)
    if wp.abs(world.cars[w, v].speed) < type(model.dt)(LANE_CHANGE_MIN_SPEED):
        return
    old_front = front_vehicle(lanes, world, model, w, v, current)
    candidate = current - 1
    while candidate <= current + 1:  # left, then right; the right overrides the left
        if is_candidate(lanes, world, w, v, candidate):
            new_front = front_vehicle(lanes, world, model, w, v, candidate)
            if mobil(lanes, world, model, w, v, candidate, new_front, old_front):
                world.cars[w, v].target_lane = candidate
        candidate = candidate + 2


@wp.func(inline=COLD)
def abort_lane_change(lanes: Any, world: Any, model: Any, w: int, v: int, just_decided: bool):
    """Give up a lane change of `v` if another vehicle, ahead and closer than the desired gap, changes to the same lane.

    highway-env acts in list order: a vehicle sees the targets that earlier ones have just chosen, and of later ones
    those of the last frame. `just_decided` says that later ones have chosen already, too: their new targets (they have
    just set their timer to zero) are then left out.
    """
    current = world.cars[w, v].lane
    target = world.cars[w, v].target_lane
    if lanes.lanes[current].edge != lanes.lanes[target].edge:
        return
    for other in range(world.rows[w].count):
        if world.cars[w, other].target_lane == target and world.cars[w, other].lane != target and other != v:
            kind = world.cars[w, other].kind
            seen = kind <= Kind.MDP and kind != Kind.ABSENT
            if just_decided and other > v and kind <= Kind.DEFENSIVE:
                seen = seen and world.cars[w, other].timer != type(model.dt)(0.0)
            if seen:
                gap = _gap(lanes, world, w, v, other)
                if gap > type(gap)(0.0) and gap < desired_gap(world, model, w, v, v, other):
                    world.cars[w, v].target_lane = current
                    return


@wp.func
def lane_following_slip(lanes: Any, world: Any, model: Any, w: int, v: int):
    """Return the slip that steers `v` to its target lane.

    Exactly on a straight lane the command is exactly zero: no trigonometry is needed.
    """
    target = world.cars[w, v].target_lane
    x = world.cars[w, v].x
    y = world.cars[w, v].y
    zero = type(x)(0.0)
    s, lateral = coordinates(lanes, world, w, v, target)
    ahead = lane.heading_at(lanes, target, s + world.cars[w, v].speed * type(x)(TAU_PURSUIT))
    error = ahead - world.cars[w, v].heading
    if lanes.lanes[target].shape == lane.Shape.STRAIGHT:
        if lateral == zero and error == zero:
            return zero
        if wp.abs(lateral) < model.snap and wp.abs(error) < model.snap:
            world.cars[w, v].x = x + lateral * lanes.lanes[target].dy
            world.cars[w, v].y = y - lateral * lanes.lanes[target].dx
            world.cars[w, v].heading = lanes.lanes[target].heading
            world.cars[w, v].cos_heading = lanes.lanes[target].dx
            world.cars[w, v].sin_heading = lanes.lanes[target].dy
            if not lane.is_swept(lanes):
                if world.cars[w, v].lane == target:
                    world.cars[w, v].lateral = zero
            return zero
    one = type(x)(1.0)
    speed = not_zero(world.cars[w, v].speed)
    if world.cars[w, v].kind >= Kind.LINEAR and world.cars[w, v].kind <= Kind.DEFENSIVE:
        length = type(x)(LENGTH)
        turn = lane.wrap_to_pi(error) * length / speed
        back = -lateral * length / (speed * speed)
        steering = dot(turn, back, world.cars[w, v].gain_3, world.cars[w, v].gain_4)
        limit = type(x)(MAX_STEERING_ANGLE)
        return slip_of_steering(wp.clamp(steering, -limit, limit))
    command = arcsine(wp.clamp(-type(x)(KP_LATERAL) * lateral / speed, -one, one))
    bound = type(x)(MAX_HEADING_COMMAND)
    missing = lane.wrap_to_pi(ahead + wp.clamp(command, -bound, bound) - world.cars[w, v].heading)
    return slip_towards(type(x)(HALF_LENGTH) / speed * (type(x)(KP_HEADING) * missing))


@wp.func
def is_due(world: Any, model: Any, w: int, v: int):
    """Has an IDM vehicle waited long enough to think about a lane change?"""
    return world.cars[w, v].changes_lanes and world.cars[w, v].timer > type(model.dt)(LANE_CHANGE_DELAY)


@wp.func
def decide_all(lanes: Any, world: Any, model: Any, w: int):
    """First half of every vehicle's `act`: lanes, in list order. An MDP vehicle follows the road even when crashed."""
    for v in range(world.rows[w].count):
        mdp = world.cars[w, v].kind == Kind.MDP
        if mdp or is_driven(world, w, v):
            follow_road(lanes, world, w, v)
            if not mdp:
                if world.cars[w, v].lane != world.cars[w, v].target_lane:
                    if world.cars[w, v].changes_lanes:
                        abort_lane_change(lanes, world, model, w, v, False)
                elif is_due(world, model, w, v):
                    consider_lane_change(lanes, world, model, w, v)


@wp.func
def control(lanes: Any, world: Any, model: Any, w: int, v: int, following: Any):
    """Second half of a vehicle's `act`: slip and acceleration commands.

    `following` is what the vehicles ahead add to the acceleration [m/s2]; an MDP vehicle does not heed them.
    """
    if world.cars[w, v].kind == Kind.MDP:
        command = type(model.dt)(KP_A) * (world.cars[w, v].target_speed - world.cars[w, v].speed)
    else:
        limit = type(following)(ACC_MAX)
        command = wp.clamp(free_acceleration(lanes, world, model, w, v, v) + following, -limit, limit)
    world.cars[w, v].acceleration = command
    target = world.cars[w, v].target_lane
    if lane.is_swept(lanes):
        if world.cars[w, v].y == lanes.lanes[target].y and world.cars[w, v].heading == type(command)(0.0):
            world.cars[w, v].slip = type(command)(0.0)  # exactly on its lane; most vehicles are
            return
    world.cars[w, v].slip = lane_following_slip(lanes, world, model, w, v)


@wp.func(inline=COLD)
def look_ahead(lanes: Any, world: Any, model: Any, w: int, v: int):
    """What the vehicles ahead on the current and the target lane add to the acceleration of `v` [m/s2]."""
    return _look_ahead(lanes, world, model, w, v)


@wp.func(inline=HOT)
def _look_ahead(lanes: Any, world: Any, model: Any, w: int, v: int):
    front = front_vehicle(lanes, world, model, w, v, world.cars[w, v].lane)
    following = acceleration_behind(lanes, world, model, w, v, front)
    if world.cars[w, v].lane != world.cars[w, v].target_lane:
        front = front_vehicle(lanes, world, model, w, v, world.cars[w, v].target_lane)
        following = wp.min(following, acceleration_behind(lanes, world, model, w, v, front))
    return following


@wp.func(inline=COLD)
def act_all(lanes: Any, world: Any, model: Any, w: int):
    """`Road.act` on any network."""
    decide_all(lanes, world, model, w)
    for v in range(world.rows[w].count):
        if is_driven(world, w, v):
            following = type(model.dt)(0.0)
            if world.cars[w, v].kind != Kind.MDP:
                following = _look_ahead(lanes, world, model, w, v)
            control(lanes, world, model, w, v, following)
