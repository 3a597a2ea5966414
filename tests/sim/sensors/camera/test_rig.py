import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import sim
from sim.sensors import memory
from sim.sensors.camera.cameras import Camera, preset
from sim.sensors.camera.rig import CameraRig
from sim.sensors.looks.look import FIELD
from tests.sim.sensors.camera.solids import ROAD, extrinsics, rendered
from tests.sim.sensors.things import random_scenes, thing, world_of

SMALL = Camera(width=64, height=48)
SCENES = random_scenes(9, things=10, seed=8, spread=30.0)
NAMES = torch.arange(9) * 7919 + 13


def tensors(frames):
    """Everything in frames by name."""
    pictures = {name: getattr(frames, name) for name in ("rgb", "depth", "semantic", "instance")}
    return pictures | vars(frames.objects)


def equal(one, other):
    assert [name for name, tensor in tensors(one).items() if not torch.equal(tensor, tensors(other)[name])] == []


def taken(frames, index):
    """The worlds `index` of frames."""
    copy = frames.clone()
    for name in ("rgb", "depth", "semantic", "instance"):
        setattr(copy, name, getattr(frames, name)[index])
    for name, tensor in vars(frames.objects).items():
        setattr(copy.objects, name, tensor[index])
    return copy


@pytest.mark.parametrize("domain", ["clear", "night", ["rain", "fog"]])
def test_the_bytes_do_not_depend_on_batch_order_or_threads(domain):
    together = rendered(world_of(SCENES), SMALL, domain=domain)[1].clone()
    order = [4, 0, 8, 2]
    some = world_of([SCENES[w] for w in order], episodes=NAMES[order])
    equal(taken(together, order), rendered(some, SMALL, domain=domain)[1])
    many = world_of(SCENES * 8, episodes=NAMES.repeat(8))
    threaded = rendered(many, SMALL, domain=domain, threads=3)[1]
    equal(taken(together, list(range(9)) * 8), threaded)
    assert not torch.equal(together.rgb[0], together.rgb[1])


def test_another_episode_looks_different_but_stands_where_it_stood():
    one, other = (rendered(world_of(SCENES, episodes=NAMES + k), SMALL)[1].clone() for k in (0, 1))
    assert not torch.equal(one.rgb, other.rgb)
    sky = one.semantic < 5
    assert torch.equal(one.depth[sky & (other.semantic < 5)], other.depth[sky & (other.semantic < 5)])


def test_only_the_masked_worlds_are_rendered():
    world = world_of(SCENES)
    rig, frames = rendered(world, SMALL)
    before = frames.clone()
    world.x[:, 1:] += 7.0
    mask = torch.zeros(9, dtype=torch.bool)
    mask[3] = True
    after = rig.render(mask)
    assert after is frames
    equal(taken(before, [0, 8]), taken(after, [0, 8]))
    assert not torch.equal(before.instance[3], after.instance[3])


def test_cameras_of_one_rig_are_those_of_rigs_of_their_own():
    cameras = preset("surround", width=64, height=48)
    world = world_of(SCENES)
    together = rendered(world, *cameras)[1].clone()
    for c, camera in enumerate(cameras):
        single = rendered(world, camera)[1]
        for name, tensor in tensors(single).items():
            assert torch.equal(tensor[:, 0], tensors(together)[name][:, c]), (camera.name, name)
    assert len({together.rgb[0, c].sum().item() for c in range(4)}) == 4


def test_a_camera_on_its_side_sees_the_picture_turned():
    world = world_of(SCENES)
    upright, lying = (rendered(world, Camera(width=64, height=64, roll=roll))[1].clone() for roll in (0.0, 90.0))
    turned = torch.rot90(upright.instance, 1, (2, 3))  # the camera's right is down: the world leans to its left
    assert (turned != lying.instance).double().mean() < 2e-3
    same = turned == lying.instance
    pair = torch.rot90(upright.depth, 1, (2, 3))[same], lying.depth[same]
    near = (pair[0] < 100) & (pair[1] < 100)
    assert torch.allclose(pair[0][near], pair[1][near], rtol=1e-3)
    assert (torch.rot90(upright.semantic, 1, (2, 3)) != lying.semantic).double().mean() < 0.01


def test_float64_worlds_show_the_same_scene_wherever_it_is():
    near = rendered(world_of(random_scenes(6, seed=5), "float32"), SMALL)[1].clone()
    scenes = [
        [one | {"x": one["x"] + 50_000.0, "y": one["y"] - 20_000.0} for one in scene]
        for scene in random_scenes(6, seed=5)
    ]
    far = rendered(world_of(scenes, "float64"), SMALL)[1]
    assert (near.instance != far.instance).double().mean() < 1e-3
    same = near.instance == far.instance
    assert torch.allclose(near.depth[same], far.depth[same], rtol=1e-3)


def test_drift_and_jitter_move_the_camera():
    world = world_of(SCENES)
    moved = Camera(width=64, height=48, x=1.3, y=-0.2, z=1.9, yaw=4.0, pitch=-3.0, roll=6.0)
    expected = rendered(world, moved)[1].clone()
    rig, _ = rendered(world, SMALL)
    offset = torch.tensor([0.3, -0.2, 0.4, *np.radians([4.0, -3.0, 6.0])])
    rig.drift[:] = offset
    assert (rig.render().instance != expected.instance).double().mean() < 1e-3
    poses = rig.poses()
    for w in range(9):
        pose = [float(getattr(world, name)[w, 0]) for name in ("x", "y", "heading")]
        turn, shift = extrinsics(moved, pose)
        np.testing.assert_allclose(poses.axes[w, 0] * torch.tensor([1, 1, -1]), turn, atol=1e-5)
        np.testing.assert_allclose(poses.place[w, 0] * torch.tensor([1, 1, -1]), -turn.T @ shift, atol=1e-4)
    assert poses.focal[0, 0] == pytest.approx(moved.focal)
    shaken = rendered(world, SMALL, domain="rain")[0]
    jitter = shaken.looks.tensor[:, FIELD["camera_z"]]
    assert jitter.abs().min() > 0
    np.testing.assert_allclose(shaken.poses().place[:, 0, 2], SMALL.z + jitter.double(), atol=1e-6)
    assert Rotation.from_matrix(shaken.poses().axes[0, 0].double().numpy() * [1, 1, -1]).magnitude() > 0


@pytest.mark.parametrize("env_id", sorted(sim.SCENARIOS))
def test_every_id_renders(env_id):
    envs = sim.make_vec(env_id, 2, threads=1)
    envs.reset(seed=3)
    cameras = preset("surround", width=96, height=64)
    frames = CameraRig(envs.network, envs.world, cameras, threads=1).render()
    semantic = frames.semantic
    assert bool((semantic[:, 0] == 3).any()) and bool((semantic == 4).any())  # road ahead, and paint
    others = envs.world.count.max() > 1
    assert bool((frames.instance > 0).any()) == bool(frames.objects.present.any())
    assert bool(frames.objects.present.any()) or not others or envs.world.count.max() < 12
    assert frames.rgb.float().std() > 20


def test_cameras_that_cannot_be_one_rig():
    world = world_of([[thing(0.0, 0.0)]])
    with pytest.raises(TypeError, match="cameras is \\[\\]; it must be a list of at least one Camera"):
        CameraRig(ROAD, world, [])
    with pytest.raises(ValueError, match="must have the same width and height"):
        CameraRig(ROAD, world, [Camera(), Camera(width=64)])
    with pytest.raises(ValueError, match="unknown domain 'nigth'"):
        CameraRig(ROAD, world, [Camera()], domain="nigth")


def test_more_memory_than_there_is_is_said_before_anything_is_made(monkeypatch):
    world = world_of([[thing(0.0, 0.0)]])
    with pytest.raises(MemoryError, match=r"2000000 x 1000000 for 1 worlds need 20,000.0 GB on cpu, .* are available"):
        CameraRig(ROAD, world, [Camera(width=2_000_000, height=1_000_000)])
    monkeypatch.setattr(memory, "available_bytes", lambda device: 100_000)
    with pytest.raises(MemoryError, match=r"0\.0 GB are available"):
        CameraRig(ROAD, world, [Camera()])
    assert memory.available_bytes(torch.device("cpu")) == 100_000
