"""What a detector is asked for."""

import torch

from perception.data.stream import Batch
from perception.detection.augment import changes, turned
from perception.detection.learning import CLASSES, Lessons, lesson, zoomed
from perception.detection.recipe import Recipe, lessons_of


class OneBatch:
    """A stream of one batch: two pictures with the same four objects."""

    position = 4

    def __next__(self):
        target = {
            "amodal": torch.tensor([[-10.0, 5, 20, 40], [30, 10, 50, 14], [60, 10, 90, 40], [0, 0, 9, 9]]),
            "labels": torch.tensor([1, 2, 3, len(CLASSES) + 1]),
            "visibility": torch.tensor([1.0, 1.0, 0.2, 1.0]),
            "truncation": torch.tensor([1 / 3, 0.0, 0.0, 0.0]),
        }
        images = torch.arange(2 * 3 * 48 * 100).reshape(2, 3, 48, 100).to(torch.uint8)
        return Batch(images, [target, dict(target)], [], torch.ones(2, dtype=torch.bool))

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state):
        self.position = state["position"]


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def test_each_picture_is_mirrored_as_often_as_not_and_its_boxes_with_it():
    batch, count = next(OneBatch()), [0, 0]
    for seed in range(60):
        made = lesson(batch, drawn(seed))
        for k in range(2):
            mirrored = not torch.equal(made.images[k], batch.images[k])
            assert torch.equal(made.images[k], batch.images[k].flip(-1) if mirrored else batch.images[k])
            # The box is cut at the frame.
            assert made.targets[k]["boxes"][0].tolist() == ([80, 5, 100, 40] if mirrored else [0, 5, 20, 40])
            count[k] += mirrored
    assert all(18 < times < 42 for times in count)


def test_every_source_and_camera_is_seen_both_ways():
    """A batch is ordered by source: mirroring by turns would show each kind of road in one way alone."""
    batches, _ = lessons_of(Recipe(width=64, height=64))
    ways = {}
    for _ in range(8):
        generator = changes(batches.seed, batches.streams[0].position)
        for number, stream in enumerate(batches.streams):
            batch = next(stream)
            which = set(turned(len(batch.images), generator).tolist())
            for k, picture in enumerate(batch.pictures):
                ways.setdefault(picture.camera if number else picture.id, set()).add(k in which)
    assert len(ways) == 9 + 3 and all(len(seen) == 2 for seen in ways.values())


def test_tiny_and_hidden_objects_are_not_asked_for_and_goals_are_none():
    target = lesson(next(OneBatch()), drawn()).targets[1]
    assert target["labels"].tolist() == [1, 2, 3]
    assert target["ignore"].tolist() == [False, True, True]


def test_what_is_mostly_off_the_frame_is_not_asked_for():
    batch = next(OneBatch())
    batch.targets[0]["truncation"] = torch.tensor([0.8, 0.0, 0.0, 0.0])
    assert lesson(batch, drawn()).targets[0]["ignore"][0]


def test_an_enlarged_part_keeps_boxes_on_their_things():
    """A white rectangle is the only thing: wherever it comes to lie, its box is the extent of the white pixels."""
    image = torch.zeros(3, 60, 100, dtype=torch.uint8)
    image[:, 20:40, 30:70] = 255
    asked = {
        "boxes": torch.tensor([[30.0, 20, 70, 40]]),
        "labels": torch.tensor([1]),
        "ignore": torch.tensor([False]),
    }
    cut = 0
    for seed in range(40):
        enlarged, target = zoomed(image, asked, torch.Generator().manual_seed(seed))
        assert enlarged.shape == image.shape and enlarged.dtype == torch.uint8
        rows, columns = (enlarged[0] > 127).nonzero(as_tuple=True)
        extent = torch.stack((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)).float()
        torch.testing.assert_close(target["boxes"][0], extent, atol=1.0, rtol=0)
        share = float((target["boxes"][0, 2:] - target["boxes"][0, :2]).prod()) / (40 * 20)
        cut += int(target["ignore"][0])
        assert share >= 1 or target["ignore"][0]  # what lost more than it grew was cut by more than half
    assert 0 < cut < 20


def test_what_lies_outside_the_part_is_gone_and_what_was_ignored_still_is():
    boxes = torch.tensor([[0.0, 0, 10, 10], [45, 25, 55, 35], [44, 24, 56, 36]])
    target = {"boxes": boxes, "labels": torch.tensor([1, 2, 3]), "ignore": torch.tensor([True, False, True])}
    gone = 0
    for seed in range(40):
        _, seen = zoomed(torch.zeros(3, 60, 100, dtype=torch.uint8), target, torch.Generator().manual_seed(seed))
        gone += 1 not in seen["labels"].tolist()
        assert seen["ignore"][seen["labels"] == 3].all() and 2 in seen["labels"].tolist()
    assert gone > 10


def test_lessons_have_a_batch_of_each_stream_and_go_on_where_they_do():
    streams = OneBatch(), OneBatch()
    lessons = Lessons(*streams)
    made = next(lessons)
    assert len(made.targets) == 4 and made.images.shape == (4, 3, 48, 100) and lessons.state_dict() == {"position": 4}
    lessons.load_state_dict({"position": 7})
    assert [stream.position for stream in streams] == [7, 7]


def test_the_position_decides_how_pictures_are_changed():
    stream = OneBatch()
    lessons = Lessons(stream, OneBatch())
    first, again = next(lessons).images, next(lessons).images
    stream.position = 5
    assert torch.equal(first, again) and not torch.equal(first, next(lessons).images)
