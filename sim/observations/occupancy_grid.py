"""A grid around the ego: which cells hold a vehicle, how it moves, and where there is road.

Source: highway_env/envs/common/observation.py `OccupancyGridObservation`, 1.12.1.
"""

import math
from typing import Any

import numpy as np
import torch
import warp as wp
from gymnasium import spaces

from sim.config import require_known
from sim.engine import lanes as lane
from sim.engine.lanes import Shape
from sim.engine.vehicles import MAX_SPEED
from sim.observations.base import Binding, ObservationType, Setting
from sim.observations.kinematics import Feature, feature_of
from sim.scenarios.base import number_pair

ON_ROAD = len(Feature)  # the layer that shows the road; the others show a `Feature` of the vehicles
SIGHT = 100.0  # m, how far along each lane road is looked for, either way from where the ego projects on it


@wp.struct
class Grid:
    """What the kernel needs of the observation's config. The grid's axes are x and y, or the ego's ahead and right."""

    aligned: int
    clip: int
    columns: int  # cells along the first axis
    rows: int  # cells along the second
    low_x: wp.float64  # m, from the ego to the grid's first cell
    low_y: wp.float64
    step_x: wp.float64  # m, of a cell
    step_y: wp.float64
    spacing: wp.float64  # m, of the points along a lane at which road is drawn
    reach: wp.float64  # m, from the ego to the farthest corner
    layers: wp.array(dtype=wp.int32)  # [F]
    scaled: wp.array(dtype=wp.int32)  # by `Feature`, 1 where low and high are mapped to [-1, 1]
    low: wp.array(dtype=wp.float64)
    high: wp.array(dtype=wp.float64)


@wp.func
def _write(out: wp.array2d(dtype=wp.float32), w: int, place: int, value: Any):
    out[w, place] = wp.float32(value)


@wp.func
def _write(out: wp.array2d(dtype=wp.uint8), w: int, place: int, value: Any):
    shade = (wp.clamp(value, type(value)(-1.0), type(value)(1.0)) + type(value)(1.0)) / type(value)(2.0)
    out[w, place] = wp.uint8(shade * type(value)(255.0))


@wp.func
def _cell(grid: Grid, cosine: Any, sine: Any, dx: Any, dy: Any):
    """Return the cell that holds a point, given relative to the ego [m]; -1 outside the grid."""
    along = (cosine * dx + sine * dy - type(dx)(grid.low_x)) / type(dx)(grid.step_x)
    across = (cosine * dy - sine * dx - type(dx)(grid.low_y)) / type(dx)(grid.step_y)
    zero = type(dx)(0.0)
    if along < zero or across < zero or along >= type(dx)(grid.columns) or across >= type(dx)(grid.rows):
        return -1
    return int(along) * grid.rows + int(across)


@wp.func
def _scaled(grid: Grid, feature: int, value: Any):
    """Map a feature's range to [-1, 1]."""
    if grid.scaled[feature] == 0:
        return value
    low = type(value)(grid.low[feature])
    high = type(value)(grid.high[feature])
    return type(value)(-1.0) + (value - low) * type(value)(2.0) / (high - low)


@wp.func
def _restored(grid: Grid, feature: int, value: Any):
    """Map a coordinate to [-1, 1] and back, which moves it by a rounding as in highway-env."""
    if grid.scaled[feature] == 0:
        return value
    low = type(value)(grid.low[feature])
    high = type(value)(grid.high[feature])
    return low + (_scaled(grid, feature, value) + type(value)(1.0)) * (high - low) / type(value)(2.0)


@wp.func
def _draw_vehicles(lanes: Any, world: Any, grid: Grid, w: int, ego: int, cosine: Any, sine: Any, out: Any):
    """Write the features of all vehicles, the ego's too; where two share a cell the first in the list stays."""
    cells = grid.columns * grid.rows
    v = world.rows[w].count - world.rows[w].objects
    while v > 0:
        v = v - 1
        dx = _restored(grid, int(Feature.X), world.cars[w, v].x - world.cars[w, ego].x)
        dy = _restored(grid, int(Feature.Y), world.cars[w, v].y - world.cars[w, ego].y)
        cell = _cell(grid, cosine, sine, dx, dy)
        if cell < 0:
            continue
        for layer in range(grid.layers.shape[0]):
            feature = grid.layers[layer]
            if feature == ON_ROAD:
                continue
            value = feature_of(lanes, world, w, v, feature, True)
            if feature >= Feature.X and feature <= Feature.VY:
                value = value - feature_of(lanes, world, w, ego, feature, True)
            value = _scaled(grid, feature, value)
            if grid.clip != 0:
                value = wp.clamp(value, type(value)(-1.0), type(value)(1.0))
            _write(out, w, layer * cells + cell, value)


@wp.func
def _draw_road_at(
    lanes: Any, grid: Grid, w: int, on: int, s: Any, x: Any, y: Any, cosine: Any, sine: Any, base: int, out: Any
):
    """Mark the cell that holds the point `s` [m] of a lane, seen from (x, y)."""
    at_x, at_y = lane.position(lanes, on, s, type(s)(0.0))
    cell = _cell(grid, cosine, sine, at_x - x, at_y - y)
    if cell >= 0:
        _write(out, w, base + cell, type(s)(1.0))


@wp.func
def _draw_lane(lanes: Any, grid: Grid, w: int, on: int, x: Any, y: Any, cosine: Any, sine: Any, base: int, out: Any):
    """Mark the cells at points of a lane `spacing` m apart, up to `SIGHT` m from where the ego at (x, y) projects.

    The points are those of `np.arange(s - SIGHT, s + SIGHT, spacing)`, whose k-th value is
    `start + k * ((start + spacing) - start)`; those past an end count as the end.
    """
    zero = type(x)(0.0)
    length = lanes.lanes[on].length
    s, _lateral = lane.local_coordinates(lanes, on, x, y)
    start = s - type(x)(SIGHT)
    stop = s + type(x)(SIGHT)
    spacing = type(x)(grid.spacing)
    step = (start + spacing) - start
    k = wp.max(int(-start / step), 0)
    last = int(wp.ceil((stop - start) / spacing)) - 1
    if start <= zero:
        _draw_road_at(lanes, grid, w, on, zero, x, y, cosine, sine, base, out)
    if start + type(x)(last) * step >= length:
        _draw_road_at(lanes, grid, w, on, length, x, y, cosine, sine, base, out)
    if lanes.lanes[on].shape <= Shape.SINE:  # along which the grid reaches only so far; one more for rounding
        reach = type(x)(grid.reach)
        k = wp.max(k, int(wp.max(type(x)(SIGHT) - reach, zero) / step))
        last = wp.min(last, int((type(x)(SIGHT) + reach) / step) + 1)
    s = start + type(x)(k) * step
    while k <= last and s < length:
        if s > zero:
            _draw_road_at(lanes, grid, w, on, s, x, y, cosine, sine, base, out)
        k = k + 1
        s = start + type(x)(k) * step


@wp.kernel(enable_backward=False, module="unique")
def observe_occupancy_grid(
    lanes: Any,
    world: Any,
    grid: Grid,
    mask: wp.array(dtype=wp.bool),
    agent: int,
    out: wp.array2d(dtype=Any),
    first: int,
):
    """Write the grid around the ego `agent` of each world in `mask` into `out` `[N, F * columns * rows]`."""
    w = first + wp.tid()
    if not mask[w]:
        return
    for place in range(out.shape[1]):
        out[w, place] = out.dtype(0)
    ego = world.ego[w, agent]
    x = world.cars[w, ego].x
    y = world.cars[w, ego].y
    cosine = type(x)(1.0)
    sine = type(x)(0.0)
    if grid.aligned != 0:
        cosine = world.cars[w, ego].cos_heading
        sine = world.cars[w, ego].sin_heading
    _draw_vehicles(lanes, world, grid, w, ego, cosine, sine, out)
    reach = type(x)(grid.reach)
    for layer in range(grid.layers.shape[0]):
        if grid.layers[layer] != ON_ROAD:
            continue
        for on in range(lanes.lanes.shape[0]):
            if lanes.lanes[on].low_x > x + reach or lanes.lanes[on].high_x < x - reach:
                continue
            if lanes.lanes[on].low_y > y + reach or lanes.lanes[on].high_y < y - reach:
                continue
            _draw_lane(lanes, grid, w, on, x, y, cosine, sine, layer * grid.columns * grid.rows, out)


_KEYS = {
    "type", "features", "grid_size", "grid_step", "features_range", "absolute", "align_to_vehicle_axes", "clip",
    "as_image",
}  # fmt: skip
_NAMES = [feature.name.lower() for feature in Feature]
_DEFAULT_FEATURES = ("presence", "vx", "vy", "on_road")
_DEFAULT_RANGES = {"vx": (-2.0 * MAX_SPEED, 2.0 * MAX_SPEED), "vy": (-2.0 * MAX_SPEED, 2.0 * MAX_SPEED)}  # m/s
_DEFAULT_SIZE = ((-27.5, 27.5), (-27.5, 27.5))  # m
_DEFAULT_STEP = (5, 5)  # m


class OccupancyGrid(ObservationType):
    """Layers of cells around the ego, float32 or (with `as_image`) uint8 `[F, columns, rows]`.

    Cells without a vehicle or road are 0. With `as_image` they are 0 as well, what NumPy makes of NaN on x86, whereas
    a vehicle's feature from -1 to 1 becomes 0 to 255.
    """

    def __init__(self, options: dict[str, Any], setting: Setting, agent: int = 0) -> None:
        require_known(options, _KEYS, "observation key")
        features = options.get("features")
        features = _DEFAULT_FEATURES if features is None else features
        if not isinstance(features, (list, tuple)) or not features:
            raise TypeError(f"observation features is {features!r}; it must be a list of names")
        require_known(features, [*_NAMES, "on_road"], "observation feature")
        self.layers = [ON_ROAD if name == "on_road" else int(Feature[name.upper()]) for name in features]
        self.ranges = options.get("features_range") or _DEFAULT_RANGES
        if not isinstance(self.ranges, dict):
            raise TypeError(f"observation features_range is {self.ranges!r}; it must be a dict of [low, high]")
        require_known(self.ranges, [*_NAMES, "on_road"], "observation feature")
        for name, bounds in self.ranges.items():
            number_pair(bounds, f"observation features_range[{name!r}]", different=True)
        if options.get("absolute", False):
            raise ValueError("observation absolute is True; highway-env has occupancy grids around the ego only")
        self._measure(options)
        self.aligned = bool(options.get("align_to_vehicle_axes", False))
        self.clip = bool(options.get("clip", True))
        self.agent = agent
        shape = (len(self.layers), *self.cells)
        if options.get("as_image", False):
            self.space = spaces.Box(0, 255, shape=shape, dtype=np.uint8)
        else:
            self.space = spaces.Box(-np.inf, np.inf, shape=shape, dtype=np.float32)

    def _measure(self, options: dict[str, Any]) -> None:
        """Set `low`, `high`, `step` [m] and `cells`, one number each axis."""
        size, step = options.get("grid_size"), options.get("grid_step")
        size, step = _DEFAULT_SIZE if size is None else size, _DEFAULT_STEP if step is None else step
        if not isinstance(size, (list, tuple, np.ndarray)) or len(size) != 2:
            raise ValueError(f"observation grid_size is {size!r}; it must be [[low x, high x], [low y, high y]]")
        bounds = [number_pair(axis, f"observation grid_size[{i}]") for i, axis in enumerate(size)]
        self.low, self.high = ([float(pair[end]) for pair in bounds] for end in range(2))
        self.step = [float(one) for one in number_pair(step, "observation grid_step")]
        if not all(0 < one < math.inf for one in self.step) or not np.isfinite(bounds).all():
            raise ValueError(f"observation grid_size {size!r} or grid_step {step!r} is infinite or not above 0")
        self.cells = [math.floor((b - a) / one) for a, b, one in zip(self.low, self.high, self.step, strict=True)]
        if min(self.cells) < 1:
            raise ValueError(f"observation grid_size {size!r} with grid_step {step!r} has no cell")

    def bind(self, binding: Binding) -> torch.Tensor:
        """Allocate and return the grids `[N, F, columns, rows]`."""
        grid = Grid()
        grid.aligned, grid.clip = int(self.aligned), int(self.clip)
        grid.columns, grid.rows = self.cells
        (grid.low_x, grid.low_y), (grid.step_x, grid.step_y) = self.low, self.step
        grid.spacing = min(self.step)
        grid.reach = math.hypot(*(max(abs(a), abs(b)) for a, b in zip(self.low, self.high, strict=True)))
        place = str(binding.device)
        bounds = [self.ranges.get(name, (0.0, 0.0)) for name in _NAMES]
        grid.layers = wp.array(self.layers, dtype=wp.int32, device=place)
        grid.scaled = wp.array([int(name in self.ranges) for name in _NAMES], dtype=wp.int32, device=place)
        grid.low = wp.array([float(low) for low, _ in bounds], dtype=wp.float64, device=place)
        grid.high = wp.array([float(high) for _, high in bounds], dtype=wp.float64, device=place)
        dtype = torch.uint8 if self.space.dtype == np.uint8 else torch.float32
        out = torch.zeros(binding.num_worlds, *self.space.shape, dtype=dtype, device=binding.device)
        self._before = [binding.lanes, binding.world, grid]
        self._after = [self.agent, wp.from_torch(out.view(binding.num_worlds, -1))]
        return out

    def launches(self, mask: Any, reset: bool = False) -> list[tuple[Any, list[Any]]]:
        """Return the one launch."""
        return [(observe_occupancy_grid, [*self._before, mask, *self._after])]
