"""The kernel that draws a row of a picture: what is where, then the light of each pixel, once."""

import warp as wp

from sim.engine import HOT
from sim.sensors.camera.dressing import skin_of
from sim.sensors.camera.shading import beam, ground_albedo, shown, sky, sunlit, transmitted
from sim.sensors.camera.tracing import CABIN, FRONT, LEFT, REAR, RIGHT, trace_row
from sim.sensors.camera.views import FAR, Tables, Thing, View
from sim.sensors.classes import Semantic
from sim.sensors.ground.tables import Ground, ground_over
from sim.sensors.looks.look import Look

WET_GLOSS = 0.3  # share of the sky that a wet road mirrors at a glancing look
PAINTED = 1 / 3  # a pixel of the ground of which more is paint is a MARKING; else what most of it is

_ZERO = wp.constant(wp.float32(0.0))
_ONE = wp.constant(wp.float32(1.0))
_HALF = wp.constant(wp.float32(0.5))
_BYTE = wp.constant(wp.float32(1.0 / 255.0))


@wp.struct
class Images:
    """The pictures of `frames.Frames`: rgb `[N, 3 C, H, W]`, the others `[N, C, H, W]`."""

    rgb: wp.array4d(dtype=wp.uint8)
    depth: wp.array4d(dtype=wp.float32)
    semantic: wp.array4d(dtype=wp.uint8)
    instance: wp.array4d(dtype=wp.int16)


@wp.struct
class Row:
    """What the pixels of a row share: the ray through the first, a step along its optical axis long, and the light."""

    ray: wp.vec3f
    step: wp.vec3f  # from one pixel's ray to that of the next one on the right
    fall: wp.vec3f  # and down
    light: wp.vec3f  # colour of sun and sky on what they fall on
    horizon: wp.vec3f
    overhead: wp.float32  # light of the sun on level ground


@wp.func(inline=HOT)
def _row_of(view: View, look: Look, i: int, height: int, width: int) -> Row:
    """Row `i` of a picture."""
    row = Row()
    per = _ONE / view.focal
    row.step = view.right * per
    row.fall = view.down * per
    v = wp.float32(i) + _HALF - _HALF * wp.float32(height)
    u = _HALF - _HALF * wp.float32(width)
    row.ray = view.ahead + v * row.fall + u * row.step
    row.light = wp.vec3f(look.light_r, look.light_g, look.light_b)
    row.horizon = wp.vec3f(look.horizon_r, look.horizon_g, look.horizon_b)
    row.overhead = look.sun * wp.max(look.sun_z, _ZERO)
    return row


@wp.func(inline=HOT)
def _normal(thing: Thing, code: int) -> wp.vec3f:
    """Unit vector out of a face, in the thing's frame."""
    face = code & (CABIN - 1)
    upper = code >= CABIN
    if face == FRONT:
        return wp.normalize(wp.vec3f(_ONE, _ZERO, wp.where(upper, thing.b_lean_front, thing.a_lean_front)))
    if face == REAR:
        return wp.normalize(wp.vec3f(-_ONE, _ZERO, wp.where(upper, thing.b_lean_rear, thing.a_lean_rear)))
    if face == RIGHT:
        return wp.normalize(wp.vec3f(_ZERO, _ONE, wp.where(upper, thing.b_lean_side, thing.a_lean_side)))
    if face == LEFT:
        return wp.normalize(wp.vec3f(_ZERO, -_ONE, wp.where(upper, thing.b_lean_side, thing.a_lean_side)))
    return wp.vec3f(_ZERO, _ZERO, _ONE)


@wp.func(inline=HOT)
def _thing_colour(
    thing: Thing, look: Look, row: Row, code: int, ray: wp.vec3f, at: wp.float32, lamp: wp.vec3f
) -> wp.vec3f:
    """The colour of a body `at` metres along a ray; `lamp` is the light of the own headlights there."""
    p = wp.vec3f(
        thing.x + at * (thing.cosine * ray[0] + thing.sine * ray[1]),
        thing.y + at * (thing.cosine * ray[1] - thing.sine * ray[0]),
        thing.z + at * ray[2],
    )
    skin = skin_of(thing, look, code, p)
    n = _normal(thing, code)
    facing = wp.max(n[0] * thing.sun_x + n[1] * thing.sun_y + n[2] * look.sun_z, _ZERO)
    # Less of the sky is above a wall than above the ground, and little of it reaches what is low.
    above = (wp.float32(0.62) + wp.float32(0.38) * n[2]) * (_HALF + wp.min(p[2] * wp.float32(0.8), _HALF))
    level = look.ambient * above + look.sun * facing
    colour = wp.cw_mul(skin.albedo, level * row.light + lamp)
    mirror = skin.mirror * (_HALF + _HALF * n[2])
    colour = colour + mirror * (row.horizon - colour)
    return wp.max(colour, skin.light)


@wp.func(inline=HOT)
def _surface(shares: wp.vec3f) -> int:
    """The class of the ground, by its shares of shoulder, asphalt and paint."""
    category = int(Semantic.GRASS)
    most = _ONE - shares[0] - shares[1] - shares[2]
    if shares[0] > most:
        category = int(Semantic.SHOULDER)
        most = shares[0]
    if shares[1] > most:
        category = int(Semantic.ROAD)
    if shares[2] > wp.float32(PAINTED):
        category = int(Semantic.MARKING)
    return category


@wp.func(inline=HOT)
def _ground_colour(
    ground: Ground,
    table: wp.array(dtype=wp.float32),
    view: View,
    look: Look,
    row: Row,
    ray: wp.vec3f,
    at: wp.float32,
    dark: wp.float32,
    lamp: wp.vec3f,
):
    """The colour and class of the ground `at` metres along a ray, of whose light the share `dark` is missing."""
    # How far on the ground one pixel to the right and one down lead.
    steep = _ONE / ray[2]
    right_x = at * (row.step[0] - ray[0] * row.step[2] * steep)
    right_y = at * (row.step[1] - ray[1] * row.step[2] * steep)
    down_x = at * (row.fall[0] - ray[0] * row.fall[2] * steep)
    down_y = at * (row.fall[1] - ray[1] * row.fall[2] * steep)
    xx = right_x * right_x + down_x * down_x
    xy = right_x * right_y + down_x * down_y
    yy = right_y * right_y + down_y * down_y
    x = view.x + at * ray[0]
    y = view.y + at * ray[1]
    shares = ground_over(ground, x, y, xx, xy, yy)
    area = wp.abs(right_x * down_y - right_y * down_x)
    albedo = ground_albedo(look, table, shares, x, y, wp.sqrt(area))
    level = (look.ambient + row.overhead) * (_ONE - dark)
    colour = wp.cw_mul(albedo, level * row.light + lamp)
    if look.wet > _ZERO:
        grazing = _ONE + ray[2] / wp.length(ray)
        gloss = look.wet * wp.float32(WET_GLOSS) * (shares[1] + shares[2]) * grazing * grazing * grazing
        colour = colour + gloss * row.horizon
    return colour, _surface(shares)


@wp.func(inline=HOT)
def _count(tables: Tables, w: int, c: int, slot: int, i: int, begun: int, end: int):
    """Enter a run of pixels of one object, columns `begun` to `end` of row `i`."""
    wp.atomic_add(tables.pixels, w, c, slot, end - begun)
    wp.atomic_min(tables.visible, w, c, slot, 0, begun)
    wp.atomic_min(tables.visible, w, c, slot, 1, i)
    wp.atomic_max(tables.visible, w, c, slot, 2, end)
    wp.atomic_max(tables.visible, w, c, slot, 3, i + 1)


@wp.func(inline=HOT)
def _count_row(
    things: wp.array3d(dtype=Thing), instance: wp.array4d(dtype=wp.int16), w: int, c: int, i: int, tables: Tables
):
    """Count what a row, still with rows of `things` in `instance`, shows of each object."""
    run = int(0)  # row + 1 of the thing whose pixels are being counted
    begun = int(0)
    for j in range(instance.shape[3]):
        n = int(instance[w, c, i, j])
        if n != run:
            if run > 0:
                _count(tables, w, c, things[w, c, run - 1].slot, i, begun, j)
            run = n
            begun = j
    if run > 0:
        _count(tables, w, c, things[w, c, run - 1].slot, i, begun, instance.shape[3])


@wp.kernel(enable_backward=False, module="unique")
def render(
    mask: wp.array(dtype=wp.bool),
    views: wp.array2d(dtype=View),
    things: wp.array3d(dtype=Thing),
    looks: wp.array(dtype=Look),
    ground: Ground,
    table: wp.array(dtype=wp.float32),
    labelled: int,
    images: Images,
    tables: Tables,
    first: int,
):
    """Draw the pictures of the worlds in `mask`, and count each object's pixels if `labelled`. One thread a row."""
    w, k = wp.tid()
    w = first + w
    if not mask[w]:
        return
    height = images.depth.shape[2]
    c = k / height
    i = k - c * height
    view = views[w, c]
    look = looks[w]
    row = _row_of(view, look, i, height, images.depth.shape[3])
    trace_row(
        images.depth,
        images.instance,
        images.semantic,
        images.rgb,
        w,
        c,
        i,
        things,
        view,
        row.ray,
        row.step,
        sunlit(look),
        labelled,
        tables,
    )
    if labelled != 0:
        _count_row(things, images.instance, w, c, i, tables)
    for j in range(images.depth.shape[3]):
        ray = row.ray + wp.float32(j) * row.step
        at = images.depth[w, c, i, j]
        n = int(images.instance[w, c, i, j])
        long = wp.length(ray)
        colour = wp.vec3f(_ZERO, _ZERO, _ZERO)
        category = int(Semantic.SKY)
        if n == 0 and at > wp.float32(FAR):
            colour = sky(look, row.horizon, table, view.weather, ray * (_ONE / long))
        else:
            lamp = wp.vec3f(_ZERO, _ZERO, _ZERO)
            if look.headlights > _ZERO:
                x = view.place[0] + at * ray[0]
                y = view.place[1] + at * ray[1]
                lamp = beam(look, x * view.cosine + y * view.sine, y * view.cosine - x * view.sine)
            if n > 0:
                code = int(images.semantic[w, c, i, j])
                colour = _thing_colour(things[w, c, n - 1], look, row, code, ray, at, lamp)
                category = things[w, c, n - 1].category
                images.instance[w, c, i, j] = wp.int16(things[w, c, n - 1].slot + 1)
            else:
                dark = wp.float32(images.rgb[w, 3 * c, i, j]) * _BYTE
                colour, category = _ground_colour(ground, table, view, look, row, ray, at, dark, lamp)
            colour = row.horizon + transmitted(look.fog * at * long) * (colour - row.horizon)
        images.semantic[w, c, i, j] = wp.uint8(category)
        images.rgb[w, 3 * c, i, j] = shown(colour[0])
        images.rgb[w, 3 * c + 1, i, j] = shown(colour[1])
        images.rgb[w, 3 * c + 2, i, j] = shown(colour[2])
