"""What a detector is asked for."""

import torch

from perception.data.stream import Batch
from perception.detection.learning import CLASSES, Lessons, lesson


class OneBatch:
    """A stream of one batch: two pictures with the same four objects."""

    def __next__(self):
        target = {
            "amodal": torch.tensor([[-10.0, 5, 20, 40], [30, 10, 50, 14], [60, 10, 90, 40], [0, 0, 9, 9]]),
            "labels": torch.tensor([1, 2, 3, len(CLASSES) + 1]),
            "visibility": torch.tensor([1.0, 1.0, 0.2, 1.0]),
        }
        images = torch.arange(2 * 3 * 48 * 100).reshape(2, 3, 48, 100).to(torch.uint8)
        return Batch(images, [target, dict(target)], [], torch.ones(2, dtype=torch.bool))

    def state_dict(self):
        return {"position": 4}

    def load_state_dict(self, state):
        self.state = state


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


def test_lessons_go_on_where_their_stream_does():
    stream = OneBatch()
    lessons = Lessons(stream)
    assert len(next(lessons).targets) == 2 and lessons.state_dict() == {"position": 4}
    lessons.load_state_dict({"position": 7})
    assert stream.state == {"position": 7}
