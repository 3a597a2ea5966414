"""The lane graph: a host description and its tables on the device.

A lane is named by its flat number: lanes are counted in the order in which highway-env walks its graph
(`for from in graph: for to in graph[from]: for lane in lanes`), which is also the order that breaks ties.
Source: highway_env/road/road.py, `RoadNetwork`, 1.12.1.
"""

from collections import deque
from typing import Any

import numpy as np
import torch
import warp as wp

from sim.engine import lanes as lane
from sim.engine.lanes import CircularLane, Lane, LineType, PolyLane, Shape, SineLane, StraightLane
from sim.engine.state import lane_table

Graph = dict[str, dict[str, list[Lane]]]

# Two parallel lanes closer than this [m] to being equally near are left to the full search.
CLAIM_MARGIN = 1e-3


class Network:
    """A road network: `graph[from][to]` is a list of lanes, leftmost first."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.edges = [(start, end) for start, ends in graph.items() for end in ends]
        self.nodes = list(dict.fromkeys([n for n in graph] + [end for _, end in self.edges]))
        self.lanes: list[Lane] = [one for ends in graph.values() for some in ends.values() for one in some]
        self.edge_first = np.cumsum([0] + [len(graph[start][end]) for start, end in self.edges])

    @classmethod
    def straight(
        cls, lanes: int = 4, length: float = 10_000.0, speed_limit: float = 30.0, nodes: tuple[str, str] = ("0", "1")
    ) -> "Network":
        """Return one edge of parallel lanes along x (highway-env's `straight_road_network`)."""
        made: list[Lane] = []
        for i in range(lanes):
            left = LineType.CONTINUOUS_LINE if i == 0 else LineType.STRIPED
            right = LineType.CONTINUOUS_LINE if i == lanes - 1 else LineType.NONE
            y = i * lane.DEFAULT_WIDTH
            made.append(StraightLane((0.0, y), (length, y), line_types=(left, right), speed_limit=speed_limit))
        return cls({nodes[0]: {nodes[1]: made}})

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

    def table(self, real: type, device: torch.device) -> Any:
        """Return the network as a Warp struct of tables for one precision (see `state.lane_table`)."""
        return lane_table(real, self._geometry() | self._polylines() | self._graph_tables(), device)

    def axis(self) -> np.ndarray:
        """Unit vector along which vehicles are kept sorted: the direction of the longest straight lane."""
        straight = [one for one in self.lanes if type(one) is StraightLane]
        if not straight:
            return np.array([1.0, 0.0])
        return max(straight, key=lambda one: one.length).direction

    def _geometry(self) -> dict[str, np.ndarray]:
        count = len(self.lanes)
        columns = {
            name: np.zeros(count)
            for name in (
                "x", "y", "dx", "dy", "heading", "length", "width", "speed_limit", "radius", "turn",
                "amplitude", "pulsation", "phase", "claim", "along",
            )
        }  # fmt: skip
        columns["shape"] = np.zeros(count, dtype=np.int64)
        columns["forbidden"] = np.array([one.forbidden for one in self.lanes], dtype=np.int64)
        axis = self.axis()
        for i, one in enumerate(self.lanes):
            columns["length"][i] = one.length
            columns["width"][i] = one.width
            columns["speed_limit"][i] = lane.NO_SPEED_LIMIT if one.speed_limit is None else one.speed_limit
            if isinstance(one, StraightLane):
                columns["x"][i], columns["y"][i] = one.start
                columns["dx"][i], columns["dy"][i] = one.direction
                columns["heading"][i] = one.heading
                if isinstance(one, SineLane):
                    columns["shape"][i] = Shape.SINE
                    for name in ("amplitude", "pulsation", "phase"):
                        columns[name][i] = getattr(one, name)
                elif abs(one.direction @ axis) == 1.0:
                    columns["along"][i] = one.direction @ axis
            elif isinstance(one, CircularLane):
                columns["shape"][i] = Shape.CIRCULAR
                columns["x"][i], columns["y"][i] = one.center
                columns["radius"][i], columns["phase"][i], columns["turn"][i] = one.radius, one.start_phase, one.turn
            else:
                columns["shape"][i] = Shape.POLYLINE
        columns["claim"][:] = self._claim()
        return columns

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

    def _polylines(self) -> dict[str, np.ndarray]:
        """Tables of all polyline lanes, one after another: poses, knots of the centre line, widths."""
        tables: dict[str, list] = {name: [] for name in ("pose", "knot", "width")}
        spans: dict[str, list[int]] = {f"{name}_{end}": [] for name in tables for end in ("first", "count")}
        for one in self.lanes:
            parts = {name: np.zeros((0, 4)) for name in tables}
            if isinstance(one, PolyLane):
                parts["pose"] = one.curve.poses
                parts["knot"] = np.column_stack([one.curve.knots, one.curve.points, one.curve.knots])
                parts["width"] = np.repeat(one.width_samples()[:, None], 4, axis=1)
            for name, part in parts.items():
                spans[f"{name}_first"].append(sum(len(some) for some in tables[name]))
                spans[f"{name}_count"].append(len(part))
                tables[name].append(part)
        # one spare row, because a table on the device can't be empty
        pose, knot, width = (np.concatenate([*some, np.zeros((1, 4))]) for some in tables.values())
        return {name: np.array(span, dtype=np.int64) for name, span in spans.items()} | {
            "pose_x": pose[:, 0], "pose_y": pose[:, 1], "pose_dx": pose[:, 2], "pose_dy": pose[:, 3],
            "knot_s": knot[:, 0], "knot_x": knot[:, 1], "knot_y": knot[:, 2], "widths": width[:, 0],
        }  # fmt: skip

    def _graph_tables(self) -> dict[str, np.ndarray]:
        counts = np.diff(self.edge_first)
        number = {node: i for i, node in enumerate(self.nodes)}
        leaving = [[e for e, (start, _) in enumerate(self.edges) if start == node] for node in self.nodes]
        entering = [[e for e, (_, end) in enumerate(self.edges) if end == node] for node in self.nodes]
        tables = {
            "edge": np.repeat(np.arange(len(self.edges)), counts),
            "index": np.concatenate([np.arange(n) for n in counts]),
            "edge_first": self.edge_first[:-1],
            "edge_count": counts,
            "edge_from": np.array([number[start] for start, _ in self.edges]),
            "edge_to": np.array([number[end] for _, end in self.edges]),
        }
        for name, lists in (("leaving", leaving), ("entering", entering)):
            tables[f"{name}_first"] = np.cumsum([0] + [len(some) for some in lists])
            tables[name] = np.array([e for some in lists for e in some] + [0])
        return tables


@wp.func
def closest_lane(lanes: Any, x: Any, y: Any, heading: Any):
    """Return the lane nearest to a pose, by position [m] plus angle [rad]; the first of equals."""
    best = int(0)
    best_distance = lane.distance_with_heading(lanes, 0, x, y, heading)
    for i in range(1, lanes.shape.shape[0]):
        candidate = lane.distance_with_heading(lanes, i, x, y, heading)
        if candidate < best_distance:
            best_distance = candidate
            best = i
    return best


@wp.func
def _continue_on(lanes: Any, current: int, edge: int, wanted: int, x: Any, y: Any):
    """Return the lane of `edge` that follows `current`: the wanted or same index if the edges are equally wide,
    else the lane nearest to (x, y) [m]; `wanted` -1 is highway-env's None.
    """
    first = lanes.edge_first[edge]
    count = lanes.edge_count[edge]
    best = first + lanes.index[current]
    if count == lanes.edge_count[lanes.edge[current]]:
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


@wp.func
def next_lane(lanes: Any, world: Any, w: int, v: int, current: int):
    """Return the lane to follow after `current`, with the vehicle's route if it has one; drops finished route steps."""
    edge = lanes.edge[current]
    node = lanes.edge_to[edge]
    next_edge = int(-1)
    wanted = int(-1)
    head = world.route_head[w, v]
    size = world.route_size[w, v]
    if head < size:
        if world.route_edge[w, v, head] == edge:
            head = head + 1
            world.route_head[w, v] = head
        if head < size:
            if lanes.edge_from[world.route_edge[w, v, head]] == node:
                next_edge = world.route_edge[w, v, head]
                wanted = world.route_lane[w, v, head]
    s, lateral = lane.local_coordinates(lanes, current, world.x[w, v], world.y[w, v])
    x, y = lane.position(lanes, current, s, type(s)(0.0))
    if next_edge >= 0:
        return _continue_on(lanes, current, next_edge, wanted, x, y)
    best = current
    best_distance = type(s)(wp.inf)
    for k in range(lanes.leaving_first[node], lanes.leaving_first[node + 1]):
        candidate = _continue_on(lanes, current, lanes.leaving[k], -1, x, y)
        gap = lane.distance(lanes, candidate, x, y)
        if gap < best_distance:
            best_distance = gap
            best = candidate
    return best
