"""A table of the ego and the vehicles near it: Kinematics with all its options, and ExitObservation.

Source: highway_env/envs/common/observation.py `KinematicObservation`, road/road.py `close_objects_to`, 1.12.1.
"""

from enum import IntEnum
from typing import Any

import numpy as np
import torch
import warp as wp
from gymnasium import spaces

from sim.config import require_known
from sim.engine import lanes as lane
from sim.engine import random
from sim.engine.drivers import lane_distance
from sim.engine.state import Kind
from sim.engine.vehicles import LENGTH, MAX_SPEED
from sim.observations.base import Binding, ObservationType, Setting
from sim.scenarios.base import number_pair

PERCEPTION_DISTANCE = 5 * MAX_SPEED  # m
BEHIND = -2 * LENGTH  # m, how far behind a vehicle is still seen without see_behind


class Feature(IntEnum):
    """Columns of the Kinematics observation; the names in lower case are highway-env's."""

    PRESENCE = 0
    X = 1
    Y = 2
    VX = 3
    VY = 4
    HEADING = 5
    COS_H = 6
    SIN_H = 7
    COS_D = 8
    SIN_D = 9
    LONG_OFF = 10
    LAT_OFF = 11
    ANG_OFF = 12


@wp.struct
class Options:
    """What the kernel needs of the observation's config."""

    rows: int
    absolute: int
    ordered: int
    normalize: int
    clip: int
    see_behind: int
    observe_intentions: int
    include_obstacles: int
    exit_lane: int  # ExitObservation: the lane on which the ego's x counts, else -1
    shuffled: int
    features: wp.array(dtype=wp.int32)  # [F]
    scaled: wp.array(dtype=wp.int32)  # [F], 1 where low and high hold, 2 where y is scaled by the road's lanes
    low: wp.array(dtype=wp.float64)  # [F]
    high: wp.array(dtype=wp.float64)


@wp.func
def _destination_direction(lanes: Any, world: Any, w: int, v: int):
    """Unit vector to the end of the route's last lane; zero without a route."""
    zero = type(world.cars[w, v].x)(0.0)
    last = world.cars[w, v].route_size - 1
    if last < world.cars[w, v].route_head:
        return zero, zero
    on = lanes.edges[world.route_edge[w, v, last]].first + wp.max(world.route_lane[w, v, last], 0)
    x, y = lane.position(lanes, on, lanes.lanes[on].length, zero)
    dx = x - world.cars[w, v].x
    dy = y - world.cars[w, v].y
    norm = wp.sqrt(dx * dx + dy * dy)
    if norm == zero:
        return zero, zero
    return dx / norm, dy / norm


@wp.func
def feature_of(lanes: Any, world: Any, w: int, v: int, feature: int, intentions: bool):
    """One feature of one vehicle or object, absolute and not scaled; NaN where objects have none (`to_dict`)."""
    x = world.cars[w, v].x
    value = type(x)(1.0)
    if feature == Feature.X:
        value = x
    elif feature == Feature.Y:
        value = world.cars[w, v].y
    elif feature == Feature.VX:
        value = world.cars[w, v].speed * world.cars[w, v].cos_heading
    elif feature == Feature.VY:
        value = world.cars[w, v].speed * world.cars[w, v].sin_heading
    elif feature == Feature.COS_H:
        value = world.cars[w, v].cos_heading
    elif feature == Feature.SIN_H:
        value = world.cars[w, v].sin_heading
    elif feature == Feature.COS_D or feature == Feature.SIN_D:
        value = type(x)(0.0)
        if intentions:
            cos_d, sin_d = _destination_direction(lanes, world, w, v)
            value = cos_d
            if feature == Feature.SIN_D:
                value = sin_d
    elif feature != Feature.PRESENCE:
        if world.cars[w, v].kind >= Kind.OBSTACLE:
            return type(x)(wp.nan)
        value = world.cars[w, v].heading
        if feature != Feature.HEADING:
            on = world.cars[w, v].lane
            s, lateral = lane.local_coordinates(lanes, on, x, world.cars[w, v].y)
            if feature == Feature.LONG_OFF:
                value = s
            elif feature == Feature.LAT_OFF:
                value = lateral
            else:
                value = lane.wrap_to_pi(value - lane.heading_at(lanes, on, s))
    return value


@wp.func
def _is_close(lanes: Any, world: Any, options: Options, w: int, ego: int, other: int, gap: Any):
    """Is `other`, `gap` m ahead of `ego` on its lane, among the things the ego may see?"""
    dx = world.cars[w, other].x - world.cars[w, ego].x
    dy = world.cars[w, other].y - world.cars[w, ego].y
    if wp.sqrt(dx * dx + dy * dy) >= type(gap)(PERCEPTION_DISTANCE):
        return False
    is_object = world.cars[w, other].kind >= Kind.OBSTACLE
    if is_object and options.include_obstacles == 0:
        return False
    return gap > type(gap)(BEHIND) or (options.see_behind != 0 and not is_object)


@wp.func
def _nearest(lanes: Any, world: Any, options: Options, w: int, ego: int, near: Any, near_gap: Any):
    """Fill `near[w]` with the slots to observe and return how many: nearest first, or in list order."""
    wanted = options.rows - 1
    found = int(0)
    if wanted == 0:
        return found
    for other in range(world.rows[w].count):
        if other == ego:
            continue
        gap = lane_distance(lanes, world, w, ego, other)
        size = wp.abs(gap)
        if found == wanted and (options.ordered == 0 or size >= near_gap[w, wanted - 1]):
            continue
        if not _is_close(lanes, world, options, w, ego, other, gap):
            continue
        place = found
        if found == wanted:
            place = wanted - 1
        else:
            found = found + 1
        while options.ordered != 0 and place > 0:
            if near_gap[w, place - 1] <= size:  # stable: equals keep the list order
                break
            near[w, place] = near[w, place - 1]
            near_gap[w, place] = near_gap[w, place - 1]
            place = place - 1
        near[w, place] = other
        near_gap[w, place] = size
    return found


@wp.kernel(enable_backward=False, module="unique")
def observe_kinematics(
    lanes: Any,
    world: Any,
    model: Any,
    options: Options,
    mask: wp.array(dtype=wp.bool),
    agent: int,
    near: wp.array2d(dtype=wp.int32),
    near_gap: wp.array2d(dtype=Any),
    out: wp.array3d(dtype=wp.float32),
    first: int,
):
    """Write the observation of the ego `agent` of each world in `mask` into `out` `[N, rows, F]`."""
    w = first + wp.tid()
    if not mask[w]:
        return
    ego = world.ego[w, agent]
    found = _nearest(lanes, world, options, w, ego, near, near_gap)
    for row in range(options.rows):
        if row > found:
            for column in range(out.shape[2]):
                out[w, row, column] = 0.0
            continue
        v = ego
        if row > 0:
            v = near[w, row - 1]
        for column in range(out.shape[2]):
            feature = options.features[column]
            value = feature_of(lanes, world, w, v, feature, row == 0 or options.observe_intentions != 0)
            if row > 0 and options.absolute == 0 and feature >= Feature.X and feature <= Feature.VY:
                value = value - feature_of(lanes, world, w, ego, feature, True)
            if row == 0 and feature == Feature.X and options.exit_lane >= 0:
                s, lateral = lane.local_coordinates(lanes, options.exit_lane, value, world.cars[w, ego].y)
                value = s
            if options.scaled[column] != 0:
                low = type(value)(options.low[column])
                high = type(value)(options.high[column])
                if options.scaled[column] == 2:
                    high = type(value)(lane.DEFAULT_WIDTH) * type(value)(world.lanes_seen[w, agent])
                    low = -high
                value = type(value)(-1.0) + (value - low) * type(value)(2.0) / (high - low)
                if options.clip != 0 and value == value:  # an obstacle's NaN stays
                    value = wp.clamp(value, type(value)(-1.0), type(value)(1.0))
            out[w, row, column] = wp.float32(value)
    if options.shuffled != 0:
        _shuffle_rows(world, w, out)


@wp.func
def _shuffle_rows(world: Any, w: int, out: wp.array3d(dtype=wp.float32)):
    """`Generator.shuffle` of all rows but the ego's, from the world's own stream.

    Tables of two dimensions are shuffled with `random_interval`, lists with bounded integers.
    """
    last = out.shape[1] - 2
    for k in range(last):
        i = last - k
        j = random.interval(world.rng, w, i)
        if i != j:
            for column in range(out.shape[2]):
                kept = out[w, 1 + i, column]
                out[w, 1 + i, column] = out[w, 1 + j, column]
                out[w, 1 + j, column] = kept


KEYS = {
    "type", "features", "vehicles_count", "features_range", "absolute", "order", "normalize", "clip", "see_behind",
    "observe_intentions", "include_obstacles", "flatten",
}  # fmt: skip
DEFAULT_FEATURES = ("presence", "x", "y", "vx", "vy")


class Kinematics(ObservationType):
    """A table of the ego (row 0) and the vehicles near it, float32 `[rows, F]`.

    One deviation: with `vehicles_count` 1 highway-env returns all vehicles, in a shape outside its own space; here it
    is the ego alone.
    """

    def __init__(self, config: dict[str, Any], setting: Setting, agent: int = 0) -> None:
        require_known(config, KEYS, "observation key")
        features = config.get("features") or DEFAULT_FEATURES
        if not isinstance(features, (list, tuple)):
            raise TypeError(f"observation features is {features!r}; it must be a list of names")
        self.features = list(features)
        require_known(self.features, [feature.name.lower() for feature in Feature], "observation feature")
        self.rows = config.get("vehicles_count", 5)
        if isinstance(self.rows, bool) or not isinstance(self.rows, int) or self.rows < 1:
            raise ValueError(f"observation vehicles_count is {self.rows!r}; it must be an integer of at least 1")
        order = config.get("order", "sorted")
        require_known([order], ["sorted", "shuffled"], "observation order")
        self.ranges = config.get("features_range") or {}
        if not isinstance(self.ranges, dict):
            raise TypeError(f"observation features_range is {self.ranges!r}; it must be a dict of [low, high]")
        require_known(self.ranges, [feature.name.lower() for feature in Feature], "observation feature")
        for name, bounds in self.ranges.items():
            number_pair(bounds, f"observation features_range[{name!r}]", different=True)
        self.agent = agent
        self.exit_lane = -1
        self.flags = {
            "ordered": order == "sorted",
            "shuffled": order == "shuffled",
            "absolute": config.get("absolute", False),
            "normalize": config.get("normalize", True),
            "clip": config.get("clip", True),
            "see_behind": config.get("see_behind", False),
            "observe_intentions": config.get("observe_intentions", False),
            "include_obstacles": config.get("include_obstacles", True),
        }
        self.space = spaces.Box(-np.inf, np.inf, shape=(self.rows, len(self.features)), dtype=np.float32)

    def scaling(self) -> tuple[list[int], list[float], list[float]]:
        """How each column is mapped to [-1, 1]: (0 not, 1 by low and high, 2 by the road's width), low, high."""
        ranges: dict[str, tuple[float, float] | None] = {
            "x": (-5.0 * MAX_SPEED, 5.0 * MAX_SPEED),  # m
            "y": None,
            "vx": (-2.0 * MAX_SPEED, 2.0 * MAX_SPEED),  # m/s
            "vy": (-2.0 * MAX_SPEED, 2.0 * MAX_SPEED),
        }
        if self.ranges:
            ranges = {name: tuple(bounds) for name, bounds in self.ranges.items()}
        if not self.flags["normalize"]:
            ranges = {}
        scaled = [0 if name not in ranges else 2 if ranges[name] is None else 1 for name in self.features]
        bounds = [ranges.get(name) or (0.0, 0.0) for name in self.features]
        return scaled, [float(low) for low, _ in bounds], [float(high) for _, high in bounds]

    def bind(self, binding: Binding) -> torch.Tensor:
        """Allocate and return the table `[N, rows, F]`."""
        options = Options()
        options.rows = self.rows
        options.exit_lane = self.exit_lane
        for name, flag in self.flags.items():
            setattr(options, name, int(bool(flag)))
        place = str(binding.device)
        scaled, low, high = self.scaling()
        codes = [int(Feature[name.upper()]) for name in self.features]
        options.features = wp.array(codes, dtype=wp.int32, device=place)
        options.scaled = wp.array(scaled, dtype=wp.int32, device=place)
        options.low = wp.array(low, dtype=wp.float64, device=place)
        options.high = wp.array(high, dtype=wp.float64, device=place)
        near = wp.zeros((binding.num_worlds, self.rows), dtype=wp.int32, device=place)
        near_gap = wp.zeros((binding.num_worlds, self.rows), dtype=binding.real, device=place)
        out = torch.zeros(binding.num_worlds, *self.space.shape, dtype=torch.float32, device=binding.device)
        self._before = [binding.lanes, binding.world, binding.model, options]
        self._after = [self.agent, near, near_gap, wp.from_torch(out)]
        return out

    def launches(self, mask: Any, reset: bool = False) -> list[tuple[Any, list[Any]]]:
        """Return the one launch."""
        return [(observe_kinematics, [*self._before, mask, *self._after])]


class ExitObservation(Kinematics):
    """Kinematics of vehicles alone, where the ego's x is its coordinate on the lane to the exit [m]."""

    def __init__(self, config: dict[str, Any], setting: Setting, agent: int = 0) -> None:
        super().__init__(config, setting, agent)
        if ("1", "2") not in setting.network.edges:
            raise ValueError("ExitObservation needs a road with an edge 1 to 2, whose last lane leads to the exit")
        self.exit_lane = setting.network.lane_number("1", "2", len(setting.network.graph["1"]["2"]) - 1)
        self.flags |= {"ordered": True, "include_obstacles": False}  # highway-env shuffles the nearest ones here
