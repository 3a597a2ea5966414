"""How vehicles move: the kinematic bicycle, and the dynamical one with tyre slip.

Source: highway_env/vehicle/kinematics.py and dynamics.py, 1.12.1.
"""

import math
from typing import Any

import warp as wp

from sim.engine import COLD
from sim.engine import lanes as lane
from sim.engine.elementary import arctangent2, cosine_and_sine, dot
from sim.engine.network import closest_lane
from sim.engine.state import Kind
from sim.engine.steering import course, slip_of_steering

LENGTH = 5.0  # m
HALF_LENGTH = LENGTH / 2
WIDTH = 2.0  # m
OBJECT_SIZE = 2.0  # m, length and width of obstacles and landmarks unless given
MAX_SPEED = 40.0  # m/s
MIN_SPEED = -40.0  # m/s
NOT_ZERO = 1e-2  # smallest divisor, highway_env.utils.not_zero

# BicycleVehicle
MASS = 1.0  # kg
AXLE = LENGTH / 2  # m, from the centre of gravity to either axle
INERTIA_Z = MASS * (LENGTH**2 + WIDTH**2) / 12  # kg m2
FRICTION = 15.0 * MASS  # N/rad of either axle
STIFFNESS = 2 * FRICTION  # N/rad of an axle's two wheels
MAX_ANGULAR_SPEED = 2 * math.pi  # rad/s
LOW_SPEED = 1.0  # m/s, below it lateral motion is damped instead


@wp.func
def not_zero(x: Any):
    """Keep a divisor away from zero, with its sign."""
    least = type(x)(NOT_ZERO)
    if wp.abs(x) > least:
        return x
    if x >= type(x)(0.0):
        return least
    return -least


@wp.func
def speed_limits(world: Any, model: Any, w: int, v: int):
    """Slowest and fastest speed [m/s] of a vehicle; an action type's `speed_range` holds for egos that it steers."""
    slowest = type(model.dt)(MIN_SPEED)
    fastest = type(model.dt)(MAX_SPEED)
    if world.cars[w, v].kind == Kind.VEHICLE or world.cars[w, v].kind == Kind.BICYCLE:
        for agent in range(model.limited_egos):
            if world.ego[w, agent] == v:
                slowest = model.ego_speed_min
                fastest = model.ego_speed_max
    return slowest, fastest


@wp.func
def on_own_lane(lanes: Any, world: Any, w: int, v: int):
    """`on_road`: is a vehicle on the lane it is counted to; and its coordinates (s, lateral) [m] there."""
    on = world.cars[w, v].lane
    s, lateral = lane.local_coordinates(lanes, on, world.cars[w, v].x, world.cars[w, v].y)
    return lane.on_lane(lanes, on, s, lateral, type(s)(0.0)), s, lateral


@wp.func
def clip_action(world: Any, model: Any, w: int, v: int):
    """Apply the crash and speed rules to a vehicle's commands.

    The clipped acceleration replaces the command, as in highway-env: a directly steered vehicle keeps it until its next
    action.
    """
    speed = world.cars[w, v].speed
    if world.cars[w, v].crashed:
        world.cars[w, v].slip = type(speed)(0.0)
        world.cars[w, v].steering = type(speed)(0.0)
        world.cars[w, v].acceleration = -speed
    slowest, fastest = speed_limits(world, model, w, v)
    if speed > fastest:
        world.cars[w, v].acceleration = wp.min(world.cars[w, v].acceleration, fastest - speed)
    elif speed < slowest:
        world.cars[w, v].acceleration = wp.max(world.cars[w, v].acceleration, slowest - speed)


@wp.func
def move(lanes: Any, world: Any, model: Any, w: int, v: int):
    """Advance one vehicle by one frame and find its lane (`Vehicle.step`)."""
    speed = world.cars[w, v].speed
    zero = type(speed)(0.0)
    clip_action(world, model, w, v)
    slip = world.cars[w, v].slip
    if world.cars[w, v].kind == Kind.VEHICLE:
        slip = slip_of_steering(world.cars[w, v].steering)
    cos_h = world.cars[w, v].cos_heading
    sin_h = world.cars[w, v].sin_heading
    y_before = world.cars[w, v].y
    if slip == zero:
        world.cars[w, v].x = world.cars[w, v].x + speed * cos_h * model.dt
        world.cars[w, v].y = world.cars[w, v].y + speed * sin_h * model.dt
    else:
        along, across, turn = course(world.cars[w, v].heading, cos_h, sin_h, slip)
        world.cars[w, v].x = world.cars[w, v].x + speed * along * model.dt
        world.cars[w, v].y = world.cars[w, v].y + speed * across * model.dt
        heading = world.cars[w, v].heading + speed * turn / type(speed)(HALF_LENGTH) * model.dt
        world.cars[w, v].heading = heading
        cosine, sine = cosine_and_sine(heading)
        world.cars[w, v].cos_heading = cosine
        world.cars[w, v].sin_heading = sine
    if world.cars[w, v].impact_rank >= 0:
        world.cars[w, v].x = world.cars[w, v].x + world.cars[w, v].impact_x
        world.cars[w, v].y = world.cars[w, v].y + world.cars[w, v].impact_y
        world.cars[w, v].crashed = True
        world.cars[w, v].impact_rank = -1
    world.cars[w, v].speed = speed + world.cars[w, v].acceleration * model.dt
    find_lane(lanes, world, model, w, v, y_before)


@wp.func
def find_lane(lanes: Any, world: Any, model: Any, w: int, v: int, y_before: Any):
    """Set the vehicle's closest lane; on a swept road, which runs along x, it depends on y alone."""
    x = world.cars[w, v].x
    y = world.cars[w, v].y
    if model.late_lanes != 0:
        return
    if lane.is_swept(lanes):
        if y == y_before:
            return
    claim = lanes.lanes[world.cars[w, v].lane].claim
    if claim > type(x)(0.0):
        s, lateral = lane.local_coordinates(lanes, world.cars[w, v].lane, x, y)
        if wp.abs(lateral) < claim:
            if not lane.is_swept(lanes):
                world.cars[w, v].s = s
                world.cars[w, v].lateral = lateral
            return
    set_closest_lane(lanes, world, w, v)


@wp.func
def set_closest_lane(lanes: Any, world: Any, w: int, v: int):
    """Set the vehicle's closest lane by a search from the one it was on."""
    on, s, lateral = closest_lane(
        lanes, world.cars[w, v].x, world.cars[w, v].y, world.cars[w, v].heading, world.cars[w, v].lane
    )
    world.cars[w, v].lane = on
    if not lane.is_swept(lanes):
        world.cars[w, v].s = s
        world.cars[w, v].lateral = lateral


@wp.func
def locate_all(lanes: Any, world: Any, w: int):
    """Note where on its lane each vehicle and object is; frames then keep it up to date."""
    if not lane.is_swept(lanes):
        for v in range(world.rows[w].count):
            locate(lanes, world, w, v)


@wp.func
def locate(lanes: Any, world: Any, w: int, v: int):
    """Note where on its lane a vehicle or an object is."""
    if not lane.is_swept(lanes):
        s, lateral = lane.local_coordinates(lanes, world.cars[w, v].lane, world.cars[w, v].x, world.cars[w, v].y)
        world.cars[w, v].s = s
        world.cars[w, v].lateral = lateral


@wp.func
def coordinates(lanes: Any, world: Any, w: int, v: int, on: int):
    """Longitudinal and lateral coordinate [m] of a vehicle on a lane, within a step; on its own they are known."""
    if not lane.is_swept(lanes):
        if world.cars[w, v].lane == on:
            return world.cars[w, v].s, world.cars[w, v].lateral
    return lane.local_coordinates(lanes, on, world.cars[w, v].x, world.cars[w, v].y)


@wp.func
def bicycle_derivative(heading: Any, speed: Any, lateral_speed: Any, yaw_rate: Any, steering: Any, acceleration: Any):
    """Time derivative of (x, y, heading, speed, lateral speed, yaw rate); Rajamani 2011, chapter 2."""
    mass = type(speed)(MASS)
    axle = type(speed)(AXLE)
    inertia = type(speed)(INERTIA_Z)
    stiffness = type(speed)(STIFFNESS)
    front = stiffness * (steering - arctangent2(lateral_speed + axle * yaw_rate, speed))
    rear = stiffness * -arctangent2(lateral_speed - axle * yaw_rate, speed)
    if wp.abs(speed) < type(speed)(LOW_SPEED):
        front = -mass * lateral_speed - inertia / axle * yaw_rate
        rear = -mass * lateral_speed + inertia / axle * yaw_rate
    c, s = cosine_and_sine(heading)
    return (
        dot(lateral_speed, speed, -s, c),
        dot(lateral_speed, speed, c, s),
        yaw_rate,
        acceleration,
        (front + rear) / mass - yaw_rate * speed,
        type(speed)(1.0) / inertia * (axle * front - axle * rear),
    )


@wp.func
def bicycle_step(h: Any, u: Any, lat: Any, r: Any, d: Any, a: Any, dt: Any):
    """One Runge-Kutta step of `dt` s from heading, speed, lateral speed and yaw rate, steered by `d` and pushed by `a`.

    Returns the move in x and y [m], and the new heading, speed, lateral speed and yaw rate.
    """
    half = dt * type(u)(0.5)
    x1, y1, h1, u1, l1, r1 = bicycle_derivative(h, u, lat, r, d, a)
    x2, y2, h2, u2, l2, r2 = bicycle_derivative(h + h1 * half, u + u1 * half, lat + l1 * half, r + r1 * half, d, a)
    x3, y3, h3, u3, l3, r3 = bicycle_derivative(h + h2 * half, u + u2 * half, lat + l2 * half, r + r2 * half, d, a)
    x4, y4, h4, u4, l4, r4 = bicycle_derivative(h + h3 * dt, u + u3 * dt, lat + l3 * dt, r + r3 * dt, d, a)
    two = type(u)(2.0)
    weight = dt / type(u)(6.0)
    return (
        weight * (x1 + two * x2 + two * x3 + x4),
        weight * (y1 + two * y2 + two * y3 + y4),
        h + weight * (h1 + two * h2 + two * h3 + h4),
        u + weight * (u1 + two * u2 + two * u3 + u4),
        lat + weight * (l1 + two * l2 + two * l3 + l4),
        r + weight * (r1 + two * r2 + two * r3 + r4),
    )


@wp.func(inline=COLD)
def move_bicycle(lanes: Any, world: Any, model: Any, w: int, v: int):
    """Advance a dynamical bicycle by one frame, one Runge-Kutta step; it ignores impacts, as highway-env's does."""
    speed = world.cars[w, v].speed
    right_angle = type(speed)(lane.HALF_PI)
    fastest_turn = type(speed)(MAX_ANGULAR_SPEED)
    clip_action(world, model, w, v)
    dx, dy, heading, new_speed, lateral_speed, yaw_rate = bicycle_step(
        world.cars[w, v].heading,
        speed,
        world.cars[w, v].lateral_speed,
        wp.clamp(world.cars[w, v].yaw_rate, -fastest_turn, fastest_turn),
        wp.clamp(world.cars[w, v].steering, -right_angle, right_angle),
        world.cars[w, v].acceleration,
        model.dt,
    )
    world.cars[w, v].x = world.cars[w, v].x + dx
    world.cars[w, v].y = world.cars[w, v].y + dy
    world.cars[w, v].heading = heading
    cosine, sine = cosine_and_sine(heading)
    world.cars[w, v].cos_heading = cosine
    world.cars[w, v].sin_heading = sine
    world.cars[w, v].speed = new_speed
    world.cars[w, v].lateral_speed = lateral_speed
    world.cars[w, v].yaw_rate = yaw_rate
    find_lane(lanes, world, model, w, v, world.cars[w, v].y - type(speed)(1.0))  # it has moved


@wp.func
def step_vehicle(lanes: Any, world: Any, model: Any, w: int, v: int):
    """Advance anything but an object by one frame."""
    kind = world.cars[w, v].kind
    if kind == Kind.BICYCLE:
        move_bicycle(lanes, world, model, w, v)
    elif kind < Kind.OBSTACLE:
        if kind <= Kind.DEFENSIVE:
            world.cars[w, v].timer = world.cars[w, v].timer + model.dt
        move(lanes, world, model, w, v)
