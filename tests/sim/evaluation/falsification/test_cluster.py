import numpy as np
import pytest

from sim.evaluation.falsification.cluster import clusters, describe, spread
from sim.evaluation.falsification.margin import FEATURES

CUT_IN = {"side": 3, "kind": 1, "other_changes_lane": 1, "closing_speed": 5, "speed": 25, "time": 4}
REAR_END = {"side": 0, "kind": 1, "same_lane": 1, "closing_speed": 8, "speed": 25, "time": 6}


def rows(kind, count, seed=0):
    random = np.random.default_rng(seed)
    row = np.array([kind.get(name, 0) for name in FEATURES], dtype=float)
    found = np.tile(row, (count, 1))
    for name, spread_by in (("time", 1.0), ("closing_speed", 0.5), ("speed", 1.0)):
        found[:, FEATURES.index(name)] += random.normal(0, spread_by, count)
    return found


def test_kinds_are_told_apart_whatever_their_order():
    features = np.concatenate([rows(CUT_IN, 12), rows(REAR_END, 30, 1)])
    shuffle = np.random.default_rng(2).permutation(42)
    found = clusters(features[shuffle])
    assert [len(kind.members) for kind in found] == [30, 12]
    assert set(shuffle[found[0].members]) == set(range(12, 42))
    assert found[0].about.startswith("ego runs into idm on its own lane") and "right" in found[1].about


def test_a_kind_is_shown_by_its_most_typical_member():
    features = rows(REAR_END, 21)
    features[:, FEATURES.index("time")] = np.linspace(0, 8, 21)
    for name in ("closing_speed", "speed"):
        features[:, FEATURES.index(name)] = 10
    (kind,) = clusters(features)
    assert kind.members[0] == 10


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_failures_are_no_trouble(count):
    assert sum(len(kind.members) for kind in clusters(rows(CUT_IN, count))) == count
    assert len(spread(rows(CUT_IN, count), 5)) == count


def test_each_kind_is_shown_before_one_is_shown_twice():
    features = np.concatenate([rows(REAR_END, 30), rows(CUT_IN, 1)])
    assert 30 in spread(features, 2) and len(spread(features, 10)) == len(set(spread(features, 10))) == 10


def test_a_failure_in_words():
    words = describe(rows(CUT_IN, 1)[0] * 0 + [4.2, 3, 9, 2, 0, 0, 25, 20, 5.04, 0, 0, 1, 1])
    assert words == (
        "ego touches, on its right, obstacle on another lane, ego and other changing lanes, at 5.0 m/s after 4.2 s"
    )
