"""What several cameras and a lidar say of the same things, in one list a world.

Cameras: two of them that see one thing both say where it stands; places that agree (a squared Mahalanobis distance
within the gate) are averaged with their covariances as weights. Lidar: a box says in which direction its thing stands,
and the beams that go there how far; a range that the camera thinks possible takes the place of the uncertain one, as in
a Kalman filter's update along the ray. Beams that no box asks for are not used.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from perception.detection.postprocess import Detections
from perception.small_matrices import inverse, product
from perception.tracking.association import assign, outdone, overlaps
from sim.evaluation.metrics.signals import wrapped
from sim.sensors.lidar import Scan

GATE = 13.8
"""Largest squared Mahalanobis distance of two places of one thing: chi-squared, 2 degrees of freedom, 99.9 %."""
SAME_BOX = 0.7
"""Overlap (IoU) from which two boxes of one picture are of one thing, whatever their classes."""
INSIDE = 0.8
"""Share of a box that lies in another one from which it is of the same thing, if both end at about the same height:"""
LEVEL = 0.1
"""by at most so much of the outer box's height may their lower edges differ."""
LIDAR_SHARE = 0.6
"""Share of a thing's angular width, around its middle, whose beams are asked for its range."""
LIDAR_ERROR = 0.5
"""Standard deviation of a range to a thing's middle [m]: what its shape and heading leave open."""
LIDAR_GATE = 3.0
"""Most standard deviations of the camera's range by which the lidar's may differ."""


@dataclass(frozen=True)
class Boxes:
    """What C cameras found in each of N worlds, M boxes at most in a picture.

    Attributes:
        boxes: float32 [N, C, M, 4], x0, y0, x1, y1 of whole things as far as they are in the picture [px].
        scores: float32 [N, C, M]; labels: int64 [N, C, M], from 1, 0 where there is no box.
        identity: int64 [N, C, M], the number of the thing that it shows, -1 where nobody knows: only oracles do.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    identity: Tensor

    @classmethod
    def of(cls, found: list[Detections], worlds: int, cameras: int) -> Boxes:
        """Return the detections of N * C pictures, world by world, without those that show what a better one shows."""
        most = max([1, *(len(one) for one in found)])
        device = found[0].boxes.device
        boxes = torch.zeros(worlds * cameras, most, 4, device=device)
        scores = torch.zeros(worlds * cameras, most, device=device)
        labels = torch.zeros(worlds * cameras, most, dtype=torch.int64, device=device)
        for row, one in enumerate(found):
            boxes[row, : len(one)], scores[row, : len(one)], labels[row, : len(one)] = one.boxes, one.scores, one.labels
        labels = torch.where(_outdone(boxes, scores), 0, labels)
        shape = (worlds, cameras, most)
        return cls(
            boxes.view(*shape, 4), scores.view(shape), labels.view(shape), torch.full_like(labels, -1).view(shape)
        )


def _outdone(boxes: Tensor, scores: Tensor) -> Tensor:
    """Bool [P, M]: does a box with a higher score, or the same and an earlier row, show the same thing."""
    same = (overlaps(boxes, boxes) > SAME_BOX) | _inside(boxes)
    return outdone(same, scores)


def _inside(boxes: Tensor) -> Tensor:
    """Bool [P, M, M]: does a box lie in another one, with about the same lower edge: a part taken for a thing."""
    inner, outer = boxes[:, :, None], boxes[:, None]
    corner, end = torch.maximum(inner[..., :2], outer[..., :2]), torch.minimum(inner[..., 2:], outer[..., 2:])
    area = (inner[..., 2:] - inner[..., :2]).prod(-1)
    covered = (end - corner).clamp(min=0).prod(-1) > INSIDE * area
    return covered & ((inner[..., 3] - outer[..., 3]).abs() < LEVEL * (outer[..., 3] - outer[..., 1]))


@dataclass(frozen=True)
class Measurements:
    """Things on the ground, M at most in each of N worlds.

    Attributes:
        place: [N, M, 2] [m]; covariance: [N, M, 2, 2] [m2]; there: bool [N, M], is it one.
        score: [N, M]; label: int64 [N, M]; identity: int64 [N, M], see `Boxes`.
    """

    place: Tensor
    covariance: Tensor
    there: Tensor
    score: Tensor
    label: Tensor
    identity: Tensor

    def columns(self, start: int, end: int) -> Measurements:
        """Return those in the columns from `start` to before `end`."""
        return Measurements(*(getattr(self, part.name)[:, start:end] for part in fields(self)))

    def joined(self, other: Measurements) -> Measurements:
        """Return these and others, side by side."""
        return Measurements(
            *(torch.cat([getattr(one, part.name) for one in (self, other)], 1) for part in fields(self))
        )

    def packed(self) -> Measurements:
        """Return the same in as few columns as the fullest world needs, at least one."""
        order = (~self.there).int().argsort(dim=1, stable=True)[:, : max(1, int(self.there.sum(1).max()))]
        rows = torch.arange(len(order), device=order.device)[:, None]
        return Measurements(*(getattr(self, part.name)[rows, order] for part in fields(self)))


def merged(found: list[Measurements], by_identity: bool = False) -> Measurements:
    """Return what several cameras found as one list; each thing once.

    Args:
        found: of each camera.
        by_identity: things with the same number are one, whatever their places (an oracle's).
    """
    total = found[0]
    for more in found[1:]:
        if by_identity:
            same = (total.identity[:, :, None] == more.identity[:, None]) & (more.identity >= 0)[:, None]
            far = torch.zeros_like(same, dtype=total.place.dtype)
        else:
            difference = total.place[:, :, None] - more.place[:, None]
            far = mahalanobis(difference, total.covariance[:, :, None] + more.covariance[:, None])
            same = far <= GATE
        allowed = same & total.there[:, :, None] & more.there[:, None]
        total = _averaged(total, more, assign(2 * GATE - far.clamp(max=GATE), allowed))
    return total.packed()


def _averaged(total: Measurements, more: Measurements, partner: Tensor) -> Measurements:
    """Both lists, those of `more` that are somebody's `partner` [N, M] averaged into theirs."""
    paired, index = partner >= 0, partner.clamp(min=0)
    rows = torch.arange(len(index), device=index.device)[:, None]
    place, covariance = average(
        total.place, total.covariance, more.place[rows, index], more.covariance[rows, index], paired
    )
    surer = paired & (more.score[rows, index] > total.score)
    own = Measurements(
        place,
        covariance,
        total.there,
        torch.where(surer, more.score[rows, index], total.score),
        torch.where(surer, more.label[rows, index], total.label),
        torch.where(paired & (total.identity < 0), more.identity[rows, index], total.identity),
    )
    taken = torch.zeros_like(more.there)
    world, slot = paired.nonzero(as_tuple=True)
    taken[world, partner[world, slot]] = True
    left = Measurements(**(vars(more) | {"there": more.there & ~taken}))
    return own.joined(left)


def average(place: Tensor, covariance: Tensor, other: Tensor, others: Tensor, both: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of two places [..., 2] weighted by their covariances [..., 2, 2], and its own, where `both`."""
    sure = inverse(covariance + others)
    gain = product(covariance, sure)
    mean = place + product(gain, (other - place)[..., None])[..., 0]
    left = covariance - product(gain, covariance)
    return torch.where(both[..., None], mean, place), torch.where(both[..., None, None], left, covariance)


def mahalanobis(difference: Tensor, covariance: Tensor) -> Tensor:
    """Return the squared Mahalanobis length [...] of differences [..., 2]."""
    return (difference * product(inverse(covariance), difference[..., None])[..., 0]).sum(-1)


@dataclass(frozen=True)
class Sweep:
    """What a lidar in the middle of each of N egos says.

    Attributes:
        scan: its B beams; range: beyond which it sees nothing [m].
        angles: float64 [B], of the beams from the ego's heading to the right [rad].
        x, y, heading: [N], of the egos [m], [rad].
    """

    scan: Scan
    range: float
    angles: Tensor
    x: Tensor
    y: Tensor
    heading: Tensor


def with_lidar(found: Measurements, heading: Tensor, footprint: Tensor, sweep: Sweep) -> Measurements:
    """Return the places made surer by the lidar's ranges, where it has some.

    Args:
        found: [N, M] things.
        heading: [N, M], how they stand [rad].
        footprint: [N, M, 2], length and width [m].
        sweep: of the lidar.
    """
    from_x, from_y = found.place[..., 0] - sweep.x[:, None], found.place[..., 1] - sweep.y[:, None]
    reach, bearing = torch.hypot(from_x, from_y).clamp(min=0.1), torch.atan2(from_y, from_x)
    length, width = footprint[..., 0] / 2, footprint[..., 1] / 2
    turned = bearing - heading
    wide = (length * turned.sin()).abs() + (width * turned.cos()).abs()
    beams = wrapped(sweep.heading[:, None] + sweep.angles)  # [N, B]
    aside = wrapped(beams[:, None] - bearing[..., None])
    asked = aside.abs() <= LIDAR_SHARE * torch.atan2(wide, reach)[..., None]
    # From the middle to the side that the beam meets, along the beam.
    slant = turned[..., None] + aside
    half = torch.minimum(
        length[..., None] / slant.cos().abs().clamp(min=1e-6), width[..., None] / slant.sin().abs().clamp(min=1e-6)
    )
    middle = sweep.scan.ranges.to(half.dtype)[:, None] + half  # [N, M, B]
    along = torch.stack([bearing.cos(), bearing.sin()], -1)
    spread = (along * product(found.covariance, along[..., None])[..., 0]).sum(-1)
    possible = (middle - reach[..., None]).abs() <= LIDAR_GATE * (spread.sqrt() + LIDAR_ERROR)[..., None]
    usable = asked & possible & (sweep.scan.ranges < sweep.range)[:, None] & found.there[..., None]
    measured = torch.where(usable, middle, torch.nan).nanmedian(-1).values
    seen = usable.any(-1)
    gain = product(found.covariance, along[..., None])[..., 0] / (spread + LIDAR_ERROR**2)[..., None]
    place = found.place + gain * torch.where(seen, measured - reach, 0.0)[..., None]
    lost = gain[..., :, None] * product(found.covariance, along[..., None])[..., None, :, 0]
    covariance = found.covariance - torch.where(seen[..., None, None], lost, 0.0)
    return Measurements(**(vars(found) | {"place": place, "covariance": covariance}))
