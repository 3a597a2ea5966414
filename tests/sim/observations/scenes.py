"""Snapshots of real highway-env roads, and what an observation type of highway-env and ours make of them."""

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import warp as wp
from highway_env.road.lane import StraightLane
from highway_env.road.road import Road
from highway_env.vehicle.kinematics import Vehicle

from sim.engine.network import Network
from sim.engine.state import PRECISIONS
from sim.observations.base import Binding
from sim.world import World
from tests.sim.engine.twins import network_twin, real_env, world_twin

NEAR = 35.0  # m, how far around the observer things are scattered
AXES = (0.0, np.pi / 2, np.pi, -np.pi / 2)  # rad


@dataclass
class Snapshots:
    """Roads of one id, all on the same network, and the index of the observer in each road's vehicles."""

    roads: list[Road]
    egos: list[int]
    network: Network


@cache
def snapshots(env_id: str, count: int, steps: int = 3) -> Snapshots:
    """Every fourth road as highway-env's random driving leaves it; in the others things lie around the observer.

    Of those a third observes along an axis and, but for slanted lanes, from the very middle of a lane, where lanes run
    along edges of cells; a third from any place at any heading. Cached: do not change the roads.
    """
    roads, egos = [], []
    rng = np.random.default_rng(0)
    with real_env(env_id) as env:
        network = env.road.network
        ours = network_twin(network)
        for i in range(count):
            if i % 4 == 0:
                env.reset(seed=i)
                env.action_space.seed(i)
                for _ in range(steps):
                    env.step(env.action_space.sample())
            road = copy.deepcopy(env.road, {id(env.road.network): network})
            ego = env.road.vehicles.index(env.vehicle)
            if i % 4:
                scatter(road, road.vehicles[ego], rng)
            if i % 4 > 1:
                displace(road, road.vehicles[ego], rng, centred=i % 4 == 2)
            roads.append(road)
            egos.append(ego)
    return Snapshots(roads, egos, ours)


def scatter(road: Road, ego: Vehicle, rng: np.random.Generator) -> None:
    """Move all things but the observer near it, some on top of it, at any heading and speed."""
    for thing in [*road.vehicles, *road.objects]:
        if thing is not ego:
            thing.position = ego.position + rng.uniform(-NEAR, NEAR, 2) * rng.choice([0.05, 0.5, 1])
            thing.heading = rng.uniform(-4, 4)
            if isinstance(thing, Vehicle):
                thing.speed = rng.uniform(-10, 40)
                thing.on_state_update()


def displace(road: Road, ego: Vehicle, rng: np.random.Generator, centred: bool) -> None:
    """Move the observer on a random lane, with the things around it."""
    edges = [edge for ends in road.network.graph.values() for edge in ends.values()]
    lane = (edge := edges[rng.integers(len(edges))])[rng.integers(len(edge))]
    slanted = isinstance(lane, StraightLane) and np.abs(lane.direction).min() > 1e-9  # BLAS' last bit would decide
    s = rng.uniform(-20, lane.length + 20)
    moved = lane.position(s, 0 if centred and not slanted else rng.uniform(-6, 6)) - ego.position
    for thing in [*road.vehicles, *road.objects]:
        thing.position = thing.position + moved
    ego.heading = rng.choice(AXES) if centred else rng.uniform(-7, 7)
    for vehicle in road.vehicles:
        vehicle.on_state_update()


def real_observations(observation: type, options: dict[str, Any], scenes: Snapshots) -> np.ndarray:
    """What highway-env's observation type returns for each road `[N, ...]`."""
    seen = []
    for road, ego in zip(scenes.roads, scenes.egos, strict=True):
        env = SimpleNamespace(road=road, vehicle=road.vehicles[ego], PERCEPTION_DISTANCE=200.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # NaN cast to uint8
            seen.append(observation(env, **options).observe().copy())
    return np.stack(seen)


def our_observations(
    observation: type,
    options: dict[str, Any],
    scenes: Snapshots,
    device: torch.device,
    precision: str = "float64",
    agent: int = 0,
    mask: Sequence[bool] | None = None,
) -> torch.Tensor:
    """What our observation type writes for each road `[N, ...]`."""
    worlds = len(scenes.roads)
    world = world_twin(scenes.roads, scenes.network, device, precision)
    egos = torch.full((worlds, agent + 1), -1, dtype=torch.int32, device=device)
    egos[:, agent] = torch.tensor(scenes.egos)
    world = World(world.buffers | {"ego": egos}, precision)
    table = scenes.network.table(PRECISIONS[precision], device)
    binding = Binding(None, table, world.struct(), None, worlds, device, PRECISIONS[precision])
    ours = observation(options, None, agent)
    out = ours.bind(binding)
    assert tuple(out.shape[1:]) == ours.space.shape
    shown = torch.tensor([True] * worlds if mask is None else mask, device=device)
    for kernel, inputs in ours.launches(wp.from_torch(shown)):
        wp.launch(kernel, dim=worlds, inputs=[*inputs, 0], device=str(device))
    return out
