"""Placing vehicles: the pieces from which scenarios build their scenes.

All spawning is computed in float64 and stored in the world's precision, so a seed gives one scene in both.
Source: highway_env/vehicle/kinematics.py `Vehicle.create_random`, behavior.py `randomize_behavior`, 1.12.1.
"""

from typing import Any

import warp as wp

from sim.engine import lanes as lane
from sim.engine import random
from sim.engine.drivers import LANE_CHANGE_DELAY, speed_to_index
from sim.engine.network import closest_lane
from sim.engine.state import Kind

DELTA = 4.0  # IDM exponent unless randomised
DELTA_MIN = 3.5
DELTA_MAX = 4.5
# LinearVehicle: ACCELERATION_PARAMETERS, drawn in 0.5 to 1.5 of it; STEERING_PARAMETERS, drawn around it. Aggressive and
# Defensive vehicles inherit these ranges, so once randomised they differ from Linear in their lane changes alone.
LINEAR_ACCELERATION_0 = 0.3
LINEAR_ACCELERATION_1 = 0.3
LINEAR_ACCELERATION_2 = 2.0
LINEAR_STEERING_0 = 5.0
LINEAR_STEERING_1 = 5.0 / 0.6
LINEAR_STEERING_SPREAD_0 = 0.07
LINEAR_STEERING_SPREAD_1 = 1.5


@wp.func
def clear_world(world: Any, w: int):
    """Empty a world and set its clock back."""
    for v in range(world.x.shape[1]):
        world.kind[w, v] = 0
    world.count[w] = 0
    world.time[w] = wp.float64(0.0)
    world.steps[w] = 0


@wp.func
def place(
    lanes: Any,
    world: Any,
    w: int,
    kind: int,
    x: wp.float64,
    y: wp.float64,
    heading: wp.float64,
    speed: wp.float64,
):
    """Append a vehicle at a pose [m, rad] and speed [m/s] and return its slot; all else as its class constructs it."""
    v = world.count[w]
    world.count[w] = v + 1
    zero = type(world.x[w, v])(0.0)
    world.x[w, v] = type(zero)(x)
    world.y[w, v] = type(zero)(y)
    world.heading[w, v] = type(zero)(heading)
    world.cos_heading[w, v] = type(zero)(wp.cos(heading))
    world.sin_heading[w, v] = type(zero)(wp.sin(heading))
    world.speed[w, v] = type(zero)(speed)
    world.acceleration[w, v] = zero
    world.slip[w, v] = zero
    world.steering[w, v] = zero
    world.target_speed[w, v] = type(zero)(speed)
    turned = (x + y) * wp.float64(wp.pi) / wp.float64(LANE_CHANGE_DELAY)
    world.timer[w, v] = type(zero)((turned - wp.floor(turned)) * wp.float64(LANE_CHANGE_DELAY))
    world.delta[w, v] = type(zero)(DELTA)
    world.impact_x[w, v] = zero
    world.impact_y[w, v] = zero
    world.impact_rank[w, v] = -1
    world.lateral_speed[w, v] = zero
    world.yaw_rate[w, v] = zero
    world.kind[w, v] = kind
    world.crashed[w, v] = False
    world.checks_collisions[w, v] = True
    world.changes_lanes[w, v] = True
    world.route_head[w, v] = 0
    world.route_size[w, v] = 0
    world.order[w, v] = v
    world.rank[w, v] = v
    on = closest_lane(lanes, world.x[w, v], world.y[w, v], world.heading[w, v])
    world.lane[w, v] = on
    world.target_lane[w, v] = on
    return v


@wp.func
def snap_target_speed(world: Any, model: Any, w: int, v: int):
    """Give an MDP vehicle the target speed nearest to its speed."""
    world.target_speed[w, v] = model.target_speeds[speed_to_index(model, world.target_speed[w, v])]


@wp.func
def place_random(
    lanes: Any,
    world: Any,
    w: int,
    kind: int,
    speed: wp.float64,
    edge: int,
    lane_id: int,
    spacing: wp.float64,
):
    """`Vehicle.create_random` on an edge: ahead of all vehicles so far; a negative `speed` or `lane_id` is drawn.

    `spacing` is the gap in units of (12 m + 1 s * speed), thinned out by exp(-5/40 * lanes).
    """
    count = lanes.edge_count[edge]
    if lane_id < 0:
        lane_id = random.integers(world.rng, w, 0, count)
    on = lanes.edge_first[edge] + lane_id
    if speed < wp.float64(0.0):
        limit = wp.float64(lanes.speed_limit[on])
        low = wp.float64(23.0)  # Vehicle.DEFAULT_INITIAL_SPEEDS [m/s]
        high = wp.float64(25.0)
        if limit >= wp.float64(0.0):
            low = wp.float64(0.7) * limit
            high = wp.float64(0.8) * limit
        speed = random.uniform(world.rng, w, low, high)
    gap = spacing * (wp.float64(12.0) + speed) * wp.exp(-wp.float64(5.0) / wp.float64(40.0) * wp.float64(count))
    start = wp.float64(3.0) * gap
    for v in range(world.count[w]):
        s, lateral = lane.local_coordinates(lanes, on, world.x[w, v], world.y[w, v])
        if v == 0 or wp.float64(s) > start:
            start = wp.float64(s)
    start = start + gap * random.uniform(world.rng, w, wp.float64(0.9), wp.float64(1.1))
    zero = type(lanes.length[on])(0.0)
    s = type(zero)(start)
    x, y = lane.position(lanes, on, s, zero)
    heading = lane.heading_at(lanes, on, s)
    return place(lanes, world, w, kind, wp.float64(x), wp.float64(y), wp.float64(heading), speed)


@wp.func
def randomize_behavior(world: Any, w: int, v: int):
    """Draw the driver's parameters (`randomize_behavior` of its class)."""
    zero = type(world.x[w, v])(0.0)
    if world.kind[w, v] != Kind.IDM:
        half = wp.float64(0.5)
        base = wp.vector(LINEAR_ACCELERATION_0, LINEAR_ACCELERATION_1, LINEAR_ACCELERATION_2, dtype=wp.float64)
        for k in range(3):
            world.gains[w, v, k] = type(zero)(base[k] * (half + random.random(world.rng, w)))
        center = wp.vector(LINEAR_STEERING_0, LINEAR_STEERING_1, dtype=wp.float64)
        spread = wp.vector(LINEAR_STEERING_SPREAD_0, LINEAR_STEERING_SPREAD_1, dtype=wp.float64)
        for k in range(2):
            low = center[k] - spread[k]
            high = center[k] + spread[k]
            world.gains[w, v, 3 + k] = type(zero)(low + random.random(world.rng, w) * (high - low))
    world.delta[w, v] = type(zero)(random.uniform(world.rng, w, wp.float64(DELTA_MIN), wp.float64(DELTA_MAX)))
