import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from sim.evaluation.driver import IdleDriver
from sim.evaluation.falsification import check, outcome
from sim.evaluation.falsification.estimate import NOMINAL_SHARE
from sim.evaluation.falsification.ground import Cases, ProvingGround, join
from sim.evaluation.falsification.search import STATE, Search, Settings
from sim.evaluation.falsification.space import Levels, Offset, Space
from sim.evaluation.falsification.summary import Wanted, conclude, ratio
from sim.evaluation.statistics.intervals import wilson_interval
from sim.recording import replay

CONFIG = {"vehicles_count": 8, "duration": 8, "ego_spacing": 2}
SPACE = Space({"lanes_count": Levels((2, 3), (0.3, 0.7))}, 2, {"shift": Offset(4, 12), "speed": Offset(1.5, 5)}, None)
WHO = {"driver": "idle"}


def make_ground():
    return ProvingGround(IdleDriver(), "highway-fast-v0", CONFIG, threads=1)


@pytest.fixture(scope="module")
def ground():
    return make_ground()


@pytest.fixture(scope="module")
def finished(ground, tmp_path_factory):
    """A search of 4 iterations and what it wrote."""
    folder = tmp_path_factory.mktemp("search")
    one = Search(ground, SPACE, Settings(seed=3, budget_episodes=256, batch=64), folder, WHO)
    list(one.run())
    text = conclude(one, Wanted(128, 64, 5), "idle")
    return one, folder, text


def plain_cases(count, first=0):
    return Cases([{}] * count, list(range(first, first + count)), np.zeros((count, 0, 4)))


def test_what_happens_depends_neither_on_the_batch_nor_on_the_order(ground):
    random = np.random.default_rng(0)
    points = random.standard_normal((40, SPACE.size))
    cases = Cases(SPACE.configs(points), list(range(40)), SPACE.edits(points))
    together = ground.run(cases)
    order = random.permutation(40)
    parts = [ground.run(cases.pick(rows)) for rows in (order[:7], order[7:])]
    assert 0 < together.failed.sum() < 40
    for name in ("failed", "time", "margin", "features", "seconds", "applied"):
        found = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(found, getattr(together, name)[order])


def test_cases_by_slot_are_the_cases_by_distance(ground):
    points = np.random.default_rng(1).standard_normal((32, SPACE.size))
    cases = Cases(SPACE.configs(points), list(range(32)), SPACE.edits(points))
    found = ground.run(cases)
    again = ground.run(found.explicit(cases))
    np.testing.assert_array_equal(found.time, again.time)
    np.testing.assert_array_equal(found.features, again.features)


def test_a_limit_ends_an_episode_and_its_time_counts_no_further(ground):
    free = ground.run(plain_cases(20))
    limits = np.tile([5.0, 3.0, 6.0, 1.0], 5)  # cases of like limits are driven together
    cut = ground.run(plain_cases(20), limits=limits)
    np.testing.assert_array_equal(cut.failed, free.time <= limits)
    np.testing.assert_array_equal(cut.seconds, np.minimum(free.seconds, limits))
    assert 0 < cut.failed.sum() < free.failed.sum()


def test_joined_cases_keep_their_edits(ground):
    one = Cases([{}], [1], np.ones((1, 2, 4)), np.array([[3, 4]]), [(5,)])
    two = Cases([{}], [2], np.zeros((1, 1, 4)), np.array([[6]]), None)
    both = join([one, two])
    assert both.seeds == [1, 2] and both.removed == [(5,), ()]
    assert [edit.slot for edit in both.edits_of(0)] == [3, 4] and both.edits_of(1) == []
    assert both.slots.tolist() == [[3, 4], [6, -1]]


@pytest.mark.parametrize(
    "space, count, shape",
    [
        (spaces.Discrete(5), 25, (2,)),
        (spaces.Box(-1.0, 1.0, (2,), dtype=np.float32), 25, (2, 2)),
        (spaces.Tuple([spaces.Discrete(3)] * 2), 9, (2, 2)),
    ],
)
def test_plans_fit_the_action_space(space, count, shape):
    found = check.plans(space)
    assert found.shape == (count, *shape)
    assert len(torch.unique(found.reshape(count, -1), dim=0)) == count


def test_plans_that_hold_one_action_come_first():
    assert check.plans(spaces.Discrete(3))[:3].tolist() == [[0, 0], [1, 1], [2, 2]]


def test_a_plan_that_avoids_an_accident_does(ground):
    cases = plain_cases(64)
    found = ground.run(cases)
    rows = np.flatnonzero(found.failed)
    cases = found.explicit(cases).pick(rows)
    plans = check.avoiding_plans(ground, cases, found.time[rows])
    assert len(rows) > 3
    kept = [row for row, plan in enumerate(plans) if plan is not None]
    chosen = torch.tensor([plans[row] for row in kept])
    again = ground.run(cases.pick(kept), chosen)
    assert (again.time > found.time[rows][kept] + check.HELD_AFTER).all()


def test_an_accident_that_no_plan_avoids_does_not_count():
    # One lane, the slowest that an ego can go is 20 m/s, and the one ahead comes to a stop.
    ground = ProvingGround(IdleDriver(), "highway-fast-v0", CONFIG | {"lanes_count": 1, "vehicles_count": 1}, threads=1)
    edits = np.array([[[0, -6.0, -40.0, 0]]])
    cases = Cases([{}], [0], edits, np.array([[1]]), [()])
    found = ground.run(cases)
    assert found.failed.tolist() == [True] and found.applied.tolist() == [[True]]
    judged = check.confirmed(ground, cases, found)
    assert judged.failed.tolist() == [False] and judged.excused.tolist() == [True] and judged.margin[0] > 0


class Stumbling(IdleDriver):
    """Idle, but it raises at the third decision of an episode that begins with one of `seeds`."""

    def __init__(self, seeds):
        super().__init__()
        self.wrong = seeds

    def prepare(self, envs, seeds):
        super().prepare(envs, seeds)
        self.here, self.decisions = any(seed in self.wrong for seed in seeds), 0

    def act(self, observation):
        self.decisions += 1
        if self.here and self.decisions == 3:
            raise RuntimeError("stumbled")
        return super().act(observation)


def test_a_driver_that_raises_is_an_error_of_its_episode_alone(ground):
    stumbling = ProvingGround(Stumbling({3, 17}), "highway-fast-v0", CONFIG, threads=1)
    found, clean = stumbling.run(plain_cases(20)), ground.run(plain_cases(20))
    assert stumbling.errors == [(3, "RuntimeError: stumbled"), (17, "RuntimeError: stumbled")]
    others = [seed for seed in range(20) if seed not in (3, 17)]
    for name in ("failed", "time", "margin", "seconds"):
        np.testing.assert_array_equal(getattr(found, name)[others], getattr(clean, name)[others])
    assert not found.failed[[3, 17]].any()
    assert found.seconds[[3, 17]].tolist() == [0, 0]


def test_errors_are_counted_in_what_is_written(tmp_path):
    stumbling = ProvingGround(Stumbling({5, 9}), "highway-fast-v0", CONFIG, threads=1)
    one = Search(stumbling, SPACE, Settings(seed=3, budget_episodes=64, batch=32), tmp_path, WHO)
    stumbling.run(plain_cases(10))
    list(one.run())
    text = conclude(one, Wanted(16, 0, 1), "stumbling")
    assert "2 episodes ended in an error of the driver; the first, seed 5: RuntimeError: stumbled" in text
    written = json.loads((tmp_path / outcome.FAILURES).read_text())
    assert written["n_error"] == 2
    assert written["errors"][1] == {"seed": 9, "message": "RuntimeError: stumbled"}


def test_failures_that_do_not_happen_again_are_told(ground):
    found = ground.run(plain_cases(40))
    rows = np.flatnonzero(found.failed)
    cases = found.explicit(plain_cases(40)).pick(rows)
    times = found.time[rows].copy()
    assert check.repeated(ground, cases, times).all()
    times[0] += 0.2
    assert check.repeated(ground, cases, times).tolist() == [False] + [True] * (len(rows) - 1)


def test_a_stopped_search_goes_on_where_it_was(ground, tmp_path):
    for method in ("cross-entropy", "cma"):
        settings = Settings(method, seed=7, budget_episodes=128, batch=32)
        whole = Search(ground, SPACE, settings, tmp_path / f"{method} whole", WHO)
        list(whole.run())
        folder = tmp_path / f"{method} parts"
        stopped = Search(ground, SPACE, settings, folder, WHO).run()
        next(stopped)
        stopped.close()
        resumed = Search(ground, SPACE, settings, folder, WHO)
        assert resumed.found.episodes == 32
        list(resumed.run())
        assert resumed.found.cases.seeds == whole.found.cases.seeds and len(whole.found) > 0
        for name in ("points", "times", "features", "margins"):
            np.testing.assert_array_equal(getattr(resumed.found, name), getattr(whole.found, name))
        assert resumed.found.seconds == whole.found.seconds


@pytest.mark.parametrize("other", [{"seed": 4}, {"method": "random"}, {"batch": 32}])
def test_the_folder_of_another_search_is_refused(ground, finished, other):
    settings = replace(finished[0].settings, **other)
    with pytest.raises(ValueError, match=f"another search: its {next(iter(other))} is"):
        Search(ground, SPACE, settings, finished[1], WHO)


def test_the_folder_of_another_driver_is_refused(ground, finished):
    with pytest.raises(ValueError, match='its driver is "idle", not "idm"'):
        Search(ground, SPACE, finished[0].settings, finished[1], {"driver": "idm"})


def test_a_truncated_state_is_told(ground, finished, tmp_path):
    (tmp_path / STATE).write_bytes((finished[1] / STATE).read_bytes()[:-200])
    with pytest.raises(ValueError, match="not the whole state"):
        Search(ground, SPACE, finished[0].settings, tmp_path, WHO)


@pytest.mark.parametrize(
    "settings, complaint",
    [
        ({"method": "magic"}, "unknown method 'magic'"),
        ({"budget_episodes": None}, "never ends"),
        ({"budget_episodes": 0}, "budget_episodes must be above 0"),
        ({"time_limit_s": -1.0}, "time_limit_s must be above 0"),
        ({"batch": 0}, "batch must be above 0"),
        ({"seed": -1}, "must not be negative"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        Settings(**settings).check()


def test_every_failure_that_is_written_replays(finished):
    _, folder, text = finished
    written = json.loads((folder / outcome.FAILURES).read_text())
    seeds = finished[0].found.cases.seeds
    assert len(set(seeds)) == len(seeds)
    assert 0 < len(written["cases"]) <= 5 and "each confirmed by its replay" in text
    assert sorted(name for kind in written["clusters"] for name in kind["cases"]) == [
        c["case"] for c in written["cases"]
    ]
    for one in written["cases"]:
        case, trace = outcome.load_failure(folder, one["case"])
        envs = outcome.edited_envs(case, trace)
        *_, last = replay(trace, envs)
        assert bool(envs.world.crashed[0, 0]) and last.time >= case["contact"]["time"]
        assert int(envs.world.count[0]) == case["vehicles"] + 1


def test_a_written_failure_has_no_vehicle_and_no_change_to_spare(ground, finished):
    for one in json.loads((finished[1] / outcome.FAILURES).read_text())["cases"]:
        edits = np.array([[e["shift"], e["speed"], e["target_speed"], e["lanes"]] for e in one["edits"]])
        slots = [e["slot"] for e in one["edits"]]
        config = {key: value for key, value in one["config"].items() if CONFIG.get(key) != value}
        others = [v for v in range(1, CONFIG["vehicles_count"] + 1) if v not in one["removed"]]
        fewer = [(*one["removed"], v) for v in others]
        count = len(fewer)
        cases = Cases(
            [config] * count, [one["seed"]] * count, np.tile(edits.reshape(1, -1, 4), (count, 1, 1)),
            np.tile(np.array(slots, dtype=np.int64), (count, 1)), fewer,
        )  # fmt: skip
        limits = np.full(count, one["contact"]["time"])
        assert not ground.run(cases, limits=limits).failed.any()


def test_the_summary_and_the_file_say_the_same(finished):
    one, folder, text = finished
    written = json.loads((folder / outcome.FAILURES).read_text())
    assert written["found"]["episodes"] == one.found.episodes == 256
    assert written["found"]["failures"] + written["found"]["not_repeated"] == len(one.found)
    hours = written["found"]["simulated_seconds"] / 3600
    assert written["found"]["per_hour"]["value"] == pytest.approx(written["found"]["failures"] / hours)
    assert f"| cross-entropy | 256 | {hours:.2f} | {written['found']['failures']} |" in text
    assert "times as many per simulated hour" in text and "effective sample size" in text


def test_cases_that_are_not_there_are_told(finished, tmp_path):
    with pytest.raises(ValueError, match="no case '0999'"):
        outcome.load_failure(finished[1], "0999")
    with pytest.raises(FileNotFoundError, match=r"holds no failures\.json"):
        outcome.load_failure(tmp_path, "0000")


def test_importance_weighting_agrees_with_plain_monte_carlo(ground, finished):
    one = finished[0]
    weighted = outcome.estimated(ground, SPACE, one.found, 512, seed=1)
    points = np.random.default_rng(2).standard_normal((1024, SPACE.size))
    cases = Cases(SPACE.configs(points), list(range(10_000, 11_024)), SPACE.edits(points))
    found = ground.run(cases)
    found = check.confirmed(ground, found.explicit(cases), found)
    plain = wilson_interval(int(found.failed.sum()), 1024)
    assert weighted.effective < 512 and NOMINAL_SHARE == 0.5
    for estimate in (weighted.unbiased, weighted.self_normalised):
        assert estimate.low < plain.high and plain.low < estimate.high
        assert abs(estimate.value - plain.value) < 1.5 * (plain.high - plain.low + estimate.high - estimate.low) / 2


def test_a_ratio_of_rates_and_its_interval():
    found, nominal = outcome.Rate(100, 300, 3600.0, 0, 0), outcome.Rate(100, 20, 7200.0, 0, 0)
    more = ratio(found, nominal)
    assert more.value == pytest.approx(300 / 10)
    # Log-normal approximation of the ratio of two Poisson rates
    factor = np.exp(1.96 * np.sqrt(1 / 300 + 1 / 20))
    assert more.low == pytest.approx(30 / factor, rel=0.06) and more.high == pytest.approx(30 * factor, rel=0.06)
    none = ratio(found, replace(nominal, failures=0))
    assert none.value is None and none.high is None and none.low > 50


def test_a_search_whose_driver_never_fails_says_so(tmp_path):
    empty = ProvingGround(IdleDriver(), "highway-fast-v0", CONFIG | {"vehicles_count": 1, "duration": 2}, threads=1)
    space = Space({}, 1, {"shift": Offset(1, 2)}, None)
    one = Search(empty, space, Settings(budget_episodes=32, batch=32), tmp_path, WHO)
    list(one.run())
    text = conclude(one, Wanted(32, 32, 5), "idle")
    assert "against random seeds: no failures" in text and ": 0 failures" in text
    assert json.loads((tmp_path / outcome.FAILURES).read_text())["cases"] == []
