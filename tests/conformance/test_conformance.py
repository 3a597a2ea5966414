"""Seeds and episodes beside the real highway-env; `make test` plays a few, `make test-full` the bars of the README.

The random actions of a seed mostly end in an early crash, so careful drivers play whole episodes as well.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import sim
from sim.evaluation.action_styles import draw_actions
from sim.evaluation.conformance import compare, first_difference, our_episodes
from sim.evaluation.oracle import Episode, make_real, real_episode
from sim.evaluation.statistics import mean_interval, wilson_interval
from sim.provenance import usable_cores
from sim.scenarios.highway import DEFAULTS
from sim.vector import DRIVER

FOLDER = Path(__file__).parent
CONFIGS = json.loads((FOLDER / "configs.json").read_text())
IDS = ("highway-v0", "highway-fast-v0")
# What configs.json leaves out.
MORE_CONFIGS = [
    {"manual_control": True, "duration": 4.5, "show_trajectories": True, "high_speed_reward": 0.7},
    {"action": {"type": "ContinuousAction", "clip": False, "acceleration_range": [-2, 6]}, "on_road_reward": 0.3},
    {"controlled_vehicles": 3, "vehicles_count": 7, "simulation_frequency": 7, "policy_frequency": 3, "duration": 5},
    {"neighbour_vehicles_connected_lanes": True},
    {"vehicles_count": 0, "lane_change_reward": -1, "duration": 3, "reward_speed_range": [10, 25]},
]
ALL_FEATURES = ["presence", "x", "y", "vx", "vy", "heading", "cos_h", "sin_h", "cos_d", "sin_d"]
ALL_FEATURES += ["long_off", "lat_off", "ang_off"]
OBSERVATIONS = [
    {"features": ALL_FEATURES, "vehicles_count": 30, "see_behind": True},
    {"features": ALL_FEATURES, "normalize": False, "absolute": True, "observe_intentions": True},
    {"absolute": True, "clip": False, "features_range": {"x": [0, 500], "y": [-4, 4], "heading": [-1, 2]}},
    {"order": "shuffled", "vehicles_count": 4, "features": ["x", "vx"]},
    {"order": "shuffled", "vehicles_count": 25, "see_behind": True, "absolute": True},
    {"include_obstacles": False, "vehicles_count": 2, "flatten": True},
]
SLOWER = 4
LANE_RIGHT = 2


def assert_equal(result):
    assert result.differences == {}
    assert result.info_differences == {}
    assert result.equal and result.resets_equal > 0


@pytest.mark.parametrize("env_id", IDS)
def test_a_seed_gives_the_same_scene(env_id, device):
    assert_equal(compare(env_id, None, range(20), most=0, device=str(device)))


def test_whole_episodes_are_the_same(device):
    result = compare("highway-fast-v0", None, range(12), device=str(device))
    assert_equal(result)
    assert result.steps > 60


@pytest.mark.parametrize("config", CONFIGS + MORE_CONFIGS, ids=range(len(CONFIGS + MORE_CONFIGS)))
def test_whole_episodes_of_varied_configs_are_the_same(config, device):
    assert_equal(compare("highway-fast-v0", config, [20, 21], device=str(device)))


@pytest.mark.parametrize("options", OBSERVATIONS, ids=range(len(OBSERVATIONS)))
def test_observations_of_all_options_are_the_same(options, device):
    config = {"observation": {"type": "Kinematics"} | options, "vehicles_density": 2}
    env, seeds = make_real("highway-fast-v0", config), [40, 41]
    played = our_episodes("highway-fast-v0", config, seeds, device=str(device), most=3)
    for seed, ours in zip(seeds, played, strict=True):
        assert first_difference(ours, real_episode(env, seed, most=3)) is None


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize(
    "action",
    [
        {"type": "DiscreteMetaAction"},
        {"type": "DiscreteMetaAction", "lateral": False},
        {"type": "ContinuousAction"},
        {"type": "ContinuousAction", "longitudinal": False},
        {"type": "DiscreteAction", "actions_per_axis": 4},
    ],
    ids=lambda action: "-".join(map(str, action.values())),
)
def test_the_spaces_are_the_same(env_id, action):
    config = {"action": action, "vehicles_count": 3, "observation": {"type": "Kinematics", "features": ["x", "vy"]}}
    real, ours = make_real(env_id, config).unwrapped, sim.make_vec(env_id, 2, config=config)
    assert ours.single_observation_space == real.observation_space
    assert ours.single_action_space == real.action_space
    assert ours.observation_space.shape == (2, *real.observation_space.shape)
    assert ours.observation_space.contains(ours.reset(seed=0)[0].numpy())


@pytest.mark.parametrize("env_id", IDS)
def test_the_default_configs_are_the_same(env_id):
    real = dict(make_real(env_id).unwrapped.config)
    assert real.pop("offscreen_rendering") is True  # filled in by its constructor
    ours = dict(sim.make_vec(env_id).config)
    assert ours.pop("offscreen_rendering") is None
    assert ours == real


def test_one_world_plays_like_the_real_environment():
    """`reset()` goes on with the stream, and `options` change the config for good, as there."""
    ours, real = sim.make("highway-fast-v0"), make_real("highway-fast-v0").unwrapped
    few = {"config": {"lanes_count": 2, "vehicles_count": 5}}
    for arguments in ({"seed": 7}, {}, {"options": few}, {}, {"seed": 3}):
        observation, info = ours.reset(**arguments)
        expected, expected_info = real.reset(**arguments)
        assert observation.dtype == expected.dtype
        np.testing.assert_allclose(observation, expected, rtol=0, atol=1e-6)
        for action in draw_actions("random", real.action_space, real.config["action"], 0, 4):
            observation, reward, terminated, truncated, info = ours.step(action)
            expected, expected_reward, *ends, expected_info = real.step(action)
            np.testing.assert_allclose(observation, expected, rtol=0, atol=1e-5)
            assert reward == pytest.approx(expected_reward, abs=1e-6)
            assert [terminated, truncated] == ends
            assert info["rewards"] == pytest.approx(expected_info["rewards"], abs=1e-6)
            assert info["speed"] == pytest.approx(expected_info["speed"])
            assert (info["crashed"], info["action"]) == (expected_info["crashed"], expected_info["action"])
            if terminated:
                break


@pytest.mark.parametrize("clip", [True, False])
def test_actions_beyond_one_are_clipped_or_not_as_in_the_real_environment(clip):
    config = {"action": {"type": "ContinuousAction", "clip": clip}, "vehicles_count": 0}
    ours, real = sim.make("highway-fast-v0", config), make_real("highway-fast-v0", config).unwrapped
    ours.reset(seed=0)
    real.reset(seed=0)
    for action in ([1.5, -1.25], [-3.0, 0.5], [0.5, 2.0]):
        action = np.array(action, dtype=np.float32)
        np.testing.assert_allclose(ours.step(action)[0], real.step(action)[0], rtol=0, atol=1e-5)


def test_an_episode_of_the_slow_highway_is_the_same(device):
    assert_equal(compare("highway-v0", None, [2], device=str(device)))


@pytest.mark.parametrize("actions", [[SLOWER], [LANE_RIGHT, SLOWER], [0, SLOWER, SLOWER, LANE_RIGHT]])
def test_episodes_that_reach_the_time_limit_are_the_same(actions, device):
    def careful(space, seed, steps):
        return np.resize(actions, steps)

    result = compare("highway-fast-v0", None, [31, 32], device=str(device), style=careful)
    assert_equal(result)
    assert result.steps > 40


def recorded_cases():
    with np.load(FOLDER / "reference_episodes.npz", allow_pickle=False) as file:
        cases = json.loads(str(file["cases"]))
        for number, case in enumerate(cases):
            fields = ("observations", "rewards", "terminated", "truncated")
            observations, *rest = (file[f"{number}_{field}"] for field in fields)
            case["episode"] = Episode({"": observations}, *rest)
        return cases


def test_recorded_episodes_are_the_same(device):
    cases = recorded_cases()
    groups = {}
    for case in cases:
        groups.setdefault((case["env_id"], json.dumps(case["config"])), []).append(case)
    differences = {}
    for (env_id, config), group in groups.items():
        seeds = [case["seed"] for case in group]
        played = our_episodes(env_id, json.loads(config), seeds, device=str(device))
        for case, ours in zip(group, played, strict=True):
            text = first_difference(ours, case["episode"])
            if text:
                differences[env_id, config, case["seed"]] = text
    assert differences == {}
    assert len({config for env_id, config in groups if env_id == "highway-v0"}) == 1 + len(CONFIGS)
    assert any(case["episode"].truncated.any() for case in cases if case["env_id"] == "highway-v0")


@pytest.mark.parametrize(
    "broken",
    [
        ("sim.vector.DRIVER", {**DRIVER, "comfort_acc_max": 3.03}),
        ("sim.vector.DRIVER", {**DRIVER, "distance_wanted": 10.1}),
        ("sim.scenarios.highway.SPEED_LIMIT", 30.01),
        ("sim.scenarios.highway.DEFAULTS", {**DEFAULTS, "right_lane_reward": 0.1001}),
    ],
    ids=["comfort_acc_max", "distance_wanted", "SPEED_LIMIT", "right_lane_reward"],
)
def test_a_changed_constant_is_noticed(monkeypatch, broken):
    monkeypatch.setattr(*broken)
    cases = [case for case in recorded_cases() if case["env_id"] == "highway-fast-v0" and not case["config"]]
    played = our_episodes("highway-fast-v0", None, [case["seed"] for case in cases])
    different = [first_difference(ours, case["episode"]) for case, ours in zip(cases, played, strict=True)]
    assert sum(text is not None for text in different) > len(cases) / 2


def assert_statistics_agree(env_id, worlds, device):
    """float32 and float64 play other seeds: crash rate, return and length lie within 99 % intervals of each other."""
    estimates = []
    for precision, first_seed in (("float32", 50_000), ("float64", 90_000)):
        seeds = range(first_seed, first_seed + worlds)
        episodes = our_episodes(env_id, None, list(seeds), device=str(device), precision=precision)
        crashes = sum(bool(episode.terminated[-1]) for episode in episodes)
        returns = [episode.rewards.sum() for episode in episodes]
        lengths = [len(episode.rewards) for episode in episodes]
        estimates.append(
            {
                "crash rate": wilson_interval(crashes, worlds, 0.99),
                "return": mean_interval(returns, 0.99),
                "length": mean_interval(lengths, 0.99),
            }
        )
    single, double = estimates
    for name in single:
        assert single[name].low <= double[name].high and double[name].low <= single[name].high, name
        assert single[name].value != double[name].value, f"{name}: were these the same episodes?"


@pytest.mark.parametrize("env_id", IDS)
def test_float32_is_statistically_the_same(env_id, device):
    assert_statistics_agree(env_id, 400, device)


def test_most_float32_episodes_follow_float64(device):
    """A float32 episode parts from its float64 twin only where a decision is a close call."""
    seeds = list(range(300))
    single = our_episodes("highway-fast-v0", None, seeds, device=str(device), precision="float32")
    double = our_episodes("highway-fast-v0", None, seeds, device=str(device))
    parted = [first_difference(a, b, 2e-3, 2e-3) is not None for a, b in zip(single, double, strict=True)]
    assert sum(parted) < 0.1 * len(seeds)


# The bars of issue 2, in whole.


@pytest.mark.slow
@pytest.mark.parametrize("env_id", IDS)
def test_a_thousand_seeds_give_the_same_scenes(env_id, device):
    cores = len(usable_cores())
    assert_equal(compare(env_id, None, range(1000), processes=cores, most=0, device=str(device)))


@pytest.mark.slow
@pytest.mark.parametrize("env_id", IDS)
def test_two_hundred_whole_episodes_are_the_same(env_id, device):
    assert_equal(compare(env_id, None, range(200), processes=len(usable_cores()), device=str(device)))


@pytest.mark.slow
@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_many_episodes_of_varied_configs_are_the_same(env_id, config, device):
    seeds = range(1000, 1025)
    assert_equal(compare(env_id, config, seeds, processes=len(usable_cores()), device=str(device)))


@pytest.mark.slow
@pytest.mark.parametrize("env_id", IDS)
def test_float32_is_statistically_the_same_over_many_seeds(env_id, device):
    assert_statistics_agree(env_id, 2000, device)
