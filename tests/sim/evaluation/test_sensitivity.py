import numpy as np
import pytest

from sim.evaluation.conformance import Case, Conformance
from sim.evaluation.oracle import make_real
from sim.evaluation.sensitivity import NUDGES, explain, nudge, parts_from_itself


@pytest.mark.parametrize("signs", NUDGES)
def test_a_nudge_is_the_smallest_there_is(signs):
    env = make_real("merge-v0")
    env.reset(seed=0)
    vehicles = env.unwrapped.road.vehicles
    before = np.array([[*v.position, v.heading, v.speed] for v in vehicles])
    nudge(env.unwrapped.road, signs)
    after = np.array([[*v.position, v.heading, v.speed] for v in vehicles])
    assert (after != before).all()
    assert (np.sign(after - before) == signs).all()
    assert np.abs(after - before).max() < 1e-13


def test_a_car_that_stops_in_a_bend_is_ill_posed_and_one_that_drives_is_not():
    assert "differs by" in parts_from_itself("intersection-v0", None, 26)
    assert parts_from_itself("intersection-v0", None, 26, most=6) is None


def test_only_differences_are_looked_at():
    case = Case("highway-fast-v0", {"vehicles_count": 3}, (0, 1, 2), 3)
    result = Conformance(case, {1: "observation 2 differs", 2: "ours raises ValueError: no"})
    explain([result])
    assert result.ill_posed == {}  # a straight road forgives a last bit
