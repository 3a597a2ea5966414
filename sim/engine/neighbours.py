"""Who drives ahead and behind on a lane.

Each world's vehicles are kept sorted along the network's axis, so on lanes parallel to it a search starts at the vehicle
itself and stops at the first hit. Other lanes are searched in full.
Source: highway_env/road/road.py, `Road.neighbour_vehicles`, 1.12.1.
"""

from typing import Any

import warp as wp

from sim.engine import lanes as lane
from sim.engine.state import Kind

MARGIN = 1.0  # m, how far beside its lane a vehicle still counts as being on it


@wp.func
def sort_along_axis(world: Any, model: Any, w: int):
    """Restore `order` and `rank`; insertion sort, because vehicles barely move between frames."""
    count = world.count[w]
    for k in range(1, count):
        v = world.order[w, k]
        key = world.x[w, v] * model.axis_x + world.y[w, v] * model.axis_y
        place = k
        while place > 0:
            other = world.order[w, place - 1]
            ahead = world.x[w, other] * model.axis_x + world.y[w, other] * model.axis_y
            if ahead < key or (ahead == key and other < v):
                break
            world.order[w, place] = other
            world.rank[w, other] = place
            place = place - 1
        if place != k:
            world.order[w, place] = v
            world.rank[w, v] = place


@wp.func
def _front_along_axis(lanes: Any, world: Any, w: int, v: int, on: int, s: Any, step: int):
    """Nearest vehicle with s_v >= s, walking `order` by `step`; among equals the later slot."""
    count = world.count[w]
    k = world.rank[w, v]
    while k - step >= 0 and k - step < count:  # equal coordinates may be sorted behind
        other = world.order[w, k - step]
        so, lateral = lane.local_coordinates(lanes, on, world.x[w, other], world.y[w, other])
        if so < s:
            break
        k = k - step
    best = int(-1)
    best_s = s
    while k >= 0 and k < count:
        other = world.order[w, k]
        k = k + step
        if other != v:
            so, lateral = lane.local_coordinates(lanes, on, world.x[w, other], world.y[w, other])
            if best >= 0 and so > best_s:
                break
            if so >= s and lane.on_lane(lanes, on, so, lateral, type(s)(MARGIN)):
                if world.kind[w, other] != Kind.LANDMARK:
                    if best < 0 or other > best:
                        best = other
                        best_s = so
    return best


@wp.func
def _rear_along_axis(lanes: Any, world: Any, w: int, v: int, on: int, s: Any, step: int):
    """Nearest vehicle with s_v < s, walking `order` against `step`; among equals the earlier slot."""
    count = world.count[w]
    k = world.rank[w, v] - step
    best = int(-1)
    best_s = s
    while k >= 0 and k < count:
        other = world.order[w, k]
        k = k - step
        so, lateral = lane.local_coordinates(lanes, on, world.x[w, other], world.y[w, other])
        if best >= 0 and so < best_s:
            break
        if so < s and lane.on_lane(lanes, on, so, lateral, type(s)(MARGIN)):
            if world.kind[w, other] != Kind.LANDMARK:
                if best < 0 or other < best:
                    best = other
                    best_s = so
    return best


@wp.func
def _coordinate_with_connected(lanes: Any, world: Any, w: int, other: int, on: int, connected: int):
    """Return (found, s): the coordinate of a vehicle on a lane, or on the lanes before and after it if `connected`."""
    x = world.x[w, other]
    y = world.y[w, other]
    margin = type(x)(MARGIN)
    s, lateral = lane.local_coordinates(lanes, on, x, y)
    if lane.on_lane(lanes, on, s, lateral, margin):
        return True, s
    if connected != 0:
        edge = lanes.edge[on]
        node = lanes.edge_to[edge]
        for k in range(lanes.leaving_first[node], lanes.leaving_first[node + 1]):
            near = _same_index(lanes, on, lanes.leaving[k])
            s, lateral = lane.local_coordinates(lanes, near, x, y)
            if lane.on_lane(lanes, near, s, lateral, margin):
                return True, s + lanes.length[on]
        node = lanes.edge_from[edge]
        for k in range(lanes.entering_first[node], lanes.entering_first[node + 1]):
            near = _same_index(lanes, on, lanes.entering[k])
            s, lateral = lane.local_coordinates(lanes, near, x, y)
            if lane.on_lane(lanes, near, s, lateral, margin):
                return True, s - lanes.length[near]
    return False, s


@wp.func
def _same_index(lanes: Any, on: int, edge: int):
    """Lane of `edge` with the index of lane `on`, else its lane 0."""
    index = lanes.index[on]
    if index >= lanes.edge_count[edge]:
        index = 0
    return lanes.edge_first[edge] + index


@wp.func
def _search_all(lanes: Any, world: Any, w: int, v: int, on: int, s: Any, front: bool, connected: int):
    """Nearest vehicle ahead or behind among all, in list order."""
    best = int(-1)
    best_s = s
    for other in range(world.count[w]):
        if other != v and world.kind[w, other] != Kind.LANDMARK:
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
    s, lateral = lane.local_coordinates(lanes, on, world.x[w, v], world.y[w, v])
    step = int(lanes.along[on])
    if step == 0 or model.connected_lanes != 0:
        return _search_all(lanes, world, w, v, on, s, True, model.connected_lanes)
    return _front_along_axis(lanes, world, w, v, on, s, step)


@wp.func
def rear_vehicle(lanes: Any, world: Any, model: Any, w: int, v: int, on: int):
    """Return the slot of the vehicle behind `v` on lane `on`, -1 if none."""
    s, lateral = lane.local_coordinates(lanes, on, world.x[w, v], world.y[w, v])
    step = int(lanes.along[on])
    if step == 0 or model.connected_lanes != 0:
        return _search_all(lanes, world, w, v, on, s, False, model.connected_lanes)
    return _rear_along_axis(lanes, world, w, v, on, s, step)
