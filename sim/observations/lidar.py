"""Range and speed of the nearest thing in each of a number of sectors around the ego.

Source: highway_env/envs/common/observation.py `LidarObservation`, utils.py `distance_to_rect`, 1.12.1.
"""

import math
from typing import Any

import numpy as np
import torch
import warp as wp
from gymnasium import spaces

from sim.config import require_known
from sim.engine.elementary import TWO_PI
from sim.engine.lanes import HALF_PI
from sim.engine.state import Kind
from sim.observations.base import Binding, ObservationType, Setting
from sim.scenarios.base import is_number


@wp.func
def _gap(low_a: Any, high_a: Any, low_b: Any, high_b: Any):
    """Gap of two intervals, at most 0 where they touch (`interval_distance`); NaN in one gives NaN."""
    if low_a < low_b:
        return low_b - high_a
    return low_a - high_b


@wp.func
def _ray_length(ray_x: Any, ray_y: Any, ax: Any, ay: Any, bx: Any, by: Any, dx: Any, dy: Any):
    """How far along a ray from the origin a rectangle begins [m]; infinite where the ray misses it.

    a, b and d are corners, b and d the neighbours of a. The rectangle is the cut of two strips; a ray parallel to a
    strip divides by zero, as in highway-env.
    """
    zero = type(ax)(0.0)
    one = type(ax)(1.0)
    ux = bx - ax
    uy = by - ay
    vx = dx - ax
    vy = dy - ay
    norm_u = wp.sqrt(ux * ux + uy * uy)
    norm_v = wp.sqrt(vx * vx + vy * vy)
    ux = ux / norm_u
    uy = uy / norm_u
    vx = vx / norm_v
    vy = vy / norm_v
    ray_u = ray_x * ux + ray_y * uy
    ray_v = ray_x * vx + ray_y * vy
    low_u = (ax * ux + ay * uy) / ray_u
    high_u = (bx * ux + by * uy) / ray_u
    low_v = (ax * vx + ay * vy) / ray_v
    high_v = (dx * vx + dy * vy) / ray_v
    if ray_u < zero:
        kept = low_u
        low_u = high_u
        high_u = kept
    if ray_v < zero:
        kept = low_v
        low_v = high_v
        high_v = kept
    overlap = _gap(low_u, high_u, low_v, high_v) <= zero
    if overlap and _gap(zero, one, low_u, high_u) <= zero and _gap(zero, one, low_v, high_v) <= zero:
        return wp.max(low_u, low_v) * wp.sqrt(ray_x * ray_x + ray_y * ray_y)
    return type(ax)(wp.inf)


@wp.func
def _sector(angle: Any, width: Any, cells: int):
    """Sector of an angle [rad]; angles count from half a sector before the x axis."""
    index = int(wp.floor(angle / width)) % cells
    if index < 0:
        index = index + cells
    return index


@wp.func
def _keep_nearer(
    world: Any, w: int, ego: int, v: int, index: int, distance: Any, beams: Any, out: wp.array3d(dtype=wp.float32)
):
    """Take a distance and the speed along the beam where it is not above the one so far, which float32 has rounded."""
    if distance <= type(distance)(out[w, index, 0]):
        speed = world.cars[w, v].speed
        own = world.cars[w, ego].speed
        speed_x = speed * world.cars[w, v].cos_heading - own * world.cars[w, ego].cos_heading
        speed_y = speed * world.cars[w, v].sin_heading - own * world.cars[w, ego].sin_heading
        out[w, index, 0] = wp.float32(distance)
        out[w, index, 1] = wp.float32(speed_x * beams[index, 0] + speed_y * beams[index, 1])


@wp.func
def _trace(world: Any, w: int, ego: int, v: int, reach: Any, width: Any, beams: Any, out: wp.array3d(dtype=wp.float32)):
    """Enter one vehicle or object: its centre in one sector, its outline in all between its outermost corners."""
    cells = out.shape[1]
    half = type(reach)(0.5)
    x = world.cars[w, ego].x
    y = world.cars[w, ego].y
    center_x = world.cars[w, v].x - x
    center_y = world.cars[w, v].y - y
    distance = wp.sqrt(center_x * center_x + center_y * center_y)
    if distance > reach:
        return
    center = _sector(wp.atan2(center_y, center_x) + half * width, width, cells)
    _keep_nearer(world, w, ego, v, center, distance - half * world.cars[w, v].width, beams, out)

    cosine = world.cars[w, v].cos_heading
    sine = world.cars[w, v].sin_heading
    length_x = cosine * half * world.cars[w, v].length
    length_y = sine * half * world.cars[w, v].length
    width_x = -sine * half * world.cars[w, v].width
    width_y = cosine * half * world.cars[w, v].width
    # Corners a, b, c, d as in highway-env, placed in the world first so that they round alike.
    ax = (world.cars[w, v].x + (-length_x - width_x)) - x
    ay = (world.cars[w, v].y + (-length_y - width_y)) - y
    bx = (world.cars[w, v].x + (-length_x + width_x)) - x
    by = (world.cars[w, v].y + (-length_y + width_y)) - y
    cx = (world.cars[w, v].x + (length_x + width_x)) - x
    cy = (world.cars[w, v].y + (length_y + width_y)) - y
    dx = (world.cars[w, v].x + (length_x - width_x)) - x
    dy = (world.cars[w, v].y + (length_y - width_y)) - y
    angle_a = wp.atan2(ay, ax) + half * width
    angle_b = wp.atan2(by, bx) + half * width
    angle_c = wp.atan2(cy, cx) + half * width
    angle_d = wp.atan2(dy, dx) + half * width
    low = wp.min(wp.min(angle_a, angle_b), wp.min(angle_c, angle_d))
    high = wp.max(wp.max(angle_a, angle_b), wp.max(angle_c, angle_d))
    if low < -type(reach)(HALF_PI) and high > type(reach)(HALF_PI):  # astride the negative x axis
        kept = low
        low = high
        high = kept + type(reach)(TWO_PI)
    start = _sector(low, width, cells)
    end = _sector(high, width, cells)
    count = end - start + 1
    if start >= end:  # through sector 0, and, as in highway-env, all round if the outline lies in one sector
        count = count + cells
    for k in range(count):
        index = (start + k) % cells
        ray_x = (x + reach * beams[index, 0]) - x
        ray_y = (y + reach * beams[index, 1]) - y
        distance = _ray_length(ray_x, ray_y, ax, ay, bx, by, dx, dy)
        _keep_nearer(world, w, ego, v, index, distance, beams, out)


@wp.kernel(enable_backward=False, module="unique")
def observe_lidar(
    world: Any,
    mask: wp.array(dtype=wp.bool),
    agent: int,
    maximum_range: wp.float64,
    normalize: int,
    beams: wp.array2d(dtype=Any),
    out: wp.array3d(dtype=wp.float32),
    first: int,
):
    """Write distance [m] and relative speed [m/s] in each sector around the ego `agent` into `out` `[N, cells, 2]`.

    `beams` `[cells, 2]` are the unit vectors of the sectors' middles. A sector without anything holds the range twice.
    """
    w = first + wp.tid()
    if not mask[w]:
        return
    ego = world.ego[w, agent]
    cells = out.shape[1]
    reach = type(beams[0, 0])(maximum_range)
    width = type(reach)(TWO_PI) / type(reach)(cells)
    for index in range(cells):
        out[w, index, 0] = wp.float32(maximum_range)
        out[w, index, 1] = wp.float32(maximum_range)
    for v in range(world.rows[w].count):
        if v != ego and world.cars[w, v].kind != Kind.LANDMARK:
            _trace(world, w, ego, v, reach, width, beams, out)
    if normalize != 0:
        for index in range(cells):
            out[w, index, 0] = out[w, index, 0] / wp.float32(maximum_range)
            out[w, index, 1] = out[w, index, 1] / wp.float32(maximum_range)


class LidarObservation(ObservationType):
    """Distance and relative speed of what is nearest in each sector, float32 `[cells, 2]`.

    Sectors are fixed in the world: the middle of the first is the x axis, the next is towards y. Landmarks are unseen.

    Attributes:
        channels: what the columns hold.
        empty: the values of a sector without anything.
    """

    channels: tuple[str, ...] = ("range", "speed")

    def __init__(self, options: dict[str, Any], setting: Setting, agent: int = 0) -> None:
        require_known(options, ["type", "cells", "maximum_range", "normalize"], "observation key")
        self.cells = options.get("cells", 16)
        if isinstance(self.cells, bool) or not isinstance(self.cells, int) or self.cells < 1:
            raise ValueError(f"observation cells is {self.cells!r}; it must be an integer of at least 1")
        self.maximum_range = options.get("maximum_range", 60)
        if not is_number(self.maximum_range) or not 0 < self.maximum_range < math.inf:
            raise ValueError(f"observation maximum_range is {self.maximum_range!r}; it must be above 0 m and finite")
        self.normalize = bool(options.get("normalize", True))
        self.agent = agent
        high = 1 if self.normalize else self.maximum_range
        self.space = spaces.Box(-high, high, shape=(self.cells, 2), dtype=np.float32)
        self.empty: tuple[float, ...] = (float(high), float(high))

    def bind(self, binding: Binding) -> torch.Tensor:
        """Allocate and return the table `[N, cells, 2]`."""
        place = str(binding.device)
        angles = [index * (2 * np.pi / self.cells) for index in range(self.cells)]
        beams = wp.array([(np.cos(angle), np.sin(angle)) for angle in angles], dtype=binding.real, device=place)
        out = torch.zeros(binding.num_worlds, *self.space.shape, dtype=torch.float32, device=binding.device)
        options = [wp.float64(self.maximum_range), int(self.normalize)]
        self._before, self._after = [binding.world], [self.agent, *options, beams, wp.from_torch(out)]
        return out

    def launches(self, mask: Any, reset: bool = False) -> list[tuple[Any, list[Any]]]:
        """Return the one launch."""
        return [(observe_lidar, [*self._before, mask, *self._after])]
