"""How vehicles move: highway-env's `step` from random injected states, and curves known in closed form."""

from typing import Any

import numpy as np
import pytest
import torch
from highway_env.road.road import Road, RoadNetwork
from highway_env.vehicle.controller import MDPVehicle
from highway_env.vehicle.dynamics import BicycleVehicle
from highway_env.vehicle.kinematics import Vehicle

from sim.engine.state import PRECISIONS
from sim.world import World
from tests.sim.engine.twins import advance, assert_same, model_twin, network_twin, world_twin

DT = 1 / 15  # s
NETWORK = RoadNetwork.straight_road_network(4, length=1000)


def run(roads: list[Road], device: torch.device, frames: int, precision: str = "float64", **limits: float) -> World:
    """The worlds that the roads become; the roads stay as they are. `limits` change the model's parameters."""
    ours = network_twin(NETWORK)
    world = world_twin(roads, ours, device, precision)
    model = model_twin(ours, device, DT, precision)
    for name, value in limits.items():
        setattr(model, name, value)
    advance(world, ours.table(PRECISIONS[precision], device), model, frames)
    return world


def alone(cls: type, x: float, y: float, heading: float, speed: float, **state: Any) -> Road:
    """A road with one vehicle; `state` overrides its attributes."""
    road = Road(NETWORK)
    one = cls(road, [x, y], heading, speed)
    for name, value in state.items():
        setattr(one, name, value)
    road.vehicles = [one]
    return road


def random_states(cls: type, count: int) -> list[Road]:
    """Any pose and speed, also beyond the limits; commands, crashes and pending impacts."""
    rng = np.random.default_rng(14)
    roads = []
    for _ in range(count):
        road = alone(cls, rng.uniform(0, 900), rng.uniform(-4, 16), rng.uniform(-7, 7), rng.uniform(-55, 55))
        one = road.vehicles[0]
        one.action = {"acceleration": rng.uniform(-8, 8), "steering": rng.uniform(-1.0, 1.0)}
        one.crashed = rng.random() < 0.2
        if rng.random() < 0.2:
            one.impact = rng.normal(size=2)
        if cls is BicycleVehicle:
            one.speed = rng.choice([one.speed, rng.uniform(-1, 1), 0.0], p=[0.7, 0.25, 0.05])
            one.lateral_speed, one.yaw_rate = rng.normal() * 2, rng.normal() * 5
            one.action["steering"] *= 2  # beyond the right angle at which it is clipped
        roads.append(road)
    return roads


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("cls", [Vehicle, BicycleVehicle, MDPVehicle], ids=lambda cls: cls.__name__)
def test_steps_from_random_states(cls: type, frames: int, device: torch.device) -> None:
    roads = random_states(cls, 300)
    world = run(roads, device, frames)
    for road in roads:
        for _ in range(frames):
            road.act()
            road.step(DT)
    assert_same(world, roads, network_twin(NETWORK), 1e-9)


def test_a_crash_brakes_and_straightens(device: torch.device) -> None:
    """Each frame takes the share dt of the speed, whatever was commanded."""
    commands = {"acceleration": 5.0, "steering": 0.4}
    for cls in (Vehicle, MDPVehicle):
        world = run([alone(cls, 100, 4, 0.0, 20.0, crashed=True, action=dict(commands))], device, 10)
        assert world.speed[0, 0].item() == pytest.approx(20 * (1 - DT) ** 10, abs=1e-9)
        assert world.heading[0, 0].item() == 0.0


def test_a_pending_impact_shifts_once_and_crashes(device: torch.device) -> None:
    road = alone(Vehicle, 100, 4, 0.0, 0.0, impact=np.array([0.7, -1.1]))
    world = run([road], device, 3)
    assert (world.x[0, 0].item(), world.y[0, 0].item()) == pytest.approx((100.7, 2.9), abs=1e-12)
    assert world.crashed[0, 0]


def test_speed_limits_of_the_action_bind_directly_steered_vehicles(device: torch.device) -> None:
    """ContinuousAction's speed_range: a vehicle beyond it is brought back by (limit - speed) dt a frame at least."""
    action = {"acceleration": 5.0, "steering": 0.0}
    roads = [
        alone(cls, 100, 4, 0.0, speed, action=dict(action)) for cls in (Vehicle, MDPVehicle) for speed in (12.0, 9.0)
    ]
    roads += [alone(Vehicle, 100, 4, 0.0, -7.0, action={"acceleration": -5.0, "steering": 0.0})]
    world = run(roads, device, 1, ego_speed_max=10.0, ego_speed_min=-5.0)
    speeds = world.speed[:, 0].tolist()
    assert speeds[0] == pytest.approx(12 - 2 * DT)
    assert speeds[1] == pytest.approx(9 + 5 * DT)  # not there yet; it overshoots and comes back
    assert speeds[2] > 12  # an MDP vehicle has the range of its class, up to 40 m/s
    assert speeds[4] == pytest.approx(-7 + 2 * DT)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_straight_line(precision: str, device: torch.device) -> None:
    """Constant acceleration, Euler steps: v_n = v + n a dt, distance = n v dt + a dt^2 n (n - 1) / 2."""
    frames, speed, acceleration, heading = 30, 8.0, 1.5, 0.6
    action = {"acceleration": acceleration, "steering": 0.0}
    world = run([alone(Vehicle, 10, 2, heading, speed, action=action)], device, frames, precision)
    travelled = frames * speed * DT + acceleration * DT**2 * frames * (frames - 1) / 2
    tolerance = 1e-9 if precision == "float64" else 1e-3
    assert world.speed[0, 0].item() == pytest.approx(speed + frames * acceleration * DT, abs=tolerance)
    assert world.x[0, 0].item() == pytest.approx(10 + travelled * np.cos(heading), abs=tolerance)
    assert world.y[0, 0].item() == pytest.approx(2 + travelled * np.sin(heading), abs=tolerance)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_circle(precision: str, device: torch.device) -> None:
    """A steady wheel turns the heading by equal steps, so the positions are the corners of a regular polygon.

    With slip b (tan b = tan(steering) / 2) a step is v dt long and turns v dt sin(b) / 2.5 m. A steering angle that
    turns 2 pi / 60 a frame leads back to the start in 60 frames, and half-way to the polygon's far side.
    """
    speed, frames = 10.0, 60
    slip = np.arcsin(2 * np.pi / frames * 2.5 / (speed * DT))
    steering = np.arctan(2 * np.tan(slip))
    road = alone(Vehicle, 500, 6, 0.3, speed, action={"acceleration": 0.0, "steering": steering})
    tolerance = 1e-9 if precision == "float64" else 3e-3
    full, half = run([road], device, frames, precision), run([road], device, frames // 2, precision)
    assert (full.x[0, 0].item(), full.y[0, 0].item()) == pytest.approx((500, 6), abs=tolerance)
    assert full.heading[0, 0].item() == pytest.approx(0.3 + 2 * np.pi, abs=tolerance)  # never wrapped
    diameter = speed * DT / np.sin(np.pi / frames)
    away = np.hypot(half.x[0, 0].item() - 500, half.y[0, 0].item() - 6)
    assert away == pytest.approx(diameter, abs=tolerance)


def test_cosine_and_sine_follow_the_heading(device: torch.device) -> None:
    for cls in (Vehicle, BicycleVehicle):
        world = run(random_states(cls, 100), device, 3)
        torch.testing.assert_close(world.cos_heading, world.heading.cos(), rtol=0, atol=1e-12)
        torch.testing.assert_close(world.sin_heading, world.heading.sin(), rtol=0, atol=1e-12)
