"""The layout of the device data: which arrays a world and a lane table hold, for one precision.

Shape letters: N worlds, V vehicles (and objects) of a world, C controlled vehicles, R steps of a route, L lanes.
"""

from enum import IntEnum
from functools import cache
from typing import Any

import numpy as np
import torch
import warp as wp

REAL = "real"  # stands for float32 or float64
PRECISIONS = {"float32": wp.float32, "float64": wp.float64}


class Kind(IntEnum):
    """What drives the thing in a slot; highway-env's classes."""

    ABSENT = 0
    IDM = 1
    LINEAR = 2
    AGGRESSIVE = 3
    DEFENSIVE = 4
    MDP = 5  # tracks a target lane and speed
    VEHICLE = 6  # acceleration and steering given, kinematic
    BICYCLE = 7  # acceleration and steering given, with tyre slip
    OBSTACLE = 8
    LANDMARK = 9


# name: (axes, type, meaning and unit)
WORLD_FIELDS: dict[str, tuple[str, Any, str]] = {
    "x": ("NV", REAL, "position [m]"),
    "y": ("NV", REAL, "position [m], down"),
    "heading": ("NV", REAL, "[rad], never wrapped"),
    "cos_heading": ("NV", REAL, "of heading; kept because each frame reads it several times"),
    "sin_heading": ("NV", REAL, "of heading"),
    "speed": ("NV", REAL, "[m/s]"),
    "acceleration": ("NV", REAL, "command [m/s2]"),
    "slip": ("NV", REAL, "command: sine of the slip angle at the centre of gravity"),
    "steering": ("NV", REAL, "command [rad]; only of vehicles steered directly, the others command `slip`"),
    "target_speed": ("NV", REAL, "[m/s]"),
    "timer": ("NV", REAL, "since the last thought about a lane change [s]"),
    "delta": ("NV", REAL, "exponent of the IDM"),
    "impact_x": ("NV", REAL, "push of a predicted contact, applied in the next frame [m]"),
    "impact_y": ("NV", REAL, "[m]"),
    "lateral_speed": ("NV", REAL, "of BICYCLE [m/s]"),
    "yaw_rate": ("NV", REAL, "of BICYCLE [rad/s]"),
    "gains": ("NVG", REAL, "of LINEAR: three of acceleration, two of steering"),
    "impact_rank": ("NV", wp.int32, "which contact gave the pending impact (see collisions.py), -1 none"),
    "lane": ("NV", wp.int32, "closest lane, flat number"),
    "target_lane": ("NV", wp.int32, "lane being followed, flat number"),
    "kind": ("NV", wp.int32, "sim.world.Kind"),
    "crashed": ("NV", wp.bool, ""),
    "checks_collisions": ("NV", wp.bool, "two vehicles that both do not check pass through each other"),
    "changes_lanes": ("NV", wp.bool, "may an IDM vehicle change lane"),
    "route_edge": ("NVR", wp.int32, "edges of the route"),
    "route_lane": ("NVR", wp.int32, "lane index on each of them, -1 any"),
    "route_head": ("NV", wp.int32, "first route step not yet done"),
    "route_size": ("NV", wp.int32, "steps of the route, 0 none"),
    "order": ("NV", wp.int32, "vehicles sorted along the network's axis, ties by slot"),
    "rank": ("NV", wp.int32, "place of each vehicle in `order`"),
    "count": ("N", wp.int32, "vehicles in use; slots are highway-env's list order"),
    "ego": ("NC", wp.int32, "slots of the controlled vehicles"),
    "lanes_seen": ("N", wp.int32, "lanes of the ego's road at the reset, which scale the observed y"),
    "time": ("N", wp.float64, "[s]"),
    "steps": ("N", wp.int32, "frames since the reset"),
    "rng": ("NW", wp.uint64, "random stream, see random.py"),
}

_LANE_REALS = (
    "x", "y", "dx", "dy", "heading", "length", "width", "speed_limit", "radius", "turn", "amplitude", "pulsation",
    "phase", "claim", "along", "pose_x", "pose_y", "pose_dx", "pose_dy", "knot_s", "knot_x", "knot_y", "widths",
)  # fmt: skip
_LANE_INTS = (
    "shape", "forbidden", "edge", "index", "edge_first", "edge_count", "edge_from", "edge_to", "leaving_first", "leaving",
    "entering_first", "entering", "pose_first", "pose_count", "knot_first", "knot_count", "width_first", "width_count",
)  # fmt: skip


def _struct(name: str, annotations: dict[str, Any]) -> Any:
    return wp.struct(type(name, (), {"__annotations__": annotations, "__module__": __name__}))


@cache
def world_struct(real: type) -> Any:
    """Return the Warp struct of a batch of worlds in one precision."""
    arrays = {
        name: wp.array(dtype=real if kind is REAL else kind, ndim=len(axes))
        for name, (axes, kind, _) in WORLD_FIELDS.items()
    }
    return _struct(f"Worlds_{real.__name__}", arrays)


# What a scenario may set about the dynamics and the traffic; constants that never vary stand in the modules that use them.
MODEL_FIELDS: dict[str, Any] = {
    "dt": REAL,  # of a frame [s]
    "axis_x": REAL,  # unit vector along which vehicles are sorted
    "axis_y": REAL,
    "snap": REAL,  # lateral [m] and heading [rad] error below which a follower of a straight lane is put on it
    "distance_wanted": REAL,  # IDM jam distance [m]
    "comfort_acc_max": REAL,  # [m/s2]
    "comfort_acc_min": REAL,  # [m/s2]
    "ego_speed_min": REAL,  # of directly steered vehicles [m/s]
    "ego_speed_max": REAL,
    "connected_lanes": wp.int32,  # do neighbours on the next and previous edges count
}


@cache
def model_struct(real: type) -> Any:
    """Return the Warp struct of `MODEL_FIELDS` and the MDP vehicle's `target_speeds` [m/s]."""
    fields = {name: real if kind is REAL else kind for name, kind in MODEL_FIELDS.items()}
    return _struct(f"Model_{real.__name__}", fields | {"target_speeds": wp.array(dtype=real)})


@cache
def lane_struct(real: type) -> Any:
    """Return the Warp struct of a lane table in one precision."""
    arrays = {name: wp.array(dtype=real) for name in _LANE_REALS}
    return _struct(f"Lanes_{real.__name__}", arrays | {name: wp.array(dtype=wp.int32) for name in _LANE_INTS})


def lane_table(real: type, columns: dict[str, np.ndarray], device: torch.device) -> Any:
    """Return a filled `lane_struct` from host columns (see `Network.table`)."""
    table = lane_struct(real)()
    for name in _LANE_REALS:
        setattr(table, name, wp.array(columns[name], dtype=real, device=str(device)))
    for name in _LANE_INTS:
        setattr(table, name, wp.array(columns[name], dtype=wp.int32, device=str(device)))
    return table
