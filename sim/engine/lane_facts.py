"""Where the ego is on its road, at each recorded frame: lane coordinates, neighbours on its lane, how far off road.

Computed on the device from the lane tables that the engine drives by. The vehicles ahead and behind are looked for on
the ego's own lane and its straight continuation, where that lane bends no more; who comes from elsewhere is seen by
the two-dimensional measures (`metrics.conflicts`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import torch
import warp as wp
from torch import Tensor

from sim.engine import lanes as lane
from sim.engine.drivable import off_road
from sim.engine.launch import Program
from sim.engine.network import Network
from sim.engine.state import Kind
from sim.provenance import usable_cores

BLOCK = 32  # episodes that a CPU thread takes through the frames together
NEVER = 1e9  # m, stands for no vehicle ahead or behind; bool and infinity do not mix well in float32 kernels


@dataclass(frozen=True)
class LaneFacts:
    """Facts about the ego, each [T, N].

    Attributes:
        s, lateral: its place on its own lane [m]; lateral is positive to the right, as y points down.
        lane_heading: of the lane there [rad]. lane_width [m]. speed_limit [m/s], NaN where there is none.
        lane_index, lane_count: of the lane on its road, 0 leftmost, and of the road's lanes; int32.
        off_road: how far the worst corner of the ego is off the road [m], see `drivable`; zero or less on it.
        leader, follower: slots of the vehicles or obstacles ahead and behind on its lane, int64, -1 for none.
        gap, follower_gap: to them, bumper to bumper [m]; inf for none, below zero where they overlap.
    """

    s: Tensor
    lateral: Tensor
    lane_heading: Tensor
    lane_width: Tensor
    speed_limit: Tensor
    off_road: Tensor
    gap: Tensor
    follower_gap: Tensor
    lane_index: Tensor
    lane_count: Tensor
    leader: Tensor
    follower: Tensor


REALS = ("s", "lateral", "lane_heading", "lane_width", "speed_limit", "off_road", "gap", "follower_gap")
WHOLES = ("lane_index", "lane_count", "leader", "follower")


@cache
def facts_struct(real: type) -> Any:
    """Return the Warp struct of what is written, each [T, N]."""
    annotations = {name: wp.array2d(dtype=real) for name in REALS}
    annotations |= {name: wp.array2d(dtype=wp.int32) for name in WHOLES}
    return wp.struct(type(f"LaneFacts_{real.__name__}", (), {"__annotations__": annotations, "__module__": __name__}))


@cache
def tape_struct(real: type) -> Any:
    """Return the Warp struct of what is read, each [T, N, V]."""
    annotations = {name: wp.array3d(dtype=real) for name in ("x", "y", "heading", "length", "width")}
    annotations |= {name: wp.array3d(dtype=wp.int32) for name in ("kind", "lane")}
    return wp.struct(type(f"Tape_{real.__name__}", (), {"__annotations__": annotations, "__module__": __name__}))


@wp.func
def find_neighbours(lanes: Any, tape: Any, facts: Any, t: int, n: int, v: int, on: int, s: Any):
    """Write who is nearest ahead and behind the ego on its lane, and how near."""
    zero = type(s)(0.0)
    half = type(s)(0.5)
    gap = type(s)(NEVER)
    follower_gap = type(s)(NEVER)
    leader = int(-1)
    follower = int(-1)
    for other in range(tape.x.shape[2]):
        kind = tape.kind[t, n, other]
        if other != v and kind != Kind.ABSENT and kind != Kind.LANDMARK:
            x = tape.x[t, n, other]
            y = tape.y[t, n, other]
            there, lateral = lane.local_coordinates(lanes, on, x, y)
            if wp.abs(lateral) <= lane.width_at(lanes, on, there) * half:
                between = wp.abs(there - s) - (tape.length[t, n, other] + tape.length[t, n, v]) * half
                if between < wp.where(there >= s, gap, follower_gap):
                    turned = wp.cos(tape.heading[t, n, other] - lane.heading_at(lanes, on, there))
                    if turned > zero or kind == Kind.OBSTACLE:
                        if there >= s:
                            gap = between
                            leader = other
                        else:
                            follower_gap = between
                            follower = other
    facts.gap[t, n] = gap
    facts.follower_gap[t, n] = follower_gap
    facts.leader[t, n] = leader
    facts.follower[t, n] = follower


@wp.func
def write_facts(lanes: Any, tape: Any, facts: Any, t: int, n: int, v: int):
    """Write the facts of the ego, in slot `v`, at a frame."""
    on = tape.lane[t, n, v]
    x = tape.x[t, n, v]
    y = tape.y[t, n, v]
    half = type(x)(0.5)
    s, lateral = lane.local_coordinates(lanes, on, x, y)
    facts.s[t, n] = s
    facts.lateral[t, n] = lateral
    facts.lane_heading[t, n] = lane.heading_at(lanes, on, s)
    facts.lane_width[t, n] = lane.width_at(lanes, on, s)
    facts.speed_limit[t, n] = lanes.lanes[on].speed_limit
    facts.lane_index[t, n] = lanes.lanes[on].index
    facts.lane_count[t, n] = lanes.edges[lanes.lanes[on].edge].count
    worst = -type(x)(NEVER)
    along_x = wp.cos(tape.heading[t, n, v]) * tape.length[t, n, v] * half
    along_y = wp.sin(tape.heading[t, n, v]) * tape.length[t, n, v] * half
    across_x = -wp.sin(tape.heading[t, n, v]) * tape.width[t, n, v] * half
    across_y = wp.cos(tape.heading[t, n, v]) * tape.width[t, n, v] * half
    for corner in range(4):
        end = type(x)(1.0) - type(x)(2.0) * type(x)(corner // 2)
        side = type(x)(1.0) - type(x)(2.0) * type(x)(corner % 2)
        corner_x = x + end * along_x + side * across_x
        corner_y = y + end * along_y + side * across_y
        worst = wp.max(worst, off_road(lanes, on, corner_x, corner_y))
    facts.off_road[t, n] = worst
    find_neighbours(lanes, tape, facts, t, n, v, on, s)


@wp.kernel(enable_backward=False, module="unique")
def gather_facts(
    lanes: Any, tape: Any, ego: wp.array2d(dtype=wp.int32), frames: wp.array(dtype=wp.int32), facts: Any, size: int,
    first: int,
):  # fmt: skip
    """Write the facts of each recorded frame; a thread has `size` episodes, side by side in memory."""
    begin = (first + wp.tid()) * size
    end = wp.min(begin + size, frames.shape[0])
    for t in range(tape.x.shape[0]):
        for n in range(begin, end):
            if t < frames[n]:
                write_facts(lanes, tape, facts, t, n, ego[t, n])


def lane_facts(network: Network, tape: dict[str, Tensor], ego: Tensor, frames: Tensor) -> LaneFacts:
    """Return the facts of N recorded episodes.

    Args:
        network: the road.
        tape: x, y, heading, length, width (float32 or float64), kind, lane (int32), each [T, N, V].
        ego: slot of the ego, [T, N].
        frames: how many frames of each episode were recorded, [N].
    """
    x = tape["x"]
    real = {torch.float32: wp.float32, torch.float64: wp.float64}[x.dtype]
    total, worlds = x.shape[:2]
    out = {name: torch.zeros(total, worlds, dtype=x.dtype, device=x.device) for name in REALS}
    out |= {name: torch.zeros(total, worlds, dtype=torch.int32, device=x.device) for name in WHOLES}
    read, written = tape_struct(real)(), facts_struct(real)()
    for name, tensor in tape.items():
        setattr(read, name, wp.from_torch(tensor.contiguous()))
    for name, tensor in out.items():
        setattr(written, name, wp.from_torch(tensor))
    slots, counts = ego.to(torch.int32).contiguous(), frames.to(torch.int32)
    inputs = [network.table(real, x.device, sweep=False), read, wp.from_torch(slots), wp.from_torch(counts), written]
    size = 1 if x.device.type == "cuda" else BLOCK
    Program([(gather_facts, [*inputs, size])], math.ceil(worlds / size), x.device, len(usable_cores()))()
    for name in ("gap", "follower_gap"):
        out[name] = torch.where(out[name] >= NEVER, torch.inf, out[name])
    limit = out["speed_limit"]
    out["speed_limit"] = torch.where(limit == lane.NO_SPEED_LIMIT, torch.nan, limit)
    for name in ("leader", "follower"):
        out[name] = out[name].long()
    return LaneFacts(**{field.name: out[field.name] for field in fields(LaneFacts)})
