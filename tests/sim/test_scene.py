"""Perfect perception says what is there, and a policy sees through it what it sees without."""

import math

import pytest
import torch

import sim
from sim.observations import leaves
from sim.scene import SceneFeatures, lanes_near, scene_from_world
from sim.world import Kind

WORLDS, STEPS = 6, 8
SORTED = {"observation": {"type": "Kinematics", "features": ["presence", "x", "y", "vx", "vy", "heading"]}}
CASES = [
    ("highway-fast-v0", None),
    ("highway-fast-v0", {"observation": {"type": "OccupancyGrid"}}),
    ("highway-fast-v0", {"observation": {"type": "LidarObservation"}}),
    ("two-way-v0", None),  # TimeToCollision
    ("merge-v0", None),  # an obstacle
    ("roundabout-v0", None),
    ("intersection-v0", SORTED),
    ("parking-v0", None),  # a goal, walls
    ("racetrack-v0", None),
]


@pytest.mark.parametrize(("env_id", "config"), CASES, ids=lambda value: str(value)[:24])
def test_features_of_perfect_scenes_are_the_observations(env_id, config):
    """Whatever the observation type: the same numbers, decision after decision, resets included."""
    envs = sim.make_vec(env_id, num_envs=WORLDS, precision="float64", config=config)
    envs.reset(seed=3)
    envs.action_space.seed(5)
    features = SceneFeatures(envs, objects=64)
    for _ in range(STEPS):
        seen = leaves(features(scene_from_world(envs, objects=64, reach=math.inf)))
        # Asked anew: a junction clears and spawns vehicles after it has observed.
        for name, values in leaves(envs.observe()).items():
            torch.testing.assert_close(seen[name], values, rtol=0, atol=1e-6, equal_nan=True)
        envs.step(torch.as_tensor(envs.action_space.sample()))


def test_a_scene_lists_the_nearest_within_reach():
    envs = sim.make_vec("highway-v0", num_envs=3, precision="float64")
    envs.reset(seed=0)
    world = envs.world
    scene = scene_from_world(envs, objects=5, reach=60.0)
    for w in range(3):
        ego = int(world.ego[w, 0])
        gaps = {
            int(world.number[w, v]): math.dist(
                (float(world.x[w, v]), float(world.y[w, v])), (float(world.x[w, ego]), float(world.y[w, ego]))
            )
            for v in range(world.x.shape[1])
            if world.kind[w, v] != int(Kind.ABSENT) and v != ego
        }
        expected = [name for name in sorted(gaps, key=gaps.get) if gaps[name] < 60.0][:5]
        assert scene.number[w][scene.valid[w]].tolist() == expected
        assert not scene.tracked.x[w][~scene.valid[w]].any()
    assert 0 < int(scene.valid.sum()) < 15
    torch.testing.assert_close(scene.ego.x, world.x.gather(1, world.ego.long())[:, 0])


def test_a_moved_car_moves_in_the_features():
    """What is tracked, not what is true, reaches the policy."""
    envs = sim.make_vec("highway-fast-v0", num_envs=2, precision="float64")
    envs.reset(seed=0)
    features, scene = SceneFeatures(envs, objects=8), scene_from_world(envs, objects=8)
    before = features(scene).clone()
    ahead = scene.tracked.x > scene.ego.x[:, None]
    scene.tracked.x[ahead] += 2.0
    after = features(scene)
    moved = (after - before)[:, 1:, 1][before[:, 1:, 1] > 0]
    torch.testing.assert_close(moved, torch.full_like(moved, 2.0 / 200.0), rtol=0, atol=1e-6)
    scene.valid[:] = False
    assert not features(scene)[:, 1:].any()


def test_lanes_near_are_the_roads():
    envs = sim.make_vec("highway-v0", num_envs=4, precision="float64", config={"lanes_count": 3})
    envs.reset(seed=0)
    lanes, world = lanes_near(envs), envs.world
    own = (world.y.gather(1, world.ego.long())[:, 0] / 4.0).round().long()
    for w in range(4):
        there = [0 <= int(own[w]) + offset < 3 for offset in range(-2, 3)]
        assert lanes.exists[w].tolist() == there
        for k, exists in enumerate(there):
            if exists:
                points = lanes.points[w, k]
                assert points[:, 1].tolist() == pytest.approx([4.0 * (int(own[w]) + k - 2)] * 16)
                assert points[0, 0] == pytest.approx(float(world.x[w, world.ego[w, 0]]))
                assert points.diff(dim=0)[:, 0].tolist() == pytest.approx([5.0] * 15)
                assert lanes.width[w, k] == 4.0


def test_lanes_near_follow_a_bend():
    """Points of a lane of the ring have the ring's radius."""
    envs = sim.make_vec("racetrack-oval-v0", num_envs=2, precision="float64")
    envs.reset(seed=0)
    points = lanes_near(envs).points[:, 2]
    steps = points.diff(dim=1).norm(dim=-1)
    assert bool((steps > 4.5).all()) and bool((steps < 5.6).all())


def test_bad_scenes_are_refused():
    envs = sim.make_vec("highway-fast-v0", num_envs=2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="objects >= 1"):
        scene_from_world(envs, objects=0)
    features = SceneFeatures(envs, objects=4)
    with pytest.raises(ValueError, match=r"expected \(2, 4\)"):
        features(scene_from_world(envs, objects=5))
    scene = scene_from_world(envs, objects=4)
    scene.tracked.x[0, 0] = math.nan
    with pytest.raises(ValueError, match="not finite"):
        features(scene)
    several = sim.make_vec("intersection-multi-agent-v0", num_envs=1)
    pictures = {"type": "GrayscaleObservation", "observation_shape": (32, 16), "stack_size": 2}
    grey = sim.make_vec("highway-fast-v0", 1, config={"observation": pictures | {"weights": [0.3, 0.6, 0.1]}})
    with pytest.raises(ValueError, match="can't be shown as a GrayscaleObservation"):
        SceneFeatures(grey)
    with pytest.raises(ValueError, match="several observe"):
        SceneFeatures(several)
