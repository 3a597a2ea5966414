"""highway-env's GrayscaleObservation, drawn by pygame, is the oracle: pixel for pixel."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import warp as wp
from highway_env.envs.common.observation import GrayscaleObservation as RealGrayscale
from highway_env.road.lane import CircularLane, LineType, PolyLaneFixedWidth, SineLane, StraightLane
from highway_env.road.road import Road, RoadNetwork
from highway_env.vehicle.kinematics import Vehicle
from highway_env.vehicle.objects import Landmark, Obstacle

import sim
from sim.engine import lanes as our_lanes
from sim.engine.network import Network
from sim.engine.state import PRECISIONS
from sim.observations.base import Binding, Setting
from sim.observations.grayscale import GrayscaleObservation
from sim.scenarios import SCENARIOS
from sim.world import World
from tests.sim.engine.twins import lane_twin, world_twin
from tests.sim.observations.scenes import Snapshots, snapshots

IDS = ("highway-fast-v0", "racetrack-v0", "intersection-v0", "parking-v0", "merge-v0", "roundabout-v0")
COUNT = 12  # roads of each id
GREY = [0.2989, 0.5870, 0.1140]
DOCUMENTED = {"observation_shape": (128, 64), "stack_size": 4, "weights": GREY, "scaling": 1.75}
OPTIONS = {
    "documented": DOCUMENTED,
    "id's scaling": {"observation_shape": (101, 77), "stack_size": 1, "weights": GREY},
    "near": {"observation_shape": (150, 90), "stack_size": 2, "weights": [1, 0.3, -0.5], "scaling": 13.7},
    "far": {"observation_shape": (31, 150), "stack_size": 1, "weights": [0.3, 0.6, 0.1], "scaling": 0.9},
    "aside": {
        "observation_shape": [64, 64],
        "stack_size": 1,
        "weights": (0, 1, 0),
        "scaling": 3.4,
        "centering_position": [0.05, 1.1],
    },
}
CONFIG = {"scaling": 5.5, "centering_position": [0.3, 0.5], "show_trajectories": False}


def real_pictures(options, scenes, config):
    """highway-env's stacks [N, stack, W, H] after one observation, and whether anything but road is in them."""
    seen = []
    for road, ego in zip(scenes.roads, scenes.egos, strict=True):
        env = SimpleNamespace(road=road, vehicle=road.vehicles[ego], observation_type=None)
        env.config = config | {"simulation_frequency": 15, "offscreen_rendering": True, "render_agent": True}
        shape = tuple(options["observation_shape"])
        seen.append(RealGrayscale(env, **options | {"observation_shape": shape}).observe().copy())
    return np.stack(seen)


def our_pictures(options, scenes, config, device, env_id="highway-v0", precision="float64", **changes):
    """Ours [N, stack, W, H]; `changes` overwrite fields of the worlds."""
    worlds = len(scenes.roads)
    world = world_twin(scenes.roads, scenes.network, device, precision)
    for name, value in changes.items():
        getattr(world, name).copy_(value)
    egos = torch.tensor(scenes.egos, dtype=torch.int32, device=device)[:, None]
    world = World(world.buffers | {"ego": egos.contiguous()}, precision)
    setting = Setting(config, SCENARIOS[env_id], scenes.network, None, 1)
    ours = GrayscaleObservation({"type": "GrayscaleObservation"} | options, setting)
    out = ours.bind(Binding(setting, None, world.struct(), None, worlds, device, PRECISIONS[precision]))
    assert tuple(out.shape[1:]) == ours.space.shape
    shown = wp.from_torch(torch.ones(worlds, dtype=torch.bool, device=device))
    for kernel, inputs, threads in ours.launches(shown, reset=True):
        wp.launch(kernel, dim=(worlds, threads), inputs=[*inputs, 0], device=str(device))
    return out.cpu().numpy()


def assert_same(options, scenes, device, env_id="highway-v0", config=CONFIG, **changes):
    expected = real_pictures(options, scenes, config)
    found = our_pictures(options, scenes, config, device, env_id, **changes)
    assert found.dtype == expected.dtype and found.shape == expected.shape
    unequal = (found != expected).reshape(len(found), -1).sum(axis=1)
    assert unequal.tolist() == [0] * len(found)
    return expected


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("name", OPTIONS)
def test_pictures_are_highway_envs(name, env_id, device):
    """Driven roads, and vehicles and objects at any heading all over each other."""
    scenes = snapshots(env_id, COUNT)
    expected = assert_same(OPTIONS[name], scenes, device, env_id)
    newest = expected[:, -1]
    assert not expected[:, :-1].any()
    assert np.unique(newest).size >= (2 if name == "aside" else 3), "hardly anything in the pictures"


def scene(lanes, things=lambda road: [], count=12):
    """Roads with these lanes side by side and an observer near a random point of one of them."""
    network, edge = RoadNetwork(), {}
    for number, lane in enumerate(lanes):
        network.add_lane(str(number), f"to {number}", lane)
        is_polyline = isinstance(lane, PolyLaneFixedWidth)
        twin = our_lanes.PolyLane(POINTS, line_types=tuple(lane.line_types)) if is_polyline else lane_twin(lane)
        edge[str(number)] = {f"to {number}": [twin]}
    roads, rng = [Road(network) for _ in range(count)], np.random.default_rng(0)
    for number, road in enumerate(roads):
        lane = lanes[number % len(lanes)]
        position = lane.position(rng.uniform(0, lane.length), 0.0) + rng.uniform(-9, 9, 2)
        road.vehicles = [Vehicle(road, position, rng.uniform(-4, 4), 5.0)]
        road.objects = things(road)
    return Snapshots(roads, [0] * count, Network(edge))


POINTS = [(0.0, 0.0), (12.0, 1.0), (30.0, 15.0), (80.0, 20.0)]
KINDS = (LineType.NONE, LineType.STRIPED, LineType.CONTINUOUS, LineType.CONTINUOUS_LINE)


@pytest.mark.parametrize("scaling", [1.3, 5.5, 6.7, 10.2, 14.0])
def test_lines_of_every_kind_on_lanes_of_every_shape(scaling, device):
    """1.3 to 6.6 px/m: lines of one pixel, then of two, three and four, which are wider on one side."""
    pairs = [[KINDS[i % 4], KINDS[(i + 1 + i // 4) % 4]] for i in range(6)]
    lanes = [
        StraightLane([0, 0], [57.0, 0], line_types=pairs[0]),
        StraightLane([0, 4], [0, 61.0], line_types=pairs[1]),
        StraightLane([0, 8], [41.0, -40], line_types=pairs[2]),
        StraightLane([30, 50], [-25.0, 2], line_types=pairs[3]),
        SineLane([0, 30], [80, 40], 3.0, 0.2, 1.0, line_types=pairs[4]),
        CircularLane([30, 10], 25.0, 0.2, 6.0, line_types=pairs[5]),
        CircularLane([30, 10], 21.0, 3.0, -1.0, clockwise=False, line_types=pairs[1]),
        PolyLaneFixedWidth(POINTS, line_types=pairs[2]),
    ]
    assert {kind for lane in lanes for kind in lane.line_types} == set(KINDS)
    options = DOCUMENTED | {"scaling": scaling, "observation_shape": (160, 120)}
    expected = assert_same(options, scene(lanes, count=24), device)
    assert (expected[:, -1] == 254).mean() > 0.01


@pytest.mark.parametrize("scaling", [1.75, 5.5, 11.0])
def test_objects_walls_and_steered_wheels(scaling, device):
    def things(road):
        rng = np.random.default_rng(len(scenes_seen))
        scenes_seen.append(road)
        wall = Obstacle(road, [10.0, 4.0], heading=np.pi / 2)
        wall.LENGTH, wall.WIDTH = 42, 1
        made = [wall, Obstacle(road, [3.0, -6.0]), Landmark(road, [-8.0, 3.0], heading=0.7)]
        made[1].crashed, made[2].hit = bool(rng.integers(2)), bool(rng.integers(2))
        for thing in made[1:]:
            thing.heading += rng.choice([0.0, 0.02, 0.04, np.pi / 2, -np.pi, 1.0])
        return made

    scenes_seen: list = []
    scenes = scene([StraightLane([0, 0], [30.0, 0])], things)
    steering = torch.zeros(len(scenes.roads), 4, dtype=torch.float64)
    for i, road in enumerate(scenes.roads):
        road.vehicles[0].position = np.array([float(i) / 7, 0.0])
        road.vehicles[0].heading = (0.0, 0.03, 0.04, np.pi / 2, -np.pi / 2 - 1e-5, 2.5)[i % 6]
        steering[i, 0] = road.vehicles[0].action["steering"] = (0.0, 0.7, -0.3, 0.1)[i % 4]
    options = DOCUMENTED | {"scaling": scaling}
    crashed = torch.tensor([[False] * 2 + [road.objects[1].crashed, road.objects[2].hit] for road in scenes.roads])
    expected = assert_same(options, scenes, device, steering=steering.to(device), crashed=crashed.to(device))
    assert np.unique(expected[:, -1]).size > 4


def test_a_stack_moves_on_and_begins_anew(device):
    """The newest picture comes last; a reset blackens what was before, in the worlds that it resets alone."""
    config = {"observation": {"type": "GrayscaleObservation", **DOCUMENTED}}
    envs = sim.make_vec("highway-fast-v0", 6, device=device, config=config)
    first, _ = envs.reset(seed=3)
    assert envs.observation_space.contains(first.cpu().numpy())
    assert not first[:, :3].any() and first[:, 3].flatten(1).any(dim=1).all()
    idle = torch.ones(6, dtype=torch.int64, device=device)
    second = envs.step(idle)[0]
    third = envs.step(idle)[0]
    assert torch.equal(third[:, 1:3], second[:, 2:4]) and torch.equal(second[:, 2], first[:, 3])
    mask = torch.tensor([True, False] * 3, device=device)
    some, _ = envs.reset(options={"reset_mask": mask})
    assert torch.equal(some[~mask], third[~mask])
    assert not some[mask][:, :3].any() and some[mask][:, 3].flatten(1).any(dim=1).all()


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_every_autoreset_mode_and_a_loaded_state(mode, device):
    """Episodes of 3 s end all the time; a state that is loaded halfway leads to the same pictures."""
    config = {"observation": {"type": "GrayscaleObservation", **DOCUMENTED}, "duration": 3}
    envs = [sim.make_vec("highway-fast-v0", 4, device=device, config=config, autoreset_mode=mode) for _ in range(2)]
    envs[0].reset(seed=0)
    actions = torch.tensor([0, 1, 2, 3], device=device)
    for step in range(9):
        if step == 4:
            envs[1].load_state_dict(envs[0].state_dict())
        seen, _, ended, cut, info = envs[0].step(actions)
        black = (seen.flatten(2) == 0).all(dim=2).sum(dim=1)  # pictures of each world
        if mode == "SameStep":
            done = ended | cut
            assert (black[done] == 3).all()
            assert ((info["final_obs"][done].flatten(2) == 0).all(dim=2).sum(dim=1) < 3).all()
        if step >= 4:
            assert torch.equal(envs[1].step(actions)[0], seen)


def test_agents_see_their_own_surroundings(device):
    """The pictures of two agents, and of a tuple of observations, are those of highway-env's single ones."""
    one = {"type": "GrayscaleObservation", **DOCUMENTED}
    both = {"type": "MultiAgentObservation", "observation_config": one}
    env_id = "intersection-multi-agent-v0"
    envs = sim.make_vec(env_id, 3, device=device, config={"observation": both})
    seen, _ = envs.reset(seed=0)
    assert len(seen) == 2 and not torch.equal(seen[0], seen[1])
    members = {"type": "TupleObservation", "observation_configs": [one, {"type": "LidarObservation"}, one]}
    tupled = sim.make_vec(env_id, 3, device=device, config={"observation": members})
    parts, _ = tupled.reset(seed=0)
    assert torch.equal(parts[0], seen[0]) and torch.equal(parts[2], seen[0])
    for made, width in ((envs, 2), (tupled, 2)):
        actions = torch.ones(3, width, dtype=torch.int64, device=device)
        made.step(actions)
        again, _ = made.reset(seed=0)
        assert torch.equal(again[0], seen[0])  # older pictures are gone


def test_pictures_do_not_depend_on_the_batch(device):
    config = {"observation": {"type": "GrayscaleObservation", **DOCUMENTED}}
    many = sim.make_vec("roundabout-v0", 40, device=device, config=config)
    few = sim.make_vec("roundabout-v0", 3, device=device, config=config, threads=1)
    seen, alone = many.reset(seed=0)[0], few.reset(seed=[7, 39, 7])[0]
    assert torch.equal(alone, seen[[7, 39, 7]])


def test_single_precision_is_close(device):
    config = {"observation": {"type": "GrayscaleObservation", **DOCUMENTED}}
    exact, rounded = (
        sim.make_vec("highway-fast-v0", 16, device=device, config=config, precision=precision).reset(seed=0)[0]
        for precision in ("float64", "float32")
    )
    assert (exact != rounded).float().mean() < 0.002
    one = sim.make("highway-fast-v0", config=config)
    assert (one.reset(seed=2)[0] == exact[2].cpu().numpy()).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observation_shape": None}, "needs observation_shape"),
        ({"weights": None}, "needs weights"),
        ({"stack_size": None}, "needs stack_size"),
        ({"observation_shape": (0, 64)}, "from 1 to"),
        ({"observation_shape": (64.5, 64)}, "from 1 to"),
        ({"observation_shape": 64}, "must be two numbers"),
        ({"stack_size": 0}, "stack_size is 0"),
        ({"weights": [1, 1]}, "must be three numbers"),
        ({"scaling": -1}, "scaling is -1"),
        ({"centering_position": [0.5]}, "must be two numbers"),
        ({"scale": 2}, "did you mean 'scaling'"),
    ],
)
def test_unusable_options(options, message):
    config = {"type": "GrayscaleObservation"} | DOCUMENTED | options
    config = {key: value for key, value in config.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        sim.make_vec("highway-fast-v0", 1, config={"observation": config})


def test_trajectories_are_refused():
    config = {"observation": {"type": "GrayscaleObservation", **DOCUMENTED}, "show_trajectories": True}
    with pytest.raises(ValueError, match="show_trajectories"):
        sim.make_vec("highway-fast-v0", 1, config=config)
