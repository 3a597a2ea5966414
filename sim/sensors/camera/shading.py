"""The light that reaches a pixel: sky, ground and haze. Linear colours, see `sim.sensors.looks.look`."""

import warp as wp

from sim.engine import HOT
from sim.sensors.camera.texture import SIDE, grain_at
from sim.sensors.looks.look import Look

CEILING = 300.0  # m, how high the haze reaches that the sky is seen through
VEIL = 100.0  # m, the same for the sun's own light
SKYLINE = 1500.0  # m, how far away the trees at the horizon are
HIGHEST = 0.03  # sine of the elevation above which none is looked for
BEAM_REACH = 12.0  # m, where the light of headlights has fallen to a half
BEAM_NOSE = 2.0  # m, from the middle of the vehicle to its headlights
BEAM = wp.constant(wp.vec3f(1.2, 1.12, 0.94))  # of headlights at their brightest
_ZERO = wp.constant(wp.float32(0.0))
_ONE = wp.constant(wp.float32(1.0))
_HALF = wp.constant(wp.float32(0.5))


@wp.func(inline=HOT)
def transmitted(depth: wp.float32) -> wp.float32:
    """exp(-depth) to 0.003, for the share of light that comes through haze of that optical depth."""
    inverse = _ONE + depth * (_ONE + depth * (wp.float32(0.48) + wp.float32(0.235) * depth))
    return _ONE / inverse


@wp.func(inline=HOT)
def sunlit(look: Look) -> wp.float32:
    """Return which share of the light on level ground is the sun's."""
    overhead = look.sun * wp.max(look.sun_z, _ZERO)
    return overhead / wp.max(overhead + look.ambient, wp.float32(1.0e-6))


@wp.func(inline=HOT)
def shown(colour: wp.float32) -> wp.uint8:
    """Return the value 0..255 that shows a linear colour."""
    level = wp.sqrt(wp.clamp(colour, _ZERO, _ONE))
    return wp.uint8(wp.int32(level * wp.float32(255.0) + wp.float32(0.5)))


@wp.func(inline=HOT)
def _clouds(table: wp.array(dtype=wp.float32), weather: wp.vec2f, ray: wp.vec3f, rise: wp.float32) -> wp.float32:
    """How much cloud there is along a ray that leaves the ground behind by `rise`, on a plane high above."""
    place = wp.float32(3.0) / (rise + wp.float32(0.1))
    x = ray[0] * place + weather[0]
    y = ray[1] * place + weather[1]
    cloud = grain_at(table, x, y) + _HALF * grain_at(table, wp.float32(2.3) * x, wp.float32(2.3) * y)
    return wp.clamp(cloud * _HALF, _ZERO, _HALF) * wp.min(rise * wp.float32(6.0), _ONE)


@wp.func(inline=HOT)
def _skyline(table: wp.array(dtype=wp.float32), weather: wp.vec2f, ray: wp.vec3f) -> wp.float32:
    """How high trees far away reach along a ray, as the sine of its elevation."""
    around = ray[0] / (wp.abs(ray[0]) + wp.abs(ray[1]) + wp.float32(1.0e-6))
    around = wp.where(ray[1] < _ZERO, wp.float32(3.0) + around, _ONE - around)  # 0..4 for once around
    hills = grain_at(table, wp.float32(SIDE // 4) * around, weather[0])
    trees = grain_at(table, wp.float32(2 * SIDE) * around, weather[1])
    return wp.float32(0.012) + wp.float32(0.011) * hills + wp.float32(0.004) * trees


@wp.func(inline=HOT)
def sky(look: Look, horizon: wp.vec3f, table: wp.array(dtype=wp.float32), weather: wp.vec2f, ray: wp.vec3f) -> wp.vec3f:
    """Return the colour of the sky along a unit vector (x, y, height), and of what stands at the horizon."""
    rise = wp.max(ray[2], wp.float32(1.0e-3))
    light = wp.vec3f(look.light_r, look.light_g, look.light_b)
    if rise < wp.float32(HIGHEST):
        top = _skyline(table, weather, ray)
        if rise < top:
            green = wp.vec3f(look.grass_r, look.grass_g, look.grass_b)
            bright = wp.float32(0.45) * (look.ambient + _HALF * look.sun * wp.max(look.sun_z, _ZERO))
            colour = wp.cw_mul(green, light) * (bright * (_ONE - wp.float32(0.3) * (top - rise) / top))
            return horizon + transmitted(look.fog * wp.float32(SKYLINE)) * (colour - horizon)
    low = _ONE - rise
    low = low * low
    low = low * low
    zenith = wp.vec3f(look.top_r, look.top_g, look.top_b)
    colour = zenith + low * (horizon - zenith)
    cloud = _clouds(table, weather, ray, rise)
    colour = colour + cloud * (wp.float32(1.26) * wp.vec3f(horizon[1], horizon[1], horizon[1]) - colour)
    away = transmitted(look.fog * wp.float32(CEILING) / rise)
    colour = horizon + away * (colour - horizon)
    glow = wp.max(ray[0] * look.sun_x + ray[1] * look.sun_y + ray[2] * look.sun_z, _ZERO)
    if glow > wp.float32(0.8) and look.sun > _ZERO:
        for _i in range(5):
            glow = glow * glow
        disc = glow
        for _i in range(5):
            disc = disc * disc
        veil = transmitted(look.fog * wp.float32(VEIL) / wp.max(look.sun_z, wp.float32(0.2)))
        bright = look.sun * look.sun * veil * (_ONE - cloud)
        colour = colour + bright * (wp.float32(0.35) * glow + wp.float32(5.0) * disc) * light
    return colour


@wp.func(inline=HOT)
def beam(look: Look, forward: wp.float32, right: wp.float32) -> wp.vec3f:
    """Return the light of the own headlights at a place forward and right of the vehicle's middle [m]."""
    ahead = forward - wp.float32(BEAM_NOSE)
    if ahead <= _ZERO:
        return wp.vec3f(_ZERO, _ZERO, _ZERO)
    aside = right / (wp.float32(0.9) + wp.float32(0.38) * ahead)
    aside = aside * aside
    aside = _ONE / (_ONE + aside * aside)
    away = ahead / wp.float32(BEAM_REACH)
    near = wp.min(ahead * wp.float32(0.4), _ONE)
    return look.headlights * aside * near / (_ONE + away * away) * BEAM


@wp.func(inline=HOT)
def ground_albedo(
    look: Look,
    table: wp.array(dtype=wp.float32),
    shares: wp.vec3f,
    x: wp.float32,
    y: wp.float32,
    size: wp.float32,
) -> wp.vec3f:
    """Return the colour of the ground at (x, y) [m] with grain that fades as the pixel's `size` [m] grows.

    `shares` are those of shoulder, asphalt and paint.
    """
    fine_size = size * wp.float32(9.0)
    fine = grain_at(table, x * wp.float32(11.0), y * wp.float32(11.0)) / (_ONE + fine_size * fine_size)
    wide_size = size * wp.float32(0.8)
    wide = grain_at(table, x * wp.float32(0.83) + y * wp.float32(0.31), y * wp.float32(0.83) - x * wp.float32(0.31))
    wide = wide / (_ONE + wide_size * wide_size)
    grass = _ONE - shares[0] - shares[1] - shares[2]
    rough = look.texture * (wp.float32(0.9) * fine + wp.float32(0.7) * wide)
    smooth = look.texture * (wp.float32(0.75) * fine + wp.float32(0.35) * wide)
    worn = wp.clamp(
        (look.wear - wp.float32(0.5) * (wide + fine) - wp.float32(0.5)) * wp.float32(3.0) + _ONE, _ZERO, _ONE
    )
    worn = worn * wp.min(look.wear * wp.float32(4.0), _ONE)
    paint = shares[2] * (_ONE - worn)
    road = (shares[1] + shares[2] - paint) * (_ONE - wp.float32(0.5) * look.wet)
    colour = wp.vec3f(look.grass_r, look.grass_g, look.grass_b) * (grass * (_ONE + rough))
    dry = wp.max(
        _ONE - look.grass_r / wp.max(look.grass_g, wp.float32(0.01)), _ZERO
    )  # green turns yellow, snow does not
    colour[0] = colour[0] * (_ONE + dry * look.texture * wide)
    colour = colour + wp.vec3f(look.shoulder_r, look.shoulder_g, look.shoulder_b) * (shares[0] * (_ONE + rough))
    colour = colour + wp.vec3f(look.asphalt_r, look.asphalt_g, look.asphalt_b) * (road * (_ONE + smooth))
    return colour + wp.vec3f(look.paint_r, look.paint_g, look.paint_b) * (paint * (_ONE + wp.float32(0.4) * smooth))
