"""The "Lidar" observation: our sensor in the loop; in its other mode highway-env's LidarObservation is the oracle."""

import numpy as np
import pytest
import torch
from highway_env.envs.common.observation import LidarObservation as RealLidar

import sim
from sim.config import complete
from sim.observations.scan import Lidar
from sim.scenarios import SCENARIOS
from sim.sensors.lidar import LidarSensor
from sim.world import Kind
from tests.sim.engine.twins import real_env
from tests.sim.observations.scenes import our_observations, real_observations, snapshots

ALL = ["range", "intensity", "class", "speed"]
EXACT = {
    "default": ({}, {}),
    "fine": (
        {"cells": 64, "normalize": False, "maximum_range": 50.5}, {"beams": 64, "normalize": False, "range": 50.5},
    ),
    "odd": ({"cells": 7, "maximum_range": 33.3}, {"beams": 7, "range": 33.3}),
}  # fmt: skip


def observing(**options):
    return {"observation": {"type": "Lidar"} | options}


@pytest.mark.parametrize("env_id", ["highway-fast-v0", "intersection-v0", "parking-v0", "racetrack-v0"])
@pytest.mark.parametrize("name", EXACT)
def test_the_highway_env_mode_is_highway_envs_lidar(name, env_id, device):
    """Dense traffic, walls, goals, things on top of the observer."""
    theirs, ours = EXACT[name]
    scenes = snapshots(env_id, 40)
    expected = real_observations(RealLidar, theirs, scenes)
    found = our_observations(Lidar, {"type": "Lidar", "mode": "highway-env"} | ours, scenes, device).cpu().numpy()
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("env_id", ["highway-fast-v0", "merge-v0", "roundabout-v0", "intersection-v0", "two-way-v0"])
def test_the_highway_env_mode_in_whole_episodes(env_id, device):
    """The real environment, with its own LidarObservation, driven through the same actions."""
    envs = sim.make_vec(
        env_id, 1, device=device, precision="float64", config=observing(mode="highway-env", beams=16, range=60)
    )
    rng = np.random.default_rng(5)
    with real_env(env_id) as real:
        real.configure({"observation": {"type": "LidarObservation"}})
        for seed in range(2):
            pair = [real.reset(seed=seed)[0], envs.reset(seed=seed)[0]]
            for _ in range(6):
                np.testing.assert_allclose(pair[1][0].cpu().numpy(), pair[0], rtol=0, atol=1e-5)
                action = int(rng.integers(real.action_space.n))
                seen, _, ended, truncated, _ = real.step(action)
                pair = [seen, envs.step(torch.tensor([action], device=device))[4]["final_obs"]]
                if ended or truncated:
                    break
        assert pair[0].min() < 1, "nothing was ever seen"


def leaf_of(observation):
    return observation[0] if isinstance(observation, tuple) else observation


@pytest.mark.parametrize("env_id", SCENARIOS)
def test_every_id_and_autoreset(env_id, device):
    """What is observed is what the sensor sees of the same worlds; nothing but other things is ever seen."""
    lidar = observing(beams=24, channels=ALL, normalize=False, range=80.0)["observation"]
    several = complete(env_id, None)["observation"]["type"] == "MultiAgentObservation"
    config = {"observation": {"type": "MultiAgentObservation", "observation_config": lidar} if several else lidar}
    envs = sim.make_vec(env_id, 2, device=device, config=config)
    sensor = LidarSensor(envs.world, beams=24, range=80.0)
    observation, _ = envs.reset(seed=3)
    envs.action_space.seed(0)
    for _ in range(3):
        assert envs.observation_space.contains(
            tuple(one.cpu().numpy() for one in observation) if several else observation.cpu().numpy()
        )
        expected = sensor.scan()
        columns = [expected.ranges, expected.intensity, expected.classes, expected.speed]
        for column, one in enumerate(columns):
            assert torch.equal(leaf_of(observation)[..., column], one.float())
        observation = envs.step(envs.action_space.sample())[0]
    others = (envs.world.kind != Kind.ABSENT) & (envs.world.kind != Kind.LANDMARK)
    if others.sum() > envs.world.ego.numel() + 4:
        assert (leaf_of(observation)[..., 0] < 80).any()


def test_agents_see_from_their_own_places(device):
    lidar = observing(beams=36, normalize=False)["observation"]
    config = {"observation": {"type": "MultiAgentObservation", "observation_config": lidar}}
    envs = sim.make_vec("intersection-multi-agent-v0", 4, device=device, config=config)
    observation, _ = envs.reset(seed=0)
    assert len(observation) == 2
    for agent in (0, 1):
        expected = LidarSensor(envs.world, beams=36, range=60.0, agent=agent).scan()
        assert torch.equal(observation[agent][..., 0], expected.ranges)
    assert not torch.equal(observation[0], observation[1])


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_modes_of_autoreset_and_both_precisions(mode, device):
    found = {}
    for precision in ("float32", "float64"):
        config = observing(channels=["range", "class"], noise=0.2, drop_out=0.1) | {"duration": 3}
        envs = sim.make_vec(
            "highway-fast-v0", 3, device=device, precision=precision, config=config, autoreset_mode=mode
        )
        seen = [envs.reset(seed=1)[0]]
        for _ in range(5):
            seen.append(envs.step(torch.ones(3, dtype=torch.int64, device=device))[0])
        found[precision] = torch.stack(seen)
    off = (found["float32"] - found["float64"]).abs().amax(-1) > 1e-3
    assert off.double().mean() < 0.02  # beams that graze a corner
    assert (found["float32"][..., 0] < 1).any()


def test_normalised_channels(device):
    plain, scaled = (
        sim.make_vec("highway-fast-v0", 4, device=device, config=observing(channels=ALL, range=50, normalize=flag))
        for flag in (False, True)
    )
    plain, scaled = plain.reset(seed=2)[0], scaled.reset(seed=2)[0]
    units = torch.tensor([50, 1, 10, 80], device=device)
    torch.testing.assert_close(scaled * units, plain, atol=1e-4, rtol=0)
    assert (plain[..., 3] != 0).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beams": 0}, "observation beams is 0; it must be an integer of at least 1"),
        ({"fov": 400}, "observation fov is 400"),
        ({"cells": 16}, "unknown observation key 'cells'"),
        ({"mode": "sensors"}, "unknown observation mode 'sensors'; did you mean 'sensor'?"),
        ({"channels": []}, r"observation channels is \[\]; it must be a list of range, intensity, class, speed"),
        ({"channels": "range"}, "observation channels is 'range'; it must be a list"),
        ({"channels": ["depth"]}, "unknown observation channel 'depth'"),
        ({"channels": ["range", "range"]}, "each may come once"),
        ({"mode": "highway-env", "fov": 90}, "observation fov has no meaning in the mode 'highway-env'; leave it out"),
        ({"mode": "highway-env", "beams": 0}, "cells is 0"),
    ],
)
def test_unusable_options(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        sim.make_vec("highway-fast-v0", 1, config=observing(**options))
