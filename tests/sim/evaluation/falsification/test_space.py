import json

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import truncnorm

from sim.evaluation.falsification.space import Levels, Offset, Space, chosen_space, default_space

SHARES = np.linspace(0.001, 0.999, 501)  # quantiles of the latent normal


def test_an_offset_has_the_cut_normal_distribution():
    offset = Offset(deviation=1.5, limit=2.0)
    expected = truncnorm.ppf(SHARES, -2 / 1.5, 2 / 1.5, scale=1.5)
    np.testing.assert_allclose(offset.value(ndtri(SHARES)), expected, atol=1e-9)


@pytest.mark.parametrize("latent", [-50.0, -9.0, 9.0, 50.0])
def test_an_offset_stays_within_its_limit_however_far_a_search_goes(latent):
    assert abs(Offset(4.0, 15.0).value(np.array([latent]))[0]) == pytest.approx(15.0, abs=1e-3)


def test_levels_come_as_often_as_they_should():
    levels = Levels((2, 3, 4), (0.1, 0.7, 0.2))
    found = levels.index(ndtri((np.arange(10_000) + 0.5) / 10_000))
    np.testing.assert_array_equal(np.bincount(found), [1000, 7000, 2000])


@pytest.mark.parametrize(
    "values, probabilities", [((1, 2), (1.0,)), ((1, 2), (0.5, 0.6)), ((1, 2), (0.0, 1.0)), ((), ())]
)
def test_levels_need_probabilities(values, probabilities):
    with pytest.raises(ValueError, match="probabilities"):
        Levels(values, probabilities)


def test_each_parameter_moves_one_thing():
    space = default_space("highway-fast-v0", None)
    assert len(space.names) == space.size == len(set(space.names))
    middle = np.zeros((1, space.size))
    for d, name in enumerate(space.names):
        moved = middle.copy()
        moved[0, d] = 2.5
        config_moves = space.configs(moved) != space.configs(middle)
        changed = np.argwhere(space.edits(moved) != space.edits(middle))
        if name in space.config:
            assert config_moves and not len(changed)
        else:
            assert not config_moves and len(changed) == 1 and changed[0, 1] == int(name.split()[1])


def test_the_nominal_middle_is_the_scenario_itself():
    space = default_space("highway-fast-v0", {"vehicles_density": 2})
    assert not space.edits(np.zeros((1, space.size))).any()
    assert space.configs(np.zeros((1, space.size))) == [{"vehicles_density": 2, "ego_spacing": 1.5, "lanes_count": 3}]


def test_values_that_a_scenario_refuses_are_left_out():
    levels = default_space("highway-fast-v0", {"lanes_count": 1}).config["lanes_count"]
    assert levels.values == (1, 2) and sum(levels.probabilities) == pytest.approx(1)


def test_where_nothing_drives_there_is_nothing_to_search():
    with pytest.raises(ValueError, match="nothing to search"):
        default_space("parking-v0", None)


def test_a_space_survives_json(tmp_path):
    space = default_space("intersection-v0", None)
    file = tmp_path / "space.json"
    file.write_text(json.dumps(space.as_dict()))
    assert chosen_space(file, "intersection-v0", None) == space


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("{", "is not JSON"),
        ("[]", "not a search space"),
        ('{"offsets": {"sideways": {"deviation": 1, "limit": 2}}}', "unknown offset 'sideways'"),
        ('{"offsets": {"shift": {"deviation": 0, "limit": 2}}}', "above 0"),
        ('{"vehicles": 0}', "nothing to search"),
        ('{"vehicles": -1}', "0 or more"),
        ('{"config": {"lanes_count": {"values": [0, 3], "probabilities": [0.5, 0.5]}}}', "lanes_count"),
        ('{"config": {"lane_count": {"values": [2, 3], "probabilities": [0.5, 0.5]}}}', "did you mean 'lanes_count'"),
    ],
)
def test_a_bad_space_is_told_in_one_line(tmp_path, text, complaint):
    file = tmp_path / "space.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=complaint) as error:
        chosen_space(file, "highway-fast-v0", None)
    assert "\n" not in str(error.value)


def test_a_missing_space_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such search space"):
        chosen_space(tmp_path / "none.json", "highway-fast-v0", None)


def test_unknown_offsets_are_refused_in_code_too():
    with pytest.raises(ValueError, match="unknown offset"):
        Space({}, offsets={"lanes": Offset(1, 1)})
