from collections import Counter

import numpy as np
import pytest
import torch
import warp as wp

from sim.sensors.camera import bodies
from sim.sensors.classes import Semantic
from sim.world import Kind


@wp.kernel(enable_backward=False, module="unique")
def dress(
    tables: bodies.Catalogue,
    kind: wp.array(dtype=wp.int32),
    episode: wp.array(dtype=wp.uint64),
    number: wp.array(dtype=wp.int32),
    size: wp.array2d(dtype=wp.float32),
    out: wp.array2d(dtype=wp.float32),
):
    i = wp.tid()
    category, length, width, height = bodies.body_of(tables, kind[i], episode[i], number[i], size[i, 0], size[i, 1])
    colour = bodies.paint_of(tables, bodies.stream_of(episode[i], number[i]), wp.float32(0.0))
    out[i, 0] = wp.float32(category)
    out[i, 1] = length
    out[i, 2] = width
    out[i, 3] = height
    out[i, 4] = colour[0]
    out[i, 5] = colour[1]
    out[i, 6] = colour[2]


def dressed(kinds, episodes, numbers, sizes):
    """Class, length, width, height [m] and colour of things, [n, 7]."""
    out = torch.zeros(len(kinds), 7)
    columns = [torch.as_tensor(kinds, dtype=torch.int32), torch.as_tensor(episodes), torch.as_tensor(numbers).int()]
    arrays = [wp.from_torch(columns[0]), wp.from_torch(columns[1], dtype=wp.uint64), wp.from_torch(columns[2])]
    inputs = [bodies.catalogue("cpu"), *arrays, wp.from_torch(torch.tensor(sizes)), wp.from_torch(out)]
    wp.launch(dress, len(kinds), inputs=inputs, device="cpu")
    return out.numpy()


def traffic(count, kind=Kind.IDM, first=0):
    at = torch.arange(first, first + count)
    return dressed([kind] * count, at // 40 * 7919 + 3, at % 40, [[5.0, 2.0]] * count)


def test_traffic_is_mixed_as_stated():
    seen = Counter(traffic(8000)[:, 0].astype(int))
    shares = {name: seen[name] / 8000 for name in (Semantic.CAR, Semantic.VAN, Semantic.TRUCK, Semantic.MOTORCYCLE)}
    assert sum(seen.values()) == 8000
    assert shares == pytest.approx({5: 0.60, 6: 0.18, 7: 0.14, 8: 0.08}, abs=0.02)
    assert sum(pattern.share for pattern in bodies.PATTERNS) == 100


def test_bodies_stay_within_what_the_engine_collides():
    rows = traffic(4000)
    kind, length, width, height = rows[:, :4].T
    assert width.max() <= 2.0 + 1e-6
    assert length[kind != Semantic.TRUCK].max() <= 5.0 + 1e-6
    assert length[kind == Semantic.TRUCK].min() > 6.0 and length.max() <= 7.5 + 1e-6
    rider = kind == Semantic.MOTORCYCLE
    assert length[rider].min() > 2.0 and length[rider].max() <= 2.21 and width[rider].max() <= 0.81
    assert height.min() > 1.1 and height.max() < 3.5
    assert height[kind == Semantic.CAR].max() < height[kind == Semantic.TRUCK].min()
    assert len(np.unique(length[kind == Semantic.CAR].round(2))) > 20  # sizes vary


def test_the_same_thing_of_an_episode_always_looks_alike_and_others_differ():
    rows = traffic(400)
    assert np.array_equal(rows[::-1][:50], traffic(50, first=350)[::-1])
    assert np.array_equal(rows, traffic(400, kind=Kind.PARKED))
    assert len({tuple(row) for row in rows.tolist()}) == 400
    assert (rows[:, 4:] >= 0).all() and (rows[:, 4:] <= 1).all()


def test_objects_are_as_large_as_the_world_says():
    kinds = [Kind.OBSTACLE, Kind.OBSTACLE, Kind.LANDMARK]
    rows = dressed(kinds, [1, 1, 1], [0, 1, 2], [[2.0, 2.0], [70.0, 1.0], [2.0, 2.0]])
    assert rows[:, 0].tolist() == [Semantic.OBSTACLE, Semantic.OBSTACLE, Semantic.GOAL]
    assert rows[:2, 1:3].tolist() == [[2.0, 2.0], [70.0, 1.0]]
    assert rows[2, 1:3] == pytest.approx([5.9, 2.9])  # a spot that a car fits into
    assert rows[1, 3] > rows[0, 3] > 20 * rows[2, 3]
