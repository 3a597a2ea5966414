"""Right of way at a junction: whose path crosses another's must stop if it has the lower priority.

Every vehicle is predicted at constant speed, once a regulation; two are in conflict if their stretched rectangles meet
at one of the sampled times. A vehicle that yields is given the target speed 0 until the next regulation.
Source: highway_env/road/regulation.py, vehicle/controller.py and kinematics.py `predict_trajectory_constant_speed`,
road/road.py `position_heading_along_route`, utils.py `rotated_rectangles_intersect`, 1.12.1.
"""

from typing import Any

import warp as wp

from sim.engine import COLD
from sim.engine import lanes as lane
from sim.engine.state import Kind
from sim.engine.vehicles import HALF_LENGTH, MAX_ANGULAR_SPEED, bicycle_step, coordinates, speed_limits

SAMPLE_PERIOD = 0.25  # s
SAMPLES = 11  # up to 2.75 s: highway-env's horizon of 3 s is left out
LENGTHENED = 1.5  # a vehicle's length in the test for a conflict,
NARROWED = 0.9  # and its width
# A row of `predicted`: x, y [m] and heading [rad] of each sample, then their box: low x, high x, low y, high y [m].
BOX = 3 * SAMPLES
PREDICTIONS = BOX + 4


@wp.func
def _remember(world: Any, w: int, v: int, sample: int, x: Any, y: Any, heading: Any):
    """Note a predicted pose, and widen the box around all of them."""
    world.predicted[w, v, 3 * sample] = x
    world.predicted[w, v, 3 * sample + 1] = y
    world.predicted[w, v, 3 * sample + 2] = heading
    if sample == 0:
        world.predicted[w, v, BOX] = x
        world.predicted[w, v, BOX + 1] = x
        world.predicted[w, v, BOX + 2] = y
        world.predicted[w, v, BOX + 3] = y
    else:
        world.predicted[w, v, BOX] = wp.min(world.predicted[w, v, BOX], x)
        world.predicted[w, v, BOX + 1] = wp.max(world.predicted[w, v, BOX + 1], x)
        world.predicted[w, v, BOX + 2] = wp.min(world.predicted[w, v, BOX + 2], y)
        world.predicted[w, v, BOX + 3] = wp.max(world.predicted[w, v, BOX + 3], y)


@wp.func
def _lane_of_step(lanes: Any, world: Any, w: int, v: int, step: int):
    """Lane of a route step; where the route leaves it open, the one with the index of the vehicle's own lane."""
    edge = world.route_edge[w, v, step]
    index = world.route_lane[w, v, step]
    if index < 0:
        index = wp.min(lanes.lanes[world.cars[w, v].lane].index, lanes.edges[edge].count - 1)
    return lanes.edges[edge].first + index


@wp.func
def _predict_along_route(lanes: Any, world: Any, w: int, v: int):
    """Predict a vehicle that follows lanes: on the middle of its route, or of its lane if it has none left.

    As in highway-env, the coordinate on the current lane is taken as one on the route's first lane. These differ from
    the moment when `follow_road` drops the current lane to the vehicle's arrival on the next one, 2.5 m later.
    """
    own = world.cars[w, v].lane
    speed = world.cars[w, v].speed
    start, lateral = coordinates(lanes, world, w, v, own)
    head = world.cars[w, v].route_head
    last = world.cars[w, v].route_size - 1
    sample = int(0)
    while sample < SAMPLES:
        s = start + speed * (type(speed)(SAMPLE_PERIOD) * type(speed)(sample + 1))
        on = own
        if head <= last:
            on = _lane_of_step(lanes, world, w, v, head)
            step = head
            while step < last and s > lanes.lanes[on].length:
                s = s - lanes.lanes[on].length
                step = step + 1
                on = _lane_of_step(lanes, world, w, v, step)
        x, y = lane.position(lanes, on, s, type(s)(0.0))
        _remember(world, w, v, sample, x, y, lane.heading_at(lanes, on, s))
        sample = sample + 1


@wp.func(inline=COLD)
def _predict_steered(world: Any, model: Any, w: int, v: int):
    """Predict a vehicle that is steered directly: its own dynamics with the present steering, in long steps."""
    kind = world.cars[w, v].kind
    x = world.cars[w, v].x
    y = world.cars[w, v].y
    heading = world.cars[w, v].heading
    speed = world.cars[w, v].speed
    lateral_speed = world.cars[w, v].lateral_speed
    yaw_rate = world.cars[w, v].yaw_rate
    crashed = world.cars[w, v].crashed
    steering = world.cars[w, v].steering
    dt = type(speed)(SAMPLE_PERIOD)
    zero = type(speed)(0.0)
    acceleration = zero
    slowest, fastest = speed_limits(world, model, w, v)
    sample = int(0)
    while sample < SAMPLES:
        if crashed:
            steering = zero
            acceleration = -speed
        if speed > fastest:
            acceleration = wp.min(acceleration, fastest - speed)
        elif speed < slowest:
            acceleration = wp.max(acceleration, slowest - speed)
        if kind == Kind.BICYCLE:
            right_angle = type(speed)(lane.HALF_PI)
            steering = wp.clamp(steering, -right_angle, right_angle)
            fastest_turn = type(speed)(MAX_ANGULAR_SPEED)
            yaw_rate = wp.clamp(yaw_rate, -fastest_turn, fastest_turn)
            dx, dy, heading, speed, lateral_speed, yaw_rate = bicycle_step(
                heading, speed, lateral_speed, yaw_rate, steering, acceleration, dt
            )
            x = x + dx
            y = y + dy
        else:
            slip = wp.atan(type(speed)(0.5) * wp.tan(steering))
            x = x + speed * wp.cos(heading + slip) * dt
            y = y + speed * wp.sin(heading + slip) * dt
            if sample == 0:
                if world.cars[w, v].impact_rank >= 0:
                    x = x + world.cars[w, v].impact_x
                    y = y + world.cars[w, v].impact_y
                    crashed = True
            heading = heading + speed * wp.sin(slip) / type(speed)(HALF_LENGTH) * dt
            speed = speed + acceleration * dt
        _remember(world, w, v, sample, x, y, heading)
        sample = sample + 1


@wp.func
def _are_apart(world: Any, w: int, a: int, b: int):
    """Are the paths of two vehicles surely further apart than a conflict asks?"""
    reach = world.cars[w, a].length
    if world.predicted[w, b, BOX] - world.predicted[w, a, BOX + 1] > reach:
        return True
    if world.predicted[w, a, BOX] - world.predicted[w, b, BOX + 1] > reach:
        return True
    if world.predicted[w, b, BOX + 2] - world.predicted[w, a, BOX + 3] > reach:
        return True
    return world.predicted[w, a, BOX + 2] - world.predicted[w, b, BOX + 3] > reach


@wp.func
def _reaches_into(world: Any, w: int, a: int, b: int, sample: int):
    """Is a corner, the middle of an edge or the centre of `a`'s stretched rectangle in that of `b`?

    highway-env turns by plus the heading where the frame of `b` asks for minus; the answer is right for headings that
    are multiples of 90 degrees.
    """
    k = 3 * sample
    distance_x = world.predicted[w, a, k] - world.predicted[w, b, k]
    distance_y = world.predicted[w, a, k + 1] - world.predicted[w, b, k + 1]
    cos_a = wp.cos(world.predicted[w, a, k + 2])
    sin_a = wp.sin(world.predicted[w, a, k + 2])
    cos_b = wp.cos(world.predicted[w, b, k + 2])
    sin_b = wp.sin(world.predicted[w, b, k + 2])
    half = type(cos_a)(0.5)
    half_length = half * type(cos_a)(LENGTHENED) * world.cars[w, a].length
    half_width = half * type(cos_a)(NARROWED) * world.cars[w, a].width
    reach_x = half * type(cos_a)(LENGTHENED) * world.cars[w, b].length
    reach_y = half * type(cos_a)(NARROWED) * world.cars[w, b].width
    point = int(0)
    while point < 9:
        along = half_length * type(cos_a)(point % 3 - 1)
        across = half_width * type(cos_a)(point / 3 - 1)
        x = cos_a * along - sin_a * across + distance_x
        y = sin_a * along + cos_a * across + distance_y
        if wp.abs(cos_b * x - sin_b * y) <= reach_x:
            if wp.abs(sin_b * x + cos_b * y) <= reach_y:
                return True
        point = point + 1
    return False


@wp.func(inline=COLD)
def _is_conflict(world: Any, w: int, a: int, b: int):
    """Do the stretched rectangles of two vehicles meet at a sample (`is_conflict_possible`)?"""
    sample = int(0)
    while sample < SAMPLES:
        dx = world.predicted[w, b, 3 * sample] - world.predicted[w, a, 3 * sample]
        dy = world.predicted[w, b, 3 * sample + 1] - world.predicted[w, a, 3 * sample + 1]
        if wp.sqrt(dx * dx + dy * dy) <= world.cars[w, a].length:
            if _reaches_into(world, w, a, b, sample):
                return True
            if _reaches_into(world, w, b, a, sample):
                return True
        sample = sample + 1
    return False


@wp.func
def _lower_in_rank(lanes: Any, world: Any, w: int, a: int, b: int):
    """Return the slot of the vehicle that must give way (`respect_priorities`); of equals the one further behind."""
    rank_a = lanes.lanes[world.cars[w, a].lane].priority
    rank_b = lanes.lanes[world.cars[w, b].lane].priority
    if rank_a > rank_b:
        return b
    if rank_a < rank_b:
        return a
    dx = world.cars[w, b].x - world.cars[w, a].x
    dy = world.cars[w, b].y - world.cars[w, a].y
    ahead_of_a = world.cars[w, a].cos_heading * dx + world.cars[w, a].sin_heading * dy
    ahead_of_b = world.cars[w, b].cos_heading * -dx + world.cars[w, b].sin_heading * -dy
    if ahead_of_a > ahead_of_b:
        return a
    return b


@wp.func(inline=COLD)
def regulate(lanes: Any, world: Any, model: Any, w: int):
    """`enforce_road_rules`: release the vehicles that yield, find the conflicts, and stop who must give way.

    Controlled vehicles do not stop. The outcome is that of all pairs together, so a pair that would stop nobody new
    is not looked at.
    """
    vehicles = world.rows[w].count - world.rows[w].objects
    for v in range(vehicles):
        if world.cars[w, v].yields:
            world.cars[w, v].yields = False
            world.cars[w, v].target_speed = lanes.lanes[world.cars[w, v].lane].speed_limit
        if world.cars[w, v].kind <= Kind.MDP:
            _predict_along_route(lanes, world, w, v)
        else:
            _predict_steered(world, model, w, v)
    for a in range(vehicles - 1):
        for b in range(a + 1, vehicles):
            if not _are_apart(world, w, a, b):
                v = _lower_in_rank(lanes, world, w, a, b)
                if world.cars[w, v].kind <= Kind.DEFENSIVE and not world.cars[w, v].yields:
                    if _is_conflict(world, w, a, b):
                        world.cars[w, v].yields = True
                        world.cars[w, v].target_speed = type(world.cars[w, v].speed)(0.0)
