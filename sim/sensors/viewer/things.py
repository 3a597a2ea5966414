"""How highway-env's viewer draws one vehicle or object: a small picture of its own, turned and put on the road.

Source: highway_env/vehicle/graphics.py and road/graphics.py, 1.12.1; pygame-ce's draw.rect, transform.rotate,
Vector2.rotate and blit, 2.5.8. Each truncation decides about pixels, so they are all here, in their order.
"""

import math
from enum import IntEnum
from typing import Any

import warp as wp

from sim.engine.state import Kind

# VehicleGraphics.display
TYRE_LENGTH = 1.0  # m, also the margin around a vehicle in its picture
TYRE_WIDTH = 0.3  # m
TYRE_TOP = TYRE_LENGTH / 2 - TYRE_WIDTH / 2  # m, in the square picture of a tyre
HEADLIGHT_LENGTH = 0.72  # m
HEADLIGHT_WIDTH = 0.6  # m
LEVEL = math.radians(2.0)  # up to this heading a thing is drawn along x
MARGIN = 50  # px, how far outside the picture the middle of a vehicle may be
FAR = 4096  # px
EPSILON = 1e-6  # rad, by which Vector2.rotate takes an angle for a right one
RADIANS = math.pi / 180.0  # of a degree
DEGREES = 180.0 / math.pi  # of a radian
RADIANS_OF_ROTATE = 0.01745329251994329  # transform.rotate's


class Shade(IntEnum):
    """Indices of `View.shades`; two colours follow for each `Paint`, of the body and of the headlights."""

    ROAD = 0
    LINE = 1
    OUTLINE = 2
    FIRST_PAINT = 3


class Paint(IntEnum):
    """Colours of vehicles and objects."""

    YELLOW = 0
    RED = 1
    BLUE = 2
    GREEN = 3


@wp.struct
class View:
    """What the kernel must know of the picture and of the road."""

    scaling: wp.float64  # px/m
    ahead: wp.float64  # m, from the left edge to the observer
    beside: wp.float64  # m, from the upper edge
    line: int  # px, width of a lane line
    window: int  # stripes along a lane
    green_egos: int  # are the egos green whatever happens to them
    shades: wp.array(dtype=wp.uint8)


@wp.struct
class Turned:
    """A square picture, turned and put on a larger one: pixel (x, y) of that shows pixel (u, v) >> 16 of it."""

    x: int  # upper left corner of the turned picture
    y: int
    size: int  # px, of the turned picture
    source: int  # px, of the picture
    u: int  # at the corner, in 65536ths of a pixel
    v: int
    u_x: int  # change a column
    v_x: int
    u_y: int  # change a row
    v_y: int


@wp.func
def _turned(source: int, x: int, y: int, degrees: wp.float64):
    """Turn a picture of `source` px about its middle, counter-clockwise, and put the middle to (x, y)."""
    turned = Turned()
    turned.source = source
    n = wp.float64(source)
    half = n / wp.float64(2.0)
    quarters = wp.rint(degrees / wp.float64(90.0))
    angle = degrees * wp.float64(RADIANS)
    cosine = wp.cos(angle)
    sine = wp.sin(angle)
    if wp.abs(degrees - quarters * wp.float64(90.0)) * wp.float64(RADIANS) < wp.float64(EPSILON):
        quarter = int(quarters) & 3
        cosine = wp.float64((1 - quarter) * (1 - (quarter & 1)))
        sine = wp.float64((2 - quarter) * (quarter & 1))
    # blit_rotate: the corner of the box around the turned picture
    left = wp.min(wp.min(wp.float64(0.0), n * cosine), wp.min(n * cosine + n * sine, n * sine))
    top = wp.max(wp.max(wp.float64(0.0), n * sine), wp.max(n * sine - n * cosine, -n * cosine))
    turned.x = int(wp.float64(x) - half + left - (half * cosine + half * sine - half))
    turned.y = int(wp.float64(y) - half - top + (half * sine - half * cosine + half))
    # transform.rotate
    rounded = wp.float64(wp.float32(degrees))
    quarters = wp.rint(rounded / wp.float64(90.0))
    if rounded == quarters * wp.float64(90.0):
        quarter = int(quarters) & 3
        turned.size = source
        turned.u_x = ((1 - quarter) * (1 - (quarter & 1))) << 16
        turned.v_y = turned.u_x
        turned.v_x = ((2 - quarter) * (quarter & 1)) << 16
        turned.u_y = -turned.v_x
        if quarter == 1 or quarter == 2:
            turned.u = (source - 1) << 16
        if quarter >= 2:
            turned.v = (source - 1) << 16
        return turned
    cosine = wp.cos(rounded * wp.float64(RADIANS_OF_ROTATE))
    sine = wp.sin(rounded * wp.float64(RADIANS_OF_ROTATE))
    size = int(wp.max(wp.abs(n * cosine + n * sine), wp.abs(n * cosine - n * sine)))
    turned.size = size
    turned.u_x = int(cosine * wp.float64(65536.0))
    turned.v_x = int(sine * wp.float64(65536.0))
    turned.u_y = -turned.v_x
    turned.v_y = turned.u_x
    reach = wp.float64((size - 1) << 15)
    turned.u = (size << 15) - int(cosine * reach) + turned.v_x * (size // 2) + (source - size) * 32768
    turned.v = (size << 15) - int(sine * reach) - turned.u_x * (size // 2) + (source - size) * 32768
    return turned


@wp.func
def _within(start: int, size: int, at: int):
    return at >= start and at < start + size


@wp.struct
class Sprite:
    """A thing's own picture, in which it points along x, in pixels."""

    x: int  # rectangle of the body
    y: int
    across: int
    down: int
    dark: int  # is it so thin that its outline fills it
    light_x: int  # headlights, of which each is light_across * light_down; none across for objects
    light_left: int
    light_right: int
    light_across: int
    light_down: int
    tyres: int  # are there any to see
    tyre_left: int
    tyre_right: int
    tyre_top: int
    tyre_down: int
    rear: Turned
    front: Turned


@wp.func
def _on_tyre(tyre: Turned, top: int, down: int, x: int, y: int):
    """Does a tyre, drawn along x on a square picture and turned, cover a pixel of the vehicle's picture?

    y counts from the tyre's middle, x from the edge of the vehicle's picture.
    """
    column = x - tyre.x
    row = y - (tyre.y - FAR)
    if not (_within(0, tyre.size, column) and _within(0, tyre.size, row)):
        return False
    u = (tyre.u + column * tyre.u_x + row * tyre.u_y) >> 16
    v = (tyre.v + column * tyre.v_x + row * tyre.v_y) >> 16
    return _within(0, tyre.source, u) and _within(0, tyre.source, v) and _within(top, down, v)


@wp.func
def _shade_at(sprite: Sprite, body: int, u: int, v: int):
    """Return the shade of a pixel of a thing's own picture, `body` where the paint shows; -1 where it is transparent.

    What is cut off each length can put tyres and headlights beside the body.
    """
    inside = _within(sprite.x, sprite.across, u) and _within(sprite.y, sprite.down, v)
    if sprite.tyres != 0:
        for side in range(2):
            beside = v - sprite.tyre_left - side * (sprite.tyre_right - sprite.tyre_left)
            if _on_tyre(sprite.rear, sprite.tyre_top, sprite.tyre_down, u, beside):
                return int(Shade.OUTLINE)
            if _on_tyre(sprite.front, sprite.tyre_top, sprite.tyre_down, u, beside):
                return int(Shade.OUTLINE)
    along_edge = u == sprite.x or u == sprite.x + sprite.across - 1
    if inside and (along_edge or v == sprite.y or v == sprite.y + sprite.down - 1 or sprite.dark != 0):
        return int(Shade.OUTLINE)
    if _within(sprite.light_x, sprite.light_across, u):
        if _within(sprite.light_left, sprite.light_down, v) or _within(sprite.light_right, sprite.light_down, v):
            return body + 1
    if inside:
        return body
    return -1


@wp.func
def _body(length: wp.float64, width: wp.float64, margin: wp.float64, scaling: wp.float64):
    """Return the picture of a thing without tyres; `margin` [m] is left free before and behind it."""
    sprite = Sprite()
    middle = length / wp.float64(2.0) + margin
    sprite.x = int(margin * scaling)
    sprite.y = int((middle - width / wp.float64(2.0)) * scaling)
    sprite.across = int(length * scaling)
    sprite.down = int(width * scaling)
    source = int((length + wp.float64(2.0) * margin) * scaling)
    seen_x = wp.min(sprite.x + sprite.across, source) - wp.max(sprite.x, 0)
    seen_y = wp.min(sprite.y + sprite.down, source) - wp.max(sprite.y, 0)
    sprite.dark = int(seen_x <= 2 or seen_y <= 2)
    if margin > wp.float64(0.0):  # a vehicle
        sprite.light_x = int((margin + length - wp.float64(HEADLIGHT_LENGTH)) * scaling)
        sprite.light_across = int(wp.float64(HEADLIGHT_LENGTH) * scaling)
        sprite.light_down = int(wp.float64(HEADLIGHT_WIDTH) * scaling)
        sprite.light_left = int((middle - wp.float64(1.4) * width / wp.float64(3.0)) * scaling)
        sprite.light_right = int((middle + wp.float64(0.6) * width / wp.float64(5.0)) * scaling)
    return sprite


@wp.func
def _with_tyres(sprite: Sprite, length: wp.float64, width: wp.float64, steering: wp.float64, scaling: wp.float64):
    """Add tyres, the front ones turned by the steering angle [rad]."""
    size = int(wp.float64(TYRE_LENGTH) * scaling)
    middle = length / wp.float64(2.0) + wp.float64(TYRE_LENGTH)
    sprite.tyre_left = int((middle - width / wp.float64(2.0)) * scaling)
    sprite.tyre_right = int((middle + width / wp.float64(2.0)) * scaling)
    sprite.tyre_top = int(wp.float64(TYRE_TOP) * scaling)
    sprite.tyre_down = int(wp.float64(TYRE_WIDTH) * scaling)
    sprite.tyres = int(sprite.tyre_down > 0)
    # y is given later, but added before it is truncated: FAR keeps the sum positive
    sprite.rear = _turned(size, size, FAR, wp.float64(0.0))
    front = int((length + wp.float64(TYRE_LENGTH)) * scaling)
    sprite.front = _turned(size, front, FAR, -steering * wp.float64(DEGREES))
    return sprite


@wp.func
def _paint(world: Any, view: View, w: int, v: int):
    """Return the colour of a thing (`VehicleGraphics.get_color`)."""
    kind = world.cars[w, v].kind
    crashed = world.cars[w, v].crashed
    if kind == Kind.LANDMARK:
        if crashed:
            return int(Paint.GREEN)
        return int(Paint.BLUE)
    if view.green_egos != 0:
        for agent in range(world.ego.shape[1]):
            if world.ego[w, agent] == v:
                return int(Paint.GREEN)
    if crashed:
        return int(Paint.RED)
    if kind == Kind.IDM:
        return int(Paint.BLUE)
    if kind == Kind.MDP:
        return int(Paint.GREEN)
    return int(Paint.YELLOW)


@wp.func
def draw_thing(world: Any, view: View, w: int, v: int, x_0: wp.float64, y_0: wp.float64, low: int, high: int, out: Any):
    """Draw a vehicle or an object into columns low to high; (x_0, y_0) [m] is the upper left corner of the picture."""
    x = int((wp.float64(world.cars[w, v].x) - x_0) * view.scaling)
    y = int((wp.float64(world.cars[w, v].y) - y_0) * view.scaling)
    length = wp.float64(world.cars[w, v].length)
    width = wp.float64(world.cars[w, v].width)
    kind = world.cars[w, v].kind
    margin = wp.float64(0.0)
    if kind < Kind.OBSTACLE:
        margin = wp.float64(TYRE_LENGTH)
        if x <= -MARGIN or x >= out.shape[1] + MARGIN or y <= -MARGIN or y >= out.shape[2] + MARGIN:
            return
    # the part of the picture where it is not transparent, whichever way it is turned
    cosine = wp.abs(wp.float64(world.cars[w, v].cos_heading))
    sine = wp.abs(wp.float64(world.cars[w, v].sin_heading))
    half_x = int(((length + margin) * cosine + (width + margin) * sine) * view.scaling * wp.float64(0.5)) + 3
    half_y = int(((length + margin) * sine + (width + margin) * cosine) * view.scaling * wp.float64(0.5)) + 3
    start = wp.max(x - half_x, low)
    end = wp.min(x + half_x + 1, high)
    top = wp.max(y - half_y, 0)
    bottom = wp.min(y + half_y + 1, out.shape[2])
    if start >= end or top >= bottom:
        return
    heading = wp.float64(world.cars[w, v].heading)
    if wp.abs(heading) <= wp.float64(LEVEL):
        heading = wp.float64(0.0)
    sprite = _body(length, width, margin, view.scaling)
    if kind == Kind.VEHICLE or kind == Kind.BICYCLE or kind == Kind.PARKED:
        sprite = _with_tyres(sprite, length, width, wp.float64(world.cars[w, v].steering), view.scaling)
    source = int((length + wp.float64(2.0) * margin) * view.scaling)
    turned = _turned(source, x, y, -heading * wp.float64(DEGREES))
    body = int(Shade.FIRST_PAINT) + 2 * _paint(world, view, w, v)
    for column in range(wp.max(start, turned.x), wp.min(end, turned.x + turned.size)):
        for row in range(wp.max(top, turned.y), wp.min(bottom, turned.y + turned.size)):
            a = column - turned.x
            b = row - turned.y
            at_u = (turned.u + a * turned.u_x + b * turned.u_y) >> 16
            at_v = (turned.v + a * turned.v_x + b * turned.v_y) >> 16
            if _within(0, source, at_u) and _within(0, source, at_v):
                shade = _shade_at(sprite, body, at_u, at_v)
                if shade >= 0:
                    out[w, column, row] = view.shades[shade]
