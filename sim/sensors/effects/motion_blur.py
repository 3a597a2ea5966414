"""Motion blur: each pixel is smeared along the way that what it shows moves while the shutter is open."""

from typing import Any

import warp as wp

from sim.engine import HOT
from sim.engine.state import Kind
from sim.engine.steering import slip_of_steering
from sim.engine.vehicles import HALF_LENGTH
from sim.sensors.camera.views import View
from sim.sensors.looks.look import Look

SHORTEST = 0.8  # px, a smear below it is not drawn
MOST_TAPS = wp.constant(wp.int32(8))  # points of a smear that are averaged
FINE = wp.constant(wp.int32(12))  # bits of the parts of a pixel in which the way is counted


@wp.struct
class Motion:
    """How a camera moves while the shutter is open."""

    x: wp.float32  # way along the world's axes [m]
    y: wp.float32
    down_right: wp.float32  # how its axes turn into each other [rad]
    ahead_right: wp.float32
    ahead_down: wp.float32


@wp.func
def _turning(world: Any, w: int, v: int) -> wp.float32:
    """Return how fast a vehicle turns to its right [rad/s]."""
    if world.cars[w, v].kind == Kind.BICYCLE:
        return wp.float32(world.cars[w, v].yaw_rate)
    slip = world.cars[w, v].slip
    if world.cars[w, v].kind == Kind.VEHICLE:
        slip = slip_of_steering(world.cars[w, v].steering)
    return wp.float32(world.cars[w, v].speed * slip) / wp.float32(HALF_LENGTH)


@wp.func
def _motion_of(world: Any, w: int, ego: int, view: View, time: wp.float32) -> Motion:
    """Return what a camera on the ego does in `time` s."""
    angle = _turning(world, w, ego) * time
    speed = wp.float32(world.cars[w, ego].speed) * time
    motion = Motion()
    motion.x = speed * wp.float32(world.cars[w, ego].cos_heading) - angle * view.place[1]
    motion.y = speed * wp.float32(world.cars[w, ego].sin_heading) + angle * view.place[0]
    motion.down_right = angle * (view.right[0] * view.down[1] - view.right[1] * view.down[0])
    motion.ahead_right = angle * (view.right[0] * view.ahead[1] - view.right[1] * view.ahead[0])
    motion.ahead_down = angle * (view.down[0] * view.ahead[1] - view.down[1] * view.ahead[0])
    return motion


@wp.kernel(enable_backward=False, module="unique")
def keep_sharp(
    mask: wp.array(dtype=wp.bool),
    looks: wp.array(dtype=Look),
    words: wp.array3d(dtype=Any),
    sharp: wp.array3d(dtype=Any),
    first: int,
):
    """Copy the pictures that will be blurred, as words of some bytes [N, planes, K]; one thread a plane."""
    w, plane = wp.tid()
    w = first + w
    if not mask[w]:
        return
    if looks[w].blur <= wp.float32(0.0):
        return
    source = words[w, plane]
    target = sharp[w, plane]
    for k in range(source.shape[0]):
        target[k] = source[k]


@wp.func(inline=HOT)
def _smeared(
    red_of: wp.array(dtype=wp.uint8),
    green_of: wp.array(dtype=wp.uint8),
    blue_of: wp.array(dtype=wp.uint8),
    height: int,
    width: int,
    i: int,
    j: int,
    along: wp.float32,
    across: wp.float32,
) -> wp.vec3f:
    """Return the mean of a picture's values along a way with its middle in row i and column j [px]."""
    half = wp.float32(0.5)
    fine = wp.float32(1 << FINE)
    taps = wp.min(int(wp.max(wp.abs(along), wp.abs(across))) + 2, MOST_TAPS)
    step_i = int(fine * across / wp.float32(taps - 1))
    step_j = int(fine * along / wp.float32(taps - 1))
    at_i = int(fine * (wp.float32(i) + half)) - step_i * (taps - 1) // 2
    at_j = int(fine * (wp.float32(j) + half)) - step_j * (taps - 1) // 2
    red = int(0)
    green = int(0)
    blue = int(0)
    for _tap in range(taps):
        k = wp.clamp(at_i >> FINE, 0, height - 1) * width + wp.clamp(at_j >> FINE, 0, width - 1)
        red = red + int(red_of[k])
        green = green + int(green_of[k])
        blue = blue + int(blue_of[k])
        at_i = at_i + step_i
        at_j = at_j + step_j
    return wp.vec3f(wp.float32(red), wp.float32(green), wp.float32(blue)) / wp.float32(taps)


@wp.kernel(enable_backward=False, module="unique")
def blur_motion(
    world: Any,
    mask: wp.array(dtype=wp.bool),
    looks: wp.array(dtype=Look),
    views: wp.array2d(dtype=View),
    depth: wp.array4d(dtype=wp.float32),
    instance: wp.array4d(dtype=wp.int16),
    sharp: wp.array3d(dtype=wp.uint8),
    agent: int,
    frame_time: wp.float32,
    rgb: wp.array4d(dtype=wp.uint8),
    first: int,
):
    """Smear what moves against the camera; one thread a camera and row.

    What the picture shows of a vehicle moves with that vehicle, all else stands still. First order: the way of a pixel
    is a straight line, its length what depth, speed and turn at this moment make of it.
    """
    w, row = wp.tid()
    w = first + w
    if not mask[w]:
        return
    time = looks[w].blur * frame_time  # s, that the shutter is open
    if time <= wp.float32(0.0):
        return
    camera = row // rgb.shape[2]
    i = row % rgb.shape[2]
    ego = world.ego[w, agent]
    right = views[w, camera].right
    down = views[w, camera].down
    ahead = views[w, camera].ahead
    focal = views[w, camera].focal
    own = _motion_of(world, w, ego, views[w, camera], time)
    half = wp.float32(0.5)
    sharp_red = sharp[w, 3 * camera]
    sharp_green = sharp[w, 3 * camera + 1]
    sharp_blue = sharp[w, 3 * camera + 2]
    red_line = rgb[w, 3 * camera, i]
    green_line = rgb[w, 3 * camera + 1, i]
    blue_line = rgb[w, 3 * camera + 2, i]
    far = depth[w, camera, i]
    slots = instance[w, camera, i]
    width = rgb.shape[3]
    height = rgb.shape[2]
    y = (wp.float32(i) + half - half * wp.float32(rgb.shape[2])) / focal
    for j in range(width):
        x = (wp.float32(j) + half - half * wp.float32(width)) / focal
        move_x = own.x
        move_y = own.y
        slot = wp.int32(slots[j]) - 1
        if slot >= 0:
            move_x = own.x - wp.float32(world.cars[w, slot].speed * world.cars[w, slot].cos_heading) * time
            move_y = own.y - wp.float32(world.cars[w, slot].speed * world.cars[w, slot].sin_heading) * time
        near = wp.float32(1.0) / far[j]  # 0 of the sky
        to_right = (right[0] * move_x + right[1] * move_y) * near
        to_down = (down[0] * move_x + down[1] * move_y) * near
        forward = (ahead[0] * move_x + ahead[1] * move_y) * near + own.ahead_right * x + own.ahead_down * y
        along = focal * (forward * x - to_right + own.down_right * y + own.ahead_right)
        across = focal * (forward * y - to_down - own.down_right * x + own.ahead_down)
        if wp.max(wp.abs(along), wp.abs(across)) < wp.float32(SHORTEST):
            continue
        colour = _smeared(sharp_red, sharp_green, sharp_blue, height, width, i, j, along, across)
        red_line[j] = wp.uint8(colour[0] + half)
        green_line[j] = wp.uint8(colour[1] + half)
        blue_line[j] = wp.uint8(colour[2] + half)
