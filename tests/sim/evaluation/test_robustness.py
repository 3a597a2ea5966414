import json
from functools import partial

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

import sim
from planning.rule_based import IdmDriver
from sim.evaluation.cluster import LostChunk
from sim.evaluation.driver import DriverSpec, IdleDriver
from sim.evaluation.faults import FAULTS
from sim.evaluation.harness import Chunk, Settings
from sim.evaluation.robustness import area, critical_severity, plan_curves, summary, sweep
from sim.evaluation.runner import run_batch

CONFIG = {"vehicles_count": 15, "duration": 15, "lanes_count": 2}
SEES = {"observation": {"type": "Kinematics", "normalize": False, "clip": False, "vehicles_count": 6}}


class Careful(IdleDriver):
    """Slows down for whatever it sees less than 60 m ahead of it on its lane, and hurries where it sees nothing."""

    def act(self, observation):
        x, y = observation[:, 1:, 1], observation[:, 1:, 2]
        near = (observation[:, 1:, 0] > 0.5) & (x > 0) & (x < 60) & (y.abs() < 3)
        return torch.where(near.any(1), 4, 3)  # SLOWER, FASTER


class RaisesOn(IdleDriver):
    """Raises when it drives the episode of one seed."""

    def __init__(self, bad, device="cpu"):
        super().__init__(device)
        self.bad = bad

    def prepare(self, envs, seeds):
        super().prepare(envs, seeds)
        self.seeds = list(seeds)

    def act(self, observation):
        if self.bad in self.seeds:
            raise ZeroDivisionError("cannot drive that")
        return super().act(observation)


CAREFUL = DriverSpec("careful", Careful)


def chunk(seeds, number=0, group="two-lanes", id="highway-fast-v0", config=None):
    return Chunk(number, group, id, CONFIG | SEES if config is None else config, tuple(seeds))


def points(curve, key):
    return [point[key] for point in curve]


def cases(collisions, returns):
    return [{"collision": float(hit), "return": float(one)} for hit, one in zip(collisions, returns, strict=True)]


def hand_made():
    """50 cases: clean 5 collide; at severity 1 two more do; at 3 twenty more, and one of the five no longer does."""
    number = np.arange(50)
    ability = np.random.default_rng(0).normal(20, 5, 50)
    wobble = np.random.default_rng(1).normal(0, 0.5, 50)
    return [
        cases(number < 5, ability),
        cases(number < 7, ability - 1 + wobble),
        cases((number < 25) & (number > 0), ability - 9 + wobble),
    ]


def test_a_summary_of_hand_made_cases():
    found = summary([0, 1, 3], hand_made(), ["one"] * 25 + ["other"] * 25)
    collision, reward = found["metrics"]["collision"], found["metrics"]["return"]
    assert points(collision, "value") == pytest.approx([0.1, 0.14, 0.48])
    assert points(collision, "difference") == pytest.approx([0, 0.04, 0.38])
    assert collision[0]["difference_ci95"] == [0, 0]
    low, high = collision[1]["difference_ci95"]
    assert low < 0 < high  # two of fifty may be luck
    assert 0.2 < collision[2]["difference_ci95"][0] < 0.38 < collision[2]["difference_ci95"][1] < 0.55
    assert collision[0]["ci95"] == pytest.approx([0.0435, 0.2136], abs=1e-4)  # Wilson's of 5 in 50
    assert found["critical_severity"] == 3
    assert points(reward, "difference") == pytest.approx([0, -1, -9], abs=0.2)
    width = np.diff(reward[1]["difference_ci95"])[0]
    assert width < np.diff(reward[1]["ci95"])[0] / 5  # pairing takes the cases' own differences out
    assert width == pytest.approx(2 * 2.01 * 0.5 / 50**0.5, rel=0.3)  # Student's interval of the wobble
    assert found["area"]["collision"] == pytest.approx((0.12 * 1 + 0.31 * 2) / 3)
    assert (found["n_planned"], found["n_run"], found["n_error"]) == ([50] * 3, [50] * 3, [0] * 3)
    json.dumps(found, allow_nan=False)


def test_an_episode_that_raised_is_the_worst_rate_and_no_mean():
    rows = hand_made()
    rows[1][40] = "ZeroDivisionError: boom"
    before, found = (summary([0, 1, 3], part, ["one"] * 50) for part in (hand_made(), rows))
    assert found["n_error"] == [0, 1, 0] and found["n_run"] == [50, 49, 50]
    assert found["metrics"]["collision"][1]["value"] == pytest.approx(0.16)  # it did not collide before
    others = np.array([case["return"] for i, case in enumerate(hand_made()[1]) if i != 40])
    assert found["metrics"]["return"][1]["value"] == pytest.approx(others.mean())
    assert found["metrics"]["return"][2] == before["metrics"]["return"][2]


def test_success_is_summed_up_where_it_is_told():
    rows = [[{"collision": 0.0, "return": 1.0} | ({"success": 1.0} if i < 4 else {}) for i in range(6)]] * 2
    assert points(summary([0, 1], rows, ["a"] * 6)["metrics"]["success"], "value") == [1, 1]
    assert "success" not in summary([0, 1], hand_made()[:2], ["a"] * 50)["metrics"]


def test_the_area_of_a_triangle():
    assert area([0, 1, 4], [0, 2, 0]) == pytest.approx((1 + 3) / 4)
    assert area([0, 1, 4], [5, 5, 5]) == pytest.approx(5)
    assert area([0, 1], [1, None]) is None


@pytest.mark.parametrize(
    ("intervals", "critical"),
    [
        ([[0, 0], [-0.1, 0.2], [0.01, 0.3], [0.2, 0.5]], 0.5),
        ([[0, 0], [-0.1, 0.2], [-0.01, 0.3], [0.0, 0.5]], None),
        ([[0, 0], [None, None], [-0.3, -0.1], [0.1, 0.2]], 0.5),
    ],
)
def test_the_critical_severity_is_the_first_whose_interval_leaves_zero_out(intervals, critical):
    assert critical_severity([0, 0.1, 0.5, 1], [{"difference_ci95": one} for one in intervals]) == critical


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"faults": ["fog"]}, "unknown fault 'fog'"),
        ({"severities": {"fog": [1]}}, "severities for 'fog', but the faults are observation_noise"),
        ({"severities": {"missed_objects": [2]}}, "severity 2 of missed_objects"),
        ({"severities": {"missed_objects": [0]}}, "missed_objects needs a severity other than 0"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan_curves(**arguments)


def test_a_plan_has_the_clean_run_first_and_each_severity_once():
    assert plan_curves(["missed_objects"], {"missed_objects": [1, 0.5, 1]}) == {"missed_objects": [0, 0.5, 1]}
    assert plan_curves() == {name: list(fault.severities) for name, fault in FAULTS.items()}
    assert all(fault.severities[0] == 0 and len(fault.severities) > 4 for fault in FAULTS.values())


def test_a_driver_that_looks_ahead_crashes_more_the_more_it_misses():
    severities = {"missed_objects": [0.5, 1.0], "action_latency": [2]}
    seeds = list(range(40))
    settings, faults = Settings(), ["missed_objects", "action_latency"]
    found = sweep(CAREFUL, [chunk(seeds)], settings, faults, severities)
    assert list(found) == faults
    collision = points(found["missed_objects"]["metrics"]["collision"], "value")
    assert collision[0] < 0.2 and collision[2] > 0.6 and collision[0] <= collision[1] <= collision[2]
    assert found["missed_objects"]["critical_severity"] in (0.5, 1.0)
    assert found["missed_objects"]["unit"] == "probability"
    envs = sim.make_vec("highway-fast-v0", 40, config=CONFIG | SEES, autoreset_mode=AutoresetMode.DISABLED)
    clean = run_batch(envs, CAREFUL.build(), seeds)
    for fault in faults:
        first = {name: curve[0]["value"] for name, curve in found[fault]["metrics"].items()}
        assert first["collision"] == pytest.approx(clean["crashed"].mean())
        assert first["speed"] == pytest.approx(clean["speed"].mean())
    split = [chunk(seeds[:7]), chunk(seeds[7:], 1)]  # other batches, the same figures to the last digit
    assert sweep(CAREFUL, split, settings, faults, severities) == found


def test_a_fault_is_tried_where_it_makes_sense():
    racing = chunk([0, 1], group="racing", id="racetrack-v0", config={"duration": 3})
    both = [chunk([0, 1, 2]), racing]
    tried = {"missed_objects": [0.5], "dropped_frames": [0.5]}
    idle = DriverSpec("idle", IdleDriver)
    found = sweep(idle, both, Settings(), list(tried), tried)
    assert found["missed_objects"]["n_planned"] == [3, 3] and found["dropped_frames"]["n_planned"] == [5, 5]
    everything = sweep(idle, [racing], Settings())
    assert not {"missed_objects", "false_objects", "position_noise", "speed_noise"} & set(everything)
    assert {"dropped_bursts", "observation_noise", "action_hold"} <= set(everything)
    with pytest.raises(ValueError, match="missed_objects means nothing for what racetrack-v0 shows"):
        sweep(idle, [racing], Settings(), ["missed_objects"])


def test_a_driver_that_the_simulator_drives_has_no_actions_to_delay():
    with pytest.raises(ValueError, match="the simulator's own traffic model drives the ego"):
        sweep(DriverSpec("idm", IdmDriver), [chunk([0])], Settings(), ["action_latency"])


def test_errors_are_counted_at_every_severity():
    tried = {"missed_objects": [0.5]}
    found = sweep(DriverSpec("bad", RaisesOn, (2,)), [chunk(range(4))], Settings(), list(tried), tried)
    assert found["missed_objects"]["n_error"] == [1, 1] and found["missed_objects"]["n_run"] == [3, 3]


def test_chunks_may_be_driven_elsewhere_and_may_be_lost():
    chunks, tried = [chunk([0, 1]), chunk([2, 3, 4], 1)], {"missed_objects": [0.5]}

    def elsewhere(function, chunks, on_result, lose=()):
        results = [LostChunk("dead") if i in lose else function(one) for i, one in enumerate(chunks)]
        for i, result in enumerate(results):
            on_result(i, result)
        return results

    run = partial(sweep, CAREFUL, chunks, Settings(), list(tried), tried)
    assert run(run_chunks=elsewhere) == run()
    lost = run(run_chunks=partial(elsewhere, lose=(1,)))["missed_objects"]
    assert lost["n_error"] == [3, 3] and lost["metrics"]["collision"][0]["value"] >= 0.6


def test_nothing_to_drive_is_refused():
    with pytest.raises(ValueError, match="at least one case"):
        sweep(CAREFUL, [], Settings())
