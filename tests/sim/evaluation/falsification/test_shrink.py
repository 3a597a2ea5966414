import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from sim.evaluation.falsification.ground import Cases
from sim.evaluation.falsification.margin import FEATURES
from sim.evaluation.falsification.scene import Edit
from sim.evaluation.falsification.shrink import minimise, shrink


def minimised(items, fails):
    """The subsets found, and how many batches and tests that took."""
    batches = []

    def test(tries):
        batches.append(len(tries))
        return np.array([fails(row, set(kept)) for row, kept in tries], dtype=bool)

    return minimise(items, test), batches


@pytest.mark.parametrize("guilty", [(), (0,), (19,), (3, 7), (2, 11, 17), tuple(range(20))])
def test_just_the_guilty_are_left(guilty):
    (found,), _ = minimised([range(20)], lambda row, kept: kept >= set(guilty))
    assert sorted(found) == list(guilty)


def test_no_single_item_can_be_spared_whatever_the_failure_depends_on():
    random = np.random.default_rng(0)
    for _ in range(30):
        verdicts = {}

        def fails(row, kept, verdicts=verdicts):
            key = frozenset(kept)
            if len(key) == 9:
                return True
            return verdicts.setdefault(key, bool(random.random() < 0.3))

        (found,), _ = minimised([range(9)], fails)
        assert not any(fails(0, set(found) - {item}) for item in found)


def test_rows_are_shrunk_side_by_side_and_alike():
    guilty = [set(pair) for pair in itertools.combinations(range(12), 2)]
    together, batches = minimised([range(12)] * len(guilty), lambda row, kept: kept >= guilty[row])
    alone = [minimised([range(12)], lambda row, kept, g=g: kept >= g)[0][0] for g in guilty]
    assert together == alone
    assert len(batches) < 15


def test_rows_without_items_need_no_test():
    found, batches = minimised([[], []], lambda row, kept: True)
    assert found == [(), ()] and sum(batches) == 0


class Toy:
    """Fails where vehicle 4 is there and has been shifted by 3 m at least, whatever else."""

    config = {"lanes_count": 3, "vehicles_density": 1}

    def run(self, cases, limits=None):
        found = []
        for row in range(len(cases)):
            shift = max((edit.shift for edit in cases.edits_of(row) if edit.slot == 4), default=0)
            found.append(shift >= 3 and 4 not in cases.removed[row])
        traffic = np.tile(np.arange(8) > 0, (len(cases), 1))
        features = np.full((len(cases), len(FEATURES)), 4.0)
        return SimpleNamespace(failed=np.array(found, dtype=bool), traffic=traffic, features=features)


def test_a_failure_keeps_only_what_it_needs():
    edits = np.array([[[-5.0, 1.0, 0, 0], [8.0, 2.0, -1.0, 1]], [[3.0, 0, 0, 0], [2.0, 0, 0, 0]]])
    configs = [{"lanes_count": 2, "vehicles_density": 1.5}, {"lanes_count": 3, "vehicles_density": 1.25}]
    cases = Cases(configs, [5, 6], edits, np.array([[2, 4], [4, 7]]), [(), ()])
    small = shrink(Toy(), cases, SimpleNamespace(time=np.array([4.0, 5.0])))
    assert small.configs == [{}, {}] and small.seeds == [5, 6]
    assert small.removed == [(1, 2, 3, 5, 6, 7)] * 2
    assert small.edits_of(0) == [Edit(4, shift=3.0)] and small.edits_of(1) == [Edit(4, shift=3.0)]
    assert cases.edits[0, 0, 0] == -5 and cases.configs[0]["lanes_count"] == 2  # what was given stays
