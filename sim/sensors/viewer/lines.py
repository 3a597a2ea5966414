"""What highway-env's own viewer draws of a scene, pixel for pixel, in shades of grey.

The viewer is pygame: lane lines by integer arithmetic, then objects and vehicles in the order of highway-env's lists.
Source: highway_env/envs/common/graphics.py and road/graphics.py, 1.12.1; pygame-ce's draw.line, 2.5.8.

A picture is [W, H]: the column comes first, as in highway-env's GrayscaleObservation.
"""

from typing import Any

import warp as wp

from sim.engine.lanes import LineType, local_coordinates
from sim.sensors.viewer.things import Shade, View, draw_thing

COLUMNS_PER_THREAD = 8  # on CUDA; on the CPU a thread draws the whole picture

# LaneGraphics
STRIPE_SPACING = 4.33  # m
STRIPE_LENGTH = 3.0  # m
STRIPE_WIDTH = 0.3  # m
SHORTEST_STRIPE = STRIPE_LENGTH / 2  # m, of what a lane's end leaves of a stripe


@wp.struct
class MarkedLane:
    """Where a lane's lines are in the table of stripes."""

    lane: int  # flat number
    left: int  # LineType
    right: int
    first: int  # stripe of the left line; those of the right line come after
    count: int  # stripes a line in the table
    drawn: int  # how many of them are long enough
    length: wp.float64  # m
    low_x: wp.float64  # m, box around the lines
    low_y: wp.float64
    high_x: wp.float64
    high_y: wp.float64


@wp.func
def _draw_line(
    x_1: int, y_1: int, x_2: int, y_2: int, thickness: int, shade: wp.uint8, w: int, low: int, high: int, out: Any
):
    """Draw a line between two pixels into columns low to high (Bresenham's, each pixel as wide as the line)."""
    half = thickness // 2
    before = half - (1 - thickness % 2)  # an even width has its odd pixel right of or below the line
    dx = wp.abs(x_2 - x_1)
    dy = wp.abs(y_2 - y_1)
    steep = dx <= dy and thickness > 1
    wide_x = int(0)
    wide_y = int(0)
    if steep:
        wide_x = half
    else:
        wide_y = half
    if wp.max(x_1, x_2) + wide_x < low or wp.min(x_1, x_2) - wide_x >= high:
        return
    if wp.max(y_1, y_2) + wide_y < 0 or wp.min(y_1, y_2) - wide_y >= out.shape[2]:
        return
    x = x_1
    y = y_1
    step_x = wp.where(x_2 > x_1, 1, -1)
    step_y = wp.where(y_2 > y_1, 1, -1)
    steps = wp.max(dx, dy)
    if dy == 0:  # begin and end inside
        x = wp.max(wp.min(x_1, x_2), low)
        steps = wp.min(wp.max(x_1, x_2), high - 1) - x
        step_x = 1
        if thickness > 1 and dx == 0:
            x = x_1
            steps = 0
    error = dx // 2
    if dx <= dy:
        error = -(dy // 2)
    for _ in range(steps + 1):
        if steep:
            if y >= 0 and y < out.shape[2]:
                for column in range(wp.max(x - before, low), wp.min(x + half + 1, high)):
                    out[w, column, y] = shade
        elif x >= low and x < high:
            for row in range(wp.max(y - before, 0), wp.min(y + half + 1, out.shape[2])):
                out[w, x, row] = shade
        kept = error
        if kept > -dx:
            error = error - dy
            x = x + step_x
        if kept < dy:
            error = error + dx
            y = y + step_y


@wp.func
def _draw_stripe(
    start: wp.vec4d, end: wp.vec4d, view: View, x_0: wp.float64, y_0: wp.float64, w: int, low: int, high: int, out: Any
):
    """Draw from the start of one stripe to the end of another (or the same)."""
    _draw_line(
        int((start[0] - x_0) * view.scaling),
        int((start[1] - y_0) * view.scaling),
        int((end[2] - x_0) * view.scaling),
        int((end[3] - y_0) * view.scaling),
        view.line,
        view.shades[Shade.LINE],
        w,
        low,
        high,
        out,
    )


@wp.func
def _draw_lane(
    lanes: Any,
    view: View,
    lane: MarkedLane,
    stripes: wp.array(dtype=wp.vec4d),
    x_0: wp.float64,
    y_0: wp.float64,
    w: int,
    low: int,
    high: int,
    out: Any,
):
    """Draw a lane's two lines, of which highway-env draws a number of stripes about where the corner projects."""
    s, _lateral = local_coordinates(lanes, lane.lane, x_0, y_0)
    begin = int(wp.floor(wp.float64(int(s)) / wp.float64(STRIPE_SPACING))) - view.window // 2
    for side in range(2):
        kind = lane.left
        first = lane.first
        if side == 1:
            kind = lane.right
            first = first + lane.count
        if kind == LineType.CONTINUOUS_LINE:
            start = wp.clamp(wp.float64(begin) * wp.float64(STRIPE_SPACING), wp.float64(0.0), lane.length)
            end = wp.float64(begin + view.window) * wp.float64(STRIPE_SPACING) + wp.float64(STRIPE_LENGTH)
            if wp.clamp(end, wp.float64(0.0), lane.length) - start > wp.float64(SHORTEST_STRIPE):
                a = first + wp.clamp(begin, 0, lane.count - 1)
                b = first + wp.clamp(begin + view.window, 0, lane.count - 1)
                _draw_stripe(stripes[a], stripes[b], view, x_0, y_0, w, low, high, out)
        elif kind != LineType.NONE:
            for k in range(wp.max(begin, 0), wp.min(begin + view.window, lane.drawn)):
                _draw_stripe(stripes[first + k], stripes[first + k], view, x_0, y_0, w, low, high, out)


@wp.kernel(enable_backward=False, module="unique")
def draw_view(
    lanes: Any,
    world: Any,
    view: View,
    marked: wp.array(dtype=MarkedLane),
    stripes: wp.array(dtype=wp.vec4d),
    mask: wp.array(dtype=wp.bool),
    agent: int,
    threads: int,
    out: wp.array3d(dtype=wp.uint8),
    first: int,
):
    """Draw the surroundings of the ego `agent` of each world in `mask` into `out` `[N, W, H]`; a thread has columns."""
    w, k = wp.tid()
    w = first + w
    if not mask[w]:
        return
    low = out.shape[1] * k // threads
    high = out.shape[1] * (k + 1) // threads
    road = view.shades[Shade.ROAD]
    for column in range(low, high):
        for row in range(out.shape[2]):
            out[w, column, row] = road
    ego = world.ego[w, agent]
    x_0 = wp.float64(world.cars[w, ego].x) - view.ahead
    y_0 = wp.float64(world.cars[w, ego].y) - view.beside
    margin = wp.float64(view.line + 2) / view.scaling
    x_1 = x_0 + wp.float64(out.shape[1]) / view.scaling + margin
    y_1 = y_0 + wp.float64(out.shape[2]) / view.scaling + margin
    for i in range(marked.shape[0]):
        if marked[i].low_x > x_1 or marked[i].high_x < x_0 - margin:
            continue
        if marked[i].low_y > y_1 or marked[i].high_y < y_0 - margin:
            continue
        _draw_lane(lanes, view, marked[i], stripes, x_0, y_0, w, low, high, out)
    count = world.rows[w].count
    objects = world.rows[w].objects
    for i in range(count):  # objects lie below vehicles, and come after them in the list
        v = i - objects
        if i < objects:
            v = count - objects + i
        draw_thing(world, view, w, v, x_0, y_0, low, high, out)
