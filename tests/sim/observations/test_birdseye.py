"""The bird's-eye observation in the environments: every id, every mode, several agents, stacks."""

import numpy as np
import pytest
import torch

import sim
from sim.scenarios import SCENARIOS
from sim.sensors.birdseye import COLOURS, Tone

EGO = np.array(COLOURS[Tone.EGO])


def config(**options):
    return {"observation": {"type": "BirdsEye", **options}}


def sampled(envs, seed):
    envs.action_space.seed(seed)
    return envs.action_space.sample()


def shown_ego(picture):
    """Where the ego's colour is in [3, height, width], as shares of width and height."""
    rows, columns = np.nonzero((np.asarray(picture).transpose(1, 2, 0) == EGO).all(axis=-1))
    return (columns.mean() + 0.5) / picture.shape[2], (rows.mean() + 0.5) / picture.shape[1]


@pytest.mark.parametrize("env_id", SCENARIOS)
def test_every_id_can_be_seen_from_above(env_id, device):
    options = config(centering=[0.4, 0.6], scaling=4.0)
    agents = "multi-agent" in env_id
    if agents:
        options = {"observation": {"type": "MultiAgentObservation", "observation_config": options["observation"]}}
    envs = sim.make_vec(env_id, 2, device=device, config=options)
    env = sim.make(env_id, config=options)
    many, _ = envs.reset(seed=5)
    one, _ = env.reset(seed=5)
    if agents:
        many, one = many[0], one[0]
    assert many.shape == (2, 3, 84, 84)
    assert many.dtype == torch.uint8
    assert one.shape == (3, 84, 84)
    assert one.dtype == np.uint8
    # The ego's body without its front quarter lies an eighth of 5 m behind the ego's place.
    assert shown_ego(many[0].cpu()) == pytest.approx((0.4 - 0.625 * 4 / 84, 0.6), abs=0.01)
    assert np.abs(many[0].cpu().numpy().astype(int) - one).mean() < 0.3  # float32 beside float64
    assert len(np.unique(one.reshape(3, -1), axis=1).T) > 5
    for step in range(2):
        seen = envs.step(sampled(envs, step))[0]
    assert not torch.equal(seen[0] if agents else seen, many)
    env.close()


def test_each_agent_is_the_ego_of_its_picture(device):
    inner = {"type": "BirdsEye", "channels": ["ego", "vehicles"], "align": "world", "scaling": 1.0, "width": 200}
    options = {"observation": {"type": "MultiAgentObservation", "observation_config": inner | {"height": 200}}}
    envs = sim.make_vec("intersection-multi-agent-v0", 1, device=device, config=options)
    pictures, _ = envs.reset(seed=0)
    first, second = (picture[0].cpu().numpy().astype(int) for picture in pictures)
    ego = envs.world.ego[0].long()
    apart = torch.stack([envs.world.x[0, ego], envs.world.y[0, ego]])
    dx, dy = (apart[:, 1] - apart[:, 0]).tolist()
    assert first[0, 100, 60] > 100
    assert second[0, 100, 60] > 100
    assert first[1, int(100 + dy), int(60 + dx)] > 100  # each sees the other as a vehicle
    assert second[1, int(100 - dy), int(60 - dx)] > 100


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_a_stack_keeps_the_last_pictures_and_a_reset_blackens_them(mode, device):
    options = config(stack=3) | {"duration": 4}
    envs = sim.make_vec("highway-fast-v0", 6, device=device, config=options, autoreset_mode=mode)
    single = sim.make_vec("highway-fast-v0", 6, device=device, config=config() | {"duration": 4}, autoreset_mode=mode)
    stacked, _ = envs.reset(seed=0)
    picture, _ = single.reset(seed=0)
    pictures = [torch.zeros_like(picture), torch.zeros_like(picture), picture]
    ends, ended = 0, torch.zeros(6, dtype=torch.bool, device=device)
    for step in range(9):
        assert torch.equal(stacked, torch.cat(pictures, dim=1))
        actions = sampled(envs, step)
        stacked, _, terminated, truncated, info = envs.step(actions)
        picture, _, _, _, other = single.step(actions)
        done = terminated | truncated
        begun = done if mode == "SameStep" else torch.zeros_like(done)
        if mode == "SameStep":
            last = torch.cat([*pictures[1:], other["final_obs"]], dim=1)
            assert torch.equal(info["final_obs"][done], last[done])
        elif mode == "NextStep":
            begun, ended = ended, done
        pictures = [*pictures[1:], picture]
        for old in pictures[:2]:
            old[begun] = 0
        ends += int(begun.sum())
        if mode == "Disabled" and bool(done.all()):
            break
    assert ends > 3 or mode == "Disabled"


def test_a_tuple_of_pictures(device):
    parts = [config(channels="classes")["observation"], config(stack=2, width=40)["observation"]]
    options = {"observation": {"type": "TupleObservation", "observation_configs": parts}}
    envs = sim.make_vec("merge-v0", 3, device=device, config=options)
    for _ in range(2):  # a second reset forgets the pictures of the first episode
        classes, stack = envs.reset(seed=0)[0]
        envs.step(sampled(envs, 0))
        assert classes.shape == (3, 6, 84, 84)
        assert stack.shape == (3, 6, 84, 40)
        assert stack[:, :3].max() == 0
        assert stack[:, 3:].max() > 0


def test_an_episode_looks_the_same_in_any_batch(device):
    alone = sim.make_vec("roundabout-v0", 1, device=device, config=config(channels="classes"))
    crowd = sim.make_vec("roundabout-v0", 40, device=device, config=config(channels="classes"), threads=2)
    seen = [alone.reset(seed=[7])[0][0]]
    others = [crowd.reset(seed=[*range(20), 7, *range(100, 119)])[0][20]]
    for _ in range(4):
        seen.append(alone.step(torch.ones(1, dtype=torch.int64))[0][0])
        others.append(crowd.step(torch.ones(40, dtype=torch.int64))[0][20])
    assert all(torch.equal(a, b) for a, b in zip(seen, others, strict=True))
