"""TimeToCollision beside highway-env's own, on scenes of real environments loaded as worlds."""

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import warp as wp
from highway_env.envs.common.observation import TimeToCollisionObservation
from highway_env.road.road import Road
from highway_env.vehicle.controller import ControlledVehicle, MDPVehicle

from sim.actions import DiscreteAction, DiscreteMetaAction
from sim.engine.state import PRECISIONS
from sim.observations.base import Binding, Setting
from sim.observations.time_to_collision import TimeToCollision, is_connected_road
from sim.world import World
from tests.sim.engine.twins import model_twin, network_twin, real_env, real_network, world_twin

MDP = {"type": "DiscreteMetaAction"}
# id: (config, agents that observe)
SCENES = {
    "highway-fast-v0": ({"vehicles_count": 12, "duration": 60}, (0,)),
    "two-way-v0": ({}, (0,)),
    "u-turn-v0": ({}, (0,)),
    "merge-v0": ({}, (0,)),
    "roundabout-v0": ({}, (0,)),
    "exit-v0": ({"controlled_vehicles": 2, "vehicles_count": 8}, (0, 1)),
    "intersection-v0": ({"controlled_vehicles": 2, "initial_vehicle_count": 6}, (0, 1)),
}
BINS = ((10, 1), (5, 1), (16, 1), (7.5, 2), (3, 7), (0.9, 5), (40, 0.3))  # horizon [s], policy frequency [Hz]
EPISODES = 3
STEPS = 8


def real_observation(env, agent, horizon, frequency):
    """What highway-env shows an agent."""
    kept = env.config["policy_frequency"]
    env.config["policy_frequency"] = frequency
    observation = TimeToCollisionObservation(env, horizon=horizon)
    observation.observer_vehicle = env.controlled_vehicles[agent]
    seen = observation.observe()
    env.config["policy_frequency"] = kept
    return seen


def real_scenes(env_id):
    """Roads at random moments, the network's twin, the egos' slots, the target speeds, and what each agent sees."""
    config, agents = SCENES[env_id]
    roads, egos, seen = [], [], {(agent, *bins): [] for agent in agents for bins in BINS}
    rng = np.random.default_rng(0)
    with real_env(env_id) as env:
        env.configure(config)
        for seed in range(EPISODES):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                env.reset(seed=seed)
            for _ in range(STEPS):
                road = env.road
                if len(roads) % 3 == 2:  # speeds that equal a target speed are left out of its row
                    for vehicle in road.vehicles[1::2]:
                        vehicle.speed = float(rng.choice(env.vehicle.target_speeds))
                roads.append(copy.deepcopy(road))
                egos.append([road.vehicles.index(vehicle) for vehicle in env.controlled_vehicles])
                for key, some in seen.items():
                    some.append(real_observation(env, *key))
                _, _, terminated, truncated, _ = env.step(env.action_space.sample())
                if terminated or truncated:
                    break
        return roads, network_twin(env.road.network), egos, env.vehicle.target_speeds, seen


def ours(roads, network, egos, speeds, agent, horizon, frequency, device, precision="float64"):
    """Our observations [N, 3, 3, bins] of an agent in each of the roads."""
    real = PRECISIONS[precision]
    world = world_twin(roads, network, device, precision)
    world = World(world.buffers | {"ego": torch.tensor(egos, dtype=torch.int32, device=device)}, precision)
    model = model_twin(network, device, 1 / 15, precision)
    model.target_speeds = wp.array(speeds, dtype=real, device=str(device))
    setting = Setting({"policy_frequency": frequency}, None, network, DiscreteMetaAction(MDP), len(egos[0]))
    binding = Binding(setting, network.table(real, device), world.struct(), model, len(roads), device, real)
    observation = TimeToCollision({"type": "TimeToCollision", "horizon": horizon}, setting, agent)
    out = observation.bind(binding)
    mask = wp.from_torch(torch.ones(len(roads), dtype=torch.bool, device=device))
    for kernel, inputs in observation.launches(mask):
        wp.launch(kernel, dim=len(roads), inputs=[*inputs, 0], device=str(device))
    return out.cpu().numpy()


@pytest.mark.parametrize("env_id", SCENES)
def test_time_to_collision_equals_highway_envs(env_id, device):
    *scene, seen = real_scenes(env_id)
    marked = set()
    for (agent, horizon, frequency), expected in seen.items():
        found = ours(*scene, agent, horizon, frequency, device)
        where = f"{env_id} {horizon=} {frequency=} {agent=}"
        np.testing.assert_array_equal(found, np.stack(expected), err_msg=where)
        marked |= set(found.flat)
    assert marked == {0.0, 0.5, 1.0}


def test_meetings_at_whole_times(device):
    """A time that is a bin's own marks that bin alone; vehicles abreast are met at once, those behind never."""
    with real_env("highway-fast-v0") as env:
        road, ego = env.road, env.vehicle
        ego.heading = 0.0
        for k, vehicle in enumerate(road.vehicles[1:9]):
            vehicle.position[0] = ego.position[0] + 5 * (k - 1)
            vehicle.speed = (20.0, 10.0, 25.0, 35.0)[k % 4]
        seen = {bins: real_observation(env, 0, *bins) for bins in BINS}
        scene = [road], network_twin(road.network), [[0]], ego.target_speeds
    for bins, expected in seen.items():
        np.testing.assert_array_equal(ours(*scene, 0, *bins, device)[0], expected, err_msg=str(bins))


def test_float32_worlds_see_nearly_the_same(device):
    *scene, _ = real_scenes("u-turn-v0")
    exact, rounded = (ours(*scene, 0, 16, 1, device, precision) for precision in PRECISIONS)
    assert (exact != rounded).mean() < 1e-3


def test_an_observer_on_a_wider_road_than_the_first_egos(device):
    """There highway-env's observation leaves its own space, or it raises; ours goes on with lanes beside the road."""
    with real_env("merge-v0", seed=1) as env:
        road, observer = env.road, env.vehicle
        while observer.lane_index[2] == 0:
            env.step(2)  # to the right
        first = MDPVehicle(road, road.network.get_lane(("j", "k", 0)).position(20, 0), speed=20)
        # highway-env raises an IndexError for others on the lanes that it lacks
        road.vehicles = [first, observer, *(v for v in road.vehicles if v.lane_index[2] == 0)]
        env.controlled_vehicles = [first, observer]
        expected = real_observation(env, 1, 10, 1)
        slots = [road.vehicles.index(vehicle) for vehicle in env.controlled_vehicles]
        scene = [road], network_twin(road.network), [slots], observer.target_speeds
    assert expected.shape[1] < 3
    found = ours(*scene, 1, 10, 1, device)[0]
    np.testing.assert_array_equal(found[:, : expected.shape[1]], expected)
    assert (found[:, expected.shape[1] :] == 1).all()


@wp.kernel(enable_backward=False, module="unique")
def connect(lanes: Any, world: Any, connected: wp.array3d(dtype=wp.bool)):
    """Is there a way from each edge to each other, for the vehicle of each world?"""
    w, here, there = wp.tid()
    connected[w, here, there] = is_connected_road(lanes, world, w, 0, here, there, world.cars[w, 0].route_head)


@pytest.mark.parametrize("env_id", ["roundabout-v0", "intersection-v0", "exit-v0", "merge-v0", "racetrack-v0"])
def test_connected_roads_equal_highway_envs(env_id, device):
    """Along no route, along routes that go astray, and along some that the vehicle has begun."""
    real = real_network(env_id)
    network = network_twin(real)
    rng = np.random.default_rng(0)
    routes: list = [None]
    for _ in range(15):
        edges = [network.edges[i] for i in rng.integers(len(network.edges), size=rng.integers(1, 3))]
        while len(edges) < 6 and real.graph.get(edges[-1][1]):
            edges.append((edges[-1][1], rng.choice(list(real.graph[edges[-1][1]]))))
        routes.append([(start, end, None) for start, end in edges])
    road = Road(real)
    vehicles = [ControlledVehicle(road, [0, 0], route=route) for route in routes]
    world = world_twin([Road(real, [vehicle]) for vehicle in vehicles], network, device)
    count = len(network.edges)
    found = torch.zeros(len(routes), count, count, dtype=torch.bool, device=device)
    inputs = [network.table(wp.float64, device), world.struct(), wp.from_torch(found)]
    wp.launch(connect, dim=tuple(found.shape), inputs=inputs, device=str(device))
    expected = [
        [
            [real.is_connected_road((*here, 0), (*there, 0), route=route, depth=3) for there in network.edges]
            for here in network.edges
        ]
        for route in routes
    ]
    np.testing.assert_array_equal(found.cpu().numpy(), np.array(expected))


def settings(action, frequency=1):
    return Setting({"policy_frequency": frequency}, None, None, action, 1)


@pytest.mark.parametrize("horizon, frequency", BINS)
def test_space_equals_highway_envs(horizon, frequency):
    with real_env("two-way-v0") as env:
        env.config["policy_frequency"] = frequency
        expected = TimeToCollisionObservation(env, horizon=horizon).space()
    found = TimeToCollision(
        {"type": "TimeToCollision", "horizon": horizon}, settings(DiscreteMetaAction(MDP), frequency)
    )
    assert found.space == expected and found.space.dtype == expected.dtype


def test_unusable_options_are_refused():
    steered = DiscreteAction({"type": "DiscreteAction"})
    with pytest.raises(ValueError, match="DiscreteMetaAction"):
        TimeToCollision({"type": "TimeToCollision"}, settings(steered))
    with pytest.raises(ValueError, match="'horizon'"):
        TimeToCollision({"type": "TimeToCollision", "horizn": 3}, settings(DiscreteMetaAction(MDP)))
    for horizon in (0, -1, float("inf"), float("nan"), "10", True, 0.5):
        with pytest.raises(ValueError, match="horizon"):
            TimeToCollision({"type": "TimeToCollision", "horizon": horizon}, settings(DiscreteMetaAction(MDP)))
