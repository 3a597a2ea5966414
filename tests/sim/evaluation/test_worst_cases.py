import random

import pytest

from sim.evaluation.worst_cases import gallery, moments, outcome, worst_first


def case(group="a", seed=0, status="ok", contact=None, frames=None, **metrics):
    return {
        "case": f"{group}/{seed}",
        "group": group,
        "seed": seed,
        "status": status,
        "contact_frame": contact,
        "metrics": metrics,
        "frames": frames or {},
    }


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (case(status="error"), "error"),
        (case(collision=1, at_fault_collision=1), "at_fault_collision"),
        (case(collision=1, at_fault_collision=0), "collision"),
        (case(collision=1, at_fault_collision=None), "at_fault_collision"),  # not judged
        (case(contact=9), "at_fault_collision"),
        (case(contact=9, at_fault_collision=0), "collision"),
        (case(collision=0, off_road=1, success=0), "off_road"),
        (case(collision=0, off_road=0, success=0), "no_success"),
        (case(collision=0, off_road=None, success=None), "ok"),
        (case(collision=0, success=1), "ok"),
        (case(), "ok"),
    ],
)
def test_the_outcome_of_a_case(one, expected):
    assert outcome(one) == expected


def test_the_worst_come_first():
    ranked = [
        case(seed=0, status="error"),
        case(seed=1, collision=1, at_fault_collision=1, delta_v=9.0),
        case(seed=2, collision=1, at_fault_collision=1, delta_v=2.0),
        case(seed=3, collision=1, at_fault_collision=1, delta_v=None),
        case(seed=4, collision=1, at_fault_collision=0, delta_v=20.0),
        case(seed=5, off_road=1),
        case(seed=6, success=0),
        case(seed=7, min_ttc_2d=0.4),
        case(seed=8, min_ttc_2d=1.4),
        case(seed=9, min_ttc_2d=None, min_ttc=2.0),
        case(seed=10, group="a"),
        case(seed=0, group="b"),
    ]
    shuffled = random.Random(0).sample(ranked, len(ranked))
    assert [one["case"] for one in worst_first(shuffled)] == [one["case"] for one in ranked]


def test_the_groups_take_turns_in_the_gallery():
    crashes = [case("a", seed, contact=1, collision=1, delta_v=10.0 - seed) for seed in range(4)]
    crashes += [case("b", seed, contact=1, collision=1, delta_v=0.5) for seed in range(2)]
    fine = [case("c", seed, min_ttc_2d=float(seed + 1)) for seed in range(2)]
    errors = [case("d", 0, status="error")]
    shown = [one["case"] for one in gallery(fine + errors + crashes, most=7)]
    assert shown == ["a/0", "b/0", "a/1", "b/1", "a/2", "a/3", "c/0"]


def test_the_first_moment_is_why_a_case_is_shown():
    frames = {"max_drac": 3, "min_ttc_2d": 8, "off_road": 5, "rms_jerk": 4, "min_pet": -1, "min_thw": None}
    assert moments(case(contact=9, frames=frames)) == [
        ("contact", 9), ("min_ttc_2d", 8), ("max_drac", 3), ("off_road", 5),
    ]  # fmt: skip
    assert moments(case(off_road=1, frames=frames))[0] == ("off_road", 5)
    assert moments(case(frames=frames))[0] == ("min_ttc_2d", 8)
    assert moments(case()) == []
