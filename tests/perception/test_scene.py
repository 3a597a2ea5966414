"""From pictures' labels to a scene: where things are, who they are, how fast; worlds do not know of each other."""

import math
from dataclasses import replace

import pytest
import torch
from gymnasium.vector import AutoresetMode

import sim
from agents.stack import StackDriver, StackSettings
from perception.fusion import Measurements
from perception.scene import SceneSettings
from sim.evaluation.driver import ConstantDriver, DriverSpec, stepped, watchers
from sim.lane_directions import LaneDirections
from sim.scene import SceneFeatures, scene_from_world
from sim.world import Kind

IDLE = DriverSpec("constant:IDLE", ConstantDriver, ("IDLE",))
REACH = 45.0
"""Within which cameras of 320 x 192 pixels see cars of six pixels and more [m]."""


def stack(seeds, settings=None, env_id="highway-fast-v0", precision="float64", how=None, **options):
    """Environments after a reset, and a stack that sits in them."""
    envs = sim.make_vec(env_id, len(seeds), precision=precision, autoreset_mode=AutoresetMode.DISABLED)
    driver = StackDriver(IDLE, settings or StackSettings(**options), how)
    driver.prepare(envs, seeds)
    observation, _ = envs.reset(seed=list(seeds))
    driver.reset(torch.ones(len(seeds), dtype=torch.bool))
    return envs, driver, observation


def drive(envs, driver, steps):
    """Policy steps straight on; the driver looks as it would in an evaluation."""
    for _ in range(steps):
        stepped(envs, driver.act(None), *watchers(driver))


def pairs(envs, scene, reach=REACH):
    """Of each thing of the scene within reach, the nearest true one: offsets along x and y, velocity errors, rows."""
    truth = scene_from_world(envs, 64)
    far = torch.hypot(
        scene.tracked.x[..., None] - truth.tracked.x[:, None], scene.tracked.y[..., None] - truth.tracked.y[:, None]
    )
    far = torch.where(truth.valid[:, None], far, torch.inf)
    index = far.argmin(-1)
    near = torch.hypot(scene.tracked.x - scene.ego.x[:, None], scene.tracked.y - scene.ego.y[:, None]) < reach
    world, row = (scene.valid & near).nonzero(as_tuple=True)

    def error(name):
        true = getattr(truth.tracked, name).gather(1, index)
        return (getattr(scene.tracked, name) - true)[world, row]

    return {name: error(name) for name in ("x", "y", "vx", "vy", "heading")}, world, row


def test_cameras_see_what_is_there():
    """With true boxes: nothing invented, little missed within reach, and errors that the covariance expects."""
    envs, driver, _ = stack(range(8), rate=5)
    drive(envs, driver, 4)
    scene = driver.scene()
    error, world, row = pairs(envs, scene)
    assert len(row) > 12
    assert float((torch.hypot(error["x"], error["y"]) < 3.0).double().mean()) >= 0.85
    assert float(error["y"].abs().median()) < 0.2 and float(error["x"].abs().median()) < 0.8
    assert float(error["vx"].abs().median()) < 1.0 and float(error["vy"].abs().median()) < 0.4
    covariance = scene.covariance[world, row]
    state = torch.stack([error["x"], error["y"]], -1)
    far = (state * torch.linalg.solve(covariance[:, :2, :2], state)).sum(-1)
    assert float(far.median()) < 2.0 and float((far > 13.8).double().mean()) < 0.2
    # A thing is missed if it is hidden behind others; of those that are near, nobody may be.
    truth = scene_from_world(envs, 64, reach=20.0)
    found = torch.cdist(
        torch.stack([truth.tracked.x, truth.tracked.y], -1), torch.stack([scene.tracked.x, scene.tracked.y], -1)
    )
    found = torch.where(scene.valid[:, None], found, torch.inf).amin(-1)
    assert float((found[truth.valid] < 3.0).double().mean()) >= 0.85


def test_true_boxes_and_tracks_give_the_true_features():
    """Oracle boxes, places, numbers and velocities, put together by the real pipeline: the features of the world."""
    envs, driver, _ = stack(range(6), StackSettings(tracker="oracle"))
    drive(envs, driver, 3)
    features = SceneFeatures(envs, 32)
    perceived, true = (features(scene).clone() for scene in (driver.scene(), scene_from_world(envs, 32, reach=REACH)))
    # Rows are the ego and the nearest four: presence, x, y in hundreds of metres or four lanes, vx, vy in 80 m/s.
    same = (perceived[:, :, 0] == 1) & (true[:, :, 0] == 1) & ((perceived - true)[:, :, 1:3].abs() < 0.03).all(-1)
    assert torch.equal(perceived[:, 0], true[:, 0])
    assert int(same[:, 1:3].sum()) >= 10  # of twelve
    torch.testing.assert_close(perceived[same][:, 3:], true[same][:, 3:], rtol=0, atol=1e-6)


def test_perfect_is_the_world():
    """All three oracles: the very features that a driver without a stack gets."""
    settings = StackSettings(detector="oracle", fusion="oracle", tracker="oracle", things=64)
    _, driver, observation = stack(range(3), settings)
    assert driver.sees == "scene" and StackDriver(IDLE, StackSettings()).sees == "frames"
    torch.testing.assert_close(driver.features(driver.scene()), observation, rtol=0, atol=1e-6)


def test_a_world_does_not_depend_on_the_others():
    """Bit for bit: alone and among others, seeds in another order."""

    def seen(seeds):
        envs, driver, _ = stack(seeds, rate=1, lidar=True)
        drive(envs, driver, 2)
        return driver.scene()

    together, alone = seen([5, 9, 2]), seen([2])
    for name in ("valid", "still", "number", "age", "covariance"):
        assert torch.equal(getattr(together, name)[2], getattr(alone, name)[0])
    for name in ("x", "y", "vx", "vy", "heading", "length"):
        assert torch.equal(getattr(together.tracked, name)[2], getattr(alone.tracked, name)[0])
    assert int(alone.valid.sum()) > 1


def test_a_reset_forgets():
    envs, driver, _ = stack(range(2), rate=1)
    drive(envs, driver, 3)
    before = driver.scene()
    assert int(before.age.max()) == 4
    envs.reset(seed=[7, 8], options={"reset_mask": torch.tensor([True, False])})
    driver.reset(torch.tensor([True, False]))
    scene = driver.scene()
    assert int(scene.age[0].max()) == 1 and bool(scene.valid[0].any())
    assert torch.equal(scene.number[1], before.number[1]) and torch.equal(scene.tracked.x[1], before.tracked.x[1])
    # New things are as fast as traffic until they have been seen to be otherwise.
    assert float(scene.ego.vx[0]) > 22
    torch.testing.assert_close(scene.tracked.vx[0], 22.0 * scene.valid[0].double(), rtol=0, atol=1e-6)


def test_nothing_of_an_episode_is_left_in_the_next_one():
    """Numbers begin anew in every episode: what a number was taken for before must be forgotten."""
    envs, driver, _ = stack([3], env_id="merge-v0", rate=5)
    drive(envs, driver, 5)
    driver.prepare(envs, [0])
    envs.reset(seed=[0])
    driver.reset(torch.ones(1, dtype=torch.bool))
    drive(envs, driver, 3)
    fresh_envs, fresh, _ = stack([0], env_id="merge-v0", rate=5)
    drive(fresh_envs, fresh, 3)
    assert torch.equal(driver.perception._votes, fresh.perception._votes)
    one, other = driver.scene(), fresh.scene()
    for name in ("still", "number", "age", "covariance", "valid"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert torch.equal(one.tracked.length, other.tracked.length) and torch.equal(one.tracked.x, other.tracked.x)


def test_what_stands_still_is_known_as_such():
    """The obstacle at the end of merge-v0's ramp, put where cameras see it."""
    envs, driver, _ = stack([0, 1], env_id="merge-v0", rate=1)
    world = envs.world
    obstacle = world.kind == int(Kind.OBSTACLE)
    ego = world.ego[:, 0].long()
    for name, offset in (("x", 18.0), ("y", 9.0)):
        place = getattr(world, name)
        place[obstacle] = place[torch.arange(2), ego] + offset
    scene = driver.scene()
    assert scene.still.sum(1).tolist() == [1, 1]
    off = torch.hypot(scene.tracked.x - world.x[obstacle][:, None], scene.tracked.y - world.y[obstacle][:, None])
    assert float(off[scene.still].max()) < 1.0
    assert not scene.tracked.vx[scene.still].any()
    assert scene.tracked.length[scene.still].tolist() == [2.0, 2.0]


def test_a_new_thing_needs_evidence():
    """What nobody saw at the first look counts once its scores, 1 each for true boxes, sum up: here at the second."""
    # Without the camera that sees far: nothing new comes into its view so soon.
    near = "front+left+right+rear"
    envs, driver, _ = stack(range(4), rate=1, cameras=near, how=SceneSettings(evidence=1.5))
    drive(envs, driver, 3)
    tracks, scene = driver.perception.tracks(), driver.scene()
    counted = set(scene.number[scene.valid].tolist())
    new = tracks.valid & (tracks.age == 1)
    assert bool(new.any())
    for world in range(4):
        numbers = set(scene.number[world][scene.valid[world]].tolist())
        assert not numbers & set(tracks.number[world][new[world]].tolist())
    assert counted


def measured(places, scores):
    """One world's measurements, cars that are surely there."""
    place = torch.tensor([places], dtype=torch.float64)
    one = torch.ones(place.shape[:2], dtype=torch.int64)
    covariance = 0.04 * torch.eye(2, dtype=torch.float64).expand(*one.shape, 2, 2)
    return Measurements(place, covariance, one.bool(), torch.tensor([scores], dtype=torch.float64), one, -one)


def followed(perception, places, scores, elapsed, fresh=False):
    """The tracks after one more look at one world."""
    true = torch.ones(1, dtype=torch.bool)
    elapsed = torch.tensor([elapsed], dtype=torch.float64)
    perception.follow(measured(places, scores), elapsed, true if fresh else ~true, true)
    return perception.tracks()


def test_what_is_in_one_place_is_one_thing_from_the_first_look():
    envs, driver, _ = stack([1])
    ego = scene_from_world(envs).ego
    x, y = float(ego.x), float(ego.y)
    places = [[x + 30, y + 0.4], [x + 32, y], [x + 50, y]]
    tracks = followed(driver.perception, places, [0.6, 0.9, 0.8], 0.0, fresh=True)
    assert sorted(tracks.state[0, tracks.valid[0], 0].tolist()) == [x + 32, x + 50]  # the surer one of the first two


def test_a_swerve_settles_along_the_lane_and_is_drawn_to_its_middle():
    """Of a thing seen no more that swerved: across the lane its velocity fades, ahead it stays."""
    envs, driver, _ = stack([1])
    ego = scene_from_world(envs).ego
    x, y = float(ego.x), float(ego.y)
    perception = driver.perception
    for look in range(12):
        place = [x + 40 + 20 * 0.2 * look, y - 1 + 1.5 * 0.2 * look]
        tracks = followed(perception, [place], [0.9], 0.2, fresh=look == 0)
    swerve = tracks.state[0, 0].clone()
    assert swerve[2] == pytest.approx(20, abs=1) and swerve[3] > 0.7
    nothing, false = replace(measured([place], [0.9]), there=torch.zeros(1, 1, dtype=torch.bool)), torch.zeros(1) > 0
    for _ in range(5):
        perception.follow(nothing, torch.tensor([0.2], dtype=torch.float64), false, ~false)
    later, ways = perception.tracks().state[0, 0], perception._ways()
    assert later[2] == pytest.approx(float(swerve[2]), abs=0.1)
    assert abs(later[3]) < float(swerve[3]) / 2
    assert abs(ways[1][0, 0]) < 0.6 and not ways[2][0, 0]


def test_what_crosses_a_lane_is_not_drawn_to_it():
    envs, driver, _ = stack([1])
    ego = scene_from_world(envs).ego
    perception, velocity = driver.perception, torch.tensor([[[20.0, 2.0], [3.0, 6.0]]], dtype=torch.float64)
    found = measured([[float(ego.x) + 40, float(ego.y) + 1], [float(ego.x) + 80, float(ego.y) + 1]], [0.9, 0.9])
    sure = 0.01 * torch.eye(2, dtype=torch.float64).expand(1, 2, 2, 2)
    start = (found.place, found.covariance, found.there, 0.0, None, torch.tensor([True]), velocity, sure)
    perception._now = perception._tracks.update(*start)
    along, offset, crosses = perception._ways()
    assert crosses[0, :2].tolist() == [False, True] and offset[0, :2].tolist() == pytest.approx([1, 1])
    assert along[0, 0].tolist() == pytest.approx([1, 0]) and along[0, 1].tolist() == pytest.approx(
        [0.4472, 0.8944], abs=1e-4
    )
    nothing = replace(found, there=torch.zeros(1, 2, dtype=torch.bool))
    perception.follow(nothing, torch.tensor([0.0], dtype=torch.float64), torch.tensor([False]), torch.tensor([True]))
    assert perception.tracks().state[0, 0, 1] < float(ego.y) + 0.95
    assert perception.tracks().state[0, 1, 1] == pytest.approx(float(ego.y) + 1)


def test_lanes_run_where_the_cars_head():
    envs = sim.make_vec("racetrack-oval-v0", num_envs=2, precision="float64")
    envs.reset(seed=0)
    ego = envs.world.ego[:, :1].long()
    x, y, heading = (getattr(envs.world, name).gather(1, ego) for name in ("x", "y", "heading"))
    lanes = LaneDirections(envs, 4)
    found, offset = lanes(torch.stack([x, y], -1))
    off = torch.remainder(found - heading + math.pi / 2, math.pi) - math.pi / 2
    assert float(off.abs().max()) < 0.1 and float(offset.abs().max()) < 1.0
    with pytest.raises(ValueError, match="made for 4"):
        lanes(torch.zeros(2, 5, 2))


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="from 1 to 128"):
        SceneSettings(things=0)
    with pytest.raises(ValueError, match="least_score"):
        SceneSettings(least_score=1.5)
