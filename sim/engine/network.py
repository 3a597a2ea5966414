"""The lane graph: a host description and its tables on the device.

A lane is named by its flat number: lanes are counted in the order in which highway-env walks its graph
(`for from in graph: for to in graph[from]: for lane in lanes`), which is also the order that breaks ties.
Source: highway_env/road/road.py, `RoadNetwork`, 1.12.1.
"""

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import warp as wp

from sim.engine import COLD
from sim.engine import lanes as lane
from sim.engine.lanes import CircularLane, Lane, LineType, PolyLane, Shape, SineLane, StraightLane
from sim.engine.map_config import Graph, graph_from_config, lane_to_config, require_connected
from sim.engine.state import lane_table

# Two parallel lanes closer than this [m] to being equally near are left to the full search.
CLAIM_MARGIN = 1e-3
NEAR = 1.0  # m, how far from its lane a vehicle may be for the short list of lanes to hold the closest
MARGIN = 1.0  # m, how far beside its lane a vehicle still counts as a neighbour on it


def straight_lanes(lanes: int, start: float, length: float, speed_limit: float | None) -> list[Lane]:
    """Return parallel lanes along x from `start` [m], side by side from y = 0 (`straight_road_network`)."""
    made: list[Lane] = []
    for i in range(lanes):
        left = LineType.CONTINUOUS_LINE if i == 0 else LineType.STRIPED
        right = LineType.CONTINUOUS_LINE if i == lanes - 1 else LineType.NONE
        y = i * lane.DEFAULT_WIDTH
        made.append(StraightLane((start, y), (start + length, y), line_types=(left, right), speed_limit=speed_limit))
    return made


class Network:
    """A road network: `graph[from][to]` is a list of lanes, leftmost first."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.edges = [(start, end) for start, ends in graph.items() for end in ends]
        self.nodes = list(dict.fromkeys([*graph, *(end for _, end in self.edges)]))
        self.lanes: list[Lane] = [one for ends in graph.values() for some in ends.values() for one in some]
        self.edge_first = np.cumsum([0] + [len(graph[start][end]) for start, end in self.edges])

    @classmethod
    def straight(
        cls, lanes: int = 4, length: float = 10_000.0, speed_limit: float = 30.0, nodes: tuple[str, str] = ("0", "1")
    ) -> "Network":
        """Return one edge of parallel lanes along x (highway-env's `straight_road_network`)."""
        return cls({nodes[0]: {nodes[1]: straight_lanes(lanes, 0.0, length, speed_limit)}})

    @classmethod
    def from_config(cls, config: dict[str, Any], connected: bool = True) -> "Network":
        """Return the road of a map, a dict as highway-env's `RoadNetwork.to_config` writes it (see `map_config`).

        Args:
            config: the map.
            connected: refuse a map with a lane that does not meet the others (`require_connected`). highway-env asks
                for nothing of the kind: two of its own roads, of parking-v0 and lane-keeping-v0, need False.

        Raises:
            ValueError: a mistake in the map, named with its lane.
        """
        graph = graph_from_config(config)
        if connected:
            require_connected(graph)
        return cls(graph)

    def to_config(self) -> dict[str, Any]:
        """Return the road as a map of plain numbers and lists, which `from_config` reads, here and in highway-env."""
        return {
            start: {end: [lane_to_config(one) for one in some] for end, some in ends.items()}
            for start, ends in self.graph.items()
        }

    def lane_number(self, start: str, end: str, index: int) -> int:
        """Return the flat number of highway-env's lane index `(start, end, index)`."""
        return int(self.edge_first[self.edges.index((start, end))]) + index

    def lane_index(self, number: int) -> tuple[str, str, int]:
        """Return highway-env's lane index of a flat lane number."""
        edge = int(np.searchsorted(self.edge_first, number, side="right")) - 1
        return (*self.edges[edge], number - int(self.edge_first[edge]))

    def shortest_path(self, start: str, goal: str) -> list[str]:
        """Return the nodes of a shortest path, neighbours tried in alphabetical order; empty if there is none."""
        queue = deque([[start]])
        while queue:
            path = queue.popleft()
            for node in sorted(n for n in self.graph.get(path[-1], {}) if n not in path):
                if node == goal:
                    return [*path, node]
                queue.append([*path, node])
        return []

    def routes(self, destinations: Sequence[str]) -> np.ndarray:
        """Return the edges to take after each edge to each destination, int32 `[E, D, R]`, padded with -1."""
        number = {edge: i for i, edge in enumerate(self.edges)}
        paths = [[self.shortest_path(end, goal) for goal in destinations] for _, end in self.edges]
        longest = max(len(path) for row in paths for path in row)
        table = np.full((len(self.edges), len(destinations), max(longest - 1, 1)), -1, dtype=np.int32)
        for e, row in enumerate(paths):
            for d, path in enumerate(row):
                table[e, d, : max(len(path) - 1, 0)] = [number[pair] for pair in pairwise(path)]
        return table

    def table(self, real: type, device: torch.device, sweep: bool = True) -> Any:
        """Return the network as a Warp struct of tables for one precision (see `state.py`).

        `sweep` allows the faster code for a single straight road, which knows no connected lanes.
        """
        rows = self._lane_rows()
        poses, knots, widths = self._add_polylines(rows)
        edges, nodes, links = self._graph_rows()
        self._add_near(rows, links)
        tables = {"lanes": rows, "edges": edges, "nodes": nodes, "poses": poses, "knots": knots}
        return lane_table(
            real, tables, {"links": links, "widths": widths}, device, swept=sweep and self._can_be_swept()
        )

    def axis(self) -> np.ndarray:
        """Unit vector along which vehicles are kept sorted: the direction of the longest straight lane."""
        straight = [one for one in self.lanes if type(one) is StraightLane]
        if not straight:
            return np.array([1.0, 0.0])
        return max(straight, key=lambda one: one.length).direction

    def _lane_rows(self) -> list[dict[str, float]]:
        """One row of the device table a lane; fields that a shape does not use stay zero."""
        axis, claim = self.axis(), self._claim()
        spacing = 2 * (claim + CLAIM_MARGIN)
        alone = max(spacing - max(one.width for one in self.lanes) / 2 - MARGIN, 0.0) if self._can_be_swept() else 0.0
        edge_of = np.repeat(np.arange(len(self.edges)), np.diff(self.edge_first))
        rows = []
        for i, one in enumerate(self.lanes):
            row: dict[str, float] = {
                "length": one.length,
                "width": one.width,
                "speed_limit": lane.NO_SPEED_LIMIT if one.speed_limit is None else one.speed_limit,
                "forbidden": int(one.forbidden),
                "priority": one.priority,
                "claim": claim,
                "alone": alone,
                "edge": edge_of[i],
                "index": i - self.edge_first[edge_of[i]],
                "dead_end": int(not self.graph.get(self.edges[edge_of[i]][1])),
            }
            if isinstance(one, StraightLane):
                row |= {"x": one.start[0], "y": one.start[1], "dx": one.direction[0], "dy": one.direction[1]}
                row |= {"heading": one.heading, "shape": Shape.STRAIGHT}
                if isinstance(one, SineLane):
                    row |= {"amplitude": one.amplitude, "pulsation": one.pulsation, "phase": one.phase}
                    row["shape"] = Shape.SINE
                elif abs(one.direction @ axis) == 1.0:
                    row["along"] = one.direction @ axis
            elif isinstance(one, CircularLane):
                row |= {"x": one.center[0], "y": one.center[1], "radius": one.radius, "phase": one.start_phase}
                row |= {"turn": one.turn, "shape": Shape.CIRCULAR}
            else:
                row["shape"] = Shape.POLYLINE
            row["reach"] = one.width / 2 + MARGIN + lane.VEHICLE_LENGTH
            row |= zip(("low_x", "low_y", "high_x", "high_y"), one.box(), strict=True)
            rows.append(row)
        return rows

    def _claim(self) -> float:
        """Return the lateral offset [m] within which a vehicle's own lane is surely the closest; 0 if unknown.

        On parallel straight lanes with common ends the distance differs by the lateral part alone, so half the
        smallest spacing decides without a search.
        """
        first = self.lanes[0]
        if not all(type(one) is StraightLane for one in self.lanes):
            return 0.0
        offsets = []
        for one in self.lanes:
            start = np.subtract(one.start, first.start)
            if one.heading != first.heading or one.length != first.length or start @ first.direction != 0.0:
                return 0.0
            offsets.append(start @ np.array([-first.direction[1], first.direction[0]]))
        gaps = np.diff(np.sort(offsets))
        return float(max(gaps.min() / 2 - CLAIM_MARGIN, 0.0)) if len(gaps) else np.inf

    def _can_be_swept(self) -> bool:
        """Is this one road of parallel lanes, so spaced that a vehicle is on its closest lane or the next?"""
        if len(self.edges) > 1 or self._claim() == 0.0:
            return False
        start, end = self.edges[0]
        if start == end or self.lanes[0].heading != 0.0:  # the sweep compares x
            return False
        widest = max(one.width for one in self.lanes) / 2 + MARGIN
        return len(self.lanes) == 1 or 3 * (self._claim() + CLAIM_MARGIN) > widest

    def _add_polylines(self, rows: list[dict[str, float]]) -> tuple[list, list, list]:
        """Return the poses, knots and widths of all polyline lanes one after another, and point their rows to them."""
        poses: list[dict[str, float]] = []
        knots: list[dict[str, float]] = []
        widths: list[float] = []
        for row, one in zip(rows, self.lanes, strict=True):
            if isinstance(one, PolyLane):
                row |= {"pose_first": len(poses), "knot_first": len(knots), "width_first": len(widths)}
                poses += [dict(zip(("x", "y", "dx", "dy"), pose, strict=True)) for pose in one.curve.poses]
                knots += [{"s": s, "x": x, "y": y} for s, (x, y) in zip(one.curve.knots, one.curve.points, strict=True)]
                widths += list(one.width_samples())
                row |= {
                    "pose_count": len(poses) - row["pose_first"],
                    "knot_count": len(knots) - row["knot_first"],
                    "width_count": len(widths) - row["width_first"],
                }
        return poses, knots, widths

    def _add_near(self, rows: list[dict[str, float]], links: list[int]) -> None:
        """Add to `links` the lanes whose boxes are so close to each lane's that both can be within NEAR of a point."""
        for row in rows:
            row["near_first"] = len(links)
            for i, other in enumerate(rows):
                beside = max(row["low_x"] - other["high_x"], other["low_x"] - row["high_x"])
                beneath = max(row["low_y"] - other["high_y"], other["low_y"] - row["high_y"])
                if not max(beside, beneath) > 2 * NEAR:
                    links.append(i)
            row["near_end"] = len(links)

    def _graph_rows(self) -> tuple[list, list, list]:
        """Return the edges, the nodes, and the edges that leave and enter each node."""
        number = {node: i for i, node in enumerate(self.nodes)}
        edges = [
            {"first": self.edge_first[e], "count": len(self.graph[a][b]), "start": number[a], "end": number[b]}
            for e, (a, b) in enumerate(self.edges)
        ]
        links: list[int] = []
        nodes = []
        for node in self.nodes:
            row = {}
            for name, side in (("leaving", 0), ("entering", 1)):
                row[f"{name}_first"] = len(links)
                links += [e for e, ends in enumerate(self.edges) if ends[side] == node]
                row[f"{name}_end"] = len(links)
            nodes.append(row)
        return edges, nodes, links


@wp.func(inline=COLD)
def closest_lane(lanes: Any, x: Any, y: Any, heading: Any, guess: int):
    """Return the lane nearest to a pose, by position [m] plus angle [rad], the first of equals, and (s, lateral) on it.

    A good `guess` saves looking closely at lanes whose boxes are farther away, and at most of the others at all.
    """
    best = guess
    s, lateral = lane.local_coordinates(lanes, guess, x, y)
    best_distance = lane.distance_at(lanes, guess, s, lateral, heading)
    k = lanes.lanes[guess].near_first
    end = lanes.lanes[guess].near_end
    listed = bool(True)
    if best_distance > type(x)(NEAR):
        listed = False
        k = 0
        end = lanes.lanes.shape[0]
    while k < end:
        i = k
        if listed:
            i = lanes.links[k]
        k = k + 1
        beside = wp.max(lanes.lanes[i].low_x - x, x - lanes.lanes[i].high_x)
        gap = wp.max(beside, wp.max(lanes.lanes[i].low_y - y, y - lanes.lanes[i].high_y))
        if gap <= best_distance and i != guess:
            if lane.least_offset(lanes, i, x, y) <= best_distance:
                s_i, lateral_i = lane.local_coordinates(lanes, i, x, y)
                candidate = lane.offset_at(lanes, i, s_i, lateral_i)
                if candidate <= best_distance:
                    candidate = lane.distance_at(lanes, i, s_i, lateral_i, heading)
                if candidate < best_distance or (candidate == best_distance and i < best):
                    best_distance = candidate
                    best = i
                    s = s_i
                    lateral = lateral_i
    return best, s, lateral


@wp.func
def _continue_on(lanes: Any, current: int, edge: int, wanted: int, x: Any, y: Any):
    """Return the lane of `edge` that follows `current`.

    The wanted or same index if the edges are equally wide, else the lane nearest to (x, y) [m]; `wanted` -1 is
    highway-env's None.
    """
    first = lanes.edges[edge].first
    count = lanes.edges[edge].count
    best = first + lanes.lanes[current].index
    if count == lanes.edges[lanes.lanes[current].edge].count:
        if wanted >= 0:
            best = first + wanted
    else:
        best = first
        best_distance = lane.distance(lanes, first, x, y)
        for i in range(1, count):
            candidate = lane.distance(lanes, first + i, x, y)
            if candidate < best_distance:
                best_distance = candidate
                best = first + i
    return best


@wp.func(inline=COLD)
def next_lane(lanes: Any, world: Any, w: int, v: int, current: int):
    """Return the lane to follow after `current`, with the vehicle's route if it has one; drops finished route steps."""
    edge = lanes.lanes[current].edge
    node = lanes.edges[edge].end
    next_edge = int(-1)
    wanted = int(-1)
    head = world.cars[w, v].route_head
    size = world.cars[w, v].route_size
    if head < size:
        if world.route_edge[w, v, head] == edge:
            head = head + 1
            world.cars[w, v].route_head = head
        if head < size:
            if lanes.edges[world.route_edge[w, v, head]].start == node:
                next_edge = world.route_edge[w, v, head]
                wanted = world.route_lane[w, v, head]
    s, lateral = lane.local_coordinates(lanes, current, world.cars[w, v].x, world.cars[w, v].y)
    x, y = lane.position(lanes, current, s, type(s)(0.0))
    if next_edge >= 0:
        return _continue_on(lanes, current, next_edge, wanted, x, y)
    best = current
    best_distance = type(s)(wp.inf)
    for k in range(lanes.nodes[node].leaving_first, lanes.nodes[node].leaving_end):
        candidate = _continue_on(lanes, current, lanes.links[k], -1, x, y)
        gap = lane.distance(lanes, candidate, x, y)
        if gap < best_distance:
            best_distance = gap
            best = candidate
    return best
