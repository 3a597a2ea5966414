"""How vehicles move: the kinematic bicycle, and the dynamical one with tyre slip.

Source: highway_env/vehicle/kinematics.py and dynamics.py, 1.12.1.
"""

import math
from typing import Any

import warp as wp

from sim.engine import lanes as lane
from sim.engine.network import closest_lane
from sim.engine.state import Kind

LENGTH = 5.0  # m
HALF_LENGTH = LENGTH / 2
WIDTH = 2.0  # m
OBJECT_SIZE = 2.0  # m, length and width of obstacles and landmarks
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
def clipped_acceleration(world: Any, model: Any, w: int, v: int):
    """Return the commanded acceleration [m/s2] after the crash and speed rules."""
    speed = world.speed[w, v]
    command = world.acceleration[w, v]
    if world.crashed[w, v]:
        command = -speed
    fastest = type(speed)(MAX_SPEED)
    slowest = type(speed)(MIN_SPEED)
    if world.kind[w, v] >= Kind.VEHICLE:
        fastest = model.ego_speed_max
        slowest = model.ego_speed_min
    if speed > fastest:
        command = wp.min(command, fastest - speed)
    elif speed < slowest:
        command = wp.max(command, slowest - speed)
    return command


@wp.func
def move(lanes: Any, world: Any, model: Any, w: int, v: int):
    """Advance one vehicle by one frame and find its lane (`Vehicle.step`)."""
    speed = world.speed[w, v]
    zero = type(speed)(0.0)
    one = type(speed)(1.0)
    command = clipped_acceleration(world, model, w, v)
    slip = world.slip[w, v]
    if world.kind[w, v] == Kind.VEHICLE:
        half = type(speed)(0.5) * wp.tan(world.steering[w, v])
        slip = half / wp.sqrt(one + half * half)
    if world.crashed[w, v]:
        slip = zero
    cos_h = world.cos_heading[w, v]
    sin_h = world.sin_heading[w, v]
    travel = speed * model.dt
    if slip == zero:
        world.x[w, v] = world.x[w, v] + travel * cos_h
        world.y[w, v] = world.y[w, v] + travel * sin_h
    else:
        cos_slip = wp.sqrt(one - slip * slip)
        world.x[w, v] = world.x[w, v] + travel * (cos_h * cos_slip - sin_h * slip)
        world.y[w, v] = world.y[w, v] + travel * (sin_h * cos_slip + cos_h * slip)
        heading = world.heading[w, v] + travel * slip / type(speed)(HALF_LENGTH)
        world.heading[w, v] = heading
        world.cos_heading[w, v] = wp.cos(heading)
        world.sin_heading[w, v] = wp.sin(heading)
    if world.impact_rank[w, v] >= 0:
        world.x[w, v] = world.x[w, v] + world.impact_x[w, v]
        world.y[w, v] = world.y[w, v] + world.impact_y[w, v]
        world.crashed[w, v] = True
        world.impact_rank[w, v] = -1
    world.speed[w, v] = speed + command * model.dt
    find_lane(lanes, world, w, v)


@wp.func
def find_lane(lanes: Any, world: Any, w: int, v: int):
    """Set the vehicle's closest lane."""
    x = world.x[w, v]
    y = world.y[w, v]
    current = world.lane[w, v]
    claim = lanes.claim[current]
    if claim > type(x)(0.0):
        s, lateral = lane.local_coordinates(lanes, current, x, y)
        if wp.abs(lateral) < claim:
            return
    world.lane[w, v] = closest_lane(lanes, x, y, world.heading[w, v])


@wp.func
def _derivative(
    heading: Any, speed: Any, lateral_speed: Any, yaw_rate: Any, steering: Any, acceleration: Any
):
    """Time derivative of (x, y, heading, speed, lateral speed, yaw rate); Rajamani 2011, chapter 2."""
    mass = type(speed)(MASS)
    axle = type(speed)(AXLE)
    inertia = type(speed)(INERTIA_Z)
    stiffness = type(speed)(STIFFNESS)
    front = stiffness * (steering - wp.atan2(lateral_speed + axle * yaw_rate, speed))
    rear = stiffness * -wp.atan2(lateral_speed - axle * yaw_rate, speed)
    if wp.abs(speed) < type(speed)(LOW_SPEED):
        front = -mass * lateral_speed - inertia / axle * yaw_rate
        rear = -mass * lateral_speed + inertia / axle * yaw_rate
    c = wp.cos(heading)
    s = wp.sin(heading)
    return (
        c * speed - s * lateral_speed,
        s * speed + c * lateral_speed,
        yaw_rate,
        acceleration,
        (front + rear) / mass - yaw_rate * speed,
        axle * (front - rear) / inertia,
    )


@wp.func
def move_bicycle(lanes: Any, world: Any, model: Any, w: int, v: int):
    """Advance a dynamical bicycle by one frame, one Runge-Kutta step; it ignores impacts, as highway-env's does."""
    dt = model.dt
    h = world.heading[w, v]
    u = world.speed[w, v]
    lat = world.lateral_speed[w, v]
    right_angle = type(u)(lane.HALF_PI)
    a = clipped_acceleration(world, model, w, v)
    d = wp.clamp(world.steering[w, v], -right_angle, right_angle)
    if world.crashed[w, v]:
        d = type(u)(0.0)
    r = wp.clamp(world.yaw_rate[w, v], -type(u)(MAX_ANGULAR_SPEED), type(u)(MAX_ANGULAR_SPEED))
    half = dt * type(u)(0.5)
    x1, y1, h1, u1, l1, r1 = _derivative(h, u, lat, r, d, a)
    x2, y2, h2, u2, l2, r2 = _derivative(h + h1 * half, u + u1 * half, lat + l1 * half, r + r1 * half, d, a)
    x3, y3, h3, u3, l3, r3 = _derivative(h + h2 * half, u + u2 * half, lat + l2 * half, r + r2 * half, d, a)
    x4, y4, h4, u4, l4, r4 = _derivative(h + h3 * dt, u + u3 * dt, lat + l3 * dt, r + r3 * dt, d, a)
    two = type(u)(2.0)
    weight = dt / type(u)(6.0)
    heading = h + weight * (h1 + two * h2 + two * h3 + h4)
    world.x[w, v] = world.x[w, v] + weight * (x1 + two * x2 + two * x3 + x4)
    world.y[w, v] = world.y[w, v] + weight * (y1 + two * y2 + two * y3 + y4)
    world.heading[w, v] = heading
    world.cos_heading[w, v] = wp.cos(heading)
    world.sin_heading[w, v] = wp.sin(heading)
    world.speed[w, v] = u + weight * (u1 + two * u2 + two * u3 + u4)
    world.lateral_speed[w, v] = lat + weight * (l1 + two * l2 + two * l3 + l4)
    world.yaw_rate[w, v] = r + weight * (r1 + two * r2 + two * r3 + r4)
    find_lane(lanes, world, w, v)
