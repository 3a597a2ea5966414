"""What a detector learns from: which labelled objects count, and the pictures they come in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perception.data.stream import Batch, FrameStream
from perception.data.targets import CATEGORIES, Target, whole_boxes
from perception.detection.augment import augmented
from sim.sensors.classes import Semantic

CLASSES = tuple(CATEGORIES[label] for label in sorted(CATEGORIES) if CATEGORIES[label] != Semantic.GOAL.name.lower())
"""What detectors tell apart, labels 1, 2, ...: vehicles by shape, and obstacles. A goal is no thing to run into."""
LEAST_VISIBLE, LEAST_HEIGHT = 0.3, 6.0
"""Share of an object that must be seen and its height [px] for a detector to be asked for it."""


@dataclass(frozen=True)
class Lesson:
    """Pictures uint8 [B, 3, H, W] and what is to be found in them; see `lesson_targets`."""

    images: Tensor
    targets: list[Target]


def lesson_targets(target: Target, size: tuple[int, int]) -> Target:
    """Return `boxes` float32 [K, 4] [px], `labels` int64 [K] and `ignore` bool [K] of one picture.

    A box is that of the whole object, hidden parts too, as far as it is inside the frame of `size` (width, height):
    where a car touches the ground is what tells how far away it is. The stored `visible` boxes end where others begin.
    """
    kept = target["labels"] <= len(CLASSES)
    boxes = whole_boxes(target, size)[kept]
    small = boxes[:, 3] - boxes[:, 1] < LEAST_HEIGHT
    hidden = target["visibility"][kept] < LEAST_VISIBLE
    return {"boxes": boxes, "labels": target["labels"][kept], "ignore": small | hidden}


class Lessons:
    """Batches of streams as lessons; every second picture is mirrored, and most are changed in light and colour.

    Args:
        streams: where they come from, at one position, which decides the changes; a lesson has a batch of each.
    """

    def __init__(self, *streams: FrameStream) -> None:
        self.streams = streams

    def __next__(self) -> Lesson:
        generator = torch.Generator().manual_seed(self.streams[0].position)
        parts = [lesson(next(stream)) for stream in self.streams]
        images = torch.cat([part.images for part in parts])
        return Lesson(augmented(images, generator), [target for part in parts for target in part.targets])

    def state_dict(self) -> dict[str, int]:
        """The streams' position."""
        return self.streams[0].state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a position."""
        for stream in self.streams:
            stream.load_state_dict(state)


def lesson(batch: Batch) -> Lesson:
    """Return a batch as a lesson, its odd pictures mirrored."""
    width, height = batch.images.shape[3], batch.images.shape[2]
    targets = [lesson_targets(target, (width, height)) for target in batch.targets]
    images = batch.images.clone()
    images[1::2] = images[1::2].flip(-1)
    for target in targets[1::2]:
        boxes = target["boxes"]
        target["boxes"] = torch.stack((width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]), dim=-1)
    return Lesson(images, targets)
