import numpy as np
import pytest
import torch

from sim.evaluation.driver import Driver, DriverSpec, RandomDriver
from sim.evaluation.fault_effects import NotApplicable
from sim.evaluation.faults import FAULTS, faulty
from sim.evaluation.highway_env import HighwayEnv
from sim.evaluation.runner import run_batch
from tests.sim.evaluation.fault_scenes import HIGHWAY, LIDAR, PICTURES, Counting, Watcher, config_for, ready, worlds


@pytest.mark.parametrize("fault", FAULTS)
def test_severity_0_is_the_driver_itself_bit_for_bit(fault):
    seeds, spec = range(4), DriverSpec("watcher", Watcher)
    envs = worlds("highway-fast-v0", 4, config_for(fault))
    clean = run_batch(envs, spec.build(), seeds)
    driver = faulty(spec, fault, 0).build()
    for name, values in run_batch(envs, driver, seeds).items():
        np.testing.assert_array_equal(values, clean[name], err_msg=name)
    most = faulty(spec, fault, FAULTS[fault].severities[-1]).build()
    assert not np.array_equal(run_batch(envs, most, seeds)["return"], clean["return"])  # and the last one is not


@pytest.mark.parametrize("fault", FAULTS)
def test_an_episode_depends_neither_on_the_batch_nor_on_its_place(fault):
    spec = faulty(DriverSpec("watcher", Watcher), fault, FAULTS[fault].severities[3], seed=4)
    together = run_batch(worlds("highway-fast-v0", 5, config_for(fault)), spec.build(), [3, 1, 4, 15, 9])
    part = run_batch(worlds("highway-fast-v0", 2, config_for(fault)), spec.build(), [9, 4])
    for name, values in part.items():
        np.testing.assert_array_equal(values, together[name][[4, 2]], err_msg=name)


@pytest.mark.parametrize(
    "fault",
    [
        "observation_noise", "dropped_bursts", "missed_objects", "action_hold", "frame_latency", "stuck_frame",
        "blackout", "occlusion", "calibration_drift", "lost_beams",
    ],
)  # fmt: skip
def test_a_world_that_begins_anew_forgets_the_past(fault):
    """World 1 is reset after three steps, and then goes through what it would have gone through from the start."""
    envs, severity = worlds("highway-fast-v0", 2, config_for(fault)), FAULTS[fault].severities[3]
    driver, observation = ready(envs, fault, severity, [0, 1])
    first = [driver.act(observation)[1]]
    for _ in range(3):
        observation = envs.step(torch.ones(2, dtype=torch.int64))[0]
        first.append(driver.act(observation)[1])
    again = torch.tensor([False, True])
    observation, _ = envs.reset(seed=[0, 1], options={"reset_mask": again})
    driver.reset(again)
    second = [driver.act(observation)[1]]
    for _ in range(3):
        observation = envs.step(torch.ones(2, dtype=torch.int64))[0]
        second.append(driver.act(observation)[1])
    assert torch.equal(torch.stack(first), torch.stack(second))


def test_a_faulty_driver_is_a_driver_with_a_spec_and_faults_add_up():
    spec = faulty(faulty(DriverSpec("me", Watcher), "missed_objects", 1), "action_latency", 2)
    assert spec.name == "me with missed_objects 1 with action_latency 2"
    driver = spec.build("cpu")
    assert isinstance(driver, Driver) and driver.sees == "features"
    envs = worlds("highway-fast-v0", 2, HIGHWAY)
    driver.prepare(envs, [0, 1])
    observation, _ = envs.reset(seed=[0, 1])
    driver.reset(torch.ones(2, dtype=torch.bool))
    assert driver.act(observation).tolist() == [1, 1]  # IDLE
    assert driver.driver.driver.seen[0][:, 1:].abs().max() == 0


def test_scores_are_of_what_the_driver_is_about_to_see():
    envs = worlds("highway-fast-v0", 3, HIGHWAY)
    driver, observation = ready(envs, "missed_objects", 0.5, [0, 1, 2])
    label, scores = driver.scores(observation)
    driver.act(observation)
    assert label == "probability"
    assert torch.equal(scores, driver.driver.seen[0][:, :, 0]) and not torch.equal(scores, observation[:, :, 0])
    assert not hasattr(faulty(DriverSpec("random", RandomDriver), "missed_objects", 0.5).build(), "scores")


@pytest.mark.parametrize(
    ("fault", "severity", "message"),
    [
        ("fog", 1, "unknown fault 'fog'; there are observation_noise, dropped_frames"),
        ("missed_objects", 1.5, r"severity 1.5 of missed_objects: allowed are numbers from 0 to 1 \[probability\]"),
        ("dropped_bursts", 0.9, "numbers from 0 to 0.833333"),
        ("position_noise", -1, r"numbers from 0 \[m\]"),
        ("position_noise", float("nan"), "numbers from 0"),
        ("speed_noise", float("inf"), "numbers from 0"),
        ("speed_noise", "much", "severity 'much'"),
        ("action_latency", 1.5, r"whole numbers \[decisions\]"),
    ],
)
def test_what_is_no_fault_is_refused(fault, severity, message):
    with pytest.raises(ValueError, match=message):
        faulty(DriverSpec("watcher", Watcher), fault, severity)


def test_a_seed_is_a_whole_number():
    with pytest.raises(ValueError, match="must be a non-negative integer"):
        faulty(DriverSpec("watcher", Watcher), "missed_objects", 0.5, seed=-1)


@pytest.mark.parametrize(
    ("id", "config", "fault", "message"),
    [
        ("racetrack-v0", None, "missed_objects", r"racetrack-v0 shows \(OccupancyGrid\): it has no rows of other"),
        ("racetrack-v0", None, "position_noise", "it holds no such column"),
        ("parking-v0", None, "false_objects", r"\(KinematicsGoal\): it has no rows"),
        ("highway-fast-v0", {"vehicles_count": 1}, "missed_objects", "no rows of other vehicles"),
        ("highway-fast-v0", {"features": ["presence", "x", "y"]}, "speed_noise", "no such column"),
        ("highway-fast-v0", {"normalize": False}, "observation_noise", "not normalised"),
        ("highway-fast-v0", None, "blackout", "highway-fast-v0 observes with no camera"),
        ("highway-fast-v0", None, "stuck_frame", "disturbs what sensors show"),
        ("highway-fast-v0", None, "calibration_drift", "moves cameras, and highway-fast-v0 observes with none"),
        ("highway-fast-v0", None, "lost_beams", r"\(Kinematics\): it has no beams"),
        ("highway-fast-v0", LIDAR["observation"], "occlusion", "observes with no camera"),
        ("highway-fast-v0", LIDAR["observation"] | {"channels": ["class"]}, "range_noise", "no beams with ranges"),
        ("highway-fast-v0", PICTURES["observation"], "missed_objects", "no rows of other vehicles"),
        ("highway-fast-v0", PICTURES["observation"], "observation_noise", "not normalised"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(id, config, fault, message):
    config = config and {"observation": {"type": "Kinematics"} | config}
    with pytest.raises(NotApplicable, match=message):
        ready(worlds(id, 1, config), fault, 0.5 if FAULTS[fault].most <= 1 else 1, [0])


def test_a_driver_that_sees_the_world_has_no_observations_to_disturb():
    with pytest.raises(NotApplicable, match="action_hold, action_latency apply to it"):
        ready(worlds("highway-fast-v0", 1, HIGHWAY), "dropped_frames", 0.5, [0], make=Counting)


def test_the_real_highway_env_has_faults_that_need_no_scales():
    envs = HighwayEnv("highway-fast-v0", {"vehicles_count": 3})
    driver, observation = ready(envs, "action_latency", 1, [0])
    assert driver.act(observation).tolist() == [1]
    driver, observation = ready(envs, "dropped_frames", 1.0, [0])
    driver.act(observation)
    driver.act(envs.step(torch.tensor([1]))[0])
    first, second = driver.driver.seen
    assert torch.equal(first, second)
    with pytest.raises(NotApplicable, match="position_noise needs our own simulator"):
        ready(envs, "position_noise", 1, [0])
    envs.close()
