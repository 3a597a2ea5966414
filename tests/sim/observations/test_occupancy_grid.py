"""highway-env's OccupancyGridObservation on real roads is the oracle."""

import numpy as np
import pytest
import torch
from highway_env.envs.common.observation import OccupancyGridObservation
from highway_env.road.lane import CircularLane, PolyLaneFixedWidth
from highway_env.road.road import Road, RoadNetwork
from highway_env.vehicle.kinematics import Vehicle

import sim
from sim.engine.lanes import PolyLane
from sim.engine.network import Network
from sim.observations.occupancy_grid import OccupancyGrid
from tests.sim.engine.twins import lane_twin
from tests.sim.observations.scenes import Snapshots, our_observations, real_observations, snapshots

COUNT = 16  # roads of each id
IDS = ("racetrack-v0", "racetrack-oval-v0", "roundabout-v0", "merge-v0", "intersection-v0", "parking-v0")
ALL = [
    "presence",
    "x",
    "y",
    "vx",
    "vy",
    "heading",
    "cos_h",
    "sin_h",
    "cos_d",
    "sin_d",
    "long_off",
    "lat_off",
    "ang_off",
]
ALL += ["on_road"]
RACETRACK = {
    "features": ["presence", "on_road"],
    "grid_size": [[-18, 18], [-18, 18]],
    "grid_step": [3, 3],
    "align_to_vehicle_axes": True,
}
OPTIONS = {
    "default": {},
    "racetrack": RACETRACK,
    "lopsided": {
        "features": ALL,
        "clip": False,
        "grid_size": [[-30, 40], [-20, 19]],
        "grid_step": [5, 2.5],
        "features_range": {"x": [-33, 17], "y": [-9, 9.5], "vx": [-10, 20], "presence": [0, 3], "on_road": [0, 7]},
    },
    "image": {"features": ALL, "as_image": True, "align_to_vehicle_axes": True, "grid_size": [[-20, 20], [-20, 20]]},
    "beyond sight": {
        "features": ["on_road", "vy", "on_road"],
        "grid_size": [[-120, 130], [-3, 150]],
        "grid_step": [4, 7.7],
    },
}


def assert_same(options, scenes, device):
    expected = real_observations(OccupancyGridObservation, options, scenes)
    found = our_observations(OccupancyGrid, options, scenes, device).cpu().numpy()
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=0 if options.get("as_image") else 1e-5)
    return expected


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("name", OPTIONS)
def test_grids_are_highway_envs(name, env_id, device):
    scenes = snapshots(env_id, COUNT)
    expected = assert_same(OPTIONS[name], scenes, device)
    filled = (expected != 0).any(axis=(2, 3)).mean(axis=0)
    alone = len(scenes.roads[0].vehicles) == 1
    assert (filled > 0.1).mean() > (0.2 if alone else 0.8), "hardly anything in the grids"


def test_where_vehicles_share_a_cell_the_first_stays(device):
    """All vehicles in one cell, each with its own speed."""
    options = {"features": ["vx"], "grid_size": [[-100, 100], [-100, 100]], "grid_step": [200, 200]}
    seen = assert_same(options, snapshots("racetrack-v0", COUNT), device)
    assert (seen == 0).all()  # the observer's, relative to itself: it is the first there
    seen = assert_same(options, snapshots("intersection-v0", COUNT), device)
    assert np.unique(seen).size > 3


def test_polylines(device):
    points = [(0.0, 0.0), (12.0, 1.0), (30.0, 15.0), (80.0, 20.0)]
    network = RoadNetwork()
    network.add_lane("a", "b", PolyLaneFixedWidth(points))
    arc = CircularLane((80.0, 60.0), 40.0, -np.pi / 2, 4.0)
    network.add_lane("b", "c", arc)
    ours = Network({"a": {"b": [PolyLane(points)]}, "b": {"c": [lane_twin(arc)]}})
    roads = [Road(network) for _ in range(12)]
    rng = np.random.default_rng(0)
    for i, road in enumerate(roads):
        s = rng.uniform(0, 80)
        lane = network.get_lane(("ab"[i % 2], "bc"[i % 2], 0))
        road.vehicles = [Vehicle(road, lane.position(s, rng.uniform(-2, 2)), rng.uniform(-4, 4), 5.0)]
    for options in OPTIONS.values():
        assert_same(options, Snapshots(roads, [0] * len(roads), ours), device)


@pytest.mark.parametrize("name", ["default", "racetrack"])
def test_single_precision_differs_at_edges_of_cells_alone(name, device):
    scenes = snapshots("racetrack-v0", COUNT)
    expected = real_observations(OccupancyGridObservation, OPTIONS[name], scenes)
    found = our_observations(OccupancyGrid, OPTIONS[name], scenes, device, "float32").cpu().numpy()
    centred = np.arange(COUNT) % 4 == 2  # observers from whom lanes run along edges of cells
    off = np.abs(found - expected)[~centred] > 1e-4
    assert off.mean() < 1e-3


def test_each_agent_sees_its_own_grid_and_only_masked_worlds_are_written(device):
    scenes = snapshots("intersection-v0", COUNT)
    own = our_observations(OccupancyGrid, {}, scenes, device)
    mask = [i % 3 == 0 for i in range(COUNT)]
    second = our_observations(OccupancyGrid, {}, scenes, device, agent=1, mask=mask)
    assert torch.equal(second[mask], own[mask])
    assert not second[[not shown for shown in mask]].any()
    assert own.flatten(1).any(dim=1).all()


@pytest.mark.parametrize("name", OPTIONS)
def test_the_space_is_highway_envs(name):
    expected = OccupancyGridObservation(None, **OPTIONS[name]).space()
    assert OccupancyGrid(OPTIONS[name] | {"type": "OccupancyGrid"}, None).space == expected


def test_in_an_environment(device):
    envs = sim.make_vec("highway-fast-v0", 8, device=device, config={"observation": {"type": "OccupancyGrid"}})
    seen, _ = envs.reset(seed=0)
    assert seen.shape == (8, 4, 11, 11) and envs.observation_space.contains(seen.cpu().numpy())
    assert (seen[:, 0, 5, 5] == 1).all()  # the ego
    assert seen[:, 3].any(dim=2).all()  # road in all columns
    seen = envs.step(torch.ones(8, dtype=torch.int64, device=device))[0]
    assert (seen[:, 0, 5, 5] == 1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"absolute": True}, "absolute is True"),
        ({"feature": ["x"]}, "unknown observation key 'feature'; did you mean 'features'"),
        ({"features": ["on_raod"]}, "did you mean 'on_road'"),
        ({"features": []}, "must be a list of names"),
        ({"features": "presence"}, "must be a list of names"),
        ({"features_range": {"vx": [3, 3]}}, r"features_range\['vx'\] is \[3, 3\]"),
        ({"features_range": {"speed": [0, 3]}}, "unknown observation feature 'speed'"),
        ({"features_range": [0, 3]}, "must be a dict"),
        ({"grid_size": [-5, 5]}, r"grid_size\[0\] is -5"),
        ({"grid_size": [[-5, 5]]}, "grid_size is"),
        ({"grid_size": [[5, -5], [-5, 5]]}, "has no cell"),
        ({"grid_size": [[-float("inf"), 5], [-5, 5]]}, "infinite"),
        ({"grid_step": [0, 1]}, "above 0"),
        ({"grid_step": 5}, "grid_step is 5"),
    ],
)
def test_unusable_options(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        OccupancyGrid({"type": "OccupancyGrid"} | options, None)
