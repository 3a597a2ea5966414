"""Which thing each pixel of a row shows, by rays against the convex parts of bodies.

While a row is being rendered, its own output holds what is known so far: depth and row of the thing in `instance`, the
face in `semantic`, the shadow on the ground in the first channel of `rgb`.
"""

import warp as wp

from sim.engine import HOT
from sim.sensors.camera.things import CONTACT
from sim.sensors.camera.views import FAR, NEAR, Tables, Thing, View

# Faces; with CABIN added those of part b. What `semantic` holds before the classes.
TOP, FRONT, REAR, RIGHT, LEFT, BOTTOM = range(6)
CABIN = 8
FADE = 4.0  # 1/m: where a ray to the sun meets less than 1 / FADE m of a body's height, the shadow is half one
CONTACT_SHADOW = 0.65  # share of the light that is missing under a body's edge
_PARALLEL = wp.constant(wp.float32(1e-12))
_INFINITE = wp.constant(wp.float32(wp.inf))
_ZERO = wp.constant(wp.float32(0.0))


@wp.func(inline=HOT)
def is_end(face: int) -> bool:
    """Is it the front or the rear?"""
    return face >= FRONT and face <= REAR


@wp.func(inline=HOT)
def is_side(face: int) -> bool:
    """Is it the right or the left?"""
    return face >= RIGHT and face <= LEFT


@wp.func(inline=HOT)
def _plane(n: wp.vec3f, offset: wp.float32, eye: wp.vec3f, ray: wp.vec3f, step: wp.vec3f) -> wp.vec3f:
    """Where the rays of a row meet the plane n.p = offset: (a, b, c), so that column j does at a / (b + j * c)."""
    return wp.vec3f(offset - wp.dot(n, eye), wp.dot(n, ray), wp.dot(n, step))


@wp.func(inline=HOT)
def _cut(near: wp.float32, far: wp.float32, face: int, plane: wp.vec3f, j: wp.float32, this: int):
    """Cut off what of a ray lies outside a plane: where it comes in and goes out, and the face it comes in by."""
    slope = plane[1] + j * plane[2]
    if wp.abs(slope) < _PARALLEL:
        slope = _PARALLEL
    at = plane[0] / slope
    if slope < _ZERO:
        if at > near:
            near = at
            face = this
    else:
        far = wp.min(far, at)
    return near, far, face


@wp.func(inline=HOT)
def _ground_row(
    depth: wp.array4d(dtype=wp.float32),
    instance: wp.array4d(dtype=wp.int16),
    rgb: wp.array4d(dtype=wp.uint8),
    w: int,
    c: int,
    i: int,
    view: View,
    ray: wp.vec3f,
    step: wp.vec3f,
):
    """Begin a row with the empty ground: its depth, and no shadow."""
    for j in range(depth.shape[3]):
        fall = -(ray[2] + wp.float32(j) * step[2])
        at = _INFINITE
        if fall * wp.float32(FAR) > view.place[2]:
            at = view.place[2] / fall
        depth[w, c, i, j] = at
        instance[w, c, i, j] = wp.int16(0)
        rgb[w, 3 * c, i, j] = wp.uint8(0)


@wp.func(inline=HOT)
def _shadow_row(
    depth: wp.array4d(dtype=wp.float32),
    rgb: wp.array4d(dtype=wp.uint8),
    w: int,
    c: int,
    i: int,
    thing: Thing,
    ray: wp.vec3f,
    step: wp.vec3f,
    sunlit: wp.float32,
):
    """Darken the ground of a row around a thing; `sunlit` is the sun's share of the light there."""
    half_x = wp.float32(0.5) * (wp.max(thing.a_front, thing.b_front) - wp.min(thing.a_rear, thing.b_rear))
    half_y = wp.max(thing.a_half, thing.b_half)
    height = wp.max(thing.a_top, thing.b_top)
    middle = wp.max(thing.a_front, thing.b_front) - half_x
    per_x = wp.float32(1.0) / wp.where(wp.abs(thing.shift_x) < _PARALLEL, _PARALLEL, thing.shift_x)
    per_y = wp.float32(1.0) / wp.where(wp.abs(thing.shift_y) < _PARALLEL, _PARALLEL, thing.shift_y)
    span_x = wp.abs(half_x * per_x)
    span_y = wp.abs(half_y * per_y)
    # The rays along the thing's axes.
    ray_x = thing.cosine * ray[0] + thing.sine * ray[1]
    ray_y = thing.cosine * ray[1] - thing.sine * ray[0]
    step_x = thing.cosine * step[0] + thing.sine * step[1]
    step_y = thing.cosine * step[1] - thing.sine * step[0]
    for j in range(thing.shade_column_0, thing.shade_column_1):
        at = depth[w, c, i, j]
        if at < wp.float32(FAR):
            x = thing.x + at * (ray_x + wp.float32(j) * step_x) - middle
            y = thing.y + at * (ray_y + wp.float32(j) * step_y)
            # The heights at which the ray from there to the sun is inside the body.
            low = wp.max(wp.max(x * per_x - span_x, y * per_y - span_y), _ZERO)
            high = wp.min(wp.min(x * per_x + span_x, y * per_y + span_y), height)
            cast = wp.clamp((high - low) * wp.float32(FADE), _ZERO, wp.float32(1.0)) * sunlit
            beside = wp.max(wp.max(wp.abs(x) - half_x, wp.abs(y) - half_y), _ZERO)
            contact = wp.max(wp.float32(1.0) - beside / wp.float32(CONTACT), _ZERO)
            contact = contact * contact * wp.float32(CONTACT_SHADOW)
            dark = cast + contact - cast * contact
            before = rgb[w, 3 * c, i, j]
            rgb[w, 3 * c, i, j] = wp.max(before, wp.uint8(wp.float32(255.0) * dark))


@wp.struct
class Solid:
    """The planes of a body as the rays of a row meet them (`_plane`); part a is the hull, part b the cabin."""

    a_top: wp.vec3f
    a_front: wp.vec3f
    a_rear: wp.vec3f
    a_right: wp.vec3f
    a_left: wp.vec3f
    b_top: wp.vec3f
    b_bottom: wp.vec3f
    b_front: wp.vec3f
    b_rear: wp.vec3f
    b_right: wp.vec3f
    b_left: wp.vec3f


@wp.func(inline=HOT)
def _solid(thing: Thing, eye: wp.vec3f, ray: wp.vec3f, step: wp.vec3f) -> Solid:
    """Return the planes of a body, seen from `eye` along ray + j * step in its frame. A hull's bottom is the ground."""
    one = wp.float32(1.0)
    solid = Solid()
    solid.a_top = _plane(wp.vec3f(_ZERO, _ZERO, one), thing.a_top, eye, ray, step)
    solid.a_front = _plane(wp.vec3f(one, _ZERO, thing.a_lean_front), thing.a_front, eye, ray, step)
    solid.a_rear = _plane(wp.vec3f(-one, _ZERO, thing.a_lean_rear), -thing.a_rear, eye, ray, step)
    solid.a_right = _plane(wp.vec3f(_ZERO, one, thing.a_lean_side), thing.a_half, eye, ray, step)
    solid.a_left = _plane(wp.vec3f(_ZERO, -one, thing.a_lean_side), thing.a_half, eye, ray, step)
    up = thing.b_bottom  # from where the cabin's faces lean in
    front = thing.b_front + thing.b_lean_front * up
    rear = thing.b_lean_rear * up - thing.b_rear
    half = thing.b_half + thing.b_lean_side * up
    solid.b_top = _plane(wp.vec3f(_ZERO, _ZERO, one), thing.b_top, eye, ray, step)
    solid.b_bottom = _plane(wp.vec3f(_ZERO, _ZERO, -one), -up, eye, ray, step)
    solid.b_front = _plane(wp.vec3f(one, _ZERO, thing.b_lean_front), front, eye, ray, step)
    solid.b_rear = _plane(wp.vec3f(-one, _ZERO, thing.b_lean_rear), rear, eye, ray, step)
    solid.b_right = _plane(wp.vec3f(_ZERO, one, thing.b_lean_side), half, eye, ray, step)
    solid.b_left = _plane(wp.vec3f(_ZERO, -one, thing.b_lean_side), half, eye, ray, step)
    return solid


@wp.func(inline=HOT)
def _hull_hit(solid: Solid, j: wp.float32):
    """Where the ray of column j enters the hull, and by which face; -1 none, also where it begins inside."""
    near = wp.float32(NEAR)
    far = _INFINITE
    face = int(-1)
    near, far, face = _cut(near, far, face, solid.a_top, j, TOP)
    near, far, face = _cut(near, far, face, solid.a_front, j, FRONT)
    near, far, face = _cut(near, far, face, solid.a_rear, j, REAR)
    near, far, face = _cut(near, far, face, solid.a_right, j, RIGHT)
    near, far, face = _cut(near, far, face, solid.a_left, j, LEFT)
    return near, wp.where(near < far, face, -1)


@wp.func(inline=HOT)
def _cabin_hit(solid: Solid, j: wp.float32):
    """Where the ray of column j enters the cabin, and by which face; -1 none, also where it begins inside."""
    near = wp.float32(NEAR)
    far = _INFINITE
    face = int(-1)
    near, far, face = _cut(near, far, face, solid.b_top, j, CABIN + TOP)
    near, far, face = _cut(near, far, face, solid.b_front, j, CABIN + FRONT)
    near, far, face = _cut(near, far, face, solid.b_rear, j, CABIN + REAR)
    near, far, face = _cut(near, far, face, solid.b_right, j, CABIN + RIGHT)
    near, far, face = _cut(near, far, face, solid.b_left, j, CABIN + LEFT)
    near, far, face = _cut(near, far, face, solid.b_bottom, j, CABIN + BOTTOM)
    return near, wp.where(near < far, face, -1)


@wp.func(inline=HOT)
def _thing_row(
    depth: wp.array4d(dtype=wp.float32),
    instance: wp.array4d(dtype=wp.int16),
    semantic: wp.array4d(dtype=wp.uint8),
    w: int,
    c: int,
    i: int,
    n: int,
    thing: Thing,
    ray: wp.vec3f,
    step: wp.vec3f,
) -> int:
    """Enter a thing, row `n` of the table, where it is nearer than what a row shows so far; count its pixels."""
    eye = wp.vec3f(thing.x, thing.y, thing.z)
    along = wp.vec3f(thing.cosine * ray[0] + thing.sine * ray[1], thing.cosine * ray[1] - thing.sine * ray[0], ray[2])
    by = wp.vec3f(thing.cosine * step[0] + thing.sine * step[1], thing.cosine * step[1] - thing.sine * step[0], step[2])
    solid = _solid(thing, eye, along, by)
    count = int(0)
    for column in range(thing.column_0, thing.column_1):
        j = wp.float32(column)
        at, face = _hull_hit(solid, j)
        if thing.z + at * (along[2] + j * by[2]) < _ZERO:  # through the ground
            face = -1
        if thing.parts > 1:
            near, other = _cabin_hit(solid, j)
            if other >= 0 and (face < 0 or near < at):
                at = near
                face = other
        if face >= 0:
            count = count + 1
            if at < depth[w, c, i, column]:
                depth[w, c, i, column] = at
                instance[w, c, i, column] = wp.int16(n + 1)
                semantic[w, c, i, column] = wp.uint8(face)
    return count


@wp.func(inline=HOT)
def trace_row(
    depth: wp.array4d(dtype=wp.float32),
    instance: wp.array4d(dtype=wp.int16),
    semantic: wp.array4d(dtype=wp.uint8),
    rgb: wp.array4d(dtype=wp.uint8),
    w: int,
    c: int,
    i: int,
    things: wp.array3d(dtype=Thing),
    view: View,
    ray: wp.vec3f,
    step: wp.vec3f,
    sunlit: wp.float32,
    labelled: int,
    tables: Tables,
):
    """Find what the pixels of row `i` show, and count, if `labelled`, what they would show of each thing alone."""
    _ground_row(depth, instance, rgb, w, c, i, view, ray, step)
    for n in range(view.things):
        if i >= things[w, c, n].shade_row_0 and i < things[w, c, n].shade_row_1:
            _shadow_row(depth, rgb, w, c, i, things[w, c, n], ray, step, sunlit)
    for n in range(view.things):
        if i >= things[w, c, n].row_0 and i < things[w, c, n].row_1:
            whole = _thing_row(depth, instance, semantic, w, c, i, n, things[w, c, n], ray, step)
            if labelled != 0 and whole > 0:
                wp.atomic_add(tables.whole, w, c, things[w, c, n].slot, whole)
