"""RSS on the device: the situation of each pair, its margins, and the ego's duty to respond; see `rss`.

All in float64, whatever was recorded. One thread an episode; what is kept of a vehicle is found by its number, since
vehicles may change slots.
"""

from typing import Any

import warp as wp

from sim.engine import HOT
from sim.evaluation.metrics.device_boxes import HALF, ZERO, Box, box_at, is_thing
from sim.evaluation.metrics.least import Least, keep_least
from sim.world import Kind

ALONG = wp.constant(wp.float64(0.5))  # cosine of the 60 degrees within which two go the same way, or opposite ways
MOVING = wp.constant(wp.float64(0.05))  # m/s, below which nobody need slow down any more
ROUNDING = wp.constant(wp.float64(1e-3))  # m/s2, by which a braking may fall short; also frames
ONE = wp.constant(wp.float64(1.0))
LONG_AGO = -9  # a frame before all others


@wp.struct
class Asked:
    """`rss.Parameters`; a `way` is the distance in which a braking ends a speed of 1 m/s [s2/m]."""

    ego_response: wp.float64
    other_response: wp.float64
    acceleration: wp.float64
    braking: wp.float64
    own_lane_braking: wp.float64
    way: wp.float64
    own_lane_way: wp.float64
    hardest_way: wp.float64
    lateral_acceleration: wp.float64
    lateral_braking: wp.float64
    lateral_way: wp.float64
    margin: wp.float64


@wp.struct
class Roads:
    """Directions of the lanes: x, y: unit vectors [L], zero where a lane bends; lane_heading: at the ego [T, N]."""

    x: wp.array(dtype=wp.float64)
    y: wp.array(dtype=wp.float64)
    lane_heading: wp.array2d(dtype=wp.float64)


@wp.struct
class Pair:
    """The ego and another vehicle at a frame, in the frame of their road.

    judged: do they go the same way or opposite ways. ahead: is the other one, as the ego faces. opposite: do they face
    opposite ways. own_lane: does the ego follow its lane's direction. gap, lateral_gap: between the rectangles, along
    and across [m], below zero where they overlap. speed, other_speed: along each one's lane, as it faces [m/s].
    approach, other_approach: across each one's lane, towards the other one [m/s]. side: 1 where the other one is to
    the right of the ego, -1 to the left.
    """

    judged: int
    ahead: int
    opposite: int
    own_lane: int
    gap: wp.float64
    lateral_gap: wp.float64
    speed: wp.float64
    other_speed: wp.float64
    approach: wp.float64
    other_approach: wp.float64
    side: wp.float64


@wp.struct
class Watch:
    """What one parameter set finds, [N], and what it keeps of each vehicle, [N, K] by number.

    dangerous: frames in danger. violations: how often the ego began to fail to respond; failed, failing: the first and
    the last frame of it.
    close: the last frame at which the distance along was too small; danger, since: the last frame in danger, and the
    first of that run; drifted: was the distance across the last to break.
    """

    asked: Asked
    dangerous: wp.array(dtype=wp.int32)
    violations: wp.array(dtype=wp.int32)
    failed: wp.array(dtype=wp.int32)
    failing: wp.array(dtype=wp.int32)
    close: wp.array2d(dtype=wp.int32)
    danger: wp.array2d(dtype=wp.int32)
    since: wp.array2d(dtype=wp.int32)
    drifted: wp.array2d(dtype=wp.int32)


@wp.func
def sign(value: wp.float64):
    """1 for zero or more, -1 for less."""
    return wp.where(value < ZERO, -ONE, ONE)


@wp.func
def road_at(roads: Roads, mine: Box, t: int, n: int):
    """Return the direction of the ego's lane, as the ego faces, and 1 where it follows it, else -1."""
    x = ONE
    y = ZERO
    if roads.lane_heading[t, n] != ZERO:
        x = wp.cos(roads.lane_heading[t, n])
        y = wp.sin(roads.lane_heading[t, n])
    follows = sign(mine.along_x * x + mine.along_y * y)
    return x * follows, y * follows, follows


@wp.func(inline=HOT)
def judge(
    tape: Any, roads: Roads, mine: Box, road_x: wp.float64, road_y: wp.float64, follows: wp.float64,
    t: int, n: int, v: int,
):  # fmt: skip
    """Return the situation of the ego, whose rectangle is `mine`, with the vehicle in slot `v`; road: of `road_at`."""
    pair = Pair()
    other = box_at(tape, t, n, v)
    lane = wp.max(tape.lane[t, n, v], 0)
    lane_x = roads.x[lane]
    lane_y = roads.y[lane]
    if lane_x == ZERO and lane_y == ZERO:  # on a lane that bends, the direction of the vehicle itself
        lane_x = other.along_x
        lane_y = other.along_y
    ways = lane_x * road_x + lane_y * road_y  # cosine between the two lanes
    lane_x = lane_x * sign(ways)
    lane_y = lane_y * sign(ways)
    facing = other.along_x * lane_x + other.along_y * lane_y
    if tape.kind[t, n, v] == Kind.OBSTACLE:  # a cone has no direction
        lane_x = road_x
        lane_y = road_y
        facing = ONE
        ways = ONE
    pair.judged = int(0)
    if wp.abs(facing) < ALONG or wp.abs(ways) < ALONG:
        return pair
    pair.judged = 1
    x = road_x
    y = road_y
    if lane_x != road_x or lane_y != road_y:
        size = wp.sqrt((road_x + lane_x) * (road_x + lane_x) + (road_y + lane_y) * (road_y + lane_y))
        x = (road_x + lane_x) / size
        y = (road_y + lane_y) / size
    away = (other.x - mine.x) * x + (other.y - mine.y) * y
    across = (other.y - mine.y) * x - (other.x - mine.x) * y
    cosine = wp.abs(other.along_x * x + other.along_y * y)
    sine = wp.abs(other.along_x * y - other.along_y * x)
    my_cosine = wp.abs(mine.along_x * x + mine.along_y * y)
    my_sine = wp.abs(mine.along_x * y - mine.along_y * x)
    reach = mine.half_length * my_cosine + mine.half_width * my_sine
    reach = reach + other.half_length * cosine + other.half_width * sine
    beside = mine.half_length * my_sine + mine.half_width * my_cosine
    beside = beside + other.half_length * sine + other.half_width * cosine
    pair.side = sign(across)
    pair.ahead = wp.where(away < ZERO, 0, 1)
    pair.opposite = wp.where(facing < ZERO, 1, 0)
    pair.own_lane = wp.where(follows > ZERO, 1, 0)
    pair.gap = wp.abs(away) - reach
    pair.lateral_gap = wp.abs(across) - beside
    pair.speed = mine.speed * (mine.along_x * road_x + mine.along_y * road_y)
    pair.other_speed = other.speed * wp.abs(facing)
    pair.approach = mine.speed * (mine.along_y * road_x - mine.along_x * road_y) * pair.side
    pair.other_approach = other.speed * (other.along_x * lane_y - other.along_y * lane_x) * pair.side
    return pair


@wp.func
def stopping(speed: wp.float64, response: wp.float64, acceleration: wp.float64, way: wp.float64):
    """Distance [m] covered while speeding up for the response time and then braking to a stand; way: see `Asked`.

    A vehicle that still goes the other way after the response time has no braking to add.
    """
    after = speed + response * acceleration
    travelled = (speed + after) * response * HALF
    after = wp.max(after, ZERO)
    return travelled + after * after * way


@wp.func(inline=HOT)
def margins(pair: Pair, asked: Asked):
    """By how much the distances along and across exceed the least safe ones [m]."""
    rear = pair.other_speed
    front = pair.speed
    response = asked.other_response
    if pair.ahead == 1:
        rear = pair.speed
        front = pair.other_speed
        response = asked.ego_response
    front = wp.max(front, ZERO)
    least = stopping(wp.max(rear, ZERO), response, asked.acceleration, asked.way)
    least = wp.max(least - front * front * asked.hardest_way, ZERO)
    if pair.opposite == 1:
        brakes = asked.way
        theirs = asked.own_lane_way
        if pair.own_lane == 1:
            brakes = asked.own_lane_way
            theirs = asked.way
        least = stopping(wp.max(pair.speed, ZERO), asked.ego_response, asked.acceleration, brakes)
        least = least + stopping(wp.max(pair.other_speed, ZERO), asked.other_response, asked.acceleration, theirs)
        least = least * wp.float64(pair.ahead)
    sway = asked.lateral_acceleration
    lateral = stopping(pair.approach, asked.ego_response, sway, asked.lateral_way)
    lateral = lateral + stopping(pair.other_approach, asked.other_response, sway, asked.lateral_way)
    return pair.gap - least, pair.lateral_gap - wp.max(lateral, ZERO) - asked.margin


@wp.func
def fails(pair: Pair, asked: Asked, drifted: int, braking: wp.float64, settling: wp.float64):
    """Does the ego fail to respond: to brake, or to stop drifting? braking, settling: what it does [m/s2]."""
    if drifted == 1:
        return pair.approach > MOVING and settling * pair.side < asked.lateral_braking - ROUNDING
    enough = asked.braking
    if pair.opposite == 1 and pair.own_lane == 1:
        enough = asked.own_lane_braking
    return pair.ahead == 1 and pair.speed > MOVING and braking < enough - ROUNDING


@wp.func(inline=HOT)
def watch_pair(
    watch: Watch, pair: Pair, margin: Least, n: int, t: int, k: int, dt: wp.float64,
    braking: wp.float64, settling: wp.float64,
):  # fmt: skip
    """Take in a pair, vehicle number `k`; returns 1 in danger, 2 where the ego owes a response and fails, else 0."""
    along, across = margins(pair, watch.asked)
    keep_least(margin, n, wp.max(along, across), t, k)
    result = int(0)
    if along < ZERO and across < ZERO:
        result = 1
        if watch.danger[n, k] != t - 1:
            watch.since[n, k] = t
            watch.drifted[n, k] = wp.where(watch.close[n, k] == t - 1, 1, 0)
        watch.danger[n, k] = t
        passed = wp.float64(t - watch.since[n, k])
        owes = passed >= watch.asked.ego_response / dt - ROUNDING
        if owes and fails(pair, watch.asked, watch.drifted[n, k], braking, settling):
            result = 2
    if along < ZERO:
        watch.close[n, k] = t
    return result


@wp.func
def note(watch: Watch, n: int, t: int, worst: int):
    """Count a frame by its worst pair, as of `watch_pair`."""
    if worst > 0:
        watch.dangerous[n] = watch.dangerous[n] + 1
    if worst == 2:
        if watch.failing[n] != t - 1:
            watch.violations[n] = watch.violations[n] + 1
            if watch.violations[n] == 1:
                watch.failed[n] = t
        watch.failing[n] = t


@wp.kernel(enable_backward=False, module="unique")
def watch_episodes(
    tape: Any, roads: Roads, ego: wp.array2d(dtype=wp.int32), last: wp.array(dtype=wp.int32),
    braking: wp.array2d(dtype=wp.float64), settling: wp.array2d(dtype=wp.float64),
    strict: Watch, strict_margin: Least, dense: Watch, dense_margin: Least, dt: wp.float64, size: int, first: int,
):  # fmt: skip
    """Go through the episodes with two parameter sets; a thread has `size` of them."""
    begin = (first + wp.tid()) * size
    end = wp.min(begin + size, last.shape[0])
    for t in range(tape.x.shape[0]):
        for n in range(begin, end):
            if t <= last[n]:
                mine = box_at(tape, t, n, ego[t, n])
                road_x, road_y, follows = road_at(roads, mine, t, n)
                strict_worst = int(0)
                dense_worst = int(0)
                for v in range(tape.x.shape[2]):
                    if v != ego[t, n] and is_thing(tape.kind[t, n, v]):
                        pair = judge(tape, roads, mine, road_x, road_y, follows, t, n, v)
                        if pair.judged == 1:
                            k = tape.number[t, n, v]
                            done = watch_pair(strict, pair, strict_margin, n, t, k, dt, braking[t, n], settling[t, n])
                            strict_worst = wp.max(strict_worst, done)
                            done = watch_pair(dense, pair, dense_margin, n, t, k, dt, braking[t, n], settling[t, n])
                            dense_worst = wp.max(dense_worst, done)
                note(strict, n, t, strict_worst)
                note(dense, n, t, dense_worst)


@wp.kernel(enable_backward=False, module="unique")
def write_margins(
    tape: Any, roads: Roads, ego: wp.array2d(dtype=wp.int32), last: wp.array(dtype=wp.int32), asked: Asked,
    along: wp.array3d(dtype=wp.float64), across: wp.array3d(dtype=wp.float64),
    size: int, first: int,
):  # fmt: skip
    """Write the margins of each pair that is judged, along and across [m]; a thread has `size` episodes."""
    begin = (first + wp.tid()) * size
    end = wp.min(begin + size, last.shape[0])
    for t in range(tape.x.shape[0]):
        for n in range(begin, end):
            if t <= last[n]:
                mine = box_at(tape, t, n, ego[t, n])
                road_x, road_y, follows = road_at(roads, mine, t, n)
                for v in range(tape.x.shape[2]):
                    if v != ego[t, n] and is_thing(tape.kind[t, n, v]):
                        pair = judge(tape, roads, mine, road_x, road_y, follows, t, n, v)
                        if pair.judged == 1:
                            beyond, beside = margins(pair, asked)
                            along[t, n, v] = beyond
                            across[t, n, v] = beside
