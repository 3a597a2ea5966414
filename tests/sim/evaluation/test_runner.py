import json

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

import sim
from sim.evaluation import runner
from sim.evaluation.driver import DriverSpec, IdleDriver, RandomDriver
from sim.evaluation.runner import Result, evaluate, run_batch
from tests.sim.evaluation.counting_worlds import CountingWorlds

SHORT = {"vehicles_count": 5, "duration": 6}
"""A highway-fast-v0 that the real highway-env simulates in a few hundredths of a second."""


class FailsOn(IdleDriver):
    """Raises when it meets the observation `seed`, as a driver with a bug does in the middle of an episode."""

    def __init__(self, bad, device="cpu"):
        super().__init__(device)
        self.bad = bad

    def act(self, observation):
        if (observation[:, 0] == self.bad).any():
            raise ZeroDivisionError(f"cannot drive {self.bad}")
        return super().act(observation)


@pytest.fixture
def counting(monkeypatch):
    """Puts the stand-in in the place of `sim.make_vec`; returns the sizes of the batches that were made."""
    sizes = []

    def make_vec(id, num_envs, device, precision, config, autoreset_mode):
        assert autoreset_mode == AutoresetMode.DISABLED
        sizes.append(num_envs)
        return CountingWorlds(num_envs)

    monkeypatch.setattr(sim, "make_vec", make_vec, raising=False)
    return sizes


def test_a_world_counts_until_its_end_and_no_longer():
    got = run_batch(CountingWorlds(6), IdleDriver(), [0, 1, 2, 3, 4, 10])
    np.testing.assert_array_equal(got["length"], [1, 2, 3, 4, 5, 1])
    np.testing.assert_array_equal(got["return"], [0, 2, 6, 12, 20, 10])
    np.testing.assert_array_equal(got["crashed"], [1, 0, 1, 0, 1, 1])
    np.testing.assert_array_equal(got["distance"], [10, 20, 30, 40, 50, 10])
    np.testing.assert_array_equal(got["speed"], [10] * 6)


class Pairs(CountingWorlds):
    """Two agents a world: the first ends after 1 + seed % 5 steps, the second two later; each earns 1 a step for ever.

    Whoever ends has reached the goal in worlds of even seeds.
    """

    single_action_space = spaces.Tuple([spaces.Discrete(5)] * 2)

    def step(self, actions):
        assert actions.shape == (self.num_envs, 2)
        self.steps += 1
        last = (1 + self.seeds % 5)[:, None] + torch.tensor([0, 2])
        info = {"is_success": (self.seeds % 2 == 0)[:, None].expand(-1, 2)}
        reward, never = torch.ones(self.num_envs, 2), torch.zeros(self.num_envs, dtype=torch.bool)
        return self.seeds[:, None].float(), reward, self.steps == last, never, info


def test_agents_are_paid_until_their_end_and_the_last_ends_the_episode():
    got = run_batch(Pairs(3), IdleDriver(), [0, 1, 7])
    np.testing.assert_array_equal(got["length"], [3, 4, 5])
    np.testing.assert_array_equal(got["return"], [1 + 3, 2 + 4, 3 + 5])
    np.testing.assert_array_equal(got["success"], [1, 0, 0])


def test_every_seed_runs_once_in_the_order_given_over_several_chunks(counting, monkeypatch):
    monkeypatch.setattr(runner, "CHUNK", 4)
    seeds = [9, 3, 4, 0, 1, 2, 8, 7, 6]
    result = evaluate(DriverSpec("idle", IdleDriver), "counting-v0", seeds=seeds, progress=False)
    assert counting == [4, 1]
    assert result.episodes["seed"].tolist() == seeds
    assert result.episodes["length"].tolist() == [1 + seed % 5 for seed in seeds]
    # Short episodes are as many as long ones: stopping at the first to finish would show a smaller mean.
    assert result.as_dict()["length"]["value"] == pytest.approx(np.mean([1 + seed % 5 for seed in seeds]))


def test_an_episode_that_raises_is_an_error_and_never_a_zero(counting):
    result = evaluate(DriverSpec("buggy", FailsOn, (7,)), "counting-v0", seeds=range(10), progress=False)
    assert result.errors == [(7, "ZeroDivisionError: cannot drive 7")]
    report = result.as_dict()
    assert (report["n_planned"], report["n_run"], report["n_error"], report["episodes"]) == (10, 9, 1, 9)
    rest = [seed for seed in range(10) if seed != 7]
    assert result.episodes["seed"].tolist() == rest
    assert report["return"]["value"] == pytest.approx(np.mean([seed * (1 + seed % 5) for seed in rest]))
    assert report["crash_rate"]["value"] == pytest.approx(5 / 9)
    assert "First error, seed 7: ZeroDivisionError" in result.table()


def test_nothing_ran_is_reported_as_nothing(counting):
    result = evaluate(DriverSpec("buggy", FailsOn, (3,)), "counting-v0", seeds=[3], progress=False)
    assert result.as_dict()["return"] == {"value": None, "ci95": [None, None]}
    assert "| return | - | - to - |" in result.table()
    json.dumps(result.as_dict(), allow_nan=False)


def test_table_and_figures_of_a_hand_made_result():
    episodes = {
        "seed": np.arange(4),
        "return": np.array([1.0, 2.0, 3.0, 4.0]),
        "length": np.array([30.0] * 4),
        "crashed": np.array([0.0, 0.0, 1.0, 0.0]),
        "speed": np.array([20.0] * 4),
        "distance": np.array([600.0] * 4),
        "lane_changes": np.array([0.0, 1.0, 0.0, 1.0]),
    }
    result = Result("highway-fast-v0", {}, "ours", "float32", "idm", "world", [0, 1, 2, 3], episodes, [], 0.5)
    table = result.table()
    assert "idm (privileged: sees the world) on highway-fast-v0 in ours: 4 of 4 episodes, 0 errors" in table
    assert "| crash rate | 25.0 % | 4.6 % to 69.9 % |" in table  # Wilson's interval of 1 in 4
    assert "| distance [m] | 600.00 | 600.00 to 600.00 |" in table
    report = result.as_dict()
    assert report["privileged"] is True
    assert {"return", "crash_rate", "speed", "length", "distance", "lane_changes"} <= set(report)
    assert set(report["return"]) == {"value", "ci95"}
    assert report["return"]["value"] == 2.5
    assert report["per_episode"]["seed"] == [0, 1, 2, 3]


def test_a_success_rate_is_shown_where_it_is_told(monkeypatch):
    monkeypatch.setattr(sim, "make_vec", lambda id, num_envs, **_: Pairs(num_envs), raising=False)
    result = evaluate(DriverSpec("idle", IdleDriver), "pairs-v0", seeds=[0, 1, 2, 4], progress=False)
    assert result.as_dict()["success_rate"]["value"] == 0.75
    assert "| success rate | 75.0 % | 30.1 % to 95.4 % |" in result.table()  # Wilson's interval of 3 in 4


def test_a_driver_that_cannot_drive_there_is_refused_before_an_episode_runs(counting):
    class Picky(IdleDriver):
        def prepare(self, envs, seeds):
            raise ValueError(f"not in {envs.id}")

    with pytest.raises(ValueError, match="not in counting-v0"):
        evaluate(Picky(), "counting-v0", seeds=[0, 1], progress=False)


def test_the_real_highway_env_by_hand_and_by_the_runner_agree():
    import gymnasium
    import highway_env  # noqa: F401  registers the ids

    result = evaluate(
        DriverSpec("idle", IdleDriver),
        "highway-fast-v0",
        SHORT,
        [5, 11],
        "highway-env",
        processes=1,
        progress=False,
    )
    env = gymnasium.make("highway-fast-v0", config=SHORT)
    for i, seed in enumerate([5, 11]):
        env.reset(seed=seed)
        start = env.unwrapped.vehicle.position.copy()
        total, length, over = 0.0, 0, False
        while not over:
            _, reward, terminated, truncated, info = env.step(1)
            total, length, over = total + reward, length + 1, terminated or truncated
        assert result.episodes["return"][i] == pytest.approx(total, abs=1e-12)
        assert result.episodes["length"][i] == length
        assert result.episodes["crashed"][i] == info["crashed"]
        moved = np.linalg.norm(env.unwrapped.vehicle.position - start)
        assert result.episodes["distance"][i] == pytest.approx(moved, rel=0.01)
    assert result.precision is None


def test_worker_processes_change_nothing():
    spec = DriverSpec("random", RandomDriver, (3,))
    results = [
        evaluate(spec, "highway-fast-v0", SHORT, range(4), "highway-env", processes=n, progress=False) for n in (1, 2)
    ]
    alone, spread = (result.as_dict() for result in results)
    assert alone["n_run"] == 4
    for report in (alone, spread):
        del report["seconds"]
    assert alone == spread


@pytest.mark.parametrize(
    ("id", "config"),
    [
        ("highway-fast-v0", SHORT),
        ("exit-v0", {"duration": 5}),
        ("two-way-v0", {}),
        ("racetrack-v0", {}),
        ("lane-keeping-v0", {}),
        ("parking-ActionRepeat-v0", {"duration": 8}),
        ("intersection-multi-agent-v1", {}),
        ("intersection-v0", {"action": {"type": "DiscreteAction"}, "duration": 6}),
    ],
)
def test_the_two_simulators_see_the_same_random_episodes(id, config, device):
    spec, seeds = DriverSpec("random", RandomDriver), range(4)
    ours = evaluate(spec, id, config, seeds, device=str(device), precision="float64", progress=False)
    real = evaluate(spec, id, config, seeds, "highway-env", processes=1, progress=False)
    assert not ours.errors and not real.errors
    assert ours.episodes.keys() == real.episodes.keys()
    for name, values in ours.episodes.items():
        np.testing.assert_allclose(values, real.episodes[name], atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"simulator": "carla"}, "unknown simulator 'carla'; there are ours, highway-env"),
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [1, 2, 1]}, "seeds must differ"),
        ({"simulator": "highway-env", "id": "highway-v9"}, "unknown environment id 'highway-v9'"),
        ({"id": "highway-v9"}, "highway-v9"),
    ],
)
def test_bad_input_is_refused_before_an_episode_runs(change, message):
    arguments = {"id": "highway-fast-v0", "seeds": [0], "progress": False} | change
    with pytest.raises(ValueError, match=message):
        evaluate(DriverSpec("idle", IdleDriver), **arguments)


def test_an_endless_episode_is_an_error(monkeypatch):
    monkeypatch.setattr(runner, "MAX_STEPS", 3)
    with pytest.raises(RuntimeError, match="had not ended after 3 policy steps"):
        run_batch(CountingWorlds(1), IdleDriver(), [4])


def test_episodes_beside_an_endless_one_count(counting, monkeypatch):
    """Seeds 0 to 3 last 1 to 4 steps."""
    monkeypatch.setattr(runner, "MAX_STEPS", 3)
    result = evaluate(DriverSpec("idle", IdleDriver), "counting-v0", seeds=range(4), progress=False)
    assert counting == [4]
    assert result.episodes["length"].tolist() == [1, 2, 3]
    assert [seed for seed, _ in result.errors] == [3] and "had not ended" in result.errors[0][1]
