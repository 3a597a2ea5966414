"""Real highway-env roads, lanes and vehicles, and their twins in our tables and tensors."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium
import highway_env  # noqa: F401 - registers the ids
import numpy as np
import torch
import warp as wp
from highway_env.road import lane as real_lanes
from highway_env.road.road import Road, RoadNetwork
from highway_env.vehicle import behavior, objects
from highway_env.vehicle.controller import ControlledVehicle, MDPVehicle
from highway_env.vehicle.dynamics import BicycleVehicle
from highway_env.vehicle.kinematics import Vehicle

from sim.engine import lanes as our_lanes
from sim.engine.network import Network
from sim.engine.regulation import PREDICTIONS
from sim.engine.state import PRECISIONS, model_struct
from sim.engine.step import simulate
from sim.engine.ziggurat import ziggurat_table
from sim.world import Kind, Sizes, World

# The first match counts: subclasses stand before their bases.
KINDS = (
    (behavior.AggressiveVehicle, Kind.AGGRESSIVE),
    (behavior.DefensiveVehicle, Kind.DEFENSIVE),
    (behavior.LinearVehicle, Kind.LINEAR),
    (behavior.IDMVehicle, Kind.IDM),
    (MDPVehicle, Kind.MDP),
    (BicycleVehicle, Kind.BICYCLE),
    (Vehicle, Kind.VEHICLE),
    (objects.Obstacle, Kind.OBSTACLE),
    (objects.Landmark, Kind.LANDMARK),
)
REAL_ROADS = ("merge-v0", "roundabout-v0", "intersection-v0", "racetrack-v0", "exit-v0", "u-turn-v0", "two-way-v0")
CLASS_CONSTANTS = ("DISTANCE_WANTED", "COMFORT_ACC_MAX", "COMFORT_ACC_MIN")  # that intersection-v0 overwrites


@contextmanager
def real_env(env_id: str, seed: int = 0) -> Iterator[Any]:
    """A reset highway-env environment; undoes what its reset does to the classes of vehicles."""
    kept = {name: getattr(behavior.IDMVehicle, name) for name in CLASS_CONSTANTS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # v1 differs by neighbour_vehicles_connected_lanes
        env = gymnasium.make(env_id, disable_env_checker=True).unwrapped
    try:
        env.reset(seed=seed)
        yield env
    finally:
        env.close()
        for name, value in kept.items():
            setattr(behavior.IDMVehicle, name, value)


def real_network(env_id: str) -> RoadNetwork:
    """The road network of a highway-env environment."""
    with real_env(env_id) as env:
        return env.road.network


def lane_twin(lane: Any) -> our_lanes.Lane:
    """Our description of a highway-env lane."""
    shared = {"width": getattr(lane, "width", 4.0), "forbidden": lane.forbidden, "speed_limit": lane.speed_limit}
    shared |= {"priority": lane.priority, "line_types": tuple(lane.line_types)}
    if isinstance(lane, real_lanes.SineLane):
        return our_lanes.SineLane(
            tuple(lane.start), tuple(lane.end), lane.amplitude, lane.pulsation, lane.phase, **shared
        )
    if isinstance(lane, real_lanes.StraightLane):
        return our_lanes.StraightLane(tuple(lane.start), tuple(lane.end), **shared)
    if isinstance(lane, real_lanes.CircularLane):
        return our_lanes.CircularLane(
            tuple(lane.center), lane.radius, lane.start_phase, lane.end_phase, lane.clockwise, **shared
        )
    raise TypeError(f"no twin for {type(lane).__name__}")


def network_twin(network: RoadNetwork) -> Network:
    """Our network of the same lanes in the same order."""
    graph = network.graph
    return Network({a: {b: [lane_twin(one) for one in graph[a][b]] for b in graph[a]} for a in graph})


def kind_of(vehicle: Any) -> Kind:
    """Our kind of a highway-env vehicle or object."""
    return next(kind for cls, kind in KINDS if isinstance(vehicle, cls))


def slip_of(vehicle: Any, precision: str) -> float:
    """Slip angle [rad] that a vehicle's steering command gives, its sine in float32."""
    angle = np.arctan(np.tan(vehicle.action["steering"]) / 2)
    return float(angle if precision == "float64" else np.sin(angle))


def route_twin(network: Network, route: Sequence[tuple] | None) -> list[tuple[int, int]]:
    """(edge, lane index or -1) of each step of a highway-env route."""
    return [(network.edges.index((a, b)), -1 if i is None else int(i)) for a, b, i in route or []]


def car_twin(vehicle: Any, network: Network, precision: str = "float64") -> dict[str, Any]:
    """Field values of a vehicle or object."""
    car = {
        "kind": int(kind_of(vehicle)),
        "x": vehicle.position[0],
        "y": vehicle.position[1],
        "heading": vehicle.heading,
        "cos_heading": np.cos(vehicle.heading),
        "sin_heading": np.sin(vehicle.heading),
        "speed": vehicle.speed,
        "lane": network.lane_number(*vehicle.lane_index),
        "crashed": vehicle.crashed,
        "length": vehicle.LENGTH,
        "width": vehicle.WIDTH,
        "checks_collisions": vehicle.check_collisions,
        "impact_rank": -1,
    }
    car["s"], car["lateral"] = vehicle.lane.local_coordinates(vehicle.position)
    if isinstance(vehicle, Vehicle):
        car |= {"acceleration": vehicle.action["acceleration"], "steering": vehicle.action["steering"]}
        car |= {"slip": slip_of(vehicle, precision)}
        if vehicle.impact is not None:
            car |= {"impact_x": vehicle.impact[0], "impact_y": vehicle.impact[1], "impact_rank": 0}
    if isinstance(vehicle, ControlledVehicle):
        car |= {"target_lane": network.lane_number(*vehicle.target_lane_index)}
        car |= {"target_speed": vehicle.target_speed, "route_size": len(vehicle.route or [])}
    if isinstance(vehicle, behavior.IDMVehicle):
        car |= {"timer": vehicle.timer, "delta": vehicle.DELTA, "changes_lanes": vehicle.enable_lane_change}
        car |= {"yields": getattr(vehicle, "is_yielding", False)}
    if isinstance(vehicle, behavior.LinearVehicle):
        gains = [*vehicle.ACCELERATION_PARAMETERS, *vehicle.STEERING_PARAMETERS]
        car |= {f"gain_{i}": gain for i, gain in enumerate(gains)}
    if isinstance(vehicle, BicycleVehicle):
        car |= {"lateral_speed": vehicle.lateral_speed, "yaw_rate": vehicle.yaw_rate}
    return car


def world_twin(roads: Sequence[Road], network: Network, device: torch.device, precision: str = "float64") -> World:
    """Roads as worlds: vehicles in list order, then objects. Slot 0 is the ego."""
    things = [[*road.vehicles, *road.objects] for road in roads]
    steps = max([1, *(len(getattr(v, "route", None) or []) for some in things for v in some)])
    most = max(len(some) for some in things)
    sizes = Sizes(vehicles=most, lanes=len(network.lanes), route=steps, predictions=PREDICTIONS)
    world = World.allocate(len(roads), sizes, torch.device("cpu"), precision)
    axis = network.axis()
    for w, some in enumerate(things):
        world.count[w] = len(some)
        world.objects[w] = len(roads[w].objects)
        for v, thing in enumerate(some):
            for name, value in car_twin(thing, network, precision).items():
                getattr(world, name)[w, v] = value.item() if isinstance(value, np.generic) else value
            for r, (edge, index) in enumerate(route_twin(network, getattr(thing, "route", None))):
                world.route_edge[w, v, r], world.route_lane[w, v, r] = edge, index
        keys = world.x[w, : len(some)] * float(axis[0]) + world.y[w, : len(some)] * float(axis[1])
        order = torch.argsort(keys, stable=True)
        world.order[w, : len(some)] = order.int()
        world.rank[w, order] = torch.arange(len(some), dtype=torch.int32)
    on_device = World.allocate(len(roads), sizes, device, precision)
    on_device.copy_from(World({k: b.to(device) for k, b in world.buffers.items()}, precision))
    return on_device


def model_twin(
    network: Network, device: torch.device, dt: float, precision: str = "float64", connected: bool = False
) -> Any:
    """The model's parameters as highway-env's classes have them now."""
    real, idm = PRECISIONS[precision], behavior.IDMVehicle
    model = model_struct(real)()
    model.dt = dt
    model.axis_x, model.axis_y = network.axis()
    model.snap = 0.0
    model.distance_wanted = idm.DISTANCE_WANTED
    model.comfort_acc_max, model.comfort_acc_min = idm.COMFORT_ACC_MAX, idm.COMFORT_ACC_MIN
    model.closing_divisor = 2 * np.sqrt(-idm.COMFORT_ACC_MAX * idm.COMFORT_ACC_MIN)
    model.ego_speed_min, model.ego_speed_max = Vehicle.MIN_SPEED, Vehicle.MAX_SPEED
    model.limited_egos = 1
    model.connected_lanes = int(connected)
    model.ziggurat = wp.array(ziggurat_table(), dtype=wp.float64, device=str(device))
    model.target_speeds = wp.array(MDPVehicle.DEFAULT_TARGET_SPEEDS, dtype=real, device=str(device))
    return model


def advance(
    world: World,
    table: Any,
    model: Any,
    frames: int = 1,
    meta: Sequence[int] | None = None,
) -> None:
    """Run the simulation kernel in place; `meta` gives each world's ego a meta-action first."""
    n, device = world.num_worlds, world.device
    active = torch.ones(n, dtype=torch.bool, device=device)
    action = torch.tensor(meta or [1] * n, dtype=torch.int32, device=device)[:, None]
    command = torch.zeros(n, 1, 2, dtype=world.x.dtype, device=device)
    arrays = [wp.from_torch(active), int(meta is not None), wp.from_torch(action), wp.from_torch(command)]
    inputs = [table, world.struct(), model, *arrays, frames, wp.float64(0.0), 0]
    wp.launch(simulate, dim=n, inputs=inputs, device=str(device))


def assert_same(world: World, roads: Sequence[Road], network: Network, tolerance: float = 1e-9) -> None:
    """Compare every field that both sides hold: numbers within `tolerance`, decisions exactly."""
    fields = {name: tensor.cpu() for name, tensor in world.fields().items()}
    for w, road in enumerate(roads):
        for v, thing in enumerate([*road.vehicles, *road.objects]):
            expected = car_twin(thing, network, world.precision)
            if kind_of(thing) is Kind.LANDMARK:
                expected["crashed"] = thing.hit
            pending = expected.pop("impact_rank") >= 0
            size = expected.pop("route_size", None)
            del expected["s"], expected["lateral"]  # not kept up on a swept road
            # Of the two, one is the command; highway-env clips a bicycle's in place.
            unused = {Kind.VEHICLE: {"slip"}, Kind.BICYCLE: {"slip", "steering"}}.get(kind_of(thing), {"steering"})
            for name in set(expected) - unused:
                found = fields[name][w, v].item()
                where = f"world {w} slot {v} ({Kind(expected['kind']).name}) {name}"
                np.testing.assert_allclose(found, float(expected[name]), rtol=0, atol=tolerance, err_msg=where)
            where = f"world {w} slot {v} ({Kind(expected['kind']).name})"
            if isinstance(thing, Vehicle) and not isinstance(thing, BicycleVehicle):  # those ignore impacts
                assert (fields["impact_rank"][w, v].item() >= 0) == pending, f"{where} pending impact"
            if size is not None:
                left = (fields["route_size"][w, v] - fields["route_head"][w, v]).item()
                assert left == size, f"{where}: {left} route steps left, not {size}"
