import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

import sim
from sim.sensors.camera.cameras import Camera, preset
from sim.sensors.camera.rig import CameraRig

SIZE = {"width": 32, "height": 24}


def config(**options):
    return {"observation": {"type": "Camera", **SIZE, **options}}


def seen(envs, domain="clear", agent=0, cameras=None):
    """What a rig of its own shows of the worlds as they stand, [N, C, 3, H, W]."""
    cameras = cameras or [Camera(**SIZE)]
    return CameraRig(envs.network, envs.world, cameras, domain, agent, threads=1).render().rgb.clone()


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_picture_is_the_rigs_of_the_worlds_as_they_stand(mode):
    envs = sim.make_vec("highway-fast-v0", 6, config=config() | {"duration": 4}, autoreset_mode=mode, threads=1)
    observation, _ = envs.reset(seed=11)
    assert observation.dtype == torch.uint8 and observation.shape == (6, 3, 24, 32)
    assert envs.single_observation_space == gymnasium.spaces.Box(0, 255, (3, 24, 32), np.uint8)
    assert torch.equal(observation, seen(envs)[:, 0])
    ended = 0
    for step in range(7):
        before = observation
        observation, _, terminated, truncated, info = envs.step(torch.full((6,), step % 5))
        done = terminated | truncated
        assert torch.equal(observation, seen(envs)[:, 0])
        ended += int(done.sum())
        if mode is AutoresetMode.SAME_STEP:
            final = info["final_obs"]
            assert torch.equal(final[~done], observation[~done])
            assert not done.any() or (final[done] != observation[done]).any()
        if mode is AutoresetMode.DISABLED and done.any():
            observation, _ = envs.reset(options={"reset_mask": done.numpy()})
            assert torch.equal(observation, seen(envs)[:, 0])
        assert (before != observation).any()
    assert ended >= 6


@pytest.mark.parametrize(
    "env_id", ["intersection-multi-agent-v0", "parking-ActionRepeat-v0", "lane-keeping-v0", "u-turn-v0"]
)
def test_other_ids_in_make_and_make_vec(env_id):
    plain = config(domain="night", cameras="left")["observation"]
    several = "multi-agent" in env_id
    options = {"type": "MultiAgentObservation", "observation_config": plain} if several else plain
    env = sim.make(env_id, config={"observation": options})
    single, _ = env.reset(seed=4)
    envs = sim.make_vec(env_id, 3, config={"observation": options}, precision="float64", threads=1)
    batch, _ = envs.reset(seed=4)
    assert env.observation_space.contains(single)
    if not several:
        single, batch = (single,), (batch,)
    for agent, (one, all_of_them) in enumerate(zip(single, batch, strict=True)):
        assert isinstance(one, np.ndarray) and np.array_equal(one, all_of_them[0])
        assert torch.equal(all_of_them, seen(envs, "night", agent, preset("left", **SIZE))[:, 0])
    if several:
        assert (batch[0] != batch[1]).any()


def test_a_stack_holds_the_last_pictures_and_is_black_before_the_first():
    envs = sim.make_vec("highway-fast-v0", 2, config=config(stack=3, domain="rain"), threads=1)
    plain = sim.make_vec("highway-fast-v0", 2, config=config(domain="rain"), threads=1)
    kept, _ = envs.reset(seed=2)
    pictures = [torch.zeros(2, 3, 24, 32, dtype=torch.uint8)] * 2 + [plain.reset(seed=2)[0]]
    assert kept.shape == (2, 9, 24, 32) and torch.equal(kept, torch.cat(pictures[-3:], dim=1))
    for _ in range(3):
        kept = envs.step(torch.ones(2, dtype=torch.long))[0]
        pictures.append(plain.step(torch.ones(2, dtype=torch.long))[0])
        assert torch.equal(kept, torch.cat(pictures[-3:], dim=1))


def test_depth_and_semantic_channels_of_several_cameras():
    cameras = [{"name": "ahead"}, {"name": "behind", "yaw": 180.0, "x": -1.0}]
    made = {}
    for channels in ("depth", "semantic"):
        envs = sim.make_vec("highway-v0", 3, config=config(channels=channels, cameras=cameras), threads=1)
        made[channels], _ = envs.reset(seed=6)
    both = [Camera(**SIZE), Camera(**SIZE, yaw=180.0, x=-1.0)]
    frames = CameraRig(envs.network, envs.world, both, threads=1).render()
    assert torch.equal(made["semantic"], frames.semantic)
    metres = made["depth"].double() / 2
    known = frames.depth < 127
    assert (metres[known] - frames.depth[known]).abs().max() <= 0.2501
    assert (metres[~known] > 126.5).all() and metres[frames.depth.isinf()].min() == 127.5


def test_a_saved_state_brings_its_picture_back():
    envs = sim.make_vec("highway-fast-v0", 2, config=config(stack=2), threads=1)
    envs.reset(seed=1)
    first = envs.step(torch.ones(2, dtype=torch.long))[0]
    state = envs.state_dict()
    later = envs.step(torch.zeros(2, dtype=torch.long))[0]
    envs.load_state_dict(state)
    again = envs.step(torch.zeros(2, dtype=torch.long))[0]
    assert torch.equal(later, again) and torch.equal(later[:, :3], first[:, 3:])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"hight": 3}, ValueError, "unknown observation key 'hight'; did you mean 'height'"),
        ({"width": 0}, ValueError, "camera width is 0; it must be an integer of at least 8 pixels"),
        ({"fov": 200}, ValueError, "camera fov is 200"),
        ({"z": -0.5}, ValueError, "camera z is -0.5; it must be above the ground"),
        ({"channels": "rbg"}, ValueError, "unknown observation channels 'rbg'; did you mean 'rgb'"),
        ({"channels": 3}, TypeError, "observation channels is 3; it must be one of rgb, depth, semantic"),
        ({"cameras": []}, TypeError, "observation cameras is \\[\\]"),
        ({"cameras": [3]}, TypeError, "a camera is 3; it must be a dict of name, width"),
        ({"cameras": "fronnt"}, ValueError, "unknown camera preset 'fronnt'"),
        ({"cameras": [{"width": 64}, {}]}, ValueError, "must have the same width and height"),
        ({"domain": "nigth"}, ValueError, "unknown domain 'nigth'"),
        ({"stack": 0}, ValueError, "observation stack is 0; it must be an integer of at least 1"),
        ({"width": 10**7, "height": 10**6}, MemoryError, "need .* GB on cpu, .* GB are available"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(options, error, message):
    with pytest.raises(error, match=message) as caught:
        sim.make_vec("highway-fast-v0", 2, config=config(**options), threads=1)
    assert "\n" not in str(caught.value)


def test_more_worlds_than_memory_holds_are_refused_before_anything_is_allocated():
    """Neither torch nor NumPy is asked: their errors name no cure."""
    config = {"observation": {"type": "Camera", "width": 640, "height": 480}}
    with pytest.raises(MemoryError, match=r"640 x 480 for 200000 worlds need .* GB on cpu, .* GB are available"):
        sim.make_vec("highway-fast-v0", 200_000, config=config)
