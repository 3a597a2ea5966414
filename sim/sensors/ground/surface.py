"""What the ground is at a point: grass, shoulder, asphalt or paint, averaged over the pixel that looks at it.

The tables that it asks are built by `sim.sensors.ground.tables`.
"""

import warp as wp

from sim.engine import HOT
from sim.engine.elementary import arctangent2, cosine_and_sine
from sim.road_shapes import STRIPE_WIDTH
from sim.sensors.ground.strips import NO_END, Curve

REACH = 2.0
"""How far outside a cell a strip may begin and still be listed [m]: pixels up to twice as large are exact."""
SHARPEST = 1e-3
"""The least footprint [m]."""
TINY = 1e-6
"""Kept from a circle's centre [m]."""

_HALF_LINE = wp.constant(wp.float32(STRIPE_WIDTH / 2))
_LEAST_AREA = wp.constant(wp.float32(SHARPEST**2))
_WIDE = wp.constant(wp.float32((2 * REACH) ** 2))


@wp.struct
class StripRow:
    """A `Strip` on the device; lateral bounds hold for what `Curve` says lateral is."""

    curve: wp.int32
    first_line: wp.int32
    end_line: wp.int32
    first_knot: wp.int32
    end_knot: wp.int32
    wide: wp.int32  # does a circle's span exceed half a turn
    x: wp.float32  # start, or the circle's centre [m]
    y: wp.float32
    dx: wp.float32  # unit vector along lines and sines
    dy: wp.float32
    low_x: wp.float32  # unit vectors from the centre to the circle's low end, high end and middle
    low_y: wp.float32
    high_x: wp.float32
    high_y: wp.float32
    middle_x: wp.float32
    middle_y: wp.float32
    outer_low: wp.float32  # beyond these there is nothing [m]
    outer_high: wp.float32
    shoulder_low: wp.float32
    shoulder_high: wp.float32
    road_low: wp.float32
    road_high: wp.float32
    blurred_low: wp.float32  # ends along the curve that are averaged over the pixel [m]
    blurred_high: wp.float32
    cut_low: wp.float32  # ends where the next strip goes on: averaging would show a gap [m]
    cut_high: wp.float32
    span: wp.float32  # along the curve [m, of circles rad]
    spread: wp.float32  # how far the curve leaves its line [m]
    amplitude: wp.float32
    pulsation: wp.float32
    phase: wp.float32
    half: wp.float32  # of a ribbon's greatest width [m]


@wp.struct
class LineRow:
    """A `Line` on the device."""

    lateral: wp.float32
    period: wp.float32
    half: wp.float32
    twin: wp.int32


@wp.struct
class KnotRow:
    """A sample of a ribbon."""

    s: wp.float32
    x: wp.float32
    y: wp.float32
    side_x: wp.float32
    side_y: wp.float32
    half: wp.float32  # of its width there [m]


@wp.struct
class Entry:
    """A strip near a cell, and the range of its lines that are."""

    strip: wp.int32
    first_line: wp.int32
    end_line: wp.int32


@wp.struct
class Ground:
    """The road surface of a network; float32 on purpose, whatever the worlds' precision."""

    low_x: wp.float32
    low_y: wp.float32
    cells_per_metre: wp.float32
    columns: wp.int32
    rows: wp.int32
    paved: wp.int32  # is there a car park
    paved_low_x: wp.float32  # its rectangle [m]
    paved_low_y: wp.float32
    paved_high_x: wp.float32
    paved_high_y: wp.float32
    cells: wp.array(dtype=wp.int32)  # first entry of each cell, and the end of the last
    entries: wp.array(dtype=Entry)
    strips: wp.array(dtype=StripRow)
    lines: wp.array(dtype=LineRow)
    knots: wp.array(dtype=KnotRow)


@wp.struct
class Pixel:
    """What a pixel covers of the ground, see `ground_over`."""

    xx: wp.float32  # [m2]
    xy: wp.float32
    yy: wp.float32
    square: wp.bool  # is it as long in every direction
    side: wp.float32  # of a square one [m]
    per_side: wp.float32


@wp.func(inline=HOT)
def lesser(a: wp.float32, b: wp.float32) -> wp.float32:
    """The lesser of two numbers in one instruction; wp.min minds NaN and takes seven, one waiting for the other."""
    return wp.where(a < b, a, b)


@wp.func(inline=HOT)
def greater(a: wp.float32, b: wp.float32) -> wp.float32:
    """The greater of two numbers, see `lesser`."""
    return wp.where(a > b, a, b)


@wp.func(inline=HOT)
def _covered(low: wp.float32, high: wp.float32, at: wp.float32, half: wp.float32, share: wp.float32) -> wp.float32:
    """Which share of [at - half, at + half] lies in [low, high]; `share` is 1 / (2 half)."""
    # Not at + half and at - half: float32 would lose them 10 km from the origin.
    overlap = lesser(high - at, half) + lesser(at - low, half)
    return wp.clamp(overlap * share, wp.float32(0.0), wp.float32(1.0))


@wp.func(inline=HOT)
def _dashed(at: wp.float32, reach: wp.float32, period: wp.float32, half: wp.float32) -> wp.float32:
    """Length of the dashes in [at - reach, at + reach]; dashes are `period` apart and twice `half` long."""
    middle = at - period * wp.floor((at - reach) / period)  # counted from the nearest dash, see `_covered`
    gap = wp.float32(0.5) * period - half
    dash = wp.float32(2.0) * half
    number = wp.floor((middle + reach) / period)
    until_end = number * dash + wp.clamp(middle + reach - number * period - gap, wp.float32(0.0), dash)
    return until_end - wp.clamp(middle - reach - gap, wp.float32(0.0), dash)


@wp.func(inline=HOT)
def _spread(pixel: Pixel, x: wp.float32, y: wp.float32) -> wp.float32:
    """Width of a pixel along the vector (x, y), times that vector's length."""
    return wp.sqrt(wp.max(x * (x * pixel.xx + wp.float32(2.0) * y * pixel.xy) + y * y * pixel.yy, _LEAST_AREA))


@wp.func(inline=HOT)
def _on_ribbon(ground: Ground, k: int, x: wp.float32, y: wp.float32):
    """Return s, lateral and the gradient of lateral at a point; where it is not beside the ribbon, lateral is huge."""
    s = wp.float32(0.0)
    lateral = wp.float32(NO_END)
    across_x = wp.float32(0.0)
    across_y = wp.float32(0.0)
    for j in range(ground.strips[k].first_knot, ground.strips[k].end_knot - 1):
        knot = ground.knots[j]
        after = ground.knots[j + 1]
        behind = (x - knot.x) * knot.side_y - (y - knot.y) * knot.side_x
        ahead = (after.x - x) * after.side_y - (after.y - y) * after.side_x
        inside = behind >= wp.float32(0.0) and ahead > wp.float32(0.0)
        if j == ground.strips[k].first_knot and behind < wp.float32(0.0):
            inside = ahead > wp.float32(0.0)
        if j == ground.strips[k].end_knot - 2 and ahead <= wp.float32(0.0):
            inside = behind >= wp.float32(0.0)
        if inside:
            t = behind / (behind + ahead)
            s = knot.s + t * (after.s - knot.s)
            across_x = knot.side_x + t * (after.side_x - knot.side_x)
            across_y = knot.side_y + t * (after.side_y - knot.side_y)
            off = (x - knot.x - t * (after.x - knot.x)) * across_x
            off = off + (y - knot.y - t * (after.y - knot.y)) * across_y
            # Lateral is measured so that the edges are those of a ribbon of constant width.
            gain = ground.strips[k].half - knot.half - t * (after.half - knot.half)
            lateral = wp.where(off < wp.float32(0.0), off - gain, off + gain)
    return s, lateral, across_x, across_y


@wp.func(inline=HOT)
def _between_ends(ground: Ground, k: int, px: wp.float32, py: wp.float32, half: wp.float32, per: wp.float32):
    """Return which share of a pixel, half as long as `half` [m], lies between the ends of a circle."""
    to_low = ground.strips[k].low_x * py - ground.strips[k].low_y * px
    to_high = ground.strips[k].high_y * px - ground.strips[k].high_x * py
    low = _covered(ground.strips[k].blurred_low, wp.float32(NO_END), to_low, half, per)
    high = _covered(ground.strips[k].blurred_high, wp.float32(NO_END), to_high, half, per)
    if to_low < ground.strips[k].cut_low:
        low = wp.float32(0.0)
    if to_high < ground.strips[k].cut_high:
        high = wp.float32(0.0)
    return wp.where(ground.strips[k].wide != 0, greater(low, high), lesser(low, high))


@wp.func(inline=HOT)
def _dashes(ground: Ground, k: int, i: int, s: wp.float32, px: wp.float32, py: wp.float32, half_along: wp.float32):
    """Return which share of a pixel's length lies on the dashes of line `i`."""
    at = s
    half = half_along
    if ground.strips[k].curve == Curve.CIRCLE:
        middle_x = ground.strips[k].middle_x
        middle_y = ground.strips[k].middle_y
        angle = arctangent2(middle_x * py - middle_y * px, middle_x * px + middle_y * py)
        at = wp.float32(0.5) * ground.strips[k].span + angle
        half = half_along / (wp.sqrt(px * px + py * py) + wp.float32(TINY))
    dashed = _dashed(at, half, ground.lines[i].period, ground.lines[i].half)
    return wp.clamp(wp.float32(0.5) * dashed / half, wp.float32(0.0), wp.float32(1.0))


@wp.func(inline=HOT)
def _paved(ground: Ground, pixel: Pixel, x: wp.float32, y: wp.float32) -> wp.float32:
    """Return which share of a pixel lies in the car park."""
    half_x = wp.float32(0.5) * pixel.side
    half_y = half_x
    per_x = pixel.per_side
    per_y = per_x
    if not pixel.square:
        half_x = wp.float32(0.5) * _spread(pixel, wp.float32(1.0), wp.float32(0.0))
        half_y = wp.float32(0.5) * _spread(pixel, wp.float32(0.0), wp.float32(1.0))
        per_x = wp.float32(0.5) / half_x
        per_y = wp.float32(0.5) / half_y
    within = _covered(ground.paved_low_x, ground.paved_high_x, x, half_x, per_x)
    return within * _covered(ground.paved_low_y, ground.paved_high_y, y, half_y, per_y)


@wp.func(inline=HOT)
def _strip_at(ground: Ground, e: int, pixel: Pixel, x: wp.float32, y: wp.float32) -> wp.vec3f:
    """Return which shares of a pixel the shoulder, the asphalt and the lines of an entry's strip cover."""
    k = ground.entries[e].strip
    curve = ground.strips[k].curve
    px = x - ground.strips[k].x
    py = y - ground.strips[k].y
    across_x = -ground.strips[k].dy  # the gradient of lateral
    across_y = ground.strips[k].dx
    s = px * across_y - py * across_x
    lateral = px * across_x + py * across_y
    if curve == Curve.CIRCLE:
        lateral = wp.sqrt(px * px + py * py) + wp.float32(TINY)
        across_x = px / lateral
        across_y = py / lateral
    elif curve == Curve.RIBBON:
        s, lateral, across_x, across_y = _on_ribbon(ground, k, x, y)
    across = pixel.side  # how far the pixel reaches across the strip, and along it
    along = pixel.side
    per = pixel.per_side
    per_along = pixel.per_side
    if not pixel.square:
        across = _spread(pixel, across_x, across_y)
        along = _spread(pixel, across_y, -across_x)
        per = wp.float32(1.0) / across
        per_along = wp.float32(1.0) / along
    shoulder = wp.float32(0.0)
    road = wp.float32(0.0)
    paint = wp.float32(0.0)
    beside = wp.float32(0.5) * across + ground.strips[k].spread
    if lateral > ground.strips[k].outer_low - beside and lateral < ground.strips[k].outer_high + beside:
        if curve == Curve.SINE:
            cosine, sine = cosine_and_sine(ground.strips[k].pulsation * s + ground.strips[k].phase)
            lateral = lateral - ground.strips[k].amplitude * sine
            slope = ground.strips[k].amplitude * ground.strips[k].pulsation * cosine
            across = _spread(pixel, across_x - slope * ground.strips[k].dx, across_y - slope * ground.strips[k].dy)
            per = wp.float32(1.0) / across
        half = wp.float32(0.5) * across
        half_along = wp.float32(0.5) * along
        ends = wp.float32(0.0)
        if curve == Curve.CIRCLE:
            ends = _between_ends(ground, k, px, py, half_along, per_along)
        elif s >= ground.strips[k].cut_low and s <= ground.strips[k].cut_high:
            ends = _covered(ground.strips[k].blurred_low, ground.strips[k].blurred_high, s, half_along, per_along)
        if ends > wp.float32(0.0):
            shoulder = _covered(ground.strips[k].shoulder_low, ground.strips[k].shoulder_high, lateral, half, per)
            road = _covered(ground.strips[k].road_low, ground.strips[k].road_high, lateral, half, per)
            first_line = ground.entries[e].first_line
            end_line = ground.entries[e].end_line
            if pixel.xx + pixel.yy > _WIDE:
                first_line = ground.strips[k].first_line
                end_line = ground.strips[k].end_line
            before = wp.float32(0.0)
            for i in range(first_line, end_line):
                middle = ground.lines[i].lateral
                share = _covered(middle - _HALF_LINE, middle + _HALF_LINE, lateral, half, per)
                if share > wp.float32(0.0):
                    if ground.lines[i].period > wp.float32(0.0):
                        share = share * _dashes(ground, k, i, s, px, py, half_along)
                    if ground.lines[i].twin != 0:
                        share = greater(share - before, wp.float32(0.0))
                    paint = paint + share
                before = share
            shoulder = ends * shoulder
            road = ends * road
            paint = ends * lesser(paint, wp.float32(1.0))
    return wp.vec3f(shoulder, road, paint)


@wp.func(inline=HOT)
def _ground(ground: Ground, pixel: Pixel, x: wp.float32, y: wp.float32) -> wp.vec3f:
    shoulder = wp.float32(0.0)
    road = wp.float32(0.0)
    paint = wp.float32(0.0)
    if ground.paved != 0:
        road = _paved(ground, pixel, x, y)
    column = int(wp.floor((x - ground.low_x) * ground.cells_per_metre))
    row = int(wp.floor((y - ground.low_y) * ground.cells_per_metre))
    first_entry = wp.int32(0)
    end_entry = wp.int32(0)
    if column >= 0 and row >= 0 and column < ground.columns and row < ground.rows:
        first_entry = ground.cells[row * ground.columns + column]
        end_entry = ground.cells[row * ground.columns + column + 1]
    for e in range(first_entry, end_entry):
        shares = _strip_at(ground, e, pixel, x, y)
        shoulder = greater(shoulder, shares[0])
        road = greater(road, shares[1])
        paint = greater(paint, shares[2])
    shoulder = greater(shoulder, road)
    road = greater(road, paint)
    return wp.vec3f(shoulder - road, road - paint, paint)  # one return: two would go through memory


@wp.func(inline=HOT)
def ground_over(
    ground: Ground, x: wp.float32, y: wp.float32, xx: wp.float32, xy: wp.float32, yy: wp.float32
) -> wp.vec3f:
    """Which shares of a pixel are shoulder, asphalt and paint; the rest is grass. They add up to at most 1.

    (x, y) [m] is the pixel's middle on the ground. Where the pixel's sides are the vectors u and v on the ground [m],
    xx = ux ux + vx vx, xy = ux uy + vx vy, yy = uy uy + vy vy [m2]: a pixel that looks far ahead is long and narrow.
    """
    pixel = Pixel()
    pixel.xx = xx
    pixel.xy = xy
    pixel.yy = yy
    pixel.square = False
    return _ground(ground, pixel, x, y)


@wp.func(inline=HOT)
def ground_at(ground: Ground, x: wp.float32, y: wp.float32, footprint: wp.float32) -> wp.vec3f:
    """Which shares of a square pixel of side `footprint` [m] are shoulder, asphalt and paint, see `ground_over`."""
    pixel = Pixel()
    pixel.side = wp.max(footprint, wp.float32(SHARPEST))
    pixel.per_side = wp.float32(1.0) / pixel.side
    pixel.xx = pixel.side * pixel.side
    pixel.xy = wp.float32(0.0)
    pixel.yy = pixel.xx
    pixel.square = True
    return _ground(ground, pixel, x, y)
