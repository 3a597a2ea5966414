"""What a detector is asked for."""

import torch

from perception.data.stream import Batch
from perception.detection.learning import CLASSES, Lessons, lesson


class OneBatch:
    """A stream of one batch: two pictures with the same four objects."""

    position = 4

    def __next__(self):
        target = {
            "amodal": torch.tensor([[-10.0, 5, 20, 40], [30, 10, 50, 14], [60, 10, 90, 40], [0, 0, 9, 9]]),
            "labels": torch.tensor([1, 2, 3, len(CLASSES) + 1]),
            "visibility": torch.tensor([1.0, 1.0, 0.2, 1.0]),
        }
        images = torch.arange(2 * 3 * 48 * 100).reshape(2, 3, 48, 100).to(torch.uint8)
        return Batch(images, [target, dict(target)], [], torch.ones(2, dtype=torch.bool))

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state):
        self.position = state["position"]


def test_every_second_picture_is_mirrored_and_its_boxes_with_it():
    batch = next(OneBatch())
    made = lesson(batch)
    assert torch.equal(made.images[0], batch.images[0])
    assert torch.equal(made.images[1, :, :, 0], batch.images[1, :, :, -1])
    assert made.targets[0]["boxes"][0].tolist() == [0, 5, 20, 40]  # cut at the frame
    assert made.targets[1]["boxes"][0].tolist() == [80, 5, 100, 40]


def test_tiny_and_hidden_objects_are_not_asked_for_and_goals_are_none():
    target = lesson(next(OneBatch())).targets[0]
    assert target["labels"].tolist() == [1, 2, 3]
    assert target["ignore"].tolist() == [False, True, True]


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
