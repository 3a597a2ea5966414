"""Every id of highway-env beside the real one; `make test` plays a little of each, `make test-full` the whole bars."""

import json

import pytest

from sim.evaluation.conformance import Case, compare_all
from sim.evaluation.conformance_report import differences
from sim.evaluation.oracle import real_ids
from sim.evaluation.random_configs import random_config
from sim.provenance import usable_cores
from sim.scenarios import SCENARIOS

IDS = tuple(SCENARIOS)
FEW = (0, 1)  # seeds
SLOW_ROADS = ("highway-v0", "intersection")  # the real ones: up to a second a step
SPEEDS = {"type": "ContinuousAction", "speed_range": [3, 8]}
# What random configs have found.
FOUND = [
    # the speed range holds for egos that have been acted on
    ("u-turn-v0", {"manual_control": True, "action": SPEEDS, "observation": {"type": "Kinematics"}}),
    ("parking-v0", {"controlled_vehicles": 3, "action": SPEEDS, "observation": {"type": "Kinematics"}}),
    ("intersection-multi-agent-v0", {"action": SPEEDS}),
    # an obstacle has no lateral offset, and clipping leaves NaN as it is
    (
        "merge-generic-v0",
        {"observation": {"type": "Kinematics", "features": ["x", "lat_off"], "features_range": {"lat_off": [-2, 2]}}},
    ),
]


def assert_equal(cases, device, processes=0):
    wrong = {
        (result.case.env_id, json.dumps(result.case.config)): differences(result) or "resets"
        for result in compare_all(cases, processes, str(device))
        if not result.equal
    }
    assert wrong == {}


def random_cases(env_id, numbers, seeds, most):
    return [Case(env_id, random_config(env_id, i), seeds, most, name=f"random config {i}") for i in numbers]


def test_the_ids_are_highway_envs():
    assert sorted(IDS) == sorted(real_ids())
    assert len(IDS) == 31


@pytest.mark.parametrize("env_id", IDS)
def test_the_first_steps_are_the_same(env_id, device):
    most = 6 if env_id.startswith(SLOW_ROADS) else 20
    assert_equal([Case(env_id, None, FEW, most), Case(env_id, None, (7,), most, "follow")], device)


@pytest.mark.parametrize("env_id", IDS)
def test_the_first_steps_of_random_configs_are_the_same(env_id, device):
    assert_equal(random_cases(env_id, (0, 1), (0,), 6 if env_id.startswith(SLOW_ROADS) else 15), device)


@pytest.mark.parametrize(("env_id", "config"), FOUND, ids=[env_id for env_id, _ in FOUND])
def test_what_random_configs_found_is_the_same(env_id, config, device):
    assert_equal([Case(env_id, config, FEW, 3)], device)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", IDS)
def test_a_hundred_whole_episodes_are_the_same(env_id, device):
    assert_equal([Case(env_id, None, tuple(range(100)))], device, len(usable_cores()))


@pytest.mark.slow
@pytest.mark.parametrize("env_id", IDS)
def test_long_episodes_are_the_same(env_id, device):
    cases = [Case(env_id, None, (100, 101, 102, 103), style=style) for style in ("gentle", "idle", "follow")]
    assert_equal(cases, device, len(usable_cores()))


@pytest.mark.slow
@pytest.mark.parametrize("env_id", IDS)
def test_twenty_random_configs_are_the_same(env_id, device):
    assert_equal(random_cases(env_id, range(20), (0, 1), 100), device, len(usable_cores()))
