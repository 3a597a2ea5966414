"""highway-env's LidarObservation on real roads is the oracle."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from highway_env.envs.common.observation import LidarObservation as RealLidar
from highway_env.road.road import Road, RoadNetwork
from highway_env.vehicle.kinematics import Vehicle
from highway_env.vehicle.objects import Landmark, Obstacle

import sim
from sim.observations.lidar import LidarObservation
from tests.sim.engine.twins import network_twin
from tests.sim.observations.scenes import Snapshots, our_observations, real_observations, snapshots

COUNT = 40  # roads of each id
NETWORK = RoadNetwork.straight_road_network(4, length=1000)
OPTIONS = {
    "default": {},
    "fine": {"cells": 64, "normalize": False, "maximum_range": 50.5},
    "odd": {"cells": 7, "maximum_range": 33.3},
    "three": {"cells": 3, "maximum_range": 20},
    "two": {"cells": 2},
    "one": {"cells": 1, "normalize": False},
}


def assert_same(options, scenes, device):
    expected = real_observations(RealLidar, options, scenes)
    found = our_observations(LidarObservation, options, scenes, device).cpu().numpy()
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    return expected


def scene(*things):
    """One road where the first of `things` observes; its sides are not those of the others' classes."""
    road = Road(NETWORK)
    for thing in things:
        thing.road = road
        (road.vehicles if isinstance(thing, Vehicle) else road.objects).append(thing)
    return Snapshots([road], [0], network_twin(NETWORK))


@pytest.mark.parametrize("env_id", ["highway-fast-v0", "intersection-v0", "parking-v0", "racetrack-v0"])
@pytest.mark.parametrize("name", OPTIONS)
def test_lidar_is_highway_envs(name, env_id, device):
    """Dense traffic, walls and their sizes, goals, things on top of the observer and around the negative x axis."""
    expected = assert_same(OPTIONS[name], snapshots(env_id, COUNT), device)
    assert (expected[..., 0] < expected[..., 0].max()).mean() > 0.1, "hardly anything is seen"
    assert np.unique(expected[..., 1]).size > COUNT // 2


@pytest.mark.parametrize("name", OPTIONS)
def test_things_right_on_the_axes(name, device):
    """Beams along the sides of rectangles divide by zero."""
    for heading in (0.0, np.pi / 2, np.pi):
        for dx, dy in ((7, 0), (-7, 0), (0, 7), (0, -7), (7, 1), (-7, -1), (1, 7), (2.5, -7), (0, 0), (3, 1)):
            ego = Vehicle(Road(NETWORK), [100.0, 4.0], 0.0, 10.0)
            assert_same(OPTIONS[name], scene(ego, Obstacle(Road(NETWORK), [100.0 + dx, 4.0 + dy], heading)), device)
            assert_same(OPTIONS[name], scene(ego, Vehicle(Road(NETWORK), [100.0 + dx, 4.0 + dy], heading, 3.0)), device)


def test_distances_in_closed_form(device):
    """A car 20 m ahead, a wall of 30 m by 4 m 10 m to the left, a landmark to the right that is not seen."""
    ego, car = Vehicle(Road(NETWORK), [100.0, 0.0], 0.3, 10.0), Vehicle(Road(NETWORK), [120.0, 0.0], 0.0, 25.0)
    wall, goal = Obstacle(Road(NETWORK), [100.0, -10.0]), Landmark(Road(NETWORK), [100.0, 5.0])
    wall.LENGTH, wall.WIDTH = 30.0, 4.0
    options = {"cells": 4, "maximum_range": 40, "normalize": False}
    found = our_observations(LidarObservation, options, scene(ego, car, wall, goal), device)[0].cpu()
    ahead = [17.5, 25 - 10 * np.cos(0.3)]
    left = [8.0, 10 * np.sin(0.3)]  # the beam along -y sees the ego's own speed
    expected = torch.tensor([ahead, [40.0, 40.0], [40.0, 40.0], left], dtype=torch.float32)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_single_precision(device):
    scenes = snapshots("highway-fast-v0", COUNT)
    expected = real_observations(RealLidar, {}, scenes)
    found = our_observations(LidarObservation, {}, scenes, device, "float32").cpu().numpy()
    off = np.abs(found - expected).max(axis=2) > 1e-3
    assert off.mean() < 0.01  # beams that graze a corner


def test_each_agent_sees_its_own_and_only_masked_worlds_are_written(device):
    scenes = snapshots("intersection-v0", COUNT)
    own = our_observations(LidarObservation, {}, scenes, device)
    mask = [i % 3 == 0 for i in range(COUNT)]
    second = our_observations(LidarObservation, {}, scenes, device, agent=1, mask=mask)
    assert torch.equal(second[mask], own[mask])
    assert not second[[not shown for shown in mask]].any()


@pytest.mark.parametrize("name", OPTIONS)
def test_the_space_is_highway_envs(name):
    expected = RealLidar(SimpleNamespace(vehicle=None), **OPTIONS[name]).space()
    assert LidarObservation(OPTIONS[name] | {"type": "LidarObservation"}, None).space == expected


def test_in_an_environment(device):
    config = {"observation": {"type": "LidarObservation", "cells": 12}}
    envs = sim.make_vec("highway-fast-v0", 8, device=device, config=config)
    seen, _ = envs.reset(seed=0)
    assert seen.shape == (8, 12, 2) and envs.observation_space.contains(seen.cpu().numpy())
    assert (seen[..., 0] < 1).any(dim=1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": 0}, "cells is 0"),
        ({"cells": 2.0}, "cells is 2.0"),
        ({"maximum_range": 0}, "maximum_range is 0"),
        ({"maximum_range": float("inf")}, "maximum_range is inf"),
        ({"range": 60}, "unknown observation key 'range'"),
    ],
)
def test_unusable_options(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        LidarObservation({"type": "LidarObservation"} | options, None)
