"""highway-env's `Road.act` and `Road.step` are the oracle of what drivers decide, from the same state on both sides."""

import copy
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from highway_env.road.road import Road, RoadNetwork
from highway_env.vehicle.behavior import AggressiveVehicle, DefensiveVehicle, IDMVehicle, LinearVehicle
from highway_env.vehicle.controller import ControlledVehicle, MDPVehicle
from highway_env.vehicle.kinematics import Vehicle
from highway_env.vehicle.objects import Landmark, Obstacle

from sim.engine.drivers import MetaAction
from sim.engine.state import PRECISIONS, lane_struct
from sim.world import World
from tests.sim.engine.twins import (
    REAL_ROADS,
    advance,
    assert_same,
    model_twin,
    network_twin,
    real_env,
    world_twin,
)

DT = 1 / 15  # s
NETWORK = RoadNetwork.straight_road_network(4, length=1000, speed_limit=30)
DRIVERS = (IDMVehicle, IDMVehicle, LinearVehicle, AggressiveVehicle, DefensiveVehicle)
TOLERANCE = 1e-9


def driver(rng: np.random.Generator, road: Road, cls: type, x: float, y: float, changing: float) -> ControlledVehicle:
    """A driver in any state: speeds from backwards to too fast, turned, changing lanes, with a route, crashed."""
    heading = 0.0 if rng.random() < 0.4 else rng.normal() * 0.15
    speed = rng.choice([rng.uniform(15, 32), rng.uniform(-3, 45), 0.0], p=[0.8, 0.15, 0.05])
    one = cls(road, [x, y], heading, speed, target_speed=rng.uniform(18, 32))
    if issubclass(cls, IDMVehicle):
        road.np_random = rng
        one.randomize_behavior()
        one.timer = rng.uniform(0.01, 1.6)
        one.enable_lane_change = rng.random() < 0.9
    if rng.random() < changing:
        one.target_lane_index = ("0", "1", int(rng.integers(4)))
    if rng.random() < 0.3:
        one.route = [("0", "1", None if rng.random() < 0.3 else int(rng.integers(4)))]
    one.crashed = rng.random() < 0.04
    return one


def traffic(rng: np.random.Generator, ego: type, changing: float, objects: bool = True) -> Road:
    """A dense crowd in random list order, the ego first; a third exactly on a lane, a third level with another."""
    road = Road(NETWORK)
    xs: list[float] = []
    for i in range(14):
        x = rng.choice(xs) if xs and rng.random() < 0.3 else 100 + rng.uniform(0, 160)
        y = 4.0 * rng.integers(4) if rng.random() < 0.5 else rng.uniform(-2, 14)
        xs.append(x)
        cls = ego if i == 0 else DRIVERS[rng.integers(len(DRIVERS))]
        if issubclass(cls, ControlledVehicle):
            road.vehicles.append(driver(rng, road, cls, x, y, changing))
        else:
            road.vehicles.append(cls(road, [x, y], rng.normal() * 0.1, rng.uniform(10, 35)))
            road.vehicles[-1].action = {"acceleration": rng.uniform(-5, 5), "steering": rng.uniform(-0.5, 0.5)}
    if objects:
        place = [(rng.uniform(100, 260), 4.0 * rng.integers(4)) for _ in range(3)]
        road.objects = [cls(road, at) for cls, at in zip((Obstacle, Landmark, Obstacle), place, strict=True)]
    return road


def step_real(roads: Sequence[Road], dt: float = DT) -> None:
    for road in roads:
        road.act()
        Road.step(road, dt)  # an intersection's own step also hands out the right of way


def step_twins(roads: Sequence[Road], device: torch.device, swept: bool, frames: int = 1) -> World:
    """The worlds that the roads become, in `frames` frames."""
    ours = network_twin(NETWORK)
    world = world_twin(roads, ours, device)
    table = ours.table(PRECISIONS["float64"], device, sweep=swept)
    assert (table._cls is lane_struct(PRECISIONS["float64"], True)) == swept
    advance(world, table, model_twin(ours, device, DT), frames)
    return world


@pytest.mark.parametrize("swept", [True, False], ids=["swept", "searched"])
@pytest.mark.parametrize("ego", [MDPVehicle, Vehicle, IDMVehicle], ids=lambda cls: cls.__name__)
def test_one_frame_of_random_traffic(ego: type, swept: bool, device: torch.device) -> None:
    rng = np.random.default_rng(8)
    roads = [traffic(rng, ego, changing=0.4) for _ in range(40)]
    world = step_twins(roads, device, swept)
    before = [[getattr(v, "target_lane_index", None) for v in road.vehicles] for road in roads]
    step_real(roads)
    assert_same(world, roads, network_twin(NETWORK), TOLERANCE)
    after = [[getattr(v, "target_lane_index", None) for v in road.vehicles] for road in roads]
    changed = sum(a != b for old, new in zip(before, after, strict=True) for a, b in zip(old, new, strict=True))
    assert changed > 50  # lane changes begun or given up


@pytest.mark.parametrize("swept", [True, False], ids=["swept", "searched"])
def test_seconds_of_traffic_on_a_road(swept: bool, device: torch.device) -> None:
    """Many frames in one go, so that each world goes its own way through changes, aborts and crashes."""
    rng = np.random.default_rng(9)
    roads = []
    for _ in range(12):
        road = Road(NETWORK)
        for x in np.cumsum(rng.uniform(7, 22, 14)):
            lane = NETWORK.lanes_list()[rng.integers(4)]
            one = DRIVERS[rng.integers(len(DRIVERS))](road, [100 + x, lane.start[1]], 0, rng.uniform(20, 30))
            one.randomize_behavior()
            one.target_speed = rng.uniform(20, 30)
            one.check_collisions = False  # no pile-ups: their touching vehicles are told apart by rounding alone
            road.vehicles.append(one)
        rng.shuffle(road.vehicles)
        roads.append(road)
    world = step_twins(roads, device, swept, frames=60)
    for _ in range(60):
        step_real(roads)
    assert_same(world, roads, network_twin(NETWORK), 1e-6)


def test_sweep_equals_search(device: torch.device) -> None:
    rng = np.random.default_rng(10)
    roads = [traffic(rng, MDPVehicle, changing=0.3) for _ in range(40)]
    swept, searched = (step_twins(roads, device, way, frames=8).fields() for way in (True, False))
    for name in swept:
        if name not in ("ahead", "s", "lateral"):  # scratch of the one or the other
            assert torch.equal(swept[name], searched[name]), name


def competitors(order: Sequence[int], other_decides: bool) -> Road:
    """Two vehicles that make for the same lane from both sides, the second just ahead, and a slow one to pass."""
    road = Road(NETWORK)
    back = IDMVehicle(road, [100, 8], 0, 26, target_speed=30)
    ahead = IDMVehicle(road, [106, 0], 0, 24, target_speed=30)
    slow = IDMVehicle(road, [122, 0], 0, 10, target_speed=10, enable_lane_change=False)
    back.target_lane_index = ("0", "1", 1)
    if other_decides:
        ahead.timer = 2.0  # thinks in this very frame, and leaves its lane for the slow one's sake
    else:
        ahead.target_lane_index = ("0", "1", 1)
    back.timer = slow.timer = 0.5
    road.vehicles = [(back, ahead, slow)[i] for i in order]
    return road


@pytest.mark.parametrize("swept", [True, False], ids=["swept", "searched"])
def test_a_lane_change_is_given_up_for_one_ahead(swept: bool, device: torch.device) -> None:
    """A decision of this frame counts only if it stands earlier in the list."""
    orders = [(0, 1, 2), (1, 0, 2), (2, 0, 1)]
    roads = [competitors(order, decides) for decides in (False, True) for order in orders]
    world = step_twins(roads, device, swept)
    targets = [int(world.target_lane[i, order.index(0)]) for i, order in enumerate(orders * 2)]
    assert targets == [2, 2, 2, 1, 2, 1]
    step_real(roads)
    assert_same(world, roads, network_twin(NETWORK), TOLERANCE)


@pytest.mark.parametrize("swept", [True, False], ids=["swept", "searched"])
def test_of_several_level_vehicles_ahead_the_last_in_the_list_counts(swept: bool, device: torch.device) -> None:
    """Vehicles that do not check collisions may overlap; they differ in speed, so it matters whom one follows."""
    roads = []
    for gap in (0.0, 30.0):
        for speeds in ((20, 25, 30, 15), (30, 15, 25, 20)):
            road = Road(NETWORK)
            road.vehicles = [IDMVehicle(road, [100 + gap * (i > 0), 4], 0, speed) for i, speed in enumerate(speeds)]
            for one in road.vehicles:
                one.check_collisions, one.timer = False, 0.5
            roads.append(road)
    world = step_twins(roads, device, swept)
    step_real(roads)
    assert_same(world, roads, network_twin(NETWORK), TOLERANCE)


@pytest.mark.parametrize("swept", [True, False], ids=["swept", "searched"])
@pytest.mark.parametrize("cls", [IDMVehicle, LinearVehicle], ids=lambda cls: cls.__name__)
def test_objects_among_drivers(cls: type, swept: bool, device: torch.device) -> None:
    """An obstacle is braked for and, as a follower, judged by each driver's own model; a landmark is not there."""
    roads = []
    for kind in (Obstacle, Landmark):
        for behind in (2.0, 6.0, 12.0):
            road = Road(NETWORK)
            one, slow = cls(road, [200, 4], 0, 20, target_speed=28), cls(road, [280, 4], 0, 12)
            one.timer, slow.timer = 2.0, 0.5
            road.vehicles = [one, slow]
            road.objects = [kind(road, [200 - behind, 0]), kind(road, [200 - behind, 8]), kind(road, [240, 4])]
            roads.append(road)
    world = step_twins(roads, device, swept)
    step_real(roads)
    assert_same(world, roads, network_twin(NETWORK), TOLERANCE)


@pytest.mark.parametrize("connected", [False, True], ids=["own lane", "connected lanes"])
@pytest.mark.parametrize("env_id", REAL_ROADS)
def test_frames_of_real_environments(env_id: str, connected: bool, device: torch.device) -> None:
    """Traffic as highway-env makes it: each frame is stepped on both sides from the same state."""
    with real_env(env_id, seed=11) as env:
        env.road.neighbour_vehicles_connected_lanes = connected
        ours, dt = network_twin(env.road.network), 1 / 15
        table = ours.table(PRECISIONS["float64"], device, sweep=not connected)
        model = model_twin(ours, device, dt, connected=connected)
        frozen = copy.deepcopy(env.road)
        moved = set()
        for _ in range(2400 // max(len(frozen.vehicles), 10)):
            world = world_twin([frozen], ours, device)
            advance(world, table, model)
            lanes = [v.lane_index for v in frozen.vehicles]
            step_real([frozen], dt)
            assert_same(world, [frozen], ours, TOLERANCE)
            moved |= {v for v, old in enumerate(lanes) if frozen.vehicles[v].lane_index[:2] != old[:2]}
        assert moved or env_id in ("two-way-v0",)  # one road each way


@pytest.mark.parametrize("env_id", ["merge-v0", "roundabout-v0", "intersection-v0", "u-turn-v0"])
def test_routes_to_the_end(env_id: str, device: torch.device) -> None:
    """Random traffic with routes all over a real network, mixed drivers, through junctions."""
    rng = np.random.default_rng(12)
    with real_env(env_id) as env:
        network = env.road.network
    ours = network_twin(network)
    roads = []
    for _ in range(5):
        road = Road(network)
        lanes = list(network.lanes_dict().items())
        for i in range(10):
            index, lane = lanes[rng.integers(len(lanes))]
            s = rng.uniform(0, lane.length)
            cls = MDPVehicle if i == 0 else DRIVERS[rng.integers(len(DRIVERS))]
            one = cls(road, lane.position(s, rng.normal()), lane.heading_at(s), rng.uniform(2, 20), index)
            one.check_collisions = False
            if rng.random() < 0.7:
                goal = rng.choice([b for _, b in ours.edges])
                one.plan_route_to(str(goal))
                one.route = [(a, b, lane and int(rng.integers(len(network.graph[a][b])))) for a, b, lane in one.route]
            road.vehicles.append(one)
        road.vehicles[-1].crashed = True
        road.vehicles[0].crashed = rng.random() < 0.3
        roads.append(road)
    world = world_twin(roads, ours, device)
    table, model = ours.table(PRECISIONS["float64"], device), model_twin(ours, device, DT)
    for frame in range(24):
        if frame % 8 == 0:
            world = world_twin(roads, ours, device)
        advance(world, table, model)
        step_real(roads)
        assert_same(world, roads, ours, 1e-7)


@pytest.mark.parametrize("action", MetaAction)
def test_meta_actions(action: MetaAction, device: torch.device) -> None:
    rng = np.random.default_rng(13)
    roads = []
    for speed in (5.0, 21.0, 22.5, 27.5, 29.0, 33.0):
        for y in (0.0, 3.0, 5.9, 12.0):
            road = Road(NETWORK)
            ego = MDPVehicle(road, [rng.uniform(0, 990), y], rng.normal() * 0.1, speed)
            ego.target_lane_index = ("0", "1", int(rng.integers(4)))
            road.vehicles = [ego]
            roads.append(road)
    ours = network_twin(NETWORK)
    world = world_twin(roads, ours, device)
    table = ours.table(PRECISIONS["float64"], device)
    advance(world, table, model_twin(ours, device, DT), meta=[int(action)] * len(roads))
    for road in roads:
        road.vehicles[0].act(action.name)
    step_real(roads)
    assert_same(world, roads, ours, TOLERANCE)
