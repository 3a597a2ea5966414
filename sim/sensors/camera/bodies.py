"""The bodies of what stands in a world: shapes, sizes and paint, the same in every picture of an episode.

A body is one or two convex parts, each a box whose front, rear and sides may lean inwards: a hull on the ground and
what stands on it, such as a cabin. A vehicle's own frame: x forward, y right, z up from the ground under its middle.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import warp as wp

from sim.engine.state import Kind
from sim.engine.vehicles import LENGTH, WIDTH
from sim.sensors import noise
from sim.sensors.classes import Semantic
from sim.sensors.noise import Stream

WALL = 6.0  # m, an obstacle longer than this is a wall
GOAL_MARGIN = 0.45  # m, how far the frame of a goal stands out on each side of a car parked on it
SEAM = 0.03  # m, how far a cabin reaches into its hull: no ray passes between them
SPREAD = 0.05  # a body is up to this share lower, shorter and narrower than its pattern
# In a vehicle's stream of random numbers.
PATTERN, PAINT, SHADE, STRETCH, SPREADING, LIFT = range(6)


@dataclass(frozen=True)
class Part:
    """A box from `rear` to `front` and `bottom` to `top` [m]; faces lean inwards by metres a metre of height."""

    rear: float
    front: float
    half: float  # of the width at the bottom
    top: float
    bottom: float = 0.0
    lean_front: float = 0.0
    lean_rear: float = 0.0
    lean_side: float = 0.0


@dataclass(frozen=True)
class Pattern:
    """A kind of body for a thing of 5 m by 2 m; `share` is how many of a hundred vehicles have it."""

    category: Semantic
    share: int
    hull: Part
    cabin: Part | None = None
    axles: tuple[float, float] = (1.4, -1.4)  # front, rear [m]
    wheel: float = 0.33  # radius [m]


def _car(
    share: int, length: float, half: float, waist: float, cabin: tuple[float, float, float], lean: tuple
) -> Pattern:
    """A car: `cabin` is its rear and front end at the waist and its height, `lean` of windscreen and rear window."""
    end = length / 2
    hull = Part(-end, end, half, waist, lean_front=0.14, lean_rear=0.10, lean_side=0.06)
    room = Part(cabin[0], cabin[1], half - 0.07, cabin[2], waist - SEAM, *lean, 0.30)
    return Pattern(Semantic.CAR, share, hull, room, (end - 0.88, 0.86 - end))


PATTERNS = (
    _car(16, 4.70, 0.92, 0.88, (-1.80, 1.00, 1.43), (1.45, 1.25)),  # saloon
    _car(15, 4.15, 0.89, 0.92, (-1.95, 0.95, 1.50), (1.20, 0.35)),  # hatchback
    _car(10, 4.80, 0.92, 0.90, (-2.28, 1.00, 1.46), (1.45, 0.50)),  # estate
    _car(11, 4.65, 0.96, 1.06, (-2.20, 1.00, 1.74), (0.95, 0.35)),  # off-roader
    _car(4, 4.45, 0.93, 0.80, (-1.70, 0.80, 1.26), (1.60, 1.90)),  # coupe
    _car(4, 5.00, 0.97, 1.08, (-0.70, 1.15, 1.80), (0.85, 0.15)),  # pick-up
    Pattern(
        Semantic.VAN, 11,
        Part(-2.48, 2.48, 0.98, 1.12, lean_front=0.16, lean_side=0.03),
        Part(-2.48, 2.05, 0.94, 2.45, 1.12 - SEAM, 0.85, 0.02, 0.06),
        (1.55, -1.60), 0.35,
    ),
    Pattern(
        Semantic.VAN, 7,
        Part(-2.40, 2.40, 0.96, 1.05, lean_front=0.18, lean_side=0.04),
        Part(-2.36, 1.90, 0.91, 1.98, 1.05 - SEAM, 1.00, 0.10, 0.12),
        (1.50, -1.55), 0.34,
    ),
    Pattern(
        Semantic.TRUCK, 8,
        Part(2.05, 3.75, 0.98, 2.55, lean_front=0.10, lean_side=0.02),
        Part(-3.75, 1.90, 1.00, 3.35),
        (2.70, -2.35), 0.48,
    ),
    Pattern(
        Semantic.TRUCK, 6,
        Part(1.70, 3.30, 0.97, 2.35, lean_front=0.16, lean_side=0.02),
        Part(-3.30, 1.60, 1.00, 2.75),
        (2.35, -2.05), 0.44,
    ),
    Pattern(
        Semantic.MOTORCYCLE, 5,
        Part(-1.10, 1.10, 0.16, 0.84, lean_front=0.50, lean_rear=0.35, lean_side=0.02),
        Part(-0.58, 0.02, 0.36, 1.66, 0.66, -0.28, 0.34, 0.22),
        (0.76, -0.76), 0.32,
    ),
    Pattern(
        Semantic.MOTORCYCLE, 3,
        Part(-1.10, 1.05, 0.20, 0.90, lean_front=0.35, lean_rear=0.25, lean_side=0.03),
        Part(-0.55, 0.10, 0.40, 1.72, 0.70, -0.06, 0.20, 0.25),
        (0.72, -0.74), 0.31,
    ),
)  # fmt: skip
"""What vehicles look like: 60 cars, 18 vans, 14 trucks and 8 motorcycles of a hundred."""

OBSTACLE_HEIGHT, WALL_HEIGHT, GOAL_HEIGHT = 1.05, 1.3, 0.05  # m

PALETTE = (
    (0.72, 0.73, 0.73), (0.62, 0.64, 0.66), (0.33, 0.35, 0.37), (0.12, 0.13, 0.14), (0.025, 0.027, 0.03),
    (0.45, 0.025, 0.02), (0.03, 0.07, 0.28), (0.05, 0.22, 0.50), (0.02, 0.12, 0.06), (0.60, 0.40, 0.03),
    (0.48, 0.41, 0.30), (0.42, 0.11, 0.02), (0.14, 0.03, 0.07), (0.10, 0.33, 0.36),
)  # fmt: skip
"""Paints as linear albedos, the common ones first."""
PALETTE_SHARES = (15, 10, 9, 8, 9, 10, 8, 8, 4, 4, 4, 4, 3, 4)

_PART = ("rear", "front", "half", "bottom", "top", "lean_front", "lean_rear", "lean_side")
_BODY: dict[str, Any] = {
    "category": wp.int32,
    "parts": wp.int32,
    "share": wp.float32,  # of all vehicles, this pattern and those before it
    "axle_front": wp.float32,
    "axle_rear": wp.float32,
    "wheel": wp.float32,
} | {f"{part}_{name}": wp.float32 for part in "ab" for name in _PART}
Body = wp.struct(type("Body", (), {"__annotations__": _BODY, "__module__": __name__}))
"""A row of the device table of patterns: part a is the hull, part b the cabin."""

_PALETTE_ROW: dict[str, Any] = {"share": wp.float32, "red": wp.float32, "green": wp.float32, "blue": wp.float32}
Paint = wp.struct(type("Paint", (), {"__annotations__": _PALETTE_ROW, "__module__": __name__}))


@wp.struct
class Catalogue:
    """What vehicles can look like."""

    bodies: wp.array(dtype=Body)
    paints: wp.array(dtype=Paint)


def catalogue(device: str | torch.device) -> Any:
    """Return the tables of patterns and paints on a device."""
    rows = np.zeros(len(PATTERNS), dtype=Body.numpy_dtype())
    for row, pattern, share in zip(rows, PATTERNS, np.cumsum([one.share for one in PATTERNS]) / 100, strict=True):
        row["category"], row["parts"], row["share"] = pattern.category, 1 + (pattern.cabin is not None), share
        row["axle_front"], row["axle_rear"] = pattern.axles
        row["wheel"] = pattern.wheel
        for prefix, part in (("a", pattern.hull), ("b", pattern.cabin)):
            for name in _PART if part else ():
                row[f"{prefix}_{name}"] = getattr(part, name)
    paints = np.zeros(len(PALETTE), dtype=Paint.numpy_dtype())
    paints["share"] = np.cumsum(PALETTE_SHARES) / sum(PALETTE_SHARES)
    for number, name in enumerate(("red", "green", "blue")):
        paints[name] = [colour[number] for colour in PALETTE]
    made = Catalogue()
    made.bodies = wp.array(rows, dtype=Body, device=str(device))
    made.paints = wp.array(paints, dtype=Paint, device=str(device))
    return made


@wp.func
def stream_of(episode: wp.uint64, number: wp.int32) -> wp.uint64:
    """Return the key of the random numbers of the thing placed as number `number` in an episode."""
    return noise.bits(noise.key(episode, 0, Stream.BODY), number)


@wp.func
def pattern_of(tables: Catalogue, stream: wp.uint64) -> wp.int32:
    """Return the row of a vehicle's pattern, drawn with the patterns' shares."""
    drawn = noise.uniform(stream, PATTERN)
    row = int(0)
    while row < tables.bodies.shape[0] - 1 and drawn >= tables.bodies[row].share:
        row = row + 1
    return row


@wp.func
def _turned_hue(colour: wp.vec3f, hue: wp.float32) -> wp.vec3f:
    """Turn a colour around the grey axis; 1 is once around."""
    cosine = wp.cos(wp.float32(6.2831853) * hue)
    sine = wp.sin(wp.float32(6.2831853) * hue) * wp.float32(0.57735027)
    grey = (colour[0] + colour[1] + colour[2]) * wp.float32(0.33333333)
    level = grey * (wp.float32(1.0) - cosine)
    red = colour[0] * cosine + level + sine * (colour[2] - colour[1])
    green = colour[1] * cosine + level + sine * (colour[0] - colour[2])
    blue = colour[2] * cosine + level + sine * (colour[1] - colour[0])
    return wp.vec3f(wp.max(red, wp.float32(0.0)), wp.max(green, wp.float32(0.0)), wp.max(blue, wp.float32(0.0)))


@wp.func
def paint_of(tables: Catalogue, stream: wp.uint64, hue: wp.float32) -> wp.vec3f:
    """Return a vehicle's paint as a linear albedo; `hue` turns the whole palette."""
    drawn = noise.uniform(stream, PAINT)
    row = int(0)
    while row < tables.paints.shape[0] - 1 and drawn >= tables.paints[row].share:
        row = row + 1
    shade = wp.float32(0.8) + wp.float32(0.35) * noise.uniform(stream, SHADE)
    colour = wp.vec3f(tables.paints[row].red, tables.paints[row].green, tables.paints[row].blue) * shade
    return _turned_hue(colour, hue)


@wp.func
def scale_of(stream: wp.uint64, index: wp.int32) -> wp.float32:
    """Return how much smaller than its pattern a vehicle is along one axis (STRETCH, SPREADING, LIFT)."""
    return wp.float32(1.0) - wp.float32(SPREAD) * noise.uniform(stream, index)


@wp.func
def body_of(
    tables: Catalogue, kind: wp.int32, episode: wp.uint64, number: wp.int32, length: wp.float32, width: wp.float32
):
    """Return class, length, width and height [m] of a thing of the given kind and physical size."""
    stream = stream_of(episode, number)
    if kind == Kind.LANDMARK:
        margin = wp.float32(2.0 * GOAL_MARGIN)
        return int(Semantic.GOAL), wp.float32(LENGTH) + margin, wp.float32(WIDTH) + margin, wp.float32(GOAL_HEIGHT)
    if kind == Kind.OBSTACLE:
        height = wp.float32(OBSTACLE_HEIGHT)
        if wp.max(length, width) > wp.float32(WALL):
            height = wp.float32(WALL_HEIGHT)
        return int(Semantic.OBSTACLE), length, width, height
    row = pattern_of(tables, stream)
    front = wp.max(tables.bodies[row].a_front, tables.bodies[row].b_front)
    rear = wp.min(tables.bodies[row].a_rear, tables.bodies[row].b_rear)
    along = (front - rear) * length / wp.float32(LENGTH) * scale_of(stream, STRETCH)
    half = wp.max(tables.bodies[row].a_half, tables.bodies[row].b_half)
    across = wp.float32(2.0) * half * width / wp.float32(WIDTH) * scale_of(stream, SPREADING)
    up = wp.max(tables.bodies[row].a_top, tables.bodies[row].b_top) * scale_of(stream, LIFT)
    return tables.bodies[row].category, along, across, up
