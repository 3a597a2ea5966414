"""Stages of perception that know the truth: what is left of the error when one of them takes a real stage's place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from perception.detection.learning import CLASSES, LEAST_HEIGHT, LEAST_VISIBLE
from perception.fusion import Boxes, Measurements
from perception.tracking.association import overlaps
from perception.tracking.ground_tracks import GroundTracksNow
from sim.sensors.camera.frames import Frames
from sim.sensors.classes import Semantic

SHOWN = 0.5
"""Overlap (IoU) from which a box shows a thing."""
EXACT = 0.05
"""Standard deviation of a place that is known [m]; above zero, as filters want it."""


def true_boxes(frames: Frames, size: tuple[int, int]) -> Boxes:
    """Return the boxes of the things that a detector is asked for: visible and high enough, whole, cut to the picture.

    Args:
        frames: with labels; their pictures may be smaller than those in whose pixels the boxes are.
        size: width and height of the pictures in whose pixels the boxes are.
    """
    objects, boxes = frames.objects, _boxes(frames, size)
    asked = objects.present & (objects.visibility >= LEAST_VISIBLE) & (objects.pixels >= 1)
    asked = asked & (boxes[..., 3] - boxes[..., 1] >= LEAST_HEIGHT)
    label = objects.category.long() - (int(Semantic.CAR) - 1)
    asked = asked & (label >= 1) & (label <= len(CLASSES))
    return Boxes(boxes, asked.float(), torch.where(asked, label, 0), torch.where(asked, objects.number.long(), -1))


def _boxes(frames: Frames, size: tuple[int, int]) -> Tensor:
    """The boxes of whole things, cut to pictures of `size`, [N, C, V, 4] [px]."""
    height, width = frames.depth.shape[2:]
    scale = frames.objects.box.new_tensor([size[0] / width, size[1] / height] * 2)
    limit = frames.objects.box.new_tensor([*size, *size])
    return torch.minimum((frames.objects.box * scale).clamp(min=0), limit)


def identified(found: Boxes, frames: Frames, size: tuple[int, int]) -> Boxes:
    """Return the boxes with the numbers of the things that they show best, -1 where they show none."""
    objects = frames.objects
    shared = overlaps(found.boxes, _boxes(frames, size))
    shared = torch.where(objects.present[:, :, None], shared, 0.0)
    best, slot = shared.max(-1)
    number = objects.number.long().gather(2, slot)
    identity = torch.where((best >= SHOWN) & (found.labels > 0), number, -1)
    return Boxes(found.boxes, found.scores, found.labels, identity)


def _slots(identity: Tensor, world: Any) -> tuple[Tensor, Tensor]:
    """Where in the world the things of these numbers [N, M] are: slots, and whether they are there at all."""
    same = (world.number.long()[:, None] == identity[..., None]) & world.valid[:, None]
    return same.int().argmax(-1), same.any(-1) & (identity >= 0)


def true_places(found: Measurements, world: Any) -> Measurements:
    """Return the measurements with the true places of the things that were found; false alarms stay where they are."""
    slots, known = _slots(found.identity, world)
    truth = torch.stack([world.x.gather(1, slots), world.y.gather(1, slots)], -1).to(found.place.dtype)
    exact = EXACT**2 * torch.eye(2, dtype=found.place.dtype, device=found.place.device)
    place = torch.where(known[..., None], truth, found.place)
    covariance = torch.where(known[..., None, None], exact, found.covariance)
    return Measurements(**(vars(found) | {"place": place, "covariance": covariance}))


def true_velocities(now: GroundTracksNow, world: Any) -> Tensor:
    """Return the velocities [N, K, 2] of what is followed under its true number [m/s]; 0 of what is nobody."""
    slots, known = _slots(torch.where(now.valid, now.number, -1), world)
    speed = torch.where(known, world.speed.gather(1, slots), 0.0).to(now.state.dtype)
    return speed[..., None] * torch.stack([world.cos_heading.gather(1, slots), world.sin_heading.gather(1, slots)], -1)
