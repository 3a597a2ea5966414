"""GrayscaleObservation beside the real one: `make test` plays a little of each id, `make test-full` the whole bar."""

import pytest

from sim.evaluation.pictures import FAR_APART, VIEWS, Gap, compare_pictures
from sim.provenance import usable_cores
from sim.scenarios import SCENARIOS

SLOW_ROADS = ("highway-v0", "intersection")  # the real ones: up to a second a step


@pytest.mark.parametrize("env_id", SCENARIOS)
def test_the_first_pictures_are_the_same(env_id, device):
    """Pixel for pixel but for the last bit of a position: the ego may stand just on the edge between two pixels."""
    most = 2 if env_id.startswith(SLOW_ROADS) else 4
    documented = [(env_id, "documented")]
    gap = next(compare_pictures(documented, (0,), most, device=str(device)))
    assert gap.close and gap.exact >= 0.9 * gap.frames and gap.frames >= 2


@pytest.mark.parametrize("env_id", ["highway-fast-v0", "parking-parked-v0", "racetrack-v0", "u-turn-v0", "exit-v0"])
def test_so_are_those_at_the_ids_own_scaling(env_id, device):
    gap = next(compare_pictures([(env_id, "own scaling")], (1,), 3, device=str(device)))
    assert gap.close and gap.share < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("env_id", SCENARIOS)
def test_fifty_whole_episodes_are_the_same(env_id, view, device):
    gap = next(compare_pictures([(env_id, view)], range(50), None, len(usable_cores()), str(device)))
    assert gap.close
    assert gap.frames >= 50


def test_another_lane_line_is_noticed(device, monkeypatch):
    """Stripes half as long: well beyond what two simulators may differ by."""
    case = [("highway-fast-v0", "documented")]
    assert next(compare_pictures(case, (0,), 1, device=str(device))).exact
    monkeypatch.setattr("sim.observations.grayscale.SURFACES", ((100, 100, 100), (255, 255, 255), (90, 60, 60)))
    gap = next(compare_pictures(case, (0,), 1, device=str(device)))
    assert gap.exact == 0 and 0 < gap.mean < 1 and gap.far == 0 and FAR_APART > 5
    monkeypatch.setattr("sim.observations.grayscale.STRIPE_SPACING", 8.66)
    gap = next(compare_pictures(case, (0,), 1, device=str(device)))
    assert not gap.close or gap.share > 0.005


def test_an_empty_comparison_is_no_agreement():
    assert not Gap().close
