"""The TimeToCollision observation: when the ego would meet others, for each speed and lane it could choose.

Source: highway_env/envs/common/observation.py `TimeToCollisionObservation`, finite_mdp.py `compute_ttc_grid` and
road/road.py `is_connected_road`, 1.12.1.
"""

import math
from typing import Any

import numpy as np
import torch
import warp as wp
from gymnasium import spaces

from sim.config import require_known
from sim.engine import COLD
from sim.engine import lanes as lane
from sim.engine.drivers import speed_index
from sim.engine.state import Kind
from sim.engine.vehicles import not_zero
from sim.observations.base import Binding, ObservationType, Setting
from sim.scenarios.base import is_number

HORIZON = 10  # s
VIEW = 3  # speeds and lanes observed, the ego's own in the middle
SEARCH_DEPTH = 3  # roads ahead of the ego's on which others count
CONTACT = 1.0  # cost of a bin in which the centres meet
NEAR = 0.5  # cost of a bin in which the bumpers meet


@wp.func
def _adjoins(lanes: Any, world: Any, w: int, v: int, here: int, there: int, head: int):
    """Are two roads (edges) the same, or does `there` lead to `here`?"""
    if here == there:
        return True
    return lanes.edges[there].end == lanes.edges[here].start


def _connection(depth: int) -> Any:
    """Return the device function of `RoadNetwork.is_connected_road`; without recursion, each depth is a function."""
    if depth == 0:
        return _adjoins
    deeper = _connection(depth - 1)

    @wp.func(inline=COLD)
    def is_connected(lanes: Any, world: Any, w: int, v: int, here: int, there: int, head: int):
        """Is road `there` met from road `here` along the route of `v` from its step `head`, or by any way without?"""
        if _adjoins(lanes, world, w, v, here, there, head):
            return True
        step = int(head)
        size = world.cars[w, v].route_size
        while step < size:
            if world.route_edge[w, v, step] != here:
                break
            step = step + 1
        node = lanes.edges[here].end
        if step < size:
            onward = world.route_edge[w, v, step]
            if lanes.edges[onward].start == node:
                return deeper(lanes, world, w, v, onward, there, step + 1)
        for k in range(lanes.nodes[node].leaving_first, lanes.nodes[node].leaving_end):
            if deeper(lanes, world, w, v, lanes.links[k], there, step):
                return True
        return False

    return is_connected


is_connected_road = _connection(SEARCH_DEPTH)


@wp.func
def _clear(out: wp.array4d(dtype=wp.float32), w: int, index: int, count: int):
    """Fill the grid around lane `index` of a road of `count` lanes: 0 on the road, 1 beside it."""
    for column in range(VIEW):
        seen = index + column - VIEW // 2
        empty = wp.float32(1.0)
        if seen >= 0 and seen < count:
            empty = wp.float32(0.0)
        row = int(0)
        while row < VIEW:
            for time in range(out.shape[3]):
                out[w, row, column, time] = empty
            row = row + 1


@wp.func
def _mark(
    out: wp.array4d(dtype=wp.float32), w: int, row: int, left: int, right: int, ttc: Any, quantum: Any, cost: float
):
    """Raise the bins just before and after a time to collision [s] to `cost`, in columns `left` to `right`."""
    if ttc < type(ttc)(0.0):
        return
    time = ttc / quantum
    bins = out.shape[3]
    if time >= type(ttc)(bins):
        return
    sooner = int(time)
    later = int(wp.ceil(time))
    for column in range(left, right + 1):
        out[w, row, column, sooner] = wp.max(out[w, row, column, sooner], cost)
        if later < bins:
            out[w, row, column, later] = wp.max(out[w, row, column, later], cost)


@wp.kernel(enable_backward=False, module="unique")
def observe_time_to_collision(
    lanes: Any,
    world: Any,
    model: Any,
    mask: wp.array(dtype=wp.bool),
    agent: int,
    time_quantization: wp.float64,
    out: wp.array4d(dtype=wp.float32),
    first: int,
):
    """Write the observation of one ego of each world in `mask` into `out` `[N, speeds, lanes, bins]`."""
    w = first + wp.tid()
    if not mask[w]:
        return
    ego = world.ego[w, agent]
    here = lanes.lanes[world.cars[w, ego].lane].edge
    index = lanes.lanes[world.cars[w, ego].lane].index
    # highway-env's grid has the lanes of the first ego's road, whoever observes
    count = lanes.edges[lanes.lanes[world.cars[w, world.ego[w, 0]].lane].edge].count
    _clear(out, w, index, count)
    speed_row = speed_index(model, world, w, ego)
    cosine = world.cars[w, ego].cos_heading
    sine = world.cars[w, ego].sin_heading
    quantum = type(cosine)(time_quantization)
    s_ego, _lateral = lane.local_coordinates(lanes, world.cars[w, ego].lane, world.cars[w, ego].x, world.cars[w, ego].y)
    for other in range(world.rows[w].count - world.rows[w].objects):
        if other == ego:
            continue
        there = lanes.lanes[world.cars[w, other].lane].edge
        # A lane of a road as wide as the ego's is the one of the same index; of another, it may become any.
        left = wp.max(0, VIEW // 2 - index)
        right = wp.min(VIEW - 1, VIEW // 2 + count - 1 - index)
        if lanes.edges[there].count == lanes.edges[here].count:
            column = lanes.lanes[world.cars[w, other].lane].index - index + VIEW // 2
            left = wp.max(left, column)
            right = wp.min(right, column)
        if left > right:
            continue
        if not is_connected_road(lanes, world, w, ego, here, there, world.cars[w, ego].route_head):
            continue
        speed = world.cars[w, other].speed
        s_other, _lateral = lane.local_coordinates(
            lanes, world.cars[w, ego].lane, world.cars[w, other].x, world.cars[w, other].y
        )
        distance = s_other - s_ego
        margin = (world.cars[w, other].length + world.cars[w, ego].length) * type(speed)(0.5)
        projected = speed * (world.cars[w, other].cos_heading * cosine + world.cars[w, other].sin_heading * sine)
        row = int(0)
        while row < VIEW:
            chosen = wp.clamp(speed_row + row - VIEW // 2, 0, model.target_speeds.shape[0] - 1)
            ego_speed = model.target_speeds[chosen]
            if ego_speed != speed:
                closing = not_zero(ego_speed - projected)
                _mark(out, w, row, left, right, distance / closing, quantum, CONTACT)
                _mark(out, w, row, left, right, (distance - margin) / closing, quantum, NEAR)
                _mark(out, w, row, left, right, (distance + margin) / closing, quantum, NEAR)
            row = row + 1


class TimeToCollision(ObservationType):
    """Costs of collision, float32 `[3 speeds, 3 lanes, bins]`, one bin a policy step up to the horizon.

    One deviation: where the ego is on a wider road than the first ego, highway-env returns fewer lanes than its own
    space or raises an IndexError; here those lanes count as beside the road.
    """

    def __init__(self, options: dict[str, Any], setting: Setting, agent: int = 0) -> None:
        require_known(options, {"type", "horizon"}, "observation key")
        if setting.action_type.kind != Kind.MDP:
            raise ValueError("the TimeToCollision observation needs target speeds, so a DiscreteMetaAction")
        horizon = options.get("horizon", HORIZON)
        if not is_number(horizon) or not 0 < horizon < math.inf:
            raise ValueError(f"observation horizon is {horizon!r}; it must be a time above 0 s, and finite")
        self.time_quantization = 1 / setting.config["policy_frequency"]  # s
        bins = int(horizon / self.time_quantization)
        if bins < 1:
            raise ValueError(
                f"observation horizon is {horizon!r}; it must be at least a policy step, {self.time_quantization} s"
            )
        self.agent = agent
        self.space = spaces.Box(0, 1, shape=(VIEW, VIEW, bins), dtype=np.float32)

    def bind(self, binding: Binding) -> torch.Tensor:
        """Allocate and return the output `[N, 3, 3, bins]`."""
        out = torch.zeros(binding.num_worlds, *self.space.shape, dtype=torch.float32, device=binding.device)
        self._before = [binding.lanes, binding.world, binding.model]
        self._after = [self.agent, wp.float64(self.time_quantization), wp.from_torch(out)]
        return out

    def launches(self, mask: Any, reset: bool = False) -> list[tuple[Any, list[Any]]]:
        """Return the launch that writes the worlds of `mask`."""
        return [(observe_time_to_collision, [*self._before, mask, *self._after])]
