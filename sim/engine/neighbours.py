"""Who drives ahead and behind on a lane.

Each world's vehicles are kept sorted along the network's axis, so on lanes parallel to it a search starts at the
vehicle itself and stops at the first hit. Other lanes are searched in full.
Source: highway_env/road/road.py, `Road.neighbour_vehicles`, 1.12.1.
"""

from typing import Any

import warp as wp

from sim.engine import COLD
from sim.engine import lanes as lane
from sim.engine.network import MARGIN
from sim.engine.state import Kind
from sim.engine.vehicles import coordinates


@wp.func
def axis_coordinate(world: Any, model: Any, w: int, v: int):
    """Coordinate [m] along the axis by which vehicles are sorted."""
    return world.cars[w, v].x * model.axis_x + world.cars[w, v].y * model.axis_y


@wp.func
def sort_in(world: Any, model: Any, w: int, k: int):
    """Move the vehicle at place `k` of `order` to its place among the ones before it, and return that place.

    One step of an insertion sort: vehicles barely move between frames.
    """
    v = world.order[w, k]
    key = axis_coordinate(world, model, w, v)
    place = k
    while place > 0:
        other = world.order[w, place - 1]
        ahead = axis_coordinate(world, model, w, other)
        if ahead < key or (ahead == key and other < v):
            break
        world.order[w, place] = other
        world.cars[w, other].rank = place
        place = place - 1
    if place != k:
        world.order[w, place] = v
        world.cars[w, v].rank = place
    return place


@wp.func
def sort_along_axis(world: Any, model: Any, w: int):
    """Restore `order` and `rank`."""
    for k in range(1, world.rows[w].count):
        sort_in(world, model, w, k)


@wp.func
def _front_along_axis(lanes: Any, world: Any, w: int, v: int, on: int, s: Any, step: int):
    """Nearest vehicle with s_v >= s, walking `order` by `step`; among equals the later slot."""
    count = world.rows[w].count
    k = world.cars[w, v].rank
    while k - step >= 0 and k - step < count:  # equal coordinates may be sorted behind
        other = world.order[w, k - step]
        so, lateral = lane.local_coordinates(lanes, on, world.cars[w, other].x, world.cars[w, other].y)
        if so < s:
            break
        k = k - step
    best = int(-1)
    best_s = s
    while k >= 0 and k < count:
        other = world.order[w, k]
        k = k + step
        if other != v:
            so, lateral = lane.local_coordinates(lanes, on, world.cars[w, other].x, world.cars[w, other].y)
            if best >= 0 and so > best_s:
                break
            if so >= s and lane.on_lane(lanes, on, so, lateral, type(s)(MARGIN)):
                if world.cars[w, other].kind != Kind.LANDMARK:
                    if best < 0 or other > best:
                        best = other
                        best_s = so
    return best


@wp.func
def _rear_along_axis(lanes: Any, world: Any, w: int, v: int, on: int, s: Any, step: int):
    """Nearest vehicle with s_v < s, walking `order` against `step`; among equals the earlier slot."""
    count = world.rows[w].count
    k = world.cars[w, v].rank - step
    best = int(-1)
    best_s = s
    while k >= 0 and k < count:
        other = world.order[w, k]
        k = k - step
        so, lateral = lane.local_coordinates(lanes, on, world.cars[w, other].x, world.cars[w, other].y)
        if best >= 0 and so < best_s:
            break
        if so < s and lane.on_lane(lanes, on, so, lateral, type(s)(MARGIN)):
            if world.cars[w, other].kind != Kind.LANDMARK:
                if best < 0 or other < best:
                    best = other
                    best_s = so
    return best


@wp.func
def _coordinate_if_on(lanes: Any, world: Any, w: int, other: int, on: int):
    """Return (found, s): the coordinate of a vehicle on a lane if it is a neighbour on it."""
    zero = type(world.cars[w, other].x)(0.0)
    if world.cars[w, other].lane != on:
        if not lane.may_be_on(lanes, on, world.cars[w, other].x, world.cars[w, other].y):
            return False, zero
    s, lateral = coordinates(lanes, world, w, other, on)
    return lane.on_lane(lanes, on, s, lateral, type(s)(MARGIN)), s


@wp.func
def _coordinate_with_connected(lanes: Any, world: Any, w: int, other: int, on: int, connected: int):
    """Return (found, s): the coordinate of a vehicle on a lane, or on the lanes before and after it if `connected`."""
    found, s = _coordinate_if_on(lanes, world, w, other, on)
    if found:
        return True, s
    if connected != 0:
        edge = lanes.lanes[on].edge
        node = lanes.edges[edge].end
        for k in range(lanes.nodes[node].leaving_first, lanes.nodes[node].leaving_end):
            near = _same_index(lanes, on, lanes.links[k])
            found, s = _coordinate_if_on(lanes, world, w, other, near)
            if found:
                return True, s + lanes.lanes[on].length
        node = lanes.edges[edge].start
        for k in range(lanes.nodes[node].entering_first, lanes.nodes[node].entering_end):
            near = _same_index(lanes, on, lanes.links[k])
            found, s = _coordinate_if_on(lanes, world, w, other, near)
            if found:
                return True, s - lanes.lanes[near].length
    return False, s


@wp.func
def _same_index(lanes: Any, on: int, edge: int):
    """Lane of `edge` with the index of lane `on`, else its lane 0."""
    index = lanes.lanes[on].index
    if index >= lanes.edges[edge].count:
        index = 0
    return lanes.edges[edge].first + index


@wp.func(inline=COLD)
def _search_all(lanes: Any, world: Any, w: int, v: int, on: int, s: Any, front: bool, connected: int):
    """Nearest vehicle ahead or behind among all, in list order."""
    best = int(-1)
    best_s = s
    for other in range(world.rows[w].count):
        if other != v and world.cars[w, other].kind != Kind.LANDMARK:
            found, so = _coordinate_with_connected(lanes, world, w, other, on, connected)
            if found:
                if front:
                    if so >= s and (best < 0 or so <= best_s):
                        best = other
                        best_s = so
                elif so < s and (best < 0 or so > best_s):
                    best = other
                    best_s = so
    return best


@wp.func
def front_vehicle(lanes: Any, world: Any, model: Any, w: int, v: int, on: int):
    """Return the slot of the vehicle ahead of `v` on lane `on`, -1 if none."""
    s, lateral = coordinates(lanes, world, w, v, on)
    if lane.is_swept(lanes):
        return _front_along_axis(lanes, world, w, v, on, s, 1)
    step = int(lanes.lanes[on].along)
    if step == 0 or model.connected_lanes != 0:
        return _search_all(lanes, world, w, v, on, s, True, model.connected_lanes)
    return _front_along_axis(lanes, world, w, v, on, s, step)


@wp.func
def rear_vehicle(lanes: Any, world: Any, model: Any, w: int, v: int, on: int):
    """Return the slot of the vehicle behind `v` on lane `on`, -1 if none."""
    s, lateral = coordinates(lanes, world, w, v, on)
    if lane.is_swept(lanes):
        return _rear_along_axis(lanes, world, w, v, on, s, 1)
    step = int(lanes.lanes[on].along)
    if step == 0 or model.connected_lanes != 0:
        return _search_all(lanes, world, w, v, on, s, False, model.connected_lanes)
    return _rear_along_axis(lanes, world, w, v, on, s, step)
