"""The kernels of `sim.sensors.birdseye`: first where things are in the picture, then the picture, tile by tile."""

from enum import IntEnum
from typing import Any

import warp as wp

from sim.engine import HOT
from sim.engine import lanes as lane
from sim.engine.elementary import cosine_and_sine
from sim.engine.state import Kind
from sim.engine.vehicles import MAX_SPEED
from sim.sensors.ground.surface import Ground, greater, ground_at, lesser

FRONT = 0.25
"""Share of a vehicle's length that is painted as its front."""


class Channel(IntEnum):
    """What a channel shows, 0 to 255; the first six are the share of the pixel that is covered."""

    ROAD = 0  # asphalt and what is painted on it
    MARKING = 1
    EGO = 2
    VEHICLES = 3  # all but the ego, parked ones and other agents too
    OBSTACLES = 4
    GOALS = 5  # half as bright where the goal is another agent's
    SPEED = 6  # 255 at `MAX_SPEED`, of the vehicle in the pixel's middle, the ego too; 0 where there is none
    AHEAD = 7  # its heading's cosine and sine in the picture, -1 to 1 as 1 to 255; 0 where there is none
    ASIDE = 8


class Tone(IntEnum):
    """Rows of the table of colours."""

    GRASS = 0
    SHOULDER = 1
    ROAD = 2
    PAINT = 3
    EGO = 4
    TRAFFIC = 5
    PARKED = 6
    CRASHED = 7
    FRONT = 8
    OBSTACLE = 9
    GOAL = 10
    OTHER_GOAL = 11


@wp.struct
class Frame:
    """Where a picture lies in the world, and how many bodies are drawn on it."""

    x: wp.float32  # upper left corner [m]
    y: wp.float32
    right_x: wp.float32  # one pixel to the right [m]; one down is (-right_y, right_x)
    right_y: wp.float32
    bodies: wp.int32


@wp.struct
class Body:
    """A rectangle to draw; lengths in pixels, x and y those of the picture."""

    x: wp.float32  # middle
    y: wp.float32
    cosine: wp.float32
    sine: wp.float32
    length: wp.float32  # half of it
    width: wp.float32
    front: wp.float32  # from the middle to where the front begins; beyond the length where there is none
    speed: wp.float32  # [m/s]
    channel: wp.int32
    tone: wp.int32
    left: wp.int32  # pixels it may touch; right and bottom are beyond the last
    top: wp.int32
    right: wp.int32
    bottom: wp.int32


@wp.struct
class Sizes:
    """A `View` on the device."""

    width: wp.int32
    height: wp.int32
    columns: wp.int32  # pixels of a row that a thread draws
    rows: wp.int32
    align: wp.int32
    scaling: wp.float32
    ego_x: wp.float32  # where the ego stands [px]
    ego_y: wp.float32


@wp.func
def _tone(world: Any, w: int, v: int, ego: int, goal: int):
    kind = world.cars[w, v].kind
    if kind == Kind.LANDMARK:
        return wp.where(v == goal, int(Tone.GOAL), int(Tone.OTHER_GOAL))
    if kind == Kind.OBSTACLE:
        return int(Tone.OBSTACLE)
    if world.cars[w, v].crashed:
        return int(Tone.CRASHED)
    if v == ego:
        return int(Tone.EGO)
    return wp.where(kind == Kind.PARKED, int(Tone.PARKED), int(Tone.TRAFFIC))


@wp.func
def _channel(world: Any, w: int, v: int, ego: int):
    kind = world.cars[w, v].kind
    if kind == Kind.LANDMARK:
        return int(Channel.GOALS)
    if kind == Kind.OBSTACLE:
        return int(Channel.OBSTACLES)
    return wp.where(v == ego, int(Channel.EGO), int(Channel.VEHICLES))


@wp.func
def _heading(lanes: Any, world: Any, w: int, ego: int, align: int):
    """Return the cosine and sine of what points to the right of the picture."""
    x = world.cars[w, ego].x
    y = world.cars[w, ego].y
    cosine = type(x)(1.0)
    sine = type(x)(0.0)
    if align == 0:
        cosine = world.cars[w, ego].cos_heading
        sine = world.cars[w, ego].sin_heading
    if align == 1:
        s, _lateral = lane.local_coordinates(lanes, world.cars[w, ego].lane, x, y)
        cosine, sine = cosine_and_sine(lane.heading_at(lanes, world.cars[w, ego].lane, s))
    return cosine, sine


@wp.kernel(enable_backward=False, module="unique")
def place(
    lanes: Any,
    world: Any,
    sizes: Sizes,
    agent: int,
    mask: wp.array(dtype=wp.bool),
    frames: wp.array(dtype=Frame),
    bodies: wp.array2d(dtype=Body),
    first: int,
):
    """Find out what is seen in the worlds of `mask`: `frames` [N], and `bodies` [N, V] from the lowest to the ego."""
    w = first + wp.tid()
    if not mask[w]:
        return
    ego = world.ego[w, agent]
    goal = world.goal[w, agent]
    turn_x, turn_y = _heading(lanes, world, w, ego, sizes.align)
    right_x = wp.float32(turn_x)
    right_y = wp.float32(turn_y)
    scaling = sizes.scaling
    count = world.rows[w].count
    vehicles = count - world.rows[w].objects
    found = wp.int32(0)
    for k in range(count + 1):
        v = (k + vehicles) % wp.max(count, 1)  # the objects, then the vehicles
        if k == count:
            v = ego
        if (v == ego and k < count) or world.cars[w, v].kind == Kind.ABSENT:
            continue
        dx = wp.float32(world.cars[w, v].x - world.cars[w, ego].x) * scaling
        dy = wp.float32(world.cars[w, v].y - world.cars[w, ego].y) * scaling
        x = sizes.ego_x + dx * right_x + dy * right_y
        y = sizes.ego_y + dy * right_x - dx * right_y
        cos_v = wp.float32(world.cars[w, v].cos_heading)
        sin_v = wp.float32(world.cars[w, v].sin_heading)
        cosine = cos_v * right_x + sin_v * right_y
        sine = sin_v * right_x - cos_v * right_y
        length = wp.float32(0.5) * scaling * wp.float32(world.cars[w, v].length)
        width = wp.float32(0.5) * scaling * wp.float32(world.cars[w, v].width)
        reach_x = wp.abs(cosine) * length + wp.abs(sine) * width + wp.float32(1.0)
        reach_y = wp.abs(sine) * length + wp.abs(cosine) * width + wp.float32(1.0)
        if x + reach_x < wp.float32(0.0) or x - reach_x > wp.float32(sizes.width):
            continue
        if y + reach_y < wp.float32(0.0) or y - reach_y > wp.float32(sizes.height):
            continue
        bodies[w, found].x = x
        bodies[w, found].y = y
        bodies[w, found].cosine = cosine
        bodies[w, found].sine = sine
        bodies[w, found].length = length
        bodies[w, found].width = width
        front = length * wp.float32(1.0 - 2.0 * FRONT)
        bodies[w, found].front = wp.where(v < vehicles, front, length + wp.float32(9.0))
        bodies[w, found].speed = wp.float32(world.cars[w, v].speed)
        bodies[w, found].channel = _channel(world, w, v, ego)
        bodies[w, found].tone = _tone(world, w, v, ego, goal)
        bodies[w, found].left = wp.max(int(wp.floor(x - reach_x)), 0)
        bodies[w, found].top = wp.max(int(wp.floor(y - reach_y)), 0)
        bodies[w, found].right = wp.min(int(wp.ceil(x + reach_x)), sizes.width)
        bodies[w, found].bottom = wp.min(int(wp.ceil(y + reach_y)), sizes.height)
        found = found + 1
    frames[w].bodies = found
    frames[w].right_x = right_x / scaling
    frames[w].right_y = right_y / scaling
    frames[w].x = wp.float32(world.cars[w, ego].x) - (sizes.ego_x * right_x - sizes.ego_y * right_y) / scaling
    frames[w].y = wp.float32(world.cars[w, ego].y) - (sizes.ego_x * right_y + sizes.ego_y * right_x) / scaling


@wp.func(inline=HOT)
def _inside(half: wp.float32, off: wp.float32) -> wp.float32:
    """Which share of a pixel's width, `off` from the middle of a bar of 2 `half`, lies on the bar."""
    share = wp.clamp(half + wp.float32(0.5) - wp.abs(off), wp.float32(0.0), wp.float32(1.0))
    return lesser(share, wp.float32(2.0) * half)


@wp.func(inline=HOT)
def _byte(value: wp.float32) -> wp.uint8:
    return wp.uint8(int(value + wp.float32(0.5)))


@wp.func(inline=HOT)
def _mixed(old: wp.uint8, keep: wp.float32, new: wp.float32) -> wp.uint8:
    return _byte(wp.float32(old) * keep + new)


@wp.kernel(enable_backward=False, module="unique")
def draw_colours(
    ground: Ground,
    sizes: Sizes,
    tones: wp.array(dtype=wp.vec3f),
    frames: wp.array(dtype=Frame),
    bodies: wp.array2d(dtype=Body),
    mask: wp.array(dtype=wp.bool),
    out: wp.array4d(dtype=wp.uint8),
    first: int,
):
    """Draw one tile of the pictures `out` `[N, 3, height, width]` of the worlds of `mask`; tones are 0 to 255."""
    w, k = wp.tid()
    w = first + w
    if not mask[w]:
        return
    across = (sizes.width + sizes.columns - 1) / sizes.columns
    top = k / across * sizes.rows
    left = k % across * sizes.columns
    bottom = wp.min(top + sizes.rows, sizes.height)
    right = wp.min(left + sizes.columns, sizes.width)
    step_x = frames[w].right_x
    step_y = frames[w].right_y
    footprint = wp.float32(1.0) / sizes.scaling
    grass = tones[int(Tone.GRASS)]
    green_r = _byte(grass[0])
    green_g = _byte(grass[1])
    green_b = _byte(grass[2])
    shoulder = tones[int(Tone.SHOULDER)] - grass
    road = tones[int(Tone.ROAD)] - grass
    paint = tones[int(Tone.PAINT)] - grass
    for i in range(top, bottom):
        down = wp.float32(i) + wp.float32(0.5)
        x0 = frames[w].x - down * step_y
        y0 = frames[w].y + down * step_x
        for j in range(left, right):
            aside = wp.float32(j) + wp.float32(0.5)
            shares = ground_at(ground, x0 + aside * step_x, y0 + aside * step_y, footprint)
            if shares[0] + shares[1] + shares[2] > wp.float32(0.0):
                colour = grass + shares[0] * shoulder + shares[1] * road + shares[2] * paint
                out[w, 0, i, j] = _byte(colour[0])
                out[w, 1, i, j] = _byte(colour[1])
                out[w, 2, i, j] = _byte(colour[2])
            else:
                out[w, 0, i, j] = green_r
                out[w, 1, i, j] = green_g
                out[w, 2, i, j] = green_b
    for b in range(frames[w].bodies):
        front = bodies[w, b].front
        length = bodies[w, b].length
        tone = tones[bodies[w, b].tone]
        ahead = tones[int(Tone.FRONT)] - tone
        for i in range(wp.max(top, bodies[w, b].top), wp.min(bottom, bodies[w, b].bottom)):
            dy = wp.float32(i) + wp.float32(0.5) - bodies[w, b].y
            for j in range(wp.max(left, bodies[w, b].left), wp.min(right, bodies[w, b].right)):
                dx = wp.float32(j) + wp.float32(0.5) - bodies[w, b].x
                along = dx * bodies[w, b].cosine + dy * bodies[w, b].sine
                beside = _inside(bodies[w, b].width, dy * bodies[w, b].cosine - dx * bodies[w, b].sine)
                covered = beside * _inside(length, along)
                if covered > wp.float32(0.0):
                    nose = lesser(length, along + wp.float32(0.5)) - greater(front, along - wp.float32(0.5))
                    colour = covered * tone + beside * wp.max(nose, wp.float32(0.0)) * ahead
                    keep = wp.float32(1.0) - covered
                    for c in range(3):
                        out[w, c, i, j] = _mixed(out[w, c, i, j], keep, colour[c])


@wp.func
def _draw_body(
    places: wp.array(dtype=wp.int32),
    bodies: wp.array2d(dtype=Body),
    w: int,
    b: int,
    top: int,
    left: int,
    bottom: int,
    right: int,
    out: wp.array4d(dtype=wp.uint8),
):
    """Draw a body into the channels that show it, within one tile."""
    full = wp.float32(255.0)
    one = wp.float32(1.0)
    c = places[bodies[w, b].channel]
    strength = wp.where(bodies[w, b].tone == Tone.OTHER_GOAL, wp.float32(0.5) * full, full)
    drives = bodies[w, b].channel == Channel.EGO or bodies[w, b].channel == Channel.VEHICLES
    speed = places[int(Channel.SPEED)]
    ahead = places[int(Channel.AHEAD)]
    aside = places[int(Channel.ASIDE)]
    cosine = bodies[w, b].cosine
    sine = bodies[w, b].sine
    share = wp.min(wp.abs(bodies[w, b].speed) / wp.float32(MAX_SPEED), one)
    for i in range(wp.max(top, bodies[w, b].top), wp.min(bottom, bodies[w, b].bottom)):
        dy = wp.float32(i) + wp.float32(0.5) - bodies[w, b].y
        for j in range(wp.max(left, bodies[w, b].left), wp.min(right, bodies[w, b].right)):
            dx = wp.float32(j) + wp.float32(0.5) - bodies[w, b].x
            along = dx * cosine + dy * sine
            beside = dy * cosine - dx * sine
            covered = _inside(bodies[w, b].width, beside) * _inside(bodies[w, b].length, along)
            if c >= 0:
                out[w, c, i, j] = _mixed(out[w, c, i, j], one - covered, covered * strength)
            if drives and wp.abs(along) <= bodies[w, b].length and wp.abs(beside) <= bodies[w, b].width:
                if speed >= 0:
                    out[w, speed, i, j] = _byte(full * share)
                if ahead >= 0:
                    out[w, ahead, i, j] = _byte(wp.float32(128.0) + wp.float32(127.0) * cosine)
                if aside >= 0:
                    out[w, aside, i, j] = _byte(wp.float32(128.0) + wp.float32(127.0) * sine)


@wp.kernel(enable_backward=False, module="unique")
def draw_classes(
    ground: Ground,
    sizes: Sizes,
    places: wp.array(dtype=wp.int32),
    frames: wp.array(dtype=Frame),
    bodies: wp.array2d(dtype=Body),
    mask: wp.array(dtype=wp.bool),
    out: wp.array4d(dtype=wp.uint8),
    first: int,
):
    """Draw one tile of the channels `out` `[N, K, height, width]`; `places` has the place of each `Channel`, or -1."""
    w, k = wp.tid()
    w = first + w
    if not mask[w]:
        return
    across = (sizes.width + sizes.columns - 1) / sizes.columns
    top = k / across * sizes.rows
    left = k % across * sizes.columns
    bottom = wp.min(top + sizes.rows, sizes.height)
    right = wp.min(left + sizes.columns, sizes.width)
    step_x = frames[w].right_x
    step_y = frames[w].right_y
    footprint = wp.float32(1.0) / sizes.scaling
    full = wp.float32(255.0)
    road = places[int(Channel.ROAD)]
    marking = places[int(Channel.MARKING)]
    for c in range(out.shape[1]):
        if c != road and c != marking:
            for i in range(top, bottom):
                for j in range(left, right):
                    out[w, c, i, j] = wp.uint8(0)
    if road >= 0 or marking >= 0:
        for i in range(top, bottom):
            down = wp.float32(i) + wp.float32(0.5)
            x0 = frames[w].x - down * step_y
            y0 = frames[w].y + down * step_x
            for j in range(left, right):
                aside = wp.float32(j) + wp.float32(0.5)
                shares = ground_at(ground, x0 + aside * step_x, y0 + aside * step_y, footprint)
                if road >= 0:
                    out[w, road, i, j] = _byte(full * wp.min(shares[1] + shares[2], wp.float32(1.0)))
                if marking >= 0:
                    out[w, marking, i, j] = _byte(full * shares[2])
    for b in range(frames[w].bodies):
        _draw_body(places, bodies, w, b, top, left, bottom, right, out)
