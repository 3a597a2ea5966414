"""Faults of sensors in the loop: real pictures and scans, of our simulator and of highway-env."""

import json
import math

import pytest
import torch

from sim.evaluation.driver import DriverSpec
from sim.evaluation.harness import Chunk, Settings
from sim.evaluation.highway_env import HighwayEnv
from sim.evaluation.robustness import sweep
from sim.sensors.classes import Semantic
from tests.sim.evaluation.fault_scenes import CAMERA, GREY, HIGHWAY, LIDAR, PICTURES, Watcher, ready, shown, worlds

SEMANTIC = {"vehicles_count": 0, "observation": {"type": "Camera", "width": 64, "height": 64, "channels": "semantic"}}
CAMERA = CAMERA | {"observation": CAMERA["observation"] | {"stack": 2}}
BIRDSEYE = HIGHWAY | {"observation": {"type": "BirdsEye", "width": 20, "height": 20, "stack": 2}}
OWN = HIGHWAY | {"observation": {"type": "Lidar", "beams": 64, "range": 50, "normalize": False}}
REAL = HIGHWAY | {"observation": {"type": "LidarObservation", "cells": 64}}
DENSE = {"vehicles_count": 40, "vehicles_density": 2}
SCANS = {"ours": LIDAR | DENSE, "in metres": OWN | DENSE, "highway-env's": REAL | DENSE}


@pytest.mark.parametrize("config", [PICTURES, BIRDSEYE, CAMERA], ids=["grey", "birdseye", "camera"])
def test_pictures_go_black_and_are_covered(config):
    pairs = shown(worlds("highway-fast-v0", 32, config), "blackout", 0.4, range(32), steps=3)
    newest = pairs[-1][1].unflatten(1, (2, -1))[:, 1]
    black = (newest == 0).flatten(1).all(1)
    assert 3 < black.sum() < 24 and (pairs[-1][0].unflatten(1, (2, -1))[:, 1] > 0).flatten(1).any(1).all()
    assert torch.equal(
        pairs[-1][1][~black].unflatten(1, (2, -1))[:, 1], pairs[-1][0][~black].unflatten(1, (2, -1))[:, 1]
    )
    ((there, seen),) = shown(worlds("highway-fast-v0", 32, config), "occlusion", 0.5, range(32))
    hidden = (there != seen).flatten(1, -3).any(1)
    assert 0.3 < hidden.double().mean() < 0.52  # less where it was black before


@pytest.mark.parametrize("config", [PICTURES, BIRDSEYE, CAMERA], ids=["grey", "birdseye", "camera"])
@pytest.mark.parametrize("fault", ["dropped_frames", "dropped_bursts"])
def test_pictures_can_be_lost(fault, config):
    pairs = shown(worlds("highway-fast-v0", 16, config), fault, 0.5, range(16), steps=8)
    lost, arrived = 0, [pairs[0][0][i] for i in range(16)]
    for there, seen in pairs:
        for i in range(16):
            if torch.equal(there[i], seen[i]):
                arrived[i] = there[i]
            else:
                assert torch.equal(seen[i], arrived[i])
                lost += 1
    assert 20 < lost < 90


def test_a_drifting_camera_sees_the_horizon_rise_and_fall():
    """A pitch of p moves it by the focal length times tan p; the picture is 64 px wide and 75 degrees."""
    envs, count = worlds("highway-fast-v0", 12, SEMANTIC), 12
    driver, observation = ready(envs, "calibration_drift", 8.0, range(count))
    rows = []
    for _ in range(16):
        rows.append((observation[:, 0, :, 31:33] == Semantic.SKY).double().sum(1).mean(1))
        driver.act(observation)
        observation = envs.step(torch.ones(count, dtype=torch.int64))[0]
    assert (rows[0] == rows[0][0]).all()
    pitch = driver.effect.drift(torch.full((count,), 15))[:, 4]
    assert pitch.abs().max() > math.radians(2.5)
    focal = 32 / math.tan(math.radians(37.5))
    assert (rows[15] - rows[0] - focal * pitch.tan()).abs().max() < 1.0
    again, _ = envs.reset(seed=[*range(count)])  # nothing of it is left in the next episode
    assert ((again[:, 0, :, 31:33] == Semantic.SKY).double().sum(1).mean(1) == rows[0]).all()


def test_the_real_highway_envs_pictures_suffer_alike():
    envs = HighwayEnv("highway-fast-v0", HIGHWAY | {"observation": GREY | {"scaling": 1.5}})
    driver, observation = ready(envs, "occlusion", 0.5, [0])
    driver.act(observation)
    seen = driver.driver.seen[-1]
    assert observation.dtype == torch.uint8 and (seen[:, 1] == 0).double().mean() == pytest.approx(0.5, abs=0.05)
    driver, observation = ready(envs, "frame_latency", 1, [0])
    driver.act(observation)
    driver.act(envs.step(torch.tensor([1]))[0])
    assert torch.equal(driver.driver.seen[0], driver.driver.seen[1])
    with pytest.raises(ValueError, match="calibration_drift needs our own simulator"):
        ready(envs, "calibration_drift", 1, [0])
    envs.close()


@pytest.mark.parametrize("name", SCANS)
def test_beams_are_lost_at_their_rate_and_a_greater_share_loses_more(name):
    envs = worlds("highway-fast-v0", 64, SCANS[name])
    kind, gone = envs.observation_type, []
    for share in (0.2, 0.6):
        ((there, seen),) = shown(envs, "lost_beams", share, range(64))
        hit = there[:, :, 0] < there[:, :, 0].max()
        changed = (there != seen).any(-1)
        assert not changed[~hit].any() and hit.sum() > 150
        assert changed[hit].double().mean() == pytest.approx(share, abs=4 * (0.25 / hit.sum().item()) ** 0.5)
        assert torch.equal(seen[changed], torch.tensor(kind.empty).expand_as(seen[changed]))
        gone.append(changed)
    assert (gone[1] | ~gone[0]).all()
    empty = there[~hit]
    assert torch.equal(empty, torch.tensor(kind.empty).expand_as(empty))  # as the sensor itself shows nothing


@pytest.mark.parametrize(("name", "metres"), [("ours", 60), ("in metres", 1), ("highway-env's", 60)])
def test_noise_of_ranges_is_in_metres_however_they_are_scaled(name, metres):
    envs = worlds("highway-fast-v0", 64, SCANS[name])
    ((there, seen),) = shown(envs, "range_noise", 0.25, range(64))
    most = there[:, :, 0].max()
    far = (there[:, :, 0] < most * 0.95) & (there[:, :, 0] > most * 0.05)
    noise = (seen - there)[..., 0][far].double() * metres
    assert far.sum() > 150 and noise.std() == pytest.approx(0.25, rel=4 / (2 * far.sum().item()) ** 0.5)
    assert abs(noise.mean()) < 4 * 0.25 / far.sum().item() ** 0.5
    assert torch.equal(seen[..., 1:], there[..., 1:])
    assert torch.equal(seen[there[..., 0] == most], there[there[..., 0] == most])
    assert seen[..., 0].max() <= most and (seen[..., 0] >= there[..., 0].clamp(max=0)).all()


def test_noise_on_normalised_features_leaves_classes_alone():
    ((there, seen),) = shown(worlds("highway-fast-v0", 8, LIDAR), "observation_noise", 0.1, range(8))
    assert torch.equal(there[..., 1], seen[..., 1]) and not torch.equal(there[..., 0], seen[..., 0])


def test_a_scan_can_be_late_and_freeze():
    for fault in ("frame_latency", "stuck_frame"):
        pairs = shown(worlds("highway-fast-v0", 4, LIDAR), fault, 2, range(4), steps=12)
        assert any(not torch.equal(there, seen) for there, seen in pairs)
        assert torch.equal(*pairs[0])


def test_every_agents_pictures_are_covered_elsewhere():
    grey = GREY | {"scaling": 1.5}
    config = {"observation": {"type": "MultiAgentObservation", "observation_config": grey}}
    envs = worlds("intersection-multi-agent-v0", 2, config)
    effect = ready(envs, "occlusion", 0.4, [0, 1])[0].effect
    observation, _ = envs.reset(seed=[0, 1])
    one, other = effect.see(observation, torch.zeros(2, dtype=torch.int64))
    assert not torch.equal(one == 0, other == 0)
    assert (one[:, 1] == 0).double().mean() == pytest.approx(0.4, abs=0.06)


def test_a_sweep_over_a_driver_that_sees_pictures():
    faults = {"blackout": [0.6], "occlusion": [0.5], "stuck_frame": [4], "frame_latency": [2], "dropped_frames": [0.5]}
    chunk = Chunk(0, "grey", "highway-fast-v0", PICTURES | {"duration": 6}, (0, 1, 2, 3))
    found = sweep(DriverSpec("watcher", Watcher), [chunk], Settings(), list(faults), faults)
    assert list(found) == list(faults)
    for name, curves in found.items():
        assert curves["severities"] == [0, *faults[name]] and curves["n_error"] == [0, 0]
    json.dumps(found, allow_nan=False)
    lidar = Chunk(0, "scan", "highway-fast-v0", LIDAR | {"duration": 6}, (0, 1))
    both = sweep(DriverSpec("watcher", Watcher), [chunk, lidar], Settings(), ["lost_beams"], {"lost_beams": [0.5]})
    assert both["lost_beams"]["n_planned"] == [2, 2]
    with pytest.raises(ValueError, match="calibration_drift moves cameras, and highway-fast-v0 observes with none"):
        sweep(DriverSpec("watcher", Watcher), [chunk], Settings(), ["calibration_drift"])
