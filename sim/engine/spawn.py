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
# LinearVehicle: ACCELERATION_PARAMETERS, drawn in 0.5 to 1.5 of it; STEERING_PARAMETERS, drawn around it. Aggressive
# and Defensive vehicles inherit these ranges, so once randomised they differ from Linear in their lane changes alone.
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
    for v in range(world.cars.shape[1]):
        world.cars[w, v].kind = 0
    world.rows[w].count = 0
    world.rows[w].time = wp.float64(0.0)
    world.rows[w].steps = 0


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
    v = world.rows[w].count
    world.rows[w].count = v + 1
    zero = type(world.cars[w, v].x)(0.0)
    world.cars[w, v].x = type(zero)(x)
    world.cars[w, v].y = type(zero)(y)
    world.cars[w, v].heading = type(zero)(heading)
    world.cars[w, v].cos_heading = type(zero)(wp.cos(heading))
    world.cars[w, v].sin_heading = type(zero)(wp.sin(heading))
    world.cars[w, v].speed = type(zero)(speed)
    world.cars[w, v].acceleration = zero
    world.cars[w, v].slip = zero
    world.cars[w, v].steering = zero
    world.cars[w, v].target_speed = type(zero)(speed)
    turned = (x + y) * wp.float64(wp.pi) / wp.float64(LANE_CHANGE_DELAY)
    world.cars[w, v].timer = type(zero)((turned - wp.floor(turned)) * wp.float64(LANE_CHANGE_DELAY))
    world.cars[w, v].delta = type(zero)(DELTA)
    world.cars[w, v].impact_x = zero
    world.cars[w, v].impact_y = zero
    world.cars[w, v].impact_rank = -1
    world.cars[w, v].lateral_speed = zero
    world.cars[w, v].yaw_rate = zero
    world.cars[w, v].kind = kind
    world.cars[w, v].crashed = False
    world.cars[w, v].checks_collisions = True
    world.cars[w, v].changes_lanes = True
    world.cars[w, v].route_head = 0
    world.cars[w, v].route_size = 0
    world.order[w, v] = v
    world.cars[w, v].rank = v
    on = closest_lane(lanes, world.cars[w, v].x, world.cars[w, v].y, world.cars[w, v].heading)
    world.cars[w, v].lane = on
    world.cars[w, v].target_lane = on
    return v


@wp.func
def snap_target_speed(world: Any, model: Any, w: int, v: int):
    """Give an MDP vehicle the target speed nearest to its speed."""
    world.cars[w, v].target_speed = model.target_speeds[speed_to_index(model, world.cars[w, v].target_speed)]


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
    count = lanes.edges[edge].count
    if lane_id < 0:
        lane_id = random.integers(world.rng, w, 0, count)
    on = lanes.edges[edge].first + lane_id
    if speed < wp.float64(0.0):
        limit = wp.float64(lanes.lanes[on].speed_limit)
        low = wp.float64(23.0)  # Vehicle.DEFAULT_INITIAL_SPEEDS [m/s]
        high = wp.float64(25.0)
        if limit >= wp.float64(0.0):
            low = wp.float64(0.7) * limit
            high = wp.float64(0.8) * limit
        speed = random.uniform(world.rng, w, low, high)
    gap = spacing * (wp.float64(12.0) + speed) * wp.exp(-wp.float64(5.0) / wp.float64(40.0) * wp.float64(count))
    start = wp.float64(3.0) * gap
    for v in range(world.rows[w].count):
        s, lateral = lane.local_coordinates(lanes, on, world.cars[w, v].x, world.cars[w, v].y)
        if v == 0 or wp.float64(s) > start:
            start = wp.float64(s)
    start = start + gap * random.uniform(world.rng, w, wp.float64(0.9), wp.float64(1.1))
    zero = type(lanes.lanes[on].length)(0.0)
    s = type(zero)(start)
    x, y = lane.position(lanes, on, s, zero)
    heading = lane.heading_at(lanes, on, s)
    return place(lanes, world, w, kind, wp.float64(x), wp.float64(y), wp.float64(heading), speed)


@wp.func
def _acceleration_gain(world: Any, w: int, center: wp.float64):
    """Draw from 0.5 to 1.5 of the centre."""
    return center * (wp.float64(0.5) + random.random(world.rng, w))


@wp.func
def _steering_gain(world: Any, w: int, center: wp.float64, spread: wp.float64):
    """Draw from the centre, give or take the spread."""
    low = center - spread
    return low + random.random(world.rng, w) * (center + spread - low)


@wp.func
def randomize_behavior(world: Any, w: int, v: int):
    """Draw the driver's parameters (`randomize_behavior` of its class)."""
    zero = type(world.cars[w, v].x)(0.0)
    if world.cars[w, v].kind != Kind.IDM:
        world.cars[w, v].gain_0 = type(zero)(_acceleration_gain(world, w, wp.float64(LINEAR_ACCELERATION_0)))
        world.cars[w, v].gain_1 = type(zero)(_acceleration_gain(world, w, wp.float64(LINEAR_ACCELERATION_1)))
        world.cars[w, v].gain_2 = type(zero)(_acceleration_gain(world, w, wp.float64(LINEAR_ACCELERATION_2)))
        first = _steering_gain(world, w, wp.float64(LINEAR_STEERING_0), wp.float64(LINEAR_STEERING_SPREAD_0))
        world.cars[w, v].gain_3 = type(zero)(first)
        second = _steering_gain(world, w, wp.float64(LINEAR_STEERING_1), wp.float64(LINEAR_STEERING_SPREAD_1))
        world.cars[w, v].gain_4 = type(zero)(second)
    world.cars[w, v].delta = type(zero)(random.uniform(world.rng, w, wp.float64(DELTA_MIN), wp.float64(DELTA_MAX)))
