"""What the lane networks learn from: pictures of the front camera with lines by rows and classes by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from perception.cameras import FRONT
from perception.data.lanes import ABSENT, by_rows, rows_of
from perception.data.stream import Batch, FrameStream, StreamSettings
from perception.detection.augment import augmented, changes, turned
from perception.lanes.segmentation import grouped


@dataclass(frozen=True)
class LaneLesson:
    """Pictures and what they show.

    Attributes:
        images: uint8 [B, 3, H, W].
        lanes: x [px] of the lines at rows, float32 [B, 4, R]; ABSENT where there is none; None if not asked for.
        labels: place in `GROUPS` of each pixel, uint8 [B, H, W]; None if not asked for.
    """

    images: Tensor
    lanes: Tensor | None
    labels: Tensor | None


def lane_stream(
    split: str, batch_size: int, seed: int = 0, lines: bool = True, classes: bool = True, threads: int | None = None
) -> FrameStream:
    """Return a stream of the front camera's pictures with lane lines, classes of pixels, or both.

    Raises:
        ValueError: no such split, or numbers below 1.
    """
    settings = StreamSettings(
        split=split, cameras=(FRONT,), batch_size=batch_size, frames=4, seed=seed, lanes=lines, semantic=classes
    )
    return FrameStream(settings, threads=threads)


def lane_lesson(batch: Batch, rows: int) -> LaneLesson:
    """Return a batch as it is, its lines at so many rows."""
    lanes = None
    if batch.lanes is not None:
        anchors = rows_of(batch.images.shape[2], rows)
        lanes = torch.from_numpy(np.stack([by_rows(lines, anchors) for lines in batch.lanes]))
    return LaneLesson(batch.images, lanes, None if batch.semantic is None else grouped(batch.semantic))


def mirrored(lesson: LaneLesson, which: Tensor) -> LaneLesson:
    """Return a lesson with some pictures, int64 [K], mirrored; what was a line to the left is then one to the right."""
    images = lesson.images.clone()
    images[which] = images[which].flip(-1)
    lanes, labels = lesson.lanes, lesson.labels
    if lanes is not None:
        lanes = lanes.clone()
        swapped = lanes[which].flip(1)
        lanes[which] = torch.where(swapped == ABSENT, swapped, images.shape[3] - swapped)
    if labels is not None:
        labels = labels.clone()
        labels[which] = labels[which].flip(-1)
    return LaneLesson(images, lanes, labels)


class LaneLessons:
    """Batches of a stream as lessons; half of the pictures are mirrored, and most are changed in light and colour.

    Args:
        stream: where they come from.
        rows: number of rows that lines are told at.
        seed: with the stream's position it decides the changes.
    """

    def __init__(self, stream: FrameStream, rows: int = 28, seed: int = 0) -> None:
        self.stream, self.rows, self.seed = stream, rows, seed

    def __next__(self) -> LaneLesson:
        generator = changes(self.seed, self.stream.position)
        plain = lane_lesson(next(self.stream), self.rows)
        lesson = mirrored(plain, turned(len(plain.images), generator))
        return LaneLesson(augmented(lesson.images, generator), lesson.lanes, lesson.labels)

    def state_dict(self) -> dict[str, int]:
        """The stream's position."""
        return self.stream.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a position."""
        self.stream.load_state_dict(state)
