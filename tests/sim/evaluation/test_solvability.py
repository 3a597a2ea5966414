"""Which cases are solved and by whom; shipped suites can be solved, and not with closed eyes."""

import numpy as np
import pytest

from agents.drivers import choose_driver
from sim.evaluation.driver import BlindDriver, ConstantDriver, DriverSpec
from sim.evaluation.solvability import Blindness, Outcomes, blindness, drive, fixed_actions, solve
from sim.evaluation.suites import Group, Suite, load_suite, names

SHORT = {"vehicles_count": 8, "duration": 10}
SEARCH = DriverSpec("search", choose_driver(name="search").make, (), {"depth": 6, "beam": 8})


def suite_of(*groups, stress=()):
    return Suite("mine", 1, "", groups, tuple(stress))


def group(name, id, seeds, config=None):
    return Group(name, id, config or {}, tuple(seeds), {})


def test_a_case_is_solved_without_a_crash_and_with_success():
    fast = drive(BlindDriver(), group("fast", "highway-fast-v0", range(4)))
    slow = drive(ConstantDriver("SLOWER"), group("fast", "highway-fast-v0", range(4)))
    exits = drive(ConstantDriver("IDLE"), group("exit", "exit-v0", range(4)))
    assert fast.solved.tolist() == [False] * 4
    assert slow.solved.tolist() == [True] * 4
    assert exits.solved.tolist() == [False] * 4  # whoever stays in lane does not crash there, and misses the exit


def test_to_crawl_or_to_crash_late_is_not_to_do_well():
    reference = Outcomes(np.array([True, True, True, True]), np.array([10.0, 10.0, -3.0, 10.0]))
    found = Outcomes(np.array([True, True, True, False]), np.array([9.5, 8.0, -9.0, 9.9]))
    assert found.well(reference).tolist() == [True, False, True, False]


def test_each_case_is_noted_by_its_first_solver_and_the_rest_is_stress():
    fast, park = group("fast", "highway-fast-v0", [3, 4]), group("park", "parking-v0", [0])
    before = suite_of(fast, stress=[group("fast", "highway-fast-v0", [9]), park])
    specs = [
        DriverSpec("blind", BlindDriver),
        DriverSpec("slow", ConstantDriver, ("SLOWER",)),
        choose_driver(name="idm"),
    ]
    after = solve(before, specs)
    assert [(one.name, one.seeds) for one in after.groups] == [("fast", (3, 4, 9))]
    assert after.groups[0].solvable_by == {3: "slow", 4: "slow", 9: "slow"}
    assert [(one.name, one.seeds, one.solvable_by) for one in after.stress] == [("park", (0,), {})]


def test_a_driver_that_cannot_drive_an_id_solves_nothing_there():
    after = solve(suite_of(group("two", "intersection-multi-agent-v0", [0])), [choose_driver(name="idm")])
    assert after.groups == ()
    assert after.stress[0].seeds == (0,)


def test_a_suite_that_can_be_driven_blind_is_rejected():
    """On an empty road there is nobody to look out for."""
    empty = suite_of(group("empty", "highway-fast-v0", range(5), SHORT | {"vehicles_count": 0}))
    found = blindness(empty, SEARCH, DriverSpec("blind", BlindDriver))
    assert found.rejected
    assert (found.cases, found.reference, found.blind) == (5, 1, 1)
    busy = suite_of(group("busy", "highway-fast-v0", range(5)))
    assert not blindness(busy, SEARCH, DriverSpec("blind", BlindDriver)).rejected


@pytest.mark.parametrize(("blind", "constant", "rejected"), [(0.5, 0.1, True), (0.1, 0.5, True), (0.4, 0.4, False)])
def test_half_of_the_cases_is_too_much(blind, constant, rejected):
    assert Blindness(10, 1.0, blind, constant, {}).rejected is rejected


def test_steered_egos_have_fixed_actions_too():
    assert fixed_actions(group("park", "parking-v0", [0])) == ["IDLE", "FASTER", "SLOWER"]
    assert "LANE_LEFT" in fixed_actions(group("fast", "highway-fast-v0", [0]))


@pytest.mark.parametrize("name", names())
def test_every_case_of_a_shipped_suite_is_solved_by_somebody(name):
    suite = load_suite(name)
    for one in suite.groups:
        assert set(one.solvable_by) == set(one.seeds)
        assert min(one.seeds) >= 2_000_000


def test_there_are_enough_cases():
    assert set(names()) >= {"highway-core", "junctions", "parking", "dense", "smoke"}
    assert load_suite("highway-core").cases >= 200
    assert load_suite("smoke").cases <= 15


@pytest.mark.parametrize("name", ["highway-core", "junctions", "dense"])
def test_no_shipped_suite_can_be_driven_blind(name):
    """On few cases of each group, and the long ones left out; scripts/solve_suite.py --check takes more."""
    whole = load_suite(name)
    groups = tuple(one for one in whole.groups if one.id != "highway-v0")
    found = blindness(Suite(name, 1, "", groups), SEARCH, choose_driver(name="blind"), 3)
    assert not found.rejected, found
    assert found.blind <= 0.25
    assert found.reference >= found.blind + 0.5


@pytest.mark.parametrize("name", ["highway-core", "junctions", "parking", "dense"])
def test_the_blind_driver_fails_in_most_cases(name):
    for one in load_suite(name).groups:
        found = drive(BlindDriver(), Group(one.name, one.id, one.config, one.seeds[:20], {}))
        assert found.solved.mean() < 0.5, one.name


def test_stored_solutions_hold():
    """A few of those of IDM, which costs little to ask again."""
    for name in ("highway-core", "junctions"):
        for one in load_suite(name).groups:
            seeds = tuple(seed for seed in one.seeds if one.solvable_by[seed] == "idm")[:8]
            if seeds:
                assert drive(choose_driver(name="idm").build(), Group("", one.id, one.config, seeds, {})).solved.all()
