"""Oriented rectangles that move, in kernels: the functions of `boxes` for one pair, always in float64.

Filters before them may work in the recorded type; what is measured does not depend on it.
"""

from functools import cache
from typing import Any

import torch
import warp as wp

from sim.engine.state import Kind
from sim.evaluation.episodes import REALS, WHOLES, Episodes
from sim.evaluation.metrics.least import NEVER

BLOCK = 32  # episodes that a CPU thread takes through the frames together: at a frame they lie side by side in memory
HALF = wp.constant(wp.float64(0.5))
ZERO = wp.constant(wp.float64(0.0))


@cache
def tape_struct(real: type) -> Any:
    """Return the Warp struct of the recorded frames, each [T, N, V]."""
    annotations: dict[str, Any] = {name: wp.array3d(dtype=real) for name in REALS}
    annotations |= {name: wp.array3d(dtype=wp.int32) for name in WHOLES}
    return wp.struct(type(f"Recorded_{real.__name__}", (), {"__annotations__": annotations, "__module__": __name__}))


def tape_of(episodes: Episodes) -> Any:
    """Return the frames of episodes for a kernel; the episodes must outlive its launch."""
    tape = tape_struct(wp.dtype_from_torch(episodes.x.dtype))()
    for name in (*REALS, *WHOLES):
        setattr(tape, name, wp.from_torch(getattr(episodes, name).contiguous()))
    return tape


def episodes_per_thread(device: torch.device) -> int:
    """Return how many episodes a thread of a kernel that goes frame by frame takes; on CUDA each has its own."""
    return 1 if device.type == "cuda" else BLOCK


@wp.struct
class Box:
    """A rectangle: its centre [m], the unit vector of its heading, half its length and width [m], its speed [m/s]."""

    x: wp.float64
    y: wp.float64
    along_x: wp.float64
    along_y: wp.float64
    half_length: wp.float64
    half_width: wp.float64
    speed: wp.float64


@wp.func
def box_at(tape: Any, t: int, n: int, v: int):
    """Return the rectangle of a slot at a frame."""
    box = Box()
    box.x = wp.float64(tape.x[t, n, v])
    box.y = wp.float64(tape.y[t, n, v])
    heading = wp.float64(tape.heading[t, n, v])
    box.along_x = wp.float64(1.0)
    box.along_y = ZERO
    if heading != ZERO:  # most traffic goes exactly along x
        box.along_x = wp.cos(heading)
        box.along_y = wp.sin(heading)
    box.half_length = wp.float64(tape.length[t, n, v]) * HALF
    box.half_width = wp.float64(tape.width[t, n, v]) * HALF
    box.speed = wp.float64(tape.speed[t, n, v])
    return box


@wp.func
def is_thing(kind: int):
    """Is there a vehicle or an obstacle in a slot?"""
    return kind != Kind.ABSENT and kind != Kind.LANDMARK


@wp.func
def is_driven(kind: int):
    """Is there a vehicle that may move in a slot?"""
    return kind != Kind.ABSENT and kind < Kind.PARKED


@wp.func
def reaches(a: Box, b: Box):
    """How far apart the centres are when the two just touch, on the axes along and across a, along and across b [m]."""
    cosine = wp.abs(a.along_x * b.along_x + a.along_y * b.along_y)
    sine = wp.abs(a.along_x * b.along_y - a.along_y * b.along_x)
    return wp.vec4d(
        a.half_length + b.half_length * cosine + b.half_width * sine,
        a.half_width + b.half_length * sine + b.half_width * cosine,
        b.half_length + a.half_length * cosine + a.half_width * sine,
        b.half_width + a.half_length * sine + a.half_width * cosine,
    )


@wp.func
def on_axes(a: Box, b: Box, x: wp.float64, y: wp.float64):
    """Return a vector projected on the axes along and across a, along and across b."""
    return wp.vec4d(
        x * a.along_x + y * a.along_y,
        y * a.along_x - x * a.along_y,
        x * b.along_x + y * b.along_y,
        y * b.along_x - x * b.along_y,
    )


@wp.func
def separation(a: Box, b: Box):
    """Largest gap on any of the four axes [m], below zero where the boxes overlap; as `boxes.separation`."""
    offset = on_axes(a, b, b.x - a.x, b.y - a.y)
    reach = reaches(a, b)
    gap = wp.abs(offset[0]) - reach[0]
    for axis in range(1, 4):
        gap = wp.max(gap, wp.abs(offset[axis]) - reach[axis])
    return gap


@wp.func
def touching(a: Box, b: Box, a_speed: wp.float64, b_speed: wp.float64):
    """First and last time [s] at which the boxes touch at these speeds [m/s]; as `boxes.touching`."""
    offset = on_axes(a, b, b.x - a.x, b.y - a.y)
    vx = b_speed * b.along_x - a_speed * a.along_x
    vy = b_speed * b.along_y - a_speed * a.along_y
    speed = on_axes(a, b, vx, vy)
    reach = reaches(a, b)
    first = -wp.float64(NEVER)
    last = wp.float64(NEVER)
    for axis in range(4):
        if speed[axis] != ZERO:
            away = offset[axis] * wp.sign(speed[axis])
            size = wp.abs(speed[axis])
            first = wp.max(first, (-reach[axis] - away) / size)
            last = wp.min(last, (reach[axis] - away) / size)
        elif wp.abs(offset[axis]) > reach[axis]:
            first = wp.float64(NEVER)
            last = -wp.float64(NEVER)
    return first, last


@wp.func
def corner_distance(a: Box, b: Box):
    """Square of the least distance [m2] from a corner of a to b, 0 inside."""
    least = wp.float64(NEVER)
    for corner in range(4):
        end = a.half_length * wp.float64(1 - 2 * (corner // 2))
        side = a.half_width * wp.float64(1 - 2 * (corner % 2))
        x = a.x + end * a.along_x - side * a.along_y - b.x
        y = a.y + end * a.along_y + side * a.along_x - b.y
        beyond = wp.max(wp.abs(x * b.along_x + y * b.along_y) - b.half_length, ZERO)
        beside = wp.max(wp.abs(y * b.along_x - x * b.along_y) - b.half_width, ZERO)
        least = wp.min(least, beyond * beyond + beside * beside)
    return least


@wp.func
def distance(a: Box, b: Box):
    """Distance of two boxes [m]; where they overlap, minus the depth of the overlap; as `boxes.distance`."""
    apart = separation(a, b)
    if apart <= ZERO:
        return apart
    return wp.sqrt(wp.min(corner_distance(a, b), corner_distance(b, a)))
