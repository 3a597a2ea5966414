"""Maps as dicts: what highway-env's `RoadNetwork.to_config` writes and its `from_config` reads.

    {from: {to: [{"class_path": "highway_env.road.lane.StraightLane", "config": {"start": [x, y], ...}}, ...]}}

Node names are strings; the lanes of an edge stand side by side, leftmost first. Every mistake in a map is one
ValueError that names the lane.
Source: highway_env/road/road.py and lane.py, 1.12.1.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from numbers import Integral, Real
from reprlib import repr as shortened
from typing import Any

import numpy as np

from sim.engine.lanes import CircularLane, Lane, LineType, PolyLane, SineLane, StraightLane

Graph = dict[str, dict[str, list[Lane]]]
Ends = dict[tuple[str, str, int], tuple[np.ndarray, np.ndarray]]  # first and last point [m] of each lane

MODULE = "highway_env.road.lane."
JOINT_GAP = 6.0  # m; the widest of highway-env's own is 5.6 m, where the ramps of roundabout-v0 meet its ring
SHORTEST_POLYLINE = 1.0  # m, the distance of a polyline's poses


class _MisfitError(Exception):
    """Says what a value must be."""


def _number(value: Any) -> float:
    if not isinstance(value, Real) or isinstance(value, (bool, np.bool_)) or not math.isfinite(value):
        raise _MisfitError("a finite number")
    return float(value)


def _positive(value: Any) -> float:
    try:
        number = _number(value)
    except _MisfitError:
        number = 0.0
    if number <= 0:
        raise _MisfitError("a finite number above 0")
    return number


def _speed_limit(value: Any) -> float | None:
    try:
        return None if value is None else _number(value)
    except _MisfitError:
        raise _MisfitError("a finite number [m/s] or None") from None


def _integer(value: Any) -> int:
    if not isinstance(value, Integral):
        raise _MisfitError("an integer")
    return int(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_, int)):
        raise _MisfitError("True or False")
    return bool(value)


def _line_types(value: Any) -> tuple[LineType, LineType]:
    if value is None:
        return Lane.line_types
    try:
        left, right = value
        return LineType(left), LineType(right)
    except (TypeError, ValueError):
        names = ", ".join(f"{one.value} ({one.name})" for one in LineType)
        raise _MisfitError(f"the markings [left, right], each one of {names}") from None


def _point(value: Any) -> tuple[float, float]:
    try:
        x, y = value
        return _number(x), _number(y)
    except (TypeError, ValueError, _MisfitError):
        raise _MisfitError("two finite numbers [x, y] in m") from None


def _points(value: Any) -> list[tuple[float, float]]:
    try:
        points = [_point(one) for one in value]
    except (TypeError, _MisfitError):
        points = []
    if len(points) < 2 or any(a == b for a, b in pairwise(points)):
        raise _MisfitError("at least two points [x, y] in m, each different from the one before")
    if np.linalg.norm(np.diff(points, axis=0), axis=1).sum() < SHORTEST_POLYLINE:
        raise _MisfitError(f"points that are at least {SHORTEST_POLYLINE:g} m of way apart in all")
    return points


Fields = dict[str, Callable[[Any], Any]]


@dataclass(frozen=True)
class _Format:
    """How one class of lanes is written: its fields in highway-env's names, which are the names of ours."""

    make: type[Lane]
    required: Fields
    optional: Fields = field(default_factory=dict)


_MARKED: Fields = {"line_types": _line_types, "forbidden": _flag, "speed_limit": _speed_limit, "priority": _integer}
_SHARED: Fields = {"width": _positive} | _MARKED
_STRAIGHT: Fields = {"start": _point, "end": _point}
_SINE: Fields = {"amplitude": _number, "pulsation": _number, "phase": _number}
_ARC: Fields = {"center": _point, "radius": _positive, "start_phase": _number, "end_phase": _number}
_BOUNDARIES: Fields = {"left_boundary_points": _points, "right_boundary_points": _points}
FORMATS = {
    "StraightLane": _Format(StraightLane, _STRAIGHT, _SHARED),
    "SineLane": _Format(SineLane, _STRAIGHT | _SINE, _SHARED),
    "CircularLane": _Format(CircularLane, _ARC, {"clockwise": _flag} | _SHARED),
    "PolyLaneFixedWidth": _Format(PolyLane, {"lane_points": _points}, _SHARED),
    "PolyLane": _Format(PolyLane, {"lane_points": _points} | _BOUNDARIES, _MARKED),
}


def graph_from_config(config: Any) -> Graph:
    """Return the lanes of a map.

    Raises:
        ValueError: what is given is no map, has no lanes, or has a lane that cannot be built.
    """
    shape = "a map is a dict {from: {to: [lane, ...]}} with strings for the nodes"
    graph: Graph = {}
    if not isinstance(config, dict):
        raise ValueError(f"{shape}, not {type(config).__name__}")
    for start, ends in config.items():
        if not isinstance(start, str) or not isinstance(ends, dict):
            raise ValueError(f"{shape}; found {start!r}: {type(ends).__name__}")
        graph[start] = {}
        for end, lanes in ends.items():
            if not isinstance(end, str) or not isinstance(lanes, (list, tuple)):
                raise ValueError(f"{shape}; found {start!r}: {{{end!r}: {type(lanes).__name__}}}")
            if not lanes:
                raise ValueError(f"the map has no lanes from {start!r} to {end!r}")
            graph[start][end] = [
                _lane(lane, f"lane {(start, end, index)} of the map") for index, lane in enumerate(lanes)
            ]
    if not any(graph.values()):
        raise ValueError(f"the map has no lanes; {shape}")
    return graph


def _lane(config: Any, place: str) -> Lane:
    """Return the lane of one dict."""
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise ValueError(f'{place} must be a dict {{"class_path": ..., "config": {{...}}}}')
    # highway-env's polylines write their "class_name", which its own from_config cannot read
    path = config.get("class_path", config.get("class_name"))
    name = path.removeprefix(MODULE) if isinstance(path, str) else None
    if name not in FORMATS:
        allowed = ", ".join(MODULE + one for one in FORMATS)
        raise ValueError(f"{place} has the class_path {path!r}; allowed: {allowed}")
    form, given = FORMATS[name], dict(config["config"])
    if name == "PolyLane" and "ordered_boundary_points" in given:
        given |= _split_boundaries(given.pop("ordered_boundary_points"), place)
    known = form.required | form.optional
    for key in form.required:
        if key not in given:
            raise ValueError(f"{place} is a {name} without {key!r}; it needs {', '.join(form.required)}")
    values = {}
    for key, value in given.items():
        if key not in known:
            raise ValueError(f"{place} is a {name} with the unknown field {key!r}; allowed: {', '.join(known)}")
        try:
            values[key] = known[key](value)
        except _MisfitError as wanted:
            raise ValueError(f"{place} has {key!r}: {shortened(value)}; it must be {wanted}") from None
    lane = form.make(**values)
    if not lane.length > 0:
        turned = isinstance(lane, CircularLane) and lane.length < 0
        hint = f"; with clockwise={lane.clockwise} its end_phase lies on the other side" if turned else ""
        raise ValueError(f"{place} has a length of {lane.length:g} m; it must be above 0{hint}")
    return lane


def _split_boundaries(points: Any, place: str) -> dict[str, list]:
    """Return the two boundaries that `PolyLane.to_config` writes as one ring: the left one backwards, then the right.

    It samples both every metre, so they part at the only gap of more than that.
    """
    try:
        ring = [_point(one) for one in points]
    except (TypeError, _MisfitError):
        ring = []
    steps = np.linalg.norm(np.diff(ring, axis=0), axis=1) if len(ring) > 1 else np.zeros(0)
    gaps = np.flatnonzero(steps > 1.0 + 1e-6)
    if len(gaps) != 1:
        raise ValueError(
            f"{place} has 'ordered_boundary_points' that do not part into a left and a right boundary; "
            "give left_boundary_points and right_boundary_points"
        )
    cut = int(gaps[0]) + 1
    return {"left_boundary_points": ring[:cut][::-1], "right_boundary_points": ring[cut:]}


def lane_to_config(lane: Lane) -> dict[str, Any]:
    """Return the dict of a lane, of plain numbers and lists; highway-env's `lane_from_config` reads it."""
    name = type(lane).__name__
    if isinstance(lane, PolyLane) and lane.left_boundary_points is None:
        name = "PolyLaneFixedWidth"
    form = FORMATS[name]
    config = {key: _plain(getattr(lane, key)) for key in form.required | form.optional}
    return {"class_path": MODULE + name, "config": config}


def _plain(value: Any) -> Any:
    if isinstance(value, (Sequence, np.ndarray)):
        return [_plain(one) for one in value]
    if isinstance(value, (LineType, np.generic)):
        return int(value) if isinstance(value, LineType) else value.item()
    return value


def require_connected(graph: Graph, gap: float = JOINT_GAP) -> None:
    """Raise ValueError for a lane that is not connected to the others.

    Two things are asked: a chain of common nodes joins every edge to every other, in whatever direction; and where
    lanes end at a node from which others leave, each of them lies there within `gap` [m] of one of the other side,
    itself or through lanes beside it (a road of four lanes may go on with two). A dead end is no mistake.
    """
    edges = [(start, end) for start, ends in graph.items() for end in ends]
    lost = _cut_off(edges)
    if lost is not None:
        raise ValueError(
            f"lane {(*lost, 0)} of the map is not connected: no chain of common nodes joins {lost[0]!r} and "
            f"{lost[1]!r} to the lanes from {edges[0][0]!r} to {edges[0][1]!r}; {_WAY_OUT}"
        )
    ends: Ends = {}
    for start, end in edges:
        for index, lane in enumerate(graph[start][end]):
            first, last = lane.position(0.0, 0.0), lane.position(lane.length, 0.0)
            ends[start, end, index] = np.array(first, dtype=float), np.array(last, dtype=float)
    for node in graph:
        for lane, side, distance in _loose(ends, node, gap):
            what = ("starts", "that lead there") if side == 0 else ("ends", "that go on from there")
            raise ValueError(
                f"lane {lane} of the map is not connected: at node {node!r} it {what[0]} {distance:.1f} m from the "
                f"nearest of the lanes {what[1]}; at most {gap:g} m are allowed; {_WAY_OUT}"
            )


_WAY_OUT = "if that is meant, load it with connected=False"


def _cut_off(edges: list[tuple[str, str]]) -> tuple[str, str] | None:
    """Return the first edge that no chain of common nodes joins to the first of all."""
    reached, before = set(edges[0]), 0
    while len(reached) > before:
        before = len(reached)
        for edge in edges:
            if reached & set(edge):
                reached |= set(edge)
    return next((edge for edge in edges if edge[0] not in reached), None)


def _loose(ends: Ends, node: str, gap: float) -> Iterator[tuple[tuple[str, str, int], int, float]]:
    """Yield the lanes that meet none of the other side at a node, the side (0: leaving), and the distance [m]."""
    meeting = [(lane, side) for lane in ends for side in (0, 1) if lane[side] == node]
    points = np.array([ends[lane][side] for lane, side in meeting])
    sides = np.array([side for _, side in meeting])
    if len(set(sides)) < 2:
        return
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    linked = apart <= gap
    for k in range(len(points)):  # Warshall: what is linked to k is linked through k
        linked |= linked[:, k, None] & linked[None, k]
    for i, (lane, side) in enumerate(meeting):
        others = sides != side
        if not linked[i, others].any():
            yield lane, side, float(apart[i, others].min())
