"""The table that sets evaluations side by side."""

import numpy as np
from scipy import stats

from sim.evaluation.report import comparison
from sim.evaluation.runner import Result


def result(crashed, sees="features", errors=()):
    n = len(crashed)
    figures = {"return": 20.0, "speed": 25.0, "distance": 700.0, "lane_changes": 3.0, "length": 30.0}
    episodes = {name: np.full(n, value) for name, value in figures.items()}
    episodes |= {"seed": np.arange(n), "crashed": np.array(crashed, dtype=float)}
    seeds = list(range(n + len(errors)))
    return Result("highway-v0", {}, "ours", "float32", "idm", sees, seeds, episodes, list(errors))


def test_rows_hold_figures_with_intervals():
    head, _, row = comparison([result([0, 1, 0, 0])]).splitlines()
    cells = dict(zip(head.split(" | "), row.split(" | "), strict=True))
    assert cells["episodes"] == "4"
    assert cells["return"] == "20.00 (20.00 to 20.00)"
    wilson = stats.binomtest(1, 4).proportion_ci(method="wilson")
    assert cells["crash rate"] == f"25.0% ({wilson.low:.1%} to {wilson.high:.1%})"


def test_success_stands_where_it_is_reported():
    parked = result([0, 0, 0, 0])
    parked.episodes["success"] = np.array([1.0, 1.0, 0.0, 1.0])
    head, _, first, second = comparison([parked, result([0, 0])]).splitlines()
    place = head.split(" | ").index("success")
    wilson = stats.binomtest(3, 4).proportion_ci(method="wilson")
    assert first.split(" | ")[place] == f"75.0% ({wilson.low:.1%} to {wilson.high:.1%})"
    assert second.split(" | ")[place] == "-"
    assert "success" not in comparison([result([0, 0])])


def test_privileged_drivers_and_failed_episodes_are_visible():
    table = comparison([result([0, 0], sees="world", errors=[(2, "boom")])])
    assert "| idm (privileged) | ours | 2 of 3 |" in table


def test_an_evaluation_without_episodes_shows_dashes():
    table = comparison([result([], errors=[(0, "boom")])])
    assert table.splitlines()[-1] == "| idm | ours | 0 of 1 | - | - | - | - | - |"
