"""The tree search: what it keeps, that it finds the best plan, and that it does not crash where a plan avoids it."""

import itertools

import pytest
import torch
from gymnasium.vector import AutoresetMode

import sim
from planning.search import CRASH_COST, Best, Branches, Nodes, SearchDriver, candidates, kept, mixed, rank_within
from sim.evaluation.highway_env import HighwayEnv
from sim.evaluation.runner import run_batch

SMALL = {"vehicles_count": 8, "lanes_count": 3, "duration": 12}
ID = "highway-fast-v0"


def worlds(n, config=None, id=ID, precision="float32"):
    return sim.make_vec(
        id, num_envs=n, config=config, precision=precision, autoreset_mode=AutoresetMode.DISABLED, threads=1
    )


def nodes_of(owner, value, known=None):
    m = len(owner)
    return Nodes(
        torch.tensor(owner),
        torch.tensor(value, dtype=torch.float64),
        torch.arange(m)[:, None],
        torch.tensor(known or [False] * m),
    )


def test_ranks_within_groups():
    group = torch.tensor([7, 3, 7, 3, 7, 9])
    assert rank_within(group, torch.tensor([4, 0, 1, 2, 3, 5])).tolist() == [1, 0, 2, 1, 0, 0]
    assert rank_within(group, torch.tensor([2, 1])).tolist() == [6, 0, 0, 6, 6, 6]  # left out: 6


def test_rows_of_equal_numbers_in_other_places_are_told_apart():
    rows = torch.tensor([[1, 2], [2, 1], [1, 2], [0, 3], [3, 0], [1, 2]])
    found = mixed(torch.tensor([0, 0, 0, 0, 0, 1]), rows).tolist()
    assert found[0] == found[2]
    assert len(set(found)) == 5


def test_the_beam_keeps_one_of_each_choice_first():
    """World 0 has three variations of a good choice and a poor other one; the two worlds do not compete."""
    nodes = nodes_of([0, 0, 0, 0, 1, 1], [9.0, 8.0, 7.0, 1.0, 0.5, 0.4])
    exact = torch.arange(6)[:, None]
    choice = torch.tensor([[1], [1], [1], [2], [1], [1]])
    assert kept(nodes, exact, choice, 2).tolist() == [0, 3, 4, 5]
    assert kept(nodes, exact, choice, 3).tolist() == [0, 1, 3, 4, 5]


def test_equal_states_are_merged_and_the_older_plan_stays():
    nodes = nodes_of([0, 0, 0, 1], [3.0, 5.0, 4.0, 3.0], [False, False, True, False])
    same, choice = torch.tensor([[1, 2], [1, 2], [3, 3], [1, 2]]), torch.zeros(4, 1, dtype=torch.int64)
    assert kept(nodes, same, choice, 9).tolist() == [1, 2, 3]
    assert kept(nodes, same, choice, 1).tolist() == [2, 3]  # of world 0 the plan of the decision before
    assert kept(nodes_of([0, 0], [5.0, 4.0], [False, True]), same[:2], choice[:2], 9).tolist() == [1]


def test_the_best_plan_is_the_one_worth_most_known_or_not():
    best = Best(2, 3, torch.device("cpu"))
    best.offer(nodes_of([0, 0, 1], [1.0, 2.0, -CRASH_COST], [True, False, True]))
    best.offer(nodes_of([0], [1.5], [True]))
    assert best.value.tolist() == [2, -CRASH_COST]
    assert best.path.tolist() == [[1, 0, 0], [2, 0, 0]]


def test_branches_are_exact_copies_of_the_world():
    """A branch goes where the world goes, random stream included; other branches stand still."""
    live = worlds(3, id="intersection-v0")
    live.reset(seed=5)
    live.step(torch.tensor([1, 2, 0]))
    branches = Branches(live, 8)
    branches.put(live.world, torch.tensor([2, 0, 2]))
    reward, ended, _ = branches.step(torch.tensor([2, 1, 0]), 1)
    other = branches.envs.world.select(torch.tensor([0, 1]))
    still = branches.envs.world.count[3:].tolist()
    _, expected, terminated, truncated, _ = live.step(torch.tensor([1, 1, 2]))
    assert reward[:2].tolist() == expected.double()[[2, 0]].tolist()
    assert ended[:2].tolist() == (terminated | truncated)[[2, 0]].tolist()
    for name in ("cars", "rows", "rng"):
        assert torch.equal(other.buffers[name], live.world.buffers[name][[2, 0]])
    assert still == [0] * 5


TEMPTING = SMALL | {"lanes_count": 1, "collision_reward": 1, "normalize_reward": False}


@pytest.mark.parametrize("config", [SMALL, TEMPTING])
def test_a_full_tree_finds_the_best_of_all_plans(config):
    """Every sequence of three actions is tried in worlds of its own; one of the configs pays for crashes."""
    seeds, levels = [3, 11], 3
    driver = SearchDriver(depth=levels, beam=5**levels, tail=0, branches=700)
    live = worlds(len(seeds), config)
    driver.prepare(live, seeds)
    live.reset(seed=seeds)
    driver.act(None)
    plans = list(itertools.product(range(5), repeat=levels))
    one = worlds(len(plans), config)
    for i, seed in enumerate(seeds):
        one.reset(seed=[seed] * len(plans))
        total, over = torch.zeros(len(plans), dtype=torch.float64), torch.zeros(len(plans), dtype=torch.bool)
        for level in range(levels):
            _, reward, terminated, _, info = one.step(driver.actions[torch.tensor(plans)[:, level]])
            total += torch.where(over, 0.0, reward.double() - CRASH_COST * info["crashed"])
            over |= terminated
        found = plans.index(tuple(driver.plans[i].tolist()))
        assert total[found] == pytest.approx(total.max().item(), abs=1e-9)


def test_it_drives_fast_and_never_crashes():
    metrics = run_batch(worlds(6), SearchDriver(depth=8, beam=16), range(70, 76))
    assert metrics["crashed"].sum() == 0
    assert metrics["return"].mean() > 28.5


def test_what_it_does_depends_neither_on_the_batch_nor_on_the_order():
    seeds, settings = [4, 5, 6, 7, 8], {"depth": 5, "beam": 6, "replan": 2, "branches": 64}
    together = run_batch(worlds(5, SMALL), SearchDriver(**settings), seeds)
    turned = run_batch(worlds(5, SMALL), SearchDriver(**settings), seeds[::-1])
    alone = run_batch(worlds(1, SMALL), SearchDriver(**settings), seeds[2:3])
    for name, values in together.items():
        assert values.tolist() == turned[name][::-1].tolist()
        assert values[2] == alone[name][0]


def test_a_plan_is_followed_until_it_is_due_and_forgotten_at_a_reset():
    driver = SearchDriver(depth=4, beam=4, replan=3)
    live = worlds(2, SMALL)
    driver.prepare(live, [0, 1])
    live.reset(seed=0)
    ages = []
    for step in range(5):
        if step == 4:
            driver.reset(torch.tensor([False, True]))
        live.step(driver.act(None))
        ages.append(driver.age.tolist())
    assert ages == [[1, 1], [2, 2], [3, 3], [1, 1], [2, 1]]


def test_it_counts_its_branches_and_time():
    driver = SearchDriver(depth=2, beam=9, tail=1)
    live = worlds(1, SMALL)
    driver.prepare(live, [0])
    live.reset(seed=0)
    driver.act(None)
    found = driver.statistics()
    assert found["depth"] == 3
    assert found["beam"] == 9
    assert 5 + 5 + 1 <= found["branches_per_decision"] <= 5 + 25 + 9
    assert found["ms_per_decision"] > 0


def test_it_parks():
    metrics = run_batch(worlds(2, id="parking-v0"), SearchDriver(depth=14), [2_000_000, 2_000_001])
    assert metrics["success"].tolist() == [1, 1]
    assert metrics["crashed"].sum() == 0


def test_of_a_steered_ego_the_neutral_action_comes_first():
    grid = candidates(worlds(1, id="parking-v0").single_action_space, {"action": {"type": "ContinuousAction"}})
    assert grid.shape == (15, 2)
    assert grid[0].tolist() == [0, 0]
    assert len({tuple(row) for row in grid.tolist()}) == 15


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 0}, "depth is 0; it must be an integer of at least 1"),
        ({"beam": 2.5}, "beam is 2.5"),
        ({"replan": 0}, "replan is 0; it must be an integer of at least 1"),
    ],
)
def test_bad_settings_are_one_line(settings, message):
    with pytest.raises(ValueError, match=message):
        SearchDriver(**settings)


def test_it_refuses_what_it_cannot_search():
    with pytest.raises(ValueError, match="copies worlds of Slipstream"):
        SearchDriver().prepare(HighwayEnv(ID), [0])
    with pytest.raises(ValueError, match="it drives one agent only"):
        SearchDriver().prepare(worlds(1, id="intersection-multi-agent-v0"), [0])
