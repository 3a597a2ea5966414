from dataclasses import replace

import numpy as np
import pytest
import torch

from sim.config import complete
from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics import collisions, comfort, conflicts, progress, rules, scores
from sim.evaluation.metrics.base import Measure
from sim.world import Kind
from tests.sim.evaluation.metrics.hand_made import Car, changed_facts, cruise, episodes, reordered, shuffled
from tests.sim.evaluation.metrics.on_lanes import with_goal

PERFECT = {
    "completion": 1.0,
    "collision": 0.0,
    "at_fault_collision": 0.0,
    "off_road": 0.0,
    "wrong_way_distance": 0.0,
    "min_ttc_2d": None,
    "speed_compliance": 1.0,
    "comfortable": 1.0,
    "relative_speed": 1.0,
}


def judged(made: Episodes | None = None, **changes: float | None) -> dict[str, float | None]:
    """The scores of an episode whose measures are perfect but for some; None is not valid."""
    made = episodes([cruise(0, speed=20)]) if made is None else made
    measures = {}
    for name, number in (PERFECT | changes).items():
        known = torch.tensor([number is not None])
        hit = "collision" in name and bool(number)
        at = torch.tensor([int(made.contact) if hit else -1])
        other = torch.tensor([1 if hit else -1])
        measures[name] = Measure.of(torch.tensor([number or 0.0], dtype=torch.float64), known, at, other)
    found = scores.measure(made, measures)
    return {name: float(measure.value) if bool(measure.valid) else None for name, measure in found.items()}


def crash(kind: Kind, speed: float = 20.0) -> Episodes:
    """The ego drives into something at frame 30."""
    return episodes([cruise(0, speed=speed).crashing(30), Car(60, 0, 0, kind=kind)])


def test_a_perfect_drive_scores_one():
    assert judged() == {"nuplan16": 1, "carla21": 1}


@pytest.mark.parametrize(
    ("changes", "nuplan"),
    [
        ({"completion": 0.5}, (5 * 0.5 + 11) / 16),
        ({"completion": 0.2}, (5 * 0.2 + 11) / 16),
        ({"completion": 0.19}, 0),
        ({"min_ttc_2d": 0.95}, 11 / 16),
        ({"min_ttc_2d": 0.96}, 1),
        ({"speed_compliance": 0.25}, 13 / 16),
        ({"speed_compliance": None}, 1),
        ({"comfortable": 0}, 14 / 16),
        ({"comfortable": None}, 14 / 16),
        ({"off_road": 1}, 0),
        ({"off_road": None}, 1),
        ({"wrong_way_distance": 1.9}, 1),
        ({"wrong_way_distance": 2.0}, 0.5),
        ({"wrong_way_distance": 6.0}, 0),
        ({"wrong_way_distance": None, "comfortable": 0}, 14 / 16),
    ],
)
def test_nuplans_terms(changes, nuplan):
    assert judged(**changes)["nuplan16"] == pytest.approx(nuplan)


def test_nuplan_forgives_half_of_an_object_and_nothing_of_a_vehicle():
    fault = {"collision": 1, "at_fault_collision": 1}
    assert judged(crash(Kind.IDM), **fault)["nuplan16"] == 0
    assert judged(crash(Kind.OBSTACLE), **fault)["nuplan16"] == pytest.approx(0.5 * 11 / 16)  # and no TTC
    assert judged(crash(Kind.IDM), collision=1)["nuplan16"] == 1  # somebody else's fault


@pytest.mark.parametrize(
    ("changes", "carla"),
    [
        ({"completion": 0.5}, 0.5),
        ({"relative_speed": 0.5}, 1 / 1.2),
        ({"relative_speed": 1.5}, 1),
        ({"relative_speed": None}, 1),
        ({"relative_speed": 0.0}, 1 / 1.4),
    ],
)
def test_carlas_terms(changes, carla):
    assert judged(**changes)["carla21"] == pytest.approx(carla)


def test_carlas_collisions():
    assert judged(crash(Kind.IDM), collision=1)["carla21"] == pytest.approx(1 / 1.7)
    assert judged(crash(Kind.OBSTACLE), collision=1)["carla21"] == pytest.approx(1 / 1.6)
    assert judged(crash(Kind.IDM), collision=1, relative_speed=0.5)["carla21"] == pytest.approx(1 / 1.9)
    assert judged(crash(Kind.IDM, speed=0.05), collision=1)["carla21"] == 1  # hit while standing


def test_carla_counts_the_way_off_the_road():
    outside = torch.where(torch.arange(101) < 76, -1.0, 0.6)[:, None]
    made = changed_facts(episodes([cruise(0, speed=20, frames=101)]), off_road=outside)
    assert judged(made)["carla21"] == pytest.approx(0.75)
    assert judged(made, off_road=None)["carla21"] == 1  # a car park


def test_success_stands_in_for_a_way():
    made = episodes([cruise(0)])
    assert judged(made, completion=None) == {"nuplan16": None, "carla21": None}
    assert judged(with_goal(made, True), completion=None) == {"nuplan16": 1, "carla21": 1}
    assert judged(with_goal(made, False), completion=None) == {"nuplan16": 0, "carla21": 0}


def measured(made: Episodes) -> dict[str, Measure]:
    measures = {}
    for part in (collisions, conflicts, comfort, progress, rules):
        measures |= part.measure(made)
    return scores.measure(made, measures)


def scenes() -> Episodes:
    t = np.arange(151) * 0.2
    return episodes(
        [cruise(0, 4, 22, frames=151, dt=0.2), cruise(40, 4, 20.0, frames=151, dt=0.2)],
        [Car(20 * t, 4 + np.sin(t), 20 + np.sin(t), 0.05 * np.cos(t)), cruise(40, 0, 25.0, frames=151, dt=0.2)],
        [cruise(0, 4, 10, frames=151, dt=0.2), cruise(-40, 0, 15.0, frames=151, dt=0.2)],
        id="highway-fast-v0",
        config=complete("highway-fast-v0", None),
        dt=0.2,
    )


def test_an_early_end_of_a_clean_drive_raises_no_score():
    def clean() -> Episodes:
        cars = [cruise(x, y, 20.0, frames=151, dt=0.2) for x, y in ((0, 4), (40, 4), (-40, 0))]
        return episodes(cars, id="highway-fast-v0", config=complete("highway-fast-v0", None), dt=0.2)

    before = {name: measure.value for name, measure in measured(clean()).items()}
    assert all(score == 1 for score in before.values())
    for frames in (150, 120, 60, 20, 8, 3, 1):
        made = clean()
        cut = replace(made, frames=torch.full_like(made.frames, frames))
        cut.__dict__["facts"] = made.facts
        for name, measure in measured(cut).items():
            assert bool((measure.value < before[name]).all() | (measure.value == 0).all()), (name, frames)
            before[name] = measure.value


def test_scores_stay_within_their_range_and_depend_on_nothing_else():
    whole = measured(scenes())
    for name, measure in whole.items():
        assert bool(((measure.value >= 0) & (measure.value <= 1)).all())
        assert measured(reordered(scenes(), [2, 0]))[name].value.tolist() == measure.value[[2, 0]].tolist()
        torch.testing.assert_close(measured(shuffled(scenes()))[name].value, measure.value)
