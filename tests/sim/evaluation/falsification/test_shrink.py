import itertools

import numpy as np
import pytest

from sim.evaluation.falsification.shrink import minimise


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
