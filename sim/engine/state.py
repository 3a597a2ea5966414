"""The layout of the device data: which fields a world and a lane table hold, for one precision.

Vehicles are rows of an array of structs: on the CPU a vehicle's fields share a cache line or two, and kernels pass one
array descriptor where a struct of arrays would pass forty (Warp copies struct arguments at every call it does not
inline: measured 36 against 3 us a frame). torch sees each field as a strided view of the same memory.

Shape letters: N worlds, V vehicles (and objects) of a world, C controlled vehicles, R steps of a route, L lanes,
P numbers of a vehicle's predicted trajectory, W words of a random stream.
"""

import ctypes
from collections.abc import Mapping, Sequence
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
    PARKED = 8  # kinematic, nobody steers it
    OBSTACLE = 9
    LANDMARK = 10


Fields = dict[str, Any]

# A vehicle or object, [N, V].
CAR: Fields = {
    # What every frame reads comes first, 64 bytes in float32.
    "x": REAL,  # position [m]
    "y": REAL,  # [m], down
    "speed": REAL,  # [m/s]
    "cos_heading": REAL,  # kept because each frame reads it several times
    "sin_heading": REAL,
    "heading": REAL,  # [rad], never wrapped
    "acceleration": REAL,  # command [m/s2]
    "slip": REAL,  # command: slip at the centre of gravity, an angle or its sine (see steering.py)
    "target_speed": REAL,  # [m/s]
    "timer": REAL,  # since the last thought about a lane change [s]
    "delta": REAL,  # exponent of the IDM
    "lane": wp.int32,  # closest lane, flat number
    "target_lane": wp.int32,  # lane being followed, flat number
    "kind": wp.int32,
    "impact_rank": wp.int32,  # which contact gave the pending impact (see collisions.py), -1 none
    "crashed": wp.bool,  # of a landmark: has been hit
    "checks_collisions": wp.bool,  # two vehicles that both do not check pass through each other
    "changes_lanes": wp.bool,  # may an IDM vehicle change lane
    "yields": wp.bool,  # has been stopped to give way at a junction (see regulation.py)
    "s": REAL,  # coordinates on `lane` [m], known while frames run on roads that are not swept
    "lateral": REAL,
    "impact_x": REAL,  # push of a predicted contact, applied in the next frame [m]
    "impact_y": REAL,  # [m]
    "steering": REAL,  # command [rad] of vehicles steered directly; the others command `slip`
    "lateral_speed": REAL,  # of BICYCLE [m/s]
    "yaw_rate": REAL,  # of BICYCLE [rad/s]
    "gain_0": REAL,  # of linear drivers: acceleration by speed error [1/s],
    "gain_1": REAL,  # by the front vehicle's speed [1/s],
    "gain_2": REAL,  # by the missing gap [1/s2];
    "gain_3": REAL,  # steering by heading error [1/s]
    "gain_4": REAL,  # and by lateral error [1/s2]
    "rank": wp.int32,  # place in `order`
    "route_head": wp.int32,  # first route step not yet done
    "route_size": wp.int32,  # steps of the route, 0 none
    "number": wp.int32,  # how many things were placed before it in the episode: its name, while slots move up
    "length": REAL,  # [m]
    "width": REAL,  # [m]
}
# A world, [N].
ROW: Fields = {
    "time": wp.float64,  # [s]
    "steps": wp.int32,  # frames since the reset
    "count": wp.int32,  # things in use: first the vehicles, then the objects, both in highway-env's list order
    "objects": wp.int32,  # how many of them are objects
    "placed": wp.int32,  # things placed since the reset
    "missed": wp.int32,  # things that a scenario placed beyond the slots of a world, `Sizes.vehicles`
    "tracked_lane": wp.int32,  # lane that lane-keeping asks for, flat number
    "episode": wp.uint64,  # names the episode: folded from the random stream at its reset; sensors draw from it
}
# Arrays of their own: name: (axes, type).
ARRAYS: dict[str, tuple[str, Any]] = {
    "order": ("NV", wp.int32),  # vehicles sorted along the network's axis, ties by slot
    "ahead": ("NL", wp.int32),  # scratch of sweep.py: nearest vehicle met on each lane
    "ego": ("NC", wp.int32),  # slots of the controlled vehicles
    "goal": ("NC", wp.int32),  # slot of each one's goal, a landmark; -1 none
    "lanes_seen": ("NC", wp.int32),  # lanes of each one's road at the reset, which scale the observed y
    "predicted": ("NVP", REAL),  # scratch of regulation.py: x, y [m] and heading [rad] of each sample
    "route_edge": ("NVR", wp.int32),
    "route_lane": ("NVR", wp.int32),  # lane index on each edge of the route, -1 any
    "rng": ("NW", wp.uint64),  # random stream, see random.py
}
# What a scenario may set about the dynamics and the traffic; constants that never vary stand where they are used.
MODEL: Fields = {
    "dt": REAL,  # of a frame [s]
    "axis_x": REAL,  # unit vector along which vehicles are sorted
    "axis_y": REAL,
    "snap": REAL,  # lateral [m] and heading [rad] error below which a follower of a straight lane is put on it
    "distance_wanted": REAL,  # IDM jam distance [m]
    "comfort_acc_max": REAL,  # [m/s2]
    "comfort_acc_min": REAL,  # [m/s2]
    "ego_speed_min": REAL,  # of directly steered egos [m/s]
    "ego_speed_max": REAL,
    "limited_egos": wp.int32,  # how many of them these limits hold for: those that act
    "closing_divisor": REAL,  # 2 sqrt(comfort_acc_max * -comfort_acc_min) [m/s2]
    "connected_lanes": wp.int32,  # do neighbours on the next and previous edges count
    "late_lanes": wp.int32,  # are lanes needed after the frames only, because no vehicle follows one
    "regulation_period": wp.int32,  # frames from one regulation of the junction to the next, 0 for no regulation
    "regulation_offset": wp.int32,  # frames that the road is older than the episode
}
LANE: Fields = {
    "shape": wp.int32,  # lanes.Shape
    "edge": wp.int32,
    "index": wp.int32,  # lane id on its edge
    "forbidden": wp.int32,
    "dead_end": wp.int32,  # does no edge leave its end
    "priority": wp.int32,  # right of way, the higher goes first
    "low_x": REAL,  # box around the centre line [m]; a point is at least as far from the lane as from its box
    "low_y": REAL,
    "high_x": REAL,
    "high_y": REAL,
    "reach": REAL,  # how far from the centre line a point can still count as on the lane [m]
    "near_first": wp.int32,  # lanes that can be the closest to a point within NEAR of this one: in links
    "near_end": wp.int32,
    "x": REAL,  # start or centre [m]
    "y": REAL,
    "dx": REAL,  # unit vector of the chord
    "dy": REAL,
    "heading": REAL,  # of the chord [rad]
    "length": REAL,  # [m]
    "width": REAL,  # [m]
    "speed_limit": REAL,  # [m/s]
    "along": REAL,  # +1 or -1 where the lane is parallel to the sorting axis, else 0
    "claim": REAL,  # lateral offset within which this lane is surely the closest [m]
    "alone": REAL,  # on swept roads: lateral offset below which a vehicle is a neighbour on this lane only [m]
    "radius": REAL,  # [m]
    "turn": REAL,  # of arcs, +1 clockwise
    "phase": REAL,  # of arcs the start phase [rad]
    "amplitude": REAL,  # [m]
    "pulsation": REAL,  # [rad/m]
    "pose_first": wp.int32,
    "pose_count": wp.int32,
    "knot_first": wp.int32,
    "knot_count": wp.int32,
    "width_first": wp.int32,
    "width_count": wp.int32,
}
EDGE: Fields = {"first": wp.int32, "count": wp.int32, "start": wp.int32, "end": wp.int32}  # lanes, nodes
NODE: Fields = dict.fromkeys(("leaving_first", "leaving_end", "entering_first", "entering_end"), wp.int32)  # in links
POSE: Fields = {"x": REAL, "y": REAL, "dx": REAL, "dy": REAL}  # of polylines [m], unit tangent
KNOT: Fields = {"s": REAL, "x": REAL, "y": REAL}  # of polylines [m]


def _struct(name: str, annotations: dict[str, Any]) -> Any:
    return wp.struct(type(name, (), {"__annotations__": annotations, "__module__": __name__}))


@cache
def row_struct(name: str, real: type) -> Any:
    """Return the Warp struct of one of the field tables above ("CAR", "LANE", ...) in one precision."""
    fields = {field: real if kind is REAL else kind for field, kind in globals()[name].items()}
    return _struct(f"{name.capitalize()}_{real.__name__}", fields)


@cache
def world_struct(real: type) -> Any:
    """Return the Warp struct of a batch of worlds: `cars` [N, V], `rows` [N] and `ARRAYS`."""
    arrays = {
        name: wp.array(dtype=real if kind is REAL else kind, ndim=len(axes)) for name, (axes, kind) in ARRAYS.items()
    }
    tables = {"cars": wp.array2d(dtype=row_struct("CAR", real)), "rows": wp.array(dtype=row_struct("ROW", real))}
    return _struct(f"Worlds_{real.__name__}", tables | arrays)


@cache
def model_struct(real: type) -> Any:
    """Return the Warp struct of `MODEL`, the MDP vehicle's `target_speeds` [m/s] and `ziggurat` (see random.py)."""
    fields = {name: real if kind is REAL else kind for name, kind in MODEL.items()}
    arrays = {"target_speeds": wp.array(dtype=real), "ziggurat": wp.array2d(dtype=wp.float64)}
    return _struct(f"Model_{real.__name__}", fields | arrays)


@cache
def lane_struct(real: type, swept: bool) -> Any:
    """Return the Warp struct of a network's tables; a road to be swept (see sweep.py) has a type of its own.

    So kernels are compiled for one of the two, without the code of the other: smaller ones run faster.
    """
    names = {"lanes": "LANE", "edges": "EDGE", "nodes": "NODE", "poses": "POSE", "knots": "KNOT"}
    tables = {name: wp.array(dtype=row_struct(row, real)) for name, row in names.items()}
    plain = {"links": wp.array(dtype=wp.int32), "widths": wp.array(dtype=real)}
    return _struct(f"{'Swept' if swept else ''}Lanes_{real.__name__}", tables | plain)


def lane_table(
    real: type,
    tables: Mapping[str, Sequence[Mapping[str, float]]],
    plain: Mapping[str, Sequence[float]],
    device: torch.device,
    swept: bool,
) -> Any:
    """Return a filled `lane_struct`; missing fields of a row are zero."""
    struct = lane_struct(real, swept)()
    names = {"lanes": "LANE", "edges": "EDGE", "nodes": "NODE", "poses": "POSE", "knots": "KNOT"}
    for name, rows in tables.items():
        kind = row_struct(names[name], real)
        filled = np.zeros(max(len(rows), 1), dtype=kind.numpy_dtype())  # a device table can't be empty
        for target, row in zip(filled, rows, strict=False):
            for field, value in row.items():
                target[field] = value
        setattr(struct, name, wp.array(filled, dtype=kind, device=str(device)))
    struct.links = wp.array(list(plain["links"]) or [0], dtype=wp.int32, device=str(device))
    struct.widths = wp.array(list(plain["widths"]) or [0.0], dtype=real, device=str(device))
    return struct


_FIELD_TYPES = {
    ctypes.c_float: torch.float32,
    ctypes.c_double: torch.float64,
    ctypes.c_int32: torch.int32,
    ctypes.c_uint64: torch.int64,
}


def field_views(buffer: torch.Tensor, struct: Any) -> dict[str, torch.Tensor]:
    """Return each field of the rows in a byte buffer `[..., sizeof(struct)]` as a view."""
    views = {}
    for name, kind in struct.ctype._fields_:
        dtype = _FIELD_TYPES.get(kind, torch.bool)
        offset = getattr(struct.ctype, name).offset
        views[name] = buffer.view(dtype)[..., offset // dtype.itemsize]
    return views
