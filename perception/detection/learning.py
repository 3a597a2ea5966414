"""What a detector learns from: which labelled objects count, and the pictures they come in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from perception.data.stream import Batch, FrameStream
from perception.data.targets import CATEGORIES, Target, seen_share, whole_boxes
from perception.detection.augment import augmented, changes, turned
from sim.sensors.classes import Semantic

CLASSES = tuple(CATEGORIES[label] for label in sorted(CATEGORIES) if CATEGORIES[label] != Semantic.GOAL.name.lower())
"""What detectors tell apart, labels 1, 2, ...: vehicles by shape, and obstacles. A goal is no thing to run into."""
LEAST_VISIBLE, LEAST_HEIGHT = 0.3, 6.0
"""Share of an object that must be seen and its height [px] for a detector to be asked for it."""
ZOOMED, MOST_ZOOM = 0.35, 2.5
"""Share of pictures of which a part is enlarged, and by how much at most: near things are rare in traffic."""


@dataclass(frozen=True)
class Lesson:
    """Pictures uint8 [B, 3, H, W] and what is to be found in them; see `lesson_targets`."""

    images: Tensor
    targets: list[Target]


def lesson_targets(target: Target, size: tuple[int, int], classes: int = len(CLASSES)) -> Target:
    """Return `boxes` float32 [K, 4] [px], `labels` int64 [K] and `ignore` bool [K] of one picture.

    Objects of labels above `classes` are left out.

    A box is that of the whole object, hidden parts too, as far as it is inside the frame of `size` (width, height):
    where a car touches the ground is what tells how far away it is. The stored `visible` boxes end where others begin.
    """
    kept = target["labels"] <= classes
    boxes = whole_boxes(target, size)[kept]
    small = boxes[:, 3] - boxes[:, 1] < LEAST_HEIGHT
    hidden = seen_share(target)[kept] < LEAST_VISIBLE
    return {"boxes": boxes, "labels": target["labels"][kept], "ignore": small | hidden}


class Lessons:
    """Batches of streams as lessons; half of the pictures are mirrored, and most are changed in light and colour.

    Args:
        streams: where they come from, at one position; a lesson has a batch of each.
        seed: with the position it decides the changes.
    """

    def __init__(self, *streams: FrameStream, seed: int = 0) -> None:
        self.streams, self.seed = streams, seed

    def __next__(self) -> Lesson:
        generator = changes(self.seed, self.streams[0].position)
        parts = [lesson(next(stream), generator) for stream in self.streams]
        images = torch.cat([part.images for part in parts])
        targets = [target for part in parts for target in part.targets]
        return varied(images, targets, generator)

    def state_dict(self) -> dict[str, int]:
        """The streams' position."""
        return self.streams[0].state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a position."""
        for stream in self.streams:
            stream.load_state_dict(state)


def lesson(batch: Batch, generator: torch.Generator) -> Lesson:
    """Return a batch as a lesson, half of its pictures mirrored."""
    width, height = batch.images.shape[3], batch.images.shape[2]
    targets = [lesson_targets(target, (width, height)) for target in batch.targets]
    return mirrored(batch.images, targets, generator)


def mirrored(images: Tensor, targets: list[Target], generator: torch.Generator) -> Lesson:
    """Return copies of pictures, half of them mirrored with their boxes; of the targets, only the boxes change."""
    width = images.shape[3]
    images = images.clone()
    for index in turned(len(images), generator).tolist():
        images[index] = images[index].flip(-1)
        target, boxes = targets[index], targets[index]["boxes"]
        target["boxes"] = torch.stack((width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]), dim=-1)
    return Lesson(images, targets)


def varied(images: Tensor, targets: list[Target], generator: torch.Generator) -> Lesson:
    """Return pictures uint8 [B, 3, H, W], of some only an enlarged part, most changed in light and colour."""
    images, targets = images.clone(), list(targets)
    for index in (torch.rand(len(images), generator=generator) < ZOOMED).nonzero()[:, 0].tolist():
        images[index], targets[index] = zoomed(images[index], targets[index], generator)
    return Lesson(augmented(images, generator), targets)


def zoomed(image: Tensor, target: Target, generator: torch.Generator) -> tuple[Tensor, Target]:
    """Return a part of a picture uint8 [3, H, W] at the size of the whole, with what is then seen of its objects.

    Objects less than half inside the part are to be ignored, as are those too small even so.
    """
    height, width = image.shape[1:]
    zoom, across, down, chosen = torch.rand(4, generator=generator).tolist()
    zoom = 1 + zoom * (MOST_ZOOM - 1)
    wide, high = round(width / zoom), round(height / zoom)
    left, top = round(across * (width - wide)), round(down * (height - high))
    asked = target["boxes"][~target["ignore"]]
    if len(asked):  # one of them has its middle in the part, else most parts would show grass and sky
        x0, y0, x1, y1 = asked[int(chosen * len(asked))].tolist()
        left = min(max(round((x0 + x1) / 2 - across * wide), 0), width - wide)
        top = min(max(round((y0 + y1) / 2 - down * high), 0), height - high)
    part = image[None, :, top : top + high, left : left + wide].float()
    enlarged = functional.interpolate(part, (height, width), mode="bilinear").round().to(torch.uint8)[0]
    scale = torch.tensor([width / wide, height / high], device=image.device).repeat(2)
    moved = (target["boxes"] - torch.tensor([left, top], device=image.device).repeat(2)) * scale
    boxes = torch.minimum(moved.clamp(min=0), torch.tensor([width, height], device=image.device).repeat(2))
    inside = (boxes[:, 2:] - boxes[:, :2]).prod(1) / (moved[:, 2:] - moved[:, :2]).prod(1).clamp(min=1e-6)
    tall = boxes[:, 3] - boxes[:, 1] >= LEAST_HEIGHT
    # What was ignored for its size alone could be asked for now, but its pixels do not show more than before.
    ignore = target["ignore"] | ~tall | (inside < 0.5)
    kept = inside > 0
    return enlarged, {"boxes": boxes[kept], "labels": target["labels"][kept], "ignore": ignore[kept]}
