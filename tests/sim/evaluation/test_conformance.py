"""The tool itself: what counts as a difference, and what the report says."""

import numpy as np
import pytest

from sim.evaluation import conformance
from sim.evaluation.conformance import (
    Case,
    Conformance,
    compare,
    compare_all,
    first_difference,
    gap,
    info_difference,
    our_episodes,
)
from sim.evaluation.conformance_report import chosen_cases, differences, report, table
from sim.evaluation.oracle import Episode, real_episodes

FEW_CARS = {"vehicles_count": 2, "lanes_count": 2}


def episode(observation=0.0, reward=0.5, terminated=False, steps=3, infos=None, dtype=np.float64, path=""):
    observations = {path: np.full((steps + 1, 2, 2), observation, dtype=dtype)}
    truncated = np.zeros(steps, dtype=bool)
    return Episode(observations, np.full(steps, reward), np.full(steps, terminated), truncated, infos or {})


def test_what_a_difference_is():
    assert first_difference(episode(), episode(5e-6, 0.5 + 5e-7)) is None
    assert "observation 0 differs by 2.00e-05 at [0, 0]" in first_difference(episode(), episode(observation=2e-5))
    assert "observation 0" in first_difference(episode(), episode(observation=np.nan))
    assert first_difference(episode(np.nan), episode(np.nan)) is None
    assert first_difference(episode(np.inf), episode(np.inf)) is None
    assert "observation 0" in first_difference(episode(np.inf), episode(-np.inf))
    assert "reward 1" in first_difference(episode(), episode(reward=0.5 + 2e-6))
    assert "reward 1" in first_difference(episode(), episode(reward=np.nan))
    assert "step 1 ends differently: terminated is False" in first_difference(episode(), episode(terminated=True))
    assert "3 steps, not 4" in first_difference(episode(), episode(steps=4))


def test_a_later_difference_is_named_by_its_step_and_part():
    ours, real = episode(path="1/goal"), episode(path="1/goal")
    ours.observations["1/goal"][2, 1, 0] = 0.25
    assert first_difference(ours, real) == "observation 2 (1/goal) differs by 2.50e-01 at [1, 0]: 0.25, not 0.0"


def test_types_shapes_and_parts_must_be_the_same():
    assert "is float32 (2, 2), not float64 (2, 2)" in first_difference(episode(dtype=np.float32), episode())
    assert "observation 0 (b) is missing" in first_difference(episode(path="b"), episode(path="a")) or "(a) is missing"
    assert "(a) is missing, not float64" in first_difference(episode(path="b"), episode(path="a"))


def test_the_last_bit_of_a_float32_is_no_difference():
    big = np.float32(5000.0)
    near, far = np.nextafter(big, np.float32(1e4)), big + np.float32(0.01)
    assert first_difference(episode(near, dtype=np.float32), episode(big, dtype=np.float32)) is None
    assert first_difference(episode(far, dtype=np.float32), episode(big, dtype=np.float32))
    assert first_difference(episode(float(near)), episode(5000.0))


def test_bytes_do_not_wrap_around():
    assert gap(np.uint8([0, 255]), np.uint8([255, 0])).tolist() == [255, 255]


def test_rewards_and_ends_of_agents():
    pair = np.zeros((3, 2))
    real = episode(reward=0.0)
    real.rewards, real.terminated = pair, pair.astype(bool)
    ours = episode(reward=0.0)
    assert first_difference(ours, real).startswith("reward 1")
    ours.rewards, ours.terminated = pair.copy(), pair.astype(bool)
    assert first_difference(ours, real) is None
    ours.terminated[1, 1] = True
    assert "step 2 ends differently" in first_difference(ours, real)


def test_what_an_info_difference_is():
    real = episode(infos={"speed": np.zeros(3), "is_success": np.zeros(3)})
    assert (
        info_difference(episode(infos={"speed": np.zeros(3), "is_success": np.zeros((3, 1), dtype=bool)}), real) is None
    )
    assert info_difference(episode(infos={"speed": np.zeros(3)}), real) == "info lacks 'is_success'"
    assert "2 agents, not 1" in info_difference(
        episode(infos={"speed": np.zeros(3), "is_success": np.zeros((3, 2))}), real
    )
    text = info_difference(episode(infos={"speed": np.array([0, 0, 2e-6]), "is_success": np.zeros(3)}), real)
    assert text.startswith("info 'speed' of step 3 differs by 2.00e-06")
    assert info_difference(episode(infos={"speed": np.zeros(3)}), episode()) is None  # ours may say more


def test_ours_repeats_what_the_real_side_played(device):
    real = real_episodes("highway-fast-v0", FEW_CARS, [0, 1, 2], most=12, style="gentle")
    lengths = [len(one.truncated) for one in real]
    ours = our_episodes(
        "highway-fast-v0", FEW_CARS, [0, 1, 2], str(device), most=12, actions=[one.actions for one in real]
    )
    assert [len(one.truncated) for one in ours] == lengths
    assert [first_difference(a, b) for a, b in zip(ours, real, strict=True)] == [None] * 3


def test_processes_make_no_difference(device):
    cases = [Case("highway-fast-v0", FEW_CARS, tuple(range(7)), 2), Case("highway-fast-v0", None, (3,), 0)]
    told = []
    alone, spread = (list(compare_all(cases, n, str(device), told.append)) for n in (0, 2))
    assert alone == spread
    assert alone[0].equal and alone[0].steps > 7 and alone[1].steps == 0 and alone[1].resets_equal == 1
    assert sum(told) == 16


def test_another_config_is_noticed(device, monkeypatch):
    monkeypatch.setattr(conformance, "real_episodes", lambda env_id, config, *rest: real_episodes(env_id, None, *rest))
    result = compare("highway-fast-v0", {"vehicles_density": 1.01}, [0, 1], most=2, device=str(device))
    assert not result.equal and set(result.differences) == {0, 1} and result.resets_equal == 0


def test_what_a_side_raises_is_a_difference(device):
    known = compare("highway-fast-v0", {"lanes_count": 0}, [0, 1], most=1, device=str(device))
    assert set(known.differences) == {0, 1} and "raises" in known.differences[0]
    assert not known.equal


def outcome(env_id="merge-v0", name="", config=None, **fields):
    return Conformance(Case(env_id, config, (0, 1), name=name), resets_equal=2, steps=9, **fields)


def test_a_row_an_id():
    results = [
        outcome(worst=1e-9),
        outcome(name="random config 0", config={"a": 1}, differences={1: "reward 3 is 0, not 1"}, ill_posed={1: "x"}),
        outcome("exit-v0", info_differences={0: "info lacks 'speed'"}),
    ]
    rows = table(results).splitlines()[2:]
    assert (
        rows[0]
        == "| merge-v0 | 4 / 4 | 2 / 2 | 1 / 2 (1 ill-posed) | 4 / 4 | 18 | 1.0e-09 | "
        + differences(results[1])[0]
        + " |"
    )
    assert rows[1] == "| exit-v0 | 2 / 2 | 2 / 2 | - | 1 / 2 | 9 | 0.0e+00 | seed 0: info lacks 'speed' |"
    text = report(results)
    assert "- merge-v0 random config 0 seed 1: reward 3 is 0, not 1 (highway-env parts from itself: x)" in text
    assert '- merge-v0 random config 0: `{"a": 1}`' in text
    assert "highway-env 1.12" in text and "unseeded" in text


def test_the_cases_of_a_run():
    cases = chosen_cases(["merge-v0", "slipstream/u-turn-v0"], 2, 5, configs=2, config_seeds=1)
    assert [(case.env_id, case.seeds, case.name) for case in cases] == [
        ("merge-v0", (5, 6), ""),
        ("merge-v0", (5,), "random config 5"),
        ("merge-v0", (5,), "random config 6"),
        ("u-turn-v0", (5, 6), ""),
        ("u-turn-v0", (5,), "random config 5"),
        ("u-turn-v0", (5,), "random config 6"),
    ]
    assert cases[0].most is None and cases[1].most == 100 and cases[1].config


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"envs": ["marge-v0"]}, "merge-v0"),
        ({"envs": []}, "names no id"),
        ({"seeds": 0}, "--seeds is 0; it must be at least 1"),
        ({"seeds": -3}, "--seeds is -3"),
        ({"first_seed": -1}, "--first-seed is -1"),
        ({"steps": -1}, "--steps is -1"),
        ({"configs": -1}, "--configs is -1"),
        ({"configs": 1, "config_seeds": 0}, "--config-seeds is 0"),
        ({"actions": "wild"}, "unknown action style 'wild'"),
        ({"given": [{}, 3]}, "config 1 must be a dict, not int"),
        ({"given": [None]}, "config 0 must be a dict, not NoneType"),
        ({"given": []}, "empty list"),
        ({"given": [{"lane_count": 3}]}, "did you mean 'lanes_count'"),
        ({"given": [{"observation": {"type": "Kinematic"}}]}, "Kinematics"),
    ],
)
def test_wrong_input_is_one_clear_line(given, said):
    with pytest.raises((TypeError, ValueError)) as raised:
        chosen_cases(**({"envs": ["highway-fast-v0"], "seeds": 1} | given))
    assert said in str(raised.value) and "\n" not in str(raised.value)
