"""highway-env's RoadNetwork is the oracle of the lane graph, on the roads of its own environments."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import warp as wp

from sim.engine.network import Network, closest_lane, next_lane
from sim.engine.state import PRECISIONS
from sim.world import Sizes, World
from tests.sim.engine.twins import REAL_ROADS, network_twin, real_env, real_network, route_twin

POSES = 300
ROUTE = 4  # steps at most


@wp.kernel(enable_backward=False, module="unique")
def find_closest(lanes: Any, pose: wp.array2d(dtype=Any), out: wp.array(dtype=int)):
    i = wp.tid()
    on, _s, _lateral = closest_lane(lanes, pose[i, 0], pose[i, 1], pose[i, 2], i % lanes.lanes.shape[0])
    out[i] = on


@wp.kernel(enable_backward=False, module="unique")
def find_next(lanes: Any, world: Any, current: wp.array(dtype=int), out: wp.array(dtype=int)):
    i = wp.tid()
    out[i] = next_lane(lanes, world, i, 0, current[i])


@pytest.fixture(scope="module", params=REAL_ROADS)
def road(request) -> tuple[Any, Network]:
    """highway-env's network and ours."""
    network = real_network(request.param)
    return network, network_twin(network)


def poses_near(network: Any, rng: np.random.Generator, count: int) -> np.ndarray:
    """`[P, 3]` x, y, heading on and around all lanes, also past their ends."""
    lanes = network.lanes_list()
    poses = []
    for i in range(count):
        lane = lanes[i % len(lanes)]
        s = rng.uniform(-10, lane.length + 10)
        x, y = lane.position(s, rng.normal() * 4)
        poses.append((x, y, lane.heading_at(s) + rng.normal() * 0.5))
    return np.array(poses)


def closest(ours: Network, poses: np.ndarray, device: torch.device) -> list[int]:
    out = torch.empty(len(poses), dtype=torch.int32, device=device)
    table = ours.table(PRECISIONS["float64"], device)
    pose = torch.tensor(poses, dtype=torch.float64, device=device)
    wp.launch(find_closest, dim=len(poses), inputs=[table, wp.from_torch(pose), wp.from_torch(out)], device=str(device))
    return out.tolist()


def test_closest_lane_of_any_pose(road: tuple, device: torch.device) -> None:
    network, ours = road
    poses = poses_near(network, np.random.default_rng(1), POSES)
    expected = [network.get_closest_lane_index(pose[:2], pose[2]) for pose in poses]
    assert [ours.lane_index(n) for n in closest(ours, poses, device)] == expected
    assert len(set(expected)) >= 0.8 * len(ours.lanes)


@pytest.mark.parametrize("env_id", REAL_ROADS)
def test_closest_lane_where_environments_put_vehicles(env_id: str, device: torch.device) -> None:
    """Vehicles spawn exactly on centre lines, where several lanes of a junction may be equally near."""
    poses, expected = [], []
    for seed in range(4):
        with real_env(env_id, seed) as env:
            for _ in range(4):
                poses += [(*v.position, v.heading) for v in env.road.vehicles]
                expected += [v.lane_index for v in env.road.vehicles]
                env.step(env.action_space.sample())
            ours = network_twin(env.road.network)
    assert [ours.lane_index(n) for n in closest(ours, np.array(poses), device)] == expected


def random_route(network: Any, rng: np.random.Generator, current: tuple) -> list[tuple]:
    """A route that starts on the current road, or after it, or elsewhere; lanes given or None."""
    start = current[1] if rng.random() < 0.9 else rng.choice(list(network.graph))
    route = [(current[0], current[1], current[2] if rng.random() < 0.5 else None)] if rng.random() < 0.6 else []
    while len(route) < ROUTE and network.graph.get(start):
        end = rng.choice(list(network.graph[start]))
        lane = int(rng.integers(len(network.graph[start][end]))) if rng.random() < 0.5 else None
        route.append((str(start), str(end), lane))
        start = end
    return route[: rng.integers(1, ROUTE + 1)]


@pytest.mark.parametrize("routed", [False, True], ids=["no route", "routes"])
def test_next_lane(road: tuple, device: torch.device, routed: bool) -> None:
    network, ours = road
    rng = np.random.default_rng(2)
    poses = poses_near(network, rng, POSES)
    current = [list(network.lanes_dict())[i] for i in rng.integers(len(ours.lanes), size=POSES)]
    routes = [random_route(network, rng, index) if routed else [] for index in current]
    world = World.allocate(POSES, Sizes(vehicles=1, lanes=1, route=ROUTE), torch.device("cpu"), "float64")
    world.x[:, 0], world.y[:, 0] = torch.from_numpy(poses[:, 0]), torch.from_numpy(poses[:, 1])
    for i, route in enumerate(routes):
        world.route_size[i, 0] = len(route)
        for r, (edge, lane) in enumerate(route_twin(ours, route)):
            world.route_edge[i, 0, r], world.route_lane[i, 0, r] = edge, lane
    world = World({name: buffer.to(device) for name, buffer in world.buffers.items()}, "float64")
    numbers = torch.tensor([ours.lane_number(*index) for index in current], dtype=torch.int32, device=device)
    out = torch.empty_like(numbers)
    table = ours.table(PRECISIONS["float64"], device)
    inputs = [table, world.struct(), wp.from_torch(numbers), wp.from_torch(out)]
    wp.launch(find_next, dim=POSES, inputs=inputs, device=str(device))
    expected = []
    popped = 0
    for index, route, pose in zip(current, routes, poses, strict=True):
        left = copy.copy(route)
        expected.append(network.next_lane(index, left, pose[:2]))
        i = len(expected) - 1
        assert world.route_head[i, 0].item() == len(route) - len(left), (index, route)
        popped += len(route) - len(left)
    assert [ours.lane_index(n) for n in out.tolist()] == expected
    assert (popped > 0) == routed


def test_lane_numbers_count_lanes_in_highway_envs_order(road: tuple) -> None:
    network, ours = road
    indexes = list(network.lanes_dict())
    assert [ours.lane_index(n) for n in range(len(ours.lanes))] == indexes
    assert [ours.lane_number(*index) for index in indexes] == list(range(len(indexes)))


def test_shortest_paths(road: tuple) -> None:
    network, ours = road
    nodes = {node for edge in ours.edges for node in edge}
    found = {(a, b): ours.shortest_path(a, b) for a in nodes for b in nodes}
    assert found == {(a, b): network.shortest_path(a, b) for a, b in found}
    assert any(len(path) > 2 for path in found.values()) or len(ours.edges) < 3


def test_tables_hold_the_graph(road: tuple, device: torch.device) -> None:
    network, ours = road
    table = ours.table(PRECISIONS["float64"], device)
    lanes, edges, nodes = (getattr(table, name).numpy() for name in ("lanes", "edges", "nodes"))
    links = table.links.numpy()
    for number, index in enumerate(network.lanes_dict()):
        edge = edges[lanes["edge"][number]]
        road_lanes = range(edge["first"], edge["first"] + edge["count"])
        assert [ours.lane_index(n) for n in road_lanes] == network.all_side_lanes(index)
        sides = [n for n in (number - 1, number + 1) if n in road_lanes]
        assert [ours.lane_index(n) for n in sides] == network.side_lanes(index)
        leaving = nodes[edge["end"]]["leaving_first"], nodes[edge["end"]]["leaving_end"]
        ways = [ours.edges[e] for e in links[slice(*leaving)]]
        assert ways == [(index[1], b) for b in network.graph.get(index[1], {})]
        assert bool(lanes["dead_end"][number]) == (not ways)
        entering = nodes[edge["start"]]["entering_first"], nodes[edge["start"]]["entering_end"]
        ways = [ours.edges[e] for e in links[slice(*entering)]]
        assert ways == [(a, index[0]) for a in network.graph if index[0] in network.graph[a]]
