"""highway-env's `Road.neighbour_vehicles` is the oracle, for every vehicle on every lane of its own roads."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import warp as wp
from highway_env.road.lane import StraightLane
from highway_env.road.road import Road, RoadNetwork
from highway_env.vehicle.kinematics import Vehicle
from highway_env.vehicle.objects import Landmark, Obstacle

from sim.engine.neighbours import front_vehicle, rear_vehicle, sort_along_axis
from sim.engine.network import Network
from sim.engine.state import PRECISIONS
from tests.sim.engine.twins import REAL_ROADS, model_twin, network_twin, real_env, real_network, world_twin


@wp.kernel(enable_backward=False, module="unique")
def search(lanes: Any, world: Any, model: Any, front: wp.array3d(dtype=int), rear: wp.array3d(dtype=int)):
    w, v, on = wp.tid()
    front[w, v, on] = front_vehicle(lanes, world, model, w, v, on)
    rear[w, v, on] = rear_vehicle(lanes, world, model, w, v, on)


@wp.kernel(enable_backward=False, module="unique")
def sort(world: Any, model: Any):
    sort_along_axis(world, model, wp.tid())


def searched(
    roads: Sequence[Road], ours: Network, device: torch.device, connected: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Slots of the front and the rear vehicle, `[N, V, L]`."""
    world = world_twin(roads, ours, device)
    shape = (*world.x.shape, len(ours.lanes))
    front, rear = (torch.empty(shape, dtype=torch.int32, device=device) for _ in range(2))
    table = ours.table(PRECISIONS["float64"], device, sweep=not connected)
    model = model_twin(ours, device, 0.1, connected=connected)
    inputs = [table, world.struct(), model, wp.from_torch(front), wp.from_torch(rear)]
    wp.launch(search, dim=shape, inputs=inputs, device=str(device))
    return front.cpu().numpy(), rear.cpu().numpy()


def assert_neighbours(roads: Sequence[Road], device: torch.device, connected: bool) -> set[tuple[str, str]]:
    """Compare all vehicles on all lanes; return which classes were found (or None), as (who, whom) names."""
    network = roads[0].network
    ours = network_twin(network)
    front, rear = searched(roads, ours, device, connected)
    met = set()
    for w, road in enumerate(roads):
        road.neighbour_vehicles_connected_lanes = connected
        things = [*road.vehicles, *road.objects]
        slot = {id(thing): i for i, thing in enumerate(things)} | {id(None): -1}
        for v, vehicle in enumerate(road.vehicles):
            for on, index in enumerate(network.lanes_dict()):
                expected = road.neighbour_vehicles(vehicle, index)
                found = (front[w, v, on], rear[w, v, on])
                assert found == tuple(slot[id(one)] for one in expected), f"world {w} slot {v} lane {index}"
                met |= {(side, type(one).__name__) for side, one in zip(("front", "rear"), expected, strict=True)}
    return met


def crowd(network: RoadNetwork, rng: np.random.Generator, count: int) -> Road:
    """Vehicles, obstacles and landmarks on and beside all lanes; some exactly level with the one before."""
    road = Road(network)
    lanes = network.lanes_list()
    for _ in range(count):
        lane = lanes[rng.integers(len(lanes))]
        s = rng.uniform(-6, min(lane.length, 150.0) + 6)
        position = lane.position(s, rng.choice([0.0, rng.uniform(-4, 4)]))
        if road.vehicles and rng.random() < 0.25:
            twin = road.vehicles[-1]
            across = np.array([-np.sin(twin.heading), np.cos(twin.heading)])
            straight = type(twin.lane) is StraightLane  # on an arc, level ones would be equal but for rounding
            position = twin.position + across * rng.choice([0.0, 1.5, 4.0]) * straight
        kind = rng.choice([Vehicle, Vehicle, Vehicle, Obstacle, Landmark])
        thing = kind(road, position, lane.heading_at(s), rng.uniform(0, 30))
        (road.vehicles if kind is Vehicle else road.objects).append(thing)
    return road


@pytest.mark.parametrize("connected", [False, True], ids=["own lane", "connected lanes"])
@pytest.mark.parametrize("env_id", REAL_ROADS)
def test_neighbours_in_a_crowd(env_id: str, connected: bool, device: torch.device) -> None:
    network = real_network(env_id)
    rng = np.random.default_rng(3)
    met = assert_neighbours([crowd(network, rng, 14) for _ in range(4)], device, connected)
    sides = {(side, kind) for side in ("front", "rear") for kind in ("Vehicle", "Obstacle", "NoneType")}
    assert met == sides


@pytest.mark.parametrize("env_id", REAL_ROADS)
def test_neighbours_in_real_traffic(env_id: str, device: torch.device) -> None:
    for connected in (False, True):
        with real_env(env_id, seed=5) as env:
            for _ in range(2):
                assert_neighbours([env.road], device, connected)
                env.step(env.action_space.sample())


@pytest.mark.parametrize("angle", [0.0, np.pi / 2, np.pi], ids=["along x", "along -y", "along -x"])
def test_level_vehicles_on_parallel_lanes(angle: float, device: torch.device) -> None:
    """Equal coordinates: the last in the list is in front, and the first of several behind is the rear one."""
    rng = np.random.default_rng(4)
    roads = []
    network = RoadNetwork.straight_road_network(3, length=200, angle=angle)
    lane = network.lanes_list()[0]
    network.add_lane("1", "0", StraightLane(lane.position(200, -4), lane.position(0, -4)))  # oncoming
    for lane in network.lanes_list():  # no dust of the rotation: level must mean equal
        lane.start, lane.end = np.round(lane.start, 9), np.round(lane.end, 9)
        lane.direction, lane.direction_lateral = np.round(lane.direction, 9), np.round(lane.direction_lateral, 9)
    first = network.lanes_list()[0]
    for _ in range(6):
        road = Road(network)
        for _ in range(12):
            position = first.position(20.0 * rng.integers(4), 2.0 * rng.integers(-2, 5))
            road.vehicles.append(Vehicle(road, position, first.heading, 20.0))
        roads.append(road)
    met = assert_neighbours(roads, device, connected=False)
    assert ("front", "Vehicle") in met and ("rear", "Vehicle") in met


def test_order_is_sorted_along_the_axis_and_by_slot_among_equals(device: torch.device) -> None:
    network = RoadNetwork.straight_road_network(3, length=300)
    rng = np.random.default_rng(5)
    roads = [crowd(network, rng, 20) for _ in range(8)]
    world = world_twin(roads, network_twin(network), device)
    world.x.copy_(torch.from_numpy(rng.integers(0, 12, world.x.shape) * 10.0))
    wp.launch(sort, dim=8, inputs=[world.struct(), model_twin(network_twin(network), device, 0.1)], device=str(device))
    for x, order, rank in zip(world.x.cpu(), world.order.cpu(), world.rank.cpu(), strict=True):
        assert torch.equal(order.long(), torch.argsort(x, stable=True))
        assert torch.equal(rank[order.long()].long(), torch.arange(20))
