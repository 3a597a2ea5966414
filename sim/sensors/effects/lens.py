"""What is between the scene and the sensor: rain in the air, dirt on the lens, a thing that hides part of the view."""

from typing import Any

import warp as wp

from sim.sensors import noise
from sim.sensors.looks.look import Look
from sim.sensors.noise import Stream

BLOTS = wp.constant(wp.int32(24))  # of dirt on a lens; how much of it they cover says the look
DIRT = wp.constant(wp.vec3f(0.19, 0.165, 0.13))  # linear albedo of dried mud, lit from outside
THICK = wp.constant(wp.float32(0.8))  # how much a blot hides where it is thickest
STREAKS = wp.constant(wp.int32(140))  # drops in a picture of the densest rain
FINE = wp.constant(wp.int32(160))  # px of width up to which a streak is one pixel wide
COVER = wp.constant(wp.vec3f(14.0, 12.0, 10.0))  # display value of what hides part of the view
ROUND = wp.constant(wp.float32(0.6))  # share of the frame up to which it is an ellipse; then a rectangle
PI = wp.constant(wp.float32(3.14159265))
INDICES = wp.constant(wp.int32(8))  # random numbers of a blot or streak


@wp.func
def _blend(rgb: wp.array4d(dtype=wp.uint8), w: int, plane: int, i: int, j: int, colour: wp.vec3f, share: wp.float32):
    """Mix a pixel with a display value, 0..255 a channel."""
    for channel in range(3):
        value = wp.float32(rgb[w, plane + channel, i, j])
        value = value + (colour[channel] - value) * share
        rgb[w, plane + channel, i, j] = wp.uint8(value + wp.float32(0.5))


@wp.func
def _shown(light: wp.vec3f) -> wp.vec3f:
    """Return the display value of a linear colour."""
    top = wp.float32(255.0)
    return wp.vec3f(
        top * wp.sqrt(wp.min(light[0], wp.float32(1.0))),
        top * wp.sqrt(wp.min(light[1], wp.float32(1.0))),
        top * wp.sqrt(wp.min(light[2], wp.float32(1.0))),
    )


@wp.kernel(enable_backward=False, module="unique")
def draw_streaks(
    world: Any,
    mask: wp.array(dtype=wp.bool),
    looks: wp.array(dtype=Look),
    rgb: wp.array4d(dtype=wp.uint8),
    first: int,
):
    """Draw falling drops, other ones in each frame; one thread a camera."""
    w, camera = wp.tid()
    w = first + w
    if not mask[w]:
        return
    dense = looks[w].streaks
    if dense <= wp.float32(0.0):
        return
    episode = world.rows[w].episode
    lasting = noise.key(episode, 0, int(Stream.STREAKS))
    moving = noise.key(episode, world.rows[w].steps, int(Stream.STREAKS))
    half = wp.float32(0.5)
    wind = wp.float32(0.6) * (noise.uniform(lasting, -1) - half)  # columns a row
    height = rgb.shape[2]
    wide = wp.max(1, rgb.shape[3] // FINE)
    # Drops scatter the light around them.
    lamp = wp.float32(0.06) * looks[w].headlights
    colour = _shown(
        wp.float32(1.15) * wp.vec3f(looks[w].horizon_r, looks[w].horizon_g, looks[w].horizon_b)
        + wp.vec3f(lamp, lamp, lamp)
    )
    for drop in range(int(dense * wp.float32(STREAKS))):
        at = (camera * STREAKS + drop) * INDICES
        x = (noise.uniform(moving, at) * wp.float32(1.3) - wp.float32(0.15)) * wp.float32(rgb.shape[3])
        tall = (wp.float32(0.03) + wp.float32(0.10) * noise.uniform(moving, at + 1)) * wp.float32(height)
        top = noise.uniform(moving, at + 2) * (wp.float32(height) + tall) - tall
        slope = wind + wp.float32(0.1) * (noise.uniform(moving, at + 3) - half)
        share = wp.float32(0.10) + wp.float32(0.30) * noise.uniform(moving, at + 4)
        for i in range(wp.max(int(wp.ceil(top)), 0), wp.min(int(wp.ceil(top + tall)), height)):
            left = int(wp.floor(x + slope * (wp.float32(i) - top)))
            for j in range(wp.max(left, 0), wp.min(left + wide, rgb.shape[3])):
                _blend(rgb, w, 3 * camera, i, j, colour, share)


@wp.func
def _draw_dirt(look: Look, name: wp.uint64, rgb: wp.array4d(dtype=wp.uint8), w: int, camera: int, i: int):
    """Draw what one row shows of the blots: mud out of focus; in the rain, drops that show the world upside down."""
    width = wp.float32(rgb.shape[3])
    height = wp.float32(rgb.shape[2])
    half = wp.float32(0.5)
    one = wp.float32(1.0)
    light = wp.vec3f(look.light_r, look.light_g, look.light_b) * (look.ambient + wp.float32(0.3) * look.sun)
    upper = _shown(wp.cw_mul(DIRT, light))
    lower = upper
    sharp = wp.float32(1.3)
    if look.streaks > wp.float32(0.0):
        upper = _shown(wp.cw_mul(wp.vec3f(look.asphalt_r, look.asphalt_g, look.asphalt_b), light))
        lower = _shown(wp.vec3f(look.horizon_r, look.horizon_g, look.horizon_b) * wp.float32(1.1))
        sharp = wp.float32(3.0)
    for blot in range(int(BLOTS)):
        at = (camera * BLOTS + blot) * INDICES
        # Many are small; their areas add up to the share of the frame, on average.
        size = noise.uniform(name, at)
        area = look.dirt * width * height / wp.float32(BLOTS) * (wp.float32(0.2) + wp.float32(3.2) * size * size * size)
        stretch = wp.float32(0.7) + wp.float32(0.6) * noise.uniform(name, at + 3)
        tall = wp.sqrt(area / PI) / stretch
        wide = tall * stretch * stretch
        y = (wp.float32(i) + half - noise.uniform(name, at + 1) * height) / tall
        if wp.abs(y) >= one:
            continue
        x = noise.uniform(name, at + 2) * width
        below = half + half * y
        colour = upper + (lower - upper) * (below * below)
        reach = wide * wp.sqrt(one - y * y)
        for j in range(wp.max(int(x - reach), 0), wp.min(int(x + reach) + 1, rgb.shape[3])):
            across = (wp.float32(j) + half - x) / wide
            near = one - across * across - y * y
            if near > wp.float32(0.0):
                _blend(rgb, w, 3 * camera, i, j, colour, THICK * wp.min(one, sharp * near))


@wp.func
def _cover(share: wp.float32, name: wp.uint64, rgb: wp.array4d(dtype=wp.uint8), w: int, camera: int, i: int):
    """Hide what one row has of an ellipse or rectangle that lies wholly in the frame and covers a share of it."""
    width = wp.float32(rgb.shape[3])
    height = wp.float32(rgb.shape[2])
    half = wp.float32(0.5)
    at = camera * INDICES
    side = wp.sqrt(wp.min(share, wp.float32(1.0)))
    if share < ROUND:
        side = wp.float32(2.0) * wp.sqrt(share / PI)
    # Wider than high or the other way round, as far as there is room.
    stretch = wp.pow(
        wp.min(wp.float32(1.0) / side, wp.float32(1.6)), wp.float32(2.0) * noise.uniform(name, at) - wp.float32(1.0)
    )
    reach_x = half * side * stretch * width
    reach_y = half * side / stretch * height
    x = reach_x + noise.uniform(name, at + 1) * (width - wp.float32(2.0) * reach_x)
    y = reach_y + noise.uniform(name, at + 2) * (height - wp.float32(2.0) * reach_y)
    off = (wp.float32(i) + half - y) / reach_y
    if wp.abs(off) > wp.float32(1.0):
        return
    if share < ROUND:
        reach_x = reach_x * wp.sqrt(wp.float32(1.0) - off * off)
    for j in range(
        wp.max(int(wp.ceil(x - reach_x - half)), 0), wp.min(int(wp.floor(x + reach_x - half)) + 1, rgb.shape[3])
    ):
        _blend(rgb, w, 3 * camera, i, j, COVER, wp.float32(1.0))


@wp.kernel(enable_backward=False, module="unique")
def dirty_lens(
    world: Any,
    mask: wp.array(dtype=wp.bool),
    looks: wp.array(dtype=Look),
    rgb: wp.array4d(dtype=wp.uint8),
    first: int,
):
    """Draw dirt and what hides part of the view, the same all through an episode; one thread a camera and row."""
    w, row = wp.tid()
    w = first + w
    if not mask[w]:
        return
    camera = row // rgb.shape[2]
    i = row % rgb.shape[2]
    if looks[w].dirt > wp.float32(0.0):
        _draw_dirt(looks[w], noise.key(world.rows[w].episode, 0, int(Stream.DIRT)), rgb, w, camera, i)
    if looks[w].occlusion > wp.float32(0.0):
        _cover(looks[w].occlusion, noise.key(world.rows[w].episode, 0, int(Stream.OCCLUSION)), rgb, w, camera, i)
