"""Before a picture: where each camera is, and what stands before it, with the labels that need no pixels."""

from typing import Any

import warp as wp

from sim.engine.elementary import wrap_to_pi
from sim.sensors import noise
from sim.sensors.camera import bodies
from sim.sensors.camera.texture import SIDE
from sim.sensors.camera.things import FAR_AWAY, extent, lit, seen_from, thing_of
from sim.sensors.camera.views import Mounting, Tables, Thing, View
from sim.sensors.classes import Semantic
from sim.sensors.looks.look import Look
from sim.sensors.noise import Stream

LOWEST = 0.1  # m, a jittered camera is not lowered below it
MARGIN = 0.01  # px, by which the search for a body's pixels goes beyond its projection: rounding
DRIFT = ("x", "y", "z", "yaw", "pitch", "roll")  # columns of the calibration's drift [m, rad]


@wp.func
def _view_of(
    world: Any,
    w: int,
    ego: int,
    mounting: Mounting,
    look: Look,
    drift: wp.array2d(dtype=wp.float32),
) -> View:
    """Return the camera as it is mounted, jittered and drifted, on its vehicle as it stands."""
    yaw = mounting.yaw + look.camera_yaw + drift[w, 3]
    pitch = mounting.pitch + look.camera_pitch + drift[w, 4]
    roll = mounting.roll + look.camera_roll + drift[w, 5]
    cy = wp.cos(yaw)
    sy = wp.sin(yaw)
    cp = wp.cos(pitch)
    sp = wp.sin(pitch)
    cr = wp.cos(roll)
    sr = wp.sin(roll)
    level = wp.vec3f(-sy, cy, wp.float32(0.0))
    upright = wp.vec3f(sp * cy, sp * sy, -cp)
    ahead = wp.vec3f(cp * cy, cp * sy, sp)
    right = cr * level + sr * upright
    down = cr * upright - sr * level
    place = wp.vec3f(
        mounting.x + look.camera_x + drift[w, 0],
        mounting.y + look.camera_y + drift[w, 1],
        wp.max(mounting.z + look.camera_z + drift[w, 2], wp.float32(LOWEST)),
    )
    view = View()
    view.cosine = wp.float32(world.cars[w, ego].cos_heading)
    view.sine = wp.float32(world.cars[w, ego].sin_heading)
    view.right = _turned(right, view.cosine, view.sine)
    view.down = _turned(down, view.cosine, view.sine)
    view.ahead = _turned(ahead, view.cosine, view.sine)
    view.place = _turned(place, view.cosine, view.sine)
    view.focal = mounting.focal * look.focal
    view.x = wp.float32(world.cars[w, ego].x) + view.place[0]
    view.y = wp.float32(world.cars[w, ego].y) + view.place[1]
    name = noise.key(world.rows[w].episode, 0, Stream.TEXTURE)
    view.weather = wp.vec2f(wp.float32(SIDE) * noise.uniform(name, 0), wp.float32(SIDE) * noise.uniform(name, 1))
    view.things = 0
    return view


@wp.func
def _turned(v: wp.vec3f, cosine: wp.float32, sine: wp.float32) -> wp.vec3f:
    """Turn a vector by a heading."""
    return wp.vec3f(cosine * v[0] - sine * v[1], sine * v[0] + cosine * v[1], v[2])


@wp.func
def _pixels(low: wp.float32, high: wp.float32, focal: wp.float32, size: int):
    """First pixel along an axis whose middle is between two places on the plane z = 1, and the one after the last."""
    middle = wp.float32(size) * wp.float32(0.5) - wp.float32(0.5)
    limit = wp.float32(size)
    first = wp.ceil(wp.clamp(low * focal + middle - wp.float32(MARGIN), wp.float32(0.0), limit))
    last = wp.floor(wp.clamp(high * focal + middle + wp.float32(MARGIN), wp.float32(-1.0), limit - wp.float32(1.0)))
    return int(first), int(last) + 1


@wp.func
def _bounded(view: View, thing: Thing, box: wp.vec4f, shade: wp.vec4f, width: int, height: int) -> Thing:
    """Say which pixels a thing and its shadow can cover; boxes are on the plane z = 1."""
    c0, c1 = _pixels(box[0], box[2], view.focal, width)
    r0, r1 = _pixels(box[1], box[3], view.focal, height)
    thing.column_0 = c0
    thing.column_1 = c1
    thing.row_0 = r0
    thing.row_1 = r1
    s0, s1 = _pixels(shade[0], shade[2], view.focal, width)
    t0, t1 = _pixels(shade[1], shade[3], view.focal, height)
    if thing.category == Semantic.GOAL:  # flat
        s1 = s0
    thing.shade_column_0 = s0
    thing.shade_column_1 = s1
    thing.shade_row_0 = t0
    thing.shade_row_1 = t1
    return thing


@wp.func
def _clear(tables: Tables, w: int, c: int, v: int):
    """Forget what was known of a slot."""
    tables.present[w, c, v] = False
    tables.number[w, c, v] = 0
    tables.category[w, c, v] = wp.uint8(0)
    tables.pixels[w, c, v] = 0
    tables.whole[w, c, v] = 0
    tables.visibility[w, c, v] = wp.float32(0.0)
    tables.truncation[w, c, v] = wp.float32(0.0)
    tables.yaw[w, c, v] = wp.float32(0.0)
    tables.distance[w, c, v] = wp.float32(0.0)
    for i in range(4):
        tables.box[w, c, v, i] = wp.float32(0.0)
        tables.visible[w, c, v, i] = 0
    for i in range(3):
        tables.center[w, c, v, i] = wp.float32(0.0)
        tables.size[w, c, v, i] = wp.float32(0.0)


@wp.func
def _label(tables: Tables, w: int, c: int, view: View, thing: Thing, box: wp.vec4f, width: int, height: int):
    """Write what is known of a thing before any pixel is; `box` is on the plane z = 1."""
    v = thing.slot
    half = wp.float32(0.5)
    x0 = box[0] * view.focal + half * wp.float32(width)
    y0 = box[1] * view.focal + half * wp.float32(height)
    x1 = box[2] * view.focal + half * wp.float32(width)
    y1 = box[3] * view.focal + half * wp.float32(height)
    tables.box[w, c, v, 0] = x0
    tables.box[w, c, v, 1] = y0
    tables.box[w, c, v, 2] = x1
    tables.box[w, c, v, 3] = y1
    inside = wp.max(wp.min(x1, wp.float32(width)) - wp.max(x0, wp.float32(0.0)), wp.float32(0.0))
    inside = inside * wp.max(wp.min(y1, wp.float32(height)) - wp.max(y0, wp.float32(0.0)), wp.float32(0.0))
    tables.truncation[w, c, v] = wp.float32(1.0) - inside / wp.max((x1 - x0) * (y1 - y0), wp.float32(1.0e-6))
    front = wp.max(thing.a_front, thing.b_front)
    rear = wp.min(thing.a_rear, thing.b_rear)
    top = wp.max(thing.a_top, thing.b_top)
    center = seen_from(view, thing, wp.vec3f(half * (front + rear), wp.float32(0.0), half * top))
    for i in range(3):
        tables.center[w, c, v, i] = center[i]
    tables.size[w, c, v, 0] = front - rear
    tables.size[w, c, v, 1] = wp.float32(2.0) * wp.max(thing.a_half, thing.b_half)
    tables.size[w, c, v, 2] = top
    tables.distance[w, c, v] = wp.length(center)
    sine = view.ahead[0] * thing.sine - view.ahead[1] * thing.cosine
    cosine = view.ahead[0] * thing.cosine + view.ahead[1] * thing.sine
    tables.yaw[w, c, v] = wrap_to_pi(wp.atan2(sine, cosine))
    tables.category[w, c, v] = wp.uint8(thing.category)
    tables.visible[w, c, v, 0] = width
    tables.visible[w, c, v, 1] = height


@wp.kernel(enable_backward=False, module="unique")
def project(
    world: Any,
    mask: wp.array(dtype=wp.bool),
    agent: int,
    mountings: wp.array(dtype=Mounting),
    looks: wp.array(dtype=Look),
    drift: wp.array2d(dtype=wp.float32),
    shapes: bodies.Catalogue,
    width: int,
    height: int,
    views: wp.array2d(dtype=View),
    things: wp.array3d(dtype=Thing),
    tables: Tables,
    first: int,
):
    """Place each camera of the worlds in `mask`, list what can be in its picture and begin the labels.

    One thread a camera. Leaves `views` [N, C], `things` [N, C, V] and the `tables` of labels but for the counts.
    """
    w, c = wp.tid()
    w = first + w
    if not mask[w]:
        return
    ego = world.ego[w, agent]
    view = _view_of(world, w, ego, mountings[c], looks[w], drift)
    count = int(0)
    for v in range(tables.present.shape[2]):
        _clear(tables, w, c, v)
        if v < world.rows[w].count and v != ego:
            thing = thing_of(shapes, world, w, v, looks[w].hue)
            thing = lit(thing, looks[w])
            # The difference of two places far from the origin, before float32 rounds it.
            x = view.place[0] - wp.float32(world.cars[w, v].x - world.cars[w, ego].x)
            y = view.place[1] - wp.float32(world.cars[w, v].y - world.cars[w, ego].y)
            thing.x = thing.cosine * x + thing.sine * y
            thing.y = thing.cosine * y - thing.sine * x
            thing.z = view.place[2]
            box = wp.vec4f(FAR_AWAY, FAR_AWAY, -FAR_AWAY, -FAR_AWAY)
            shade = extent(view, thing, 2, box)
            for part in range(thing.parts):
                box = extent(view, thing, part, box)
            thing = _bounded(view, thing, box, shade, width, height)
            seen = thing.row_0 < thing.row_1 and thing.column_0 < thing.column_1
            shading = thing.shade_row_0 < thing.shade_row_1 and thing.shade_column_0 < thing.shade_column_1
            if seen:
                tables.number[w, c, v] = world.cars[w, v].number
                _label(tables, w, c, view, thing, box, width, height)
            if seen or shading:
                things[w, c, count] = thing
                count = count + 1
    view.things = count
    views[w, c] = view


@wp.kernel(enable_backward=False, module="unique")
def finish_labels(mask: wp.array(dtype=wp.bool), tables: Tables, first: int):
    """Complete the labels of the worlds in `mask` once the pixels are counted; one thread a camera."""
    w, c = wp.tid()
    w = first + w
    if not mask[w]:
        return
    for v in range(tables.present.shape[2]):
        whole = tables.whole[w, c, v]
        if whole == 0:
            _clear(tables, w, c, v)
        else:
            tables.present[w, c, v] = True
            tables.visibility[w, c, v] = wp.float32(tables.pixels[w, c, v]) / wp.float32(whole)
            if tables.pixels[w, c, v] == 0:
                tables.visible[w, c, v, 0] = 0
                tables.visible[w, c, v, 1] = 0
