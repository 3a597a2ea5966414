"""Placing vehicles: the pieces from which scenarios build their scenes.

All spawning is computed in float64 and stored in the world's precision, so a seed gives one scene in both.
Source: highway_env/vehicle/kinematics.py `Vehicle.create_random`, behavior.py `randomize_behavior`, 1.12.1.
"""

from typing import Any

import warp as wp

from sim.engine import lanes as lane
from sim.engine import random
from sim.engine.drivers import LANE_CHANGE_DELAY, speed_to_index
from sim.engine.neighbours import sort_along_axis
from sim.engine.network import closest_lane
from sim.engine.state import Kind
from sim.engine.state_hash import fold
from sim.engine.vehicles import LENGTH, WIDTH

DRAWN_SPEED = -1e6  # m/s, stands for a speed that `place_random` is to draw
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
AGGRESSIVE_ACCELERATION_0 = 0.8 / 7.5
AGGRESSIVE_ACCELERATION_1 = 0.8 / 22.5
AGGRESSIVE_ACCELERATION_2 = 0.5
DEFENSIVE_ACCELERATION_0 = 1.2 / 7.5
DEFENSIVE_ACCELERATION_1 = 1.2 / 22.5
DEFENSIVE_ACCELERATION_2 = 2.0
LINEAR_STEERING_SPREAD_0 = 0.07
LINEAR_STEERING_SPREAD_1 = 1.5


@wp.func
def clear_world(world: Any, w: int):
    """Empty a world, name the episode that begins and set its clock back."""
    name = wp.uint64(0)
    for word in range(world.rng.shape[1]):
        name = fold(name, world.rng[w, word])
    world.rows[w].episode = name
    for agent in range(world.goal.shape[1]):
        world.goal[w, agent] = -1
    for v in range(world.cars.shape[1]):
        world.cars[w, v].kind = 0
    world.rows[w].count = 0
    world.rows[w].objects = 0
    world.rows[w].placed = 0
    world.rows[w].missed = 0
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
    """Append a vehicle at a pose [m, rad] and speed [m/s] and return its slot; all else as its class constructs it.

    In a full world it takes the last slot and counts as missed, which `VectorEnv.reset` reports.
    """
    v = world.rows[w].count
    if v == world.cars.shape[1]:
        v = v - 1
        world.rows[w].missed = world.rows[w].missed + 1
    world.rows[w].count = v + 1
    world.cars[w, v].number = world.rows[w].placed
    world.rows[w].placed = world.rows[w].placed + 1
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
    world.cars[w, v].length = type(zero)(LENGTH)
    world.cars[w, v].width = type(zero)(WIDTH)
    world.cars[w, v].yields = False
    world.cars[w, v].crashed = False
    world.cars[w, v].checks_collisions = True
    world.cars[w, v].changes_lanes = True
    world.cars[w, v].route_head = 0
    world.cars[w, v].route_size = 0
    world.order[w, v] = v
    world.cars[w, v].rank = v
    on, s, lateral = closest_lane(lanes, world.cars[w, v].x, world.cars[w, v].y, world.cars[w, v].heading, 0)
    world.cars[w, v].lane = on
    world.cars[w, v].target_lane = on
    if kind >= Kind.LINEAR and kind <= Kind.DEFENSIVE:
        _set_gains(world, w, v)
    return v


@wp.func
def _set_gains(world: Any, w: int, v: int):
    """Give a linear driver its class's parameters."""
    zero = type(world.cars[w, v].x)(0.0)
    kind = world.cars[w, v].kind
    world.cars[w, v].gain_0 = type(zero)(LINEAR_ACCELERATION_0)
    world.cars[w, v].gain_1 = type(zero)(LINEAR_ACCELERATION_1)
    world.cars[w, v].gain_2 = type(zero)(LINEAR_ACCELERATION_2)
    if kind == Kind.AGGRESSIVE:
        world.cars[w, v].gain_0 = type(zero)(AGGRESSIVE_ACCELERATION_0)
        world.cars[w, v].gain_1 = type(zero)(AGGRESSIVE_ACCELERATION_1)
        world.cars[w, v].gain_2 = type(zero)(AGGRESSIVE_ACCELERATION_2)
    elif kind == Kind.DEFENSIVE:
        world.cars[w, v].gain_0 = type(zero)(DEFENSIVE_ACCELERATION_0)
        world.cars[w, v].gain_1 = type(zero)(DEFENSIVE_ACCELERATION_1)
        world.cars[w, v].gain_2 = type(zero)(DEFENSIVE_ACCELERATION_2)
    world.cars[w, v].gain_3 = type(zero)(LINEAR_STEERING_0)
    world.cars[w, v].gain_4 = type(zero)(LINEAR_STEERING_1)


@wp.func
def place_on_lane(lanes: Any, world: Any, w: int, kind: int, on: int, longitudinal: wp.float64, speed: wp.float64):
    """`make_on_lane`: append a vehicle in the middle of lane `on`, along it, and return its slot."""
    zero = type(world.cars[w, 0].x)(0.0)
    s = type(zero)(longitudinal)
    x, y = lane.position(lanes, on, s, zero)
    heading = lane.heading_at(lanes, on, s)
    return place(lanes, world, w, kind, wp.float64(x), wp.float64(y), wp.float64(heading), speed)


@wp.func
def place_ego(
    lanes: Any,
    world: Any,
    model: Any,
    w: int,
    agent: int,
    kind: int,
    x: wp.float64,
    y: wp.float64,
    heading: wp.float64,
    speed: wp.float64,
):
    """Append the vehicle of an agent and return its slot; an MDP vehicle takes the nearest of its target speeds."""
    v = place(lanes, world, w, kind, x, y, heading, speed)
    world.ego[w, agent] = v
    if kind == Kind.MDP:
        snap_target_speed(world, model, w, v)
    return v


@wp.func
def place_object(
    lanes: Any,
    world: Any,
    w: int,
    kind: int,
    x: wp.float64,
    y: wp.float64,
    heading: wp.float64,
    length: wp.float64,
    width: wp.float64,
):
    """Append an obstacle or a landmark, after all vehicles, and return its slot."""
    v = place(lanes, world, w, kind, x, y, heading, wp.float64(0.0))
    world.rows[w].objects = world.rows[w].objects + 1
    world.cars[w, v].length = type(world.cars[w, v].x)(length)
    world.cars[w, v].width = type(world.cars[w, v].x)(width)
    return v


@wp.func
def remove(world: Any, w: int, v: int):
    """Take a vehicle off the list; later ones move up by one slot, egos included."""
    last = world.rows[w].count - 1
    for slot in range(v, last):
        world.cars[w, slot] = world.cars[w, slot + 1]
        for step in range(world.route_edge.shape[2]):
            world.route_edge[w, slot, step] = world.route_edge[w, slot + 1, step]
            world.route_lane[w, slot, step] = world.route_lane[w, slot + 1, step]
    world.cars[w, last].kind = 0
    world.rows[w].count = last
    for agent in range(world.ego.shape[1]):
        if world.ego[w, agent] > v:
            world.ego[w, agent] = world.ego[w, agent] - 1
    kept = int(0)  # the order along the axis stays
    for k in range(last + 1):
        other = world.order[w, k]
        if other != v:
            if other > v:
                other = other - 1
            world.order[w, kept] = other
            world.cars[w, other].rank = kept
            kept = kept + 1


@wp.func
def plan_route(lanes: Any, world: Any, w: int, v: int, routes: wp.array3d(dtype=wp.int32), destination: int):
    """`plan_route_to`: the lane the vehicle is on, then the edges of `Network.routes` to the destination."""
    on = world.cars[w, v].lane
    edge = lanes.lanes[on].edge
    world.route_edge[w, v, 0] = edge
    world.route_lane[w, v, 0] = lanes.lanes[on].index
    size = int(1)
    for step in range(routes.shape[2]):
        if routes[edge, destination, step] >= 0:
            world.route_edge[w, v, size] = routes[edge, destination, step]
            world.route_lane[w, v, size] = -1
            size = size + 1
    world.cars[w, v].route_head = 0
    world.cars[w, v].route_size = size


@wp.func
def begin_episode(lanes: Any, world: Any, model: Any, w: int):
    """Finish a scene: sort the vehicles, and note how wide each ego's road is."""
    sort_along_axis(world, model, w)
    for agent in range(world.ego.shape[1]):
        on = world.cars[w, world.ego[w, agent]].lane
        world.lanes_seen[w, agent] = lanes.edges[lanes.lanes[on].edge].count


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
    """`Vehicle.create_random` on an edge: ahead of all vehicles so far; draws a negative `lane_id`, and DRAWN_SPEED.

    `spacing` is the gap in units of (12 m + 1 s * speed), thinned out by exp(-5/40 * lanes).
    """
    count = lanes.edges[edge].count
    if lane_id < 0:
        lane_id = random.integers(world.rng, w, 0, count)
    on = lanes.edges[edge].first + lane_id
    if speed == wp.float64(DRAWN_SPEED):  # the right lanes of a wide exit have negative speeds
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
