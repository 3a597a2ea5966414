"""Lessons for the lane networks: mirrored labels lie on mirrored paint, and a stopped training sees the same ones."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from perception.cameras import FRONT
from perception.data.driving import Source
from perception.data.lanes import ABSENT, rows_of
from perception.data.stream import FrameStream, StreamSettings
from perception.lanes.learning import LaneLesson, LaneLessons, lane_lesson, lane_stream, mirrored
from perception.lanes.segmentation import GROUPS
from sim.sensors.looks.domains import HELD_OUT, TRAINING


def small_stream():
    settings = StreamSettings(
        sources=(Source("racetrack-v0"),), domains=("clear",), cameras=(FRONT,), batch_size=8, frames=2,
        semantic=True, lanes=True,
    )  # fmt: skip
    return FrameStream(settings, threads=1)


def share_on_paint(lesson):
    """For each picture the share of the points of its lines where its own labels show a marking."""
    paint = functional.max_pool2d((lesson.labels == list(GROUPS).index("marking"))[:, None].float(), 3, 1, 1)[:, 0] > 0
    shares = []
    for lanes, marked in zip(lesson.lanes.numpy(), paint.numpy(), strict=True):
        slots, rows = np.nonzero((lanes != ABSENT) & (np.array(rows_of(192)) > 115))
        x = lanes[slots, rows].astype(int).clip(max=319)
        shares.append(marked[np.array(rows_of(192))[rows], x].mean())
    return np.array(shares)


def test_mirrored_lines_lie_on_mirrored_paint_and_keep_their_sides():
    lesson = lane_lesson(next(small_stream()), 28)
    odd = torch.arange(1, 8, 2)
    turned = mirrored(lesson, odd)
    # Lines have gaps and cars stand before them: what counts is that mirroring loses none of the paint.
    before, after = share_on_paint(lesson), share_on_paint(turned)
    assert before.min() > 0.4 and np.abs(after - before).max() < 0.1
    wrong = LaneLesson(turned.images, lesson.lanes, turned.labels)
    assert share_on_paint(wrong)[1::2].mean() < before[1::2].mean() - 0.2
    near = turned.lanes[:, :, -8]
    there = (near[:, 1] != ABSENT) & (near[:, 2] != ABSENT)
    assert there.any() and (near[there, 1] < near[there, 2]).all()  # left is left of right
    assert torch.equal(turned.images[::2], lesson.images[::2])
    assert torch.equal(turned.images[1::2].flip(-1), lesson.images[1::2])
    again = mirrored(turned, odd)
    assert torch.allclose(again.lanes, lesson.lanes, atol=1e-4) and torch.equal(again.labels, lesson.labels)


def test_a_stopped_training_goes_on_with_the_same_lessons():
    lessons = LaneLessons(small_stream())
    next(lessons)
    position = lessons.state_dict()
    wanted = next(lessons)
    other = LaneLessons(small_stream())
    other.load_state_dict(position)
    found = next(other)
    assert torch.equal(found.images, wanted.images) and torch.equal(found.lanes, wanted.lanes)
    plain = lane_lesson(next(small_stream()), 28)
    assert not torch.equal(wanted.images[0], plain.images[0])  # changed in light and colour, not in place


def test_the_same_pictures_are_changed_in_another_way_each_time():
    batch = next(small_stream())

    class Same:
        position = 0

        def __next__(self):
            self.position += 1
            return batch

    lessons = LaneLessons(Same())
    one, other = next(lessons), next(lessons)
    assert not torch.equal(one.images, other.images)
    plain = lane_lesson(batch, 28)
    ways = torch.stack([plain.lanes, mirrored(plain, torch.arange(8)).lanes])
    seen = [(lesson.lanes == ways).all((2, 3)).tolist() for lesson in (one, other)]
    assert all(a != b for lesson in seen for a, b in zip(*lesson, strict=True))  # each picture in one of two ways
    assert seen[0] != seen[1]


def test_streams_keep_the_splits_apart_and_give_what_is_asked_for():
    assert set(lane_stream("test", 2).domains) == set(HELD_OUT)
    assert set(lane_stream("val", 2).domains) <= set(TRAINING) and set(lane_stream("train", 2).domains) <= set(TRAINING)
    settings = lane_stream("train", 2, classes=False).settings
    assert settings.lanes and not settings.semantic and settings.cameras == (FRONT,)
    assert lane_stream("train", 2, lines=False).settings.semantic
    with pytest.raises(ValueError, match="unknown split"):
        lane_stream("all", 2)
