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


def test_only_a_difference_that_highway_env_has_as_early_is_ill_posed():
    case = Case("intersection-v0", None, (26, 27, 28))
    result = Conformance(case, {26: "observation 11", 27: "ours raises ValueError"}, parted={26: 11})
    early = Conformance(case, {26: "observation 3"}, parted={26: 3})
    explain([result, early])
    assert set(result.ill_posed) == {26} and early.ill_posed == {}
