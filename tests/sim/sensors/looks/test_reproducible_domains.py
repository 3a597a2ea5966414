"""The same seed and domain give the same pictures in any batch, place and order, whatever the weather."""

import pytest
import torch

import sim
from sim.sensors.camera.cameras import preset
from sim.sensors.camera.rig import CameraRig
from sim.sensors.looks.domains import DOMAINS

SEEDS = list(range(100, 160))
IDLE = 1
IMAGES = ("rgb", "depth", "semantic", "instance")


def pictures(domain, seeds, steps=2, threads=1, env_id="highway-fast-v0"):
    """Copies of what two cameras see after each of some steps."""
    envs = sim.make_vec(env_id, num_envs=len(seeds))
    envs.reset(seed=seeds)
    rig = CameraRig(envs.network, envs.world, preset("surround", width=40, height=26)[:2], domain, threads=threads)
    frames = []
    for _ in range(steps):
        envs.step(torch.full((len(seeds),), IDLE))
        frames.append(rig.render().clone())
    return frames, rig


def same(one, other, order=slice(None)):
    return all(torch.equal(getattr(one, name), getattr(other, name)[order]) for name in IMAGES)


@pytest.fixture(scope="module")
def mixed():
    return pictures("all", SEEDS)


def test_pictures_of_all_domains_do_not_depend_on_order_or_threads(mixed):
    frames, rig = mixed
    assert {rig.looks.domains[number].name for number in rig.looks.choice.tolist()} == {*DOMAINS}
    turned, _ = pictures("all", SEEDS[::-1], threads=2)
    backwards = torch.arange(len(SEEDS)).flip(0)
    assert all(same(one, other, backwards) for one, other in zip(frames, turned, strict=True))


@pytest.mark.parametrize("name", DOMAINS)
def test_a_world_alone_in_its_domain_sees_what_it_sees_in_the_mixture(name, mixed):
    frames, rig = mixed
    place = rig.looks.choice.tolist().index(list(DOMAINS).index(name))
    alone, _ = pictures(name, SEEDS[place : place + 1])
    assert all(same(one, other, slice(place, place + 1)) for one, other in zip(alone, frames, strict=True))
    other, _ = pictures(name, [SEEDS[place] + 1000])
    assert not torch.equal(other[0].rgb, alone[0].rgb)


def test_rendering_again_gives_the_same_and_leaves_the_traffic_alone():
    envs = sim.make_vec("highway-fast-v0", num_envs=20)
    envs.reset(seed=5)
    rig = CameraRig(envs.network, envs.world, preset("front", width=40, height=26), "all", threads=1)
    before = {name: buffer.clone() for name, buffer in envs.world.buffers.items()}
    first = rig.render().clone()
    assert same(first, rig.render())
    assert all(torch.equal(buffer, envs.world.buffers[name]) for name, buffer in before.items())


def test_frames_of_an_episode_share_its_look_and_not_their_noise():
    (first, second), rig = pictures("old-camera", SEEDS[:4])
    tensor = rig.looks.tensor.clone()
    rig.render()
    assert torch.equal(tensor, rig.looks.tensor) and not torch.equal(first.rgb, second.rgb)
