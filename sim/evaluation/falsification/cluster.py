"""Kinds of failures: which of them are alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from sim.evaluation.falsification.margin import FEATURES, SIDES
from sim.world import Kind

# How far apart two failures are by each feature: the difference at which they are one apart, or 1 where a name differs.
NUMBERS = {"time": 10.0, "closing_speed": 5.0, "speed": 10.0, "heading": 0.5}  # s, m/s, m/s, rad
NAMES = ("side", "kind", "same_lane", "ego_changes_lane", "other_changes_lane")
APART = 1.5
"""Average distance above which groups are not merged."""
SITUATION = {"front": "runs into", "rear": "is hit from behind by", "left": "touches, on its left,",
             "right": "touches, on its right,"}  # fmt: skip


@dataclass(frozen=True)
class Cluster:
    """A kind of failure.

    Attributes:
        members: rows, int64; the most typical one first.
        about: what happens, in words.
    """

    members: np.ndarray
    about: str


def describe(features: np.ndarray) -> str:
    """Returns a failure in words, from its row of `FEATURES`."""
    of = dict(zip(FEATURES, features, strict=True))
    other = Kind(int(of["kind"])).name.lower()
    words = f"ego {SITUATION[SIDES[int(of['side'])]]} {other}"
    words += " on its own lane" if of["same_lane"] else " on another lane"
    who = [name for name, key in (("ego", "ego_changes_lane"), ("other", "other_changes_lane")) if of[key]]
    if who:
        words += f", {' and '.join(who)} changing lanes"
    return f"{words}, at {of['closing_speed']:.1f} m/s after {of['time']:.1f} s"


def coordinates(features: np.ndarray) -> np.ndarray:
    """Returns features [n, F] as points whose distances say how unlike failures are, [n, G]."""
    columns = [features[:, FEATURES.index(name)] / scale for name, scale in NUMBERS.items()]
    for name in NAMES:
        values = features[:, FEATURES.index(name)]
        # Two names that differ are one apart: each has an axis of its own, at 1 / sqrt(2).
        columns += [(values == value) / 2**0.5 for value in np.unique(values)]
    return np.stack(columns, 1) if len(features) else np.zeros((0, len(columns)))


def clusters(features: np.ndarray, apart: float = APART) -> list[Cluster]:
    """Returns the kinds of n failures, the largest first, by average linkage.

    Args:
        features: [n, F] as `FEATURES`.
        apart: average distance above which groups are not merged, `APART`.
    """
    n = len(features)
    if n == 0:
        return []
    points = coordinates(features)
    labels = fcluster(linkage(points, "average"), apart, "distance") if n > 1 else np.ones(1, dtype=int)
    found = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        distance = np.linalg.norm(points[members] - points[members].mean(0), axis=1)
        members = members[np.argsort(distance, kind="stable")]
        found.append(Cluster(members, describe(features[members[0]])))
    return sorted(found, key=lambda cluster: (-len(cluster.members), int(cluster.members[0])))


def spread(features: np.ndarray, count: int) -> np.ndarray:
    """Returns at most `count` rows that show all kinds: one of each in turn, the most typical first."""
    queues = [list(cluster.members) for cluster in clusters(features)]
    chosen: list[int] = []
    while len(chosen) < count and any(queues):
        chosen += [queue.pop(0) for queue in queues if queue]
    return np.array(chosen[:count], dtype=np.int64)
