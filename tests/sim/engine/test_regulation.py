"""highway-env's RegulatedRoad is the oracle of who yields to whom, from the same crowd at a junction on both sides."""

from typing import Any

import numpy as np
import pytest
import torch
import warp as wp
from highway_env.road.regulation import RegulatedRoad
from highway_env.vehicle.behavior import AggressiveVehicle, DefensiveVehicle, IDMVehicle, LinearVehicle
from highway_env.vehicle.controller import ControlledVehicle, MDPVehicle
from highway_env.vehicle.dynamics import BicycleVehicle
from highway_env.vehicle.kinematics import Vehicle

from sim.engine.network import Network
from sim.engine.regulation import PREDICTIONS, SAMPLES, regulate
from sim.engine.state import PRECISIONS
from sim.world import World
from tests.sim.engine.twins import advance, assert_same, model_twin, network_twin, real_network, world_twin

JUNCTION = real_network("intersection-v0")
EXITS = ("o0", "o1", "o2", "o3")
TRAFFIC = (IDMVehicle, IDMVehicle, LinearVehicle, AggressiveVehicle, DefensiveVehicle)
EGOS = (MDPVehicle, Vehicle, BicycleVehicle)
TIMES = np.arange(0.25, 3, 0.25)  # is_conflict_possible
DT = 1 / 15  # s


@wp.kernel(enable_backward=False, module="unique")
def regulate_all(lanes: Any, world: Any, model: Any):
    regulate(lanes, world, model, wp.tid())


def follower(rng: np.random.Generator, road: RegulatedRoad, cls: type) -> ControlledVehicle:
    """A vehicle that follows lanes, in most cases near the middle and with a route; some on the way out of a lane."""
    lanes = list(road.network.lanes_dict().items())
    index, lane = lanes[rng.integers(len(lanes))]
    s = rng.uniform(0, lane.length)
    if rng.random() < 0.7 and lane.length > 50:
        s = lane.length - rng.uniform(0, 25) if index[0].startswith("o") else rng.uniform(0, 25)
    heading = lane.heading_at(s) + (0.0 if rng.random() < 0.5 else rng.normal() * 0.2)
    speed = rng.choice([rng.uniform(0, 12), rng.uniform(-2, 30)], p=[0.8, 0.2])
    one = cls(road, lane.position(s, 0.0 if rng.random() < 0.5 else rng.normal()), heading, speed)
    if rng.random() < 0.9:
        one.plan_route_to(str(rng.choice([*EXITS, "nowhere"])))
        one.route = [(a, b, 0 if rng.random() < 0.2 else i) for a, b, i in one.route]
        if rng.random() < 0.3:  # as follow_road leaves it
            one.route.pop(0)
    if isinstance(one, IDMVehicle) and rng.random() < 0.3:
        one.is_yielding, one.yield_timer, one.color, one.target_speed = True, 0, None, 0
    return one


def steered(rng: np.random.Generator, road: RegulatedRoad, cls: type) -> Vehicle:
    """A directly steered vehicle near the middle, in any state."""
    speed = rng.choice([rng.uniform(-5, 15), rng.uniform(-60, 60)], p=[0.8, 0.2])
    one = cls(road, rng.uniform(-20, 20, size=2), rng.uniform(-4, 4), speed)
    one.action = {"acceleration": rng.uniform(-5, 5), "steering": rng.uniform(-1, 1) * rng.choice([0.05, 0.8, 2.0])}
    if isinstance(one, BicycleVehicle):
        one.lateral_speed, one.yaw_rate = rng.normal() * 0.5, rng.normal() * 4
    elif rng.random() < 0.3:
        one.impact = rng.normal(size=2)
    return one


def crowd(rng: np.random.Generator, ego: type, size: int = 14) -> RegulatedRoad:
    """A road full of vehicles, the ego first; now and then one has crashed."""
    road = RegulatedRoad(JUNCTION, np_random=rng)
    for i in range(size):
        cls = ego if i == 0 else TRAFFIC[rng.integers(len(TRAFFIC))]
        make = follower if issubclass(cls, ControlledVehicle) else steered
        road.vehicles.append(make(rng, road, cls))
        road.vehicles[-1].crashed = rng.random() < 0.1
        road.vehicles[-1].check_collisions = False
    return road


def regulated(roads: list[RegulatedRoad], ours: Network, device: torch.device, precision: str = "float64") -> World:
    """The roads as worlds, regulated once."""
    world = world_twin(roads, ours, device, precision)
    table, model = ours.table(PRECISIONS[precision], device), model_twin(ours, device, DT, precision)
    wp.launch(regulate_all, dim=len(roads), inputs=[table, world.struct(), model], device=str(device))
    return world


@pytest.mark.parametrize("ego", EGOS)
def test_who_yields_is_the_same(ego: type, device: torch.device) -> None:
    rng = np.random.default_rng(31)
    roads = [crowd(rng, ego) for _ in range(10)]
    ours = network_twin(JUNCTION)
    world = regulated(roads, ours, device)
    before = [[getattr(one, "is_yielding", False) for one in road.vehicles] for road in roads]
    for road in roads:
        road.enforce_road_rules()
    assert_same(world, roads, ours)
    after = [[getattr(one, "is_yielding", False) for one in road.vehicles] for road in roads]
    told, kept, released = (
        sum(
            b == x and a == y
            for some, later in zip(before, after, strict=True)
            for b, a in zip(some, later, strict=True)
        )
        for x, y in ((False, True), (True, True), (True, False))
    )
    assert min(told, kept, released) > 3


@pytest.mark.parametrize("ego", EGOS)
def test_predicted_paths_are_the_same(ego: type, device: torch.device) -> None:
    rng = np.random.default_rng(32)
    roads = [crowd(rng, ego, 4) for _ in range(25)]
    predicted = regulated(roads, network_twin(JUNCTION), device).predicted.cpu().numpy()
    assert predicted.shape[2] == PREDICTIONS
    assert len(TIMES) == SAMPLES
    for w, road in enumerate(roads):
        for v, one in enumerate(road.vehicles):
            positions, headings = one.predict_trajectory_constant_speed(TIMES)
            path = np.column_stack([positions, headings])
            np.testing.assert_allclose(predicted[w, v, :-4].reshape(SAMPLES, 3), path, rtol=0, atol=1e-7)
            box = np.stack([path.min(axis=0), path.max(axis=0)], axis=1)[:2]
            np.testing.assert_allclose(predicted[w, v, -4:], box.ravel(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("frequency", [15, 5, 7])
def test_regulated_frames_are_the_same(frequency: int, device: torch.device) -> None:
    """highway-env's whole step, which regulates the junction at 2 Hz or a little faster."""
    rng = np.random.default_rng(33)
    roads = [crowd(rng, MDPVehicle, 10) for _ in range(4)]
    ours = network_twin(JUNCTION)
    world = world_twin(roads, ours, device)
    model = model_twin(ours, device, 1 / frequency)
    model.regulation_period = int(1 / (1 / frequency) / RegulatedRoad.REGULATION_FREQUENCY)
    table = ours.table(PRECISIONS["float64"], device)
    for _ in range(2 * model.regulation_period):
        advance(world, table, model)
        for road in roads:
            road.act()
            road.step(1 / frequency)
        assert_same(world, roads, ours, 1e-6)


def test_the_road_counts_its_frames_from_the_offset(device: torch.device) -> None:
    roads = [crowd(np.random.default_rng(34), MDPVehicle) for _ in range(3)]
    ours = network_twin(JUNCTION)
    model = model_twin(ours, device, DT)
    model.regulation_period, model.regulation_offset = 7, 5
    world = world_twin(roads, ours, device)
    for road in roads:
        road.steps = 5
    for _ in range(9):
        advance(world, ours.table(PRECISIONS["float64"], device), model)
        for road in roads:
            road.act()
            road.step(DT)
        assert_same(world, roads, ours, 1e-6)


def test_single_precision_decides_alike(device: torch.device) -> None:
    rng = np.random.default_rng(35)
    roads = [crowd(rng, MDPVehicle) for _ in range(20)]
    ours = network_twin(JUNCTION)
    exact, fast = (regulated(roads, ours, device, precision).yields.cpu() for precision in PRECISIONS)
    assert (exact != fast).float().mean() < 0.01


def test_a_road_without_vehicles(device: torch.device) -> None:
    ours = network_twin(JUNCTION)
    world = regulated([RegulatedRoad(JUNCTION), crowd(np.random.default_rng(0), MDPVehicle)], ours, device)
    assert not world.yields[0].any()
