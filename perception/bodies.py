"""What the things that a detector names look like: outlines by class, and how much the members of a class differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sim.config import require_known
from sim.engine.vehicles import LENGTH, WIDTH
from sim.sensors.camera.bodies import OBSTACLE_HEIGHT, PATTERNS, SPREAD, Part, Pattern
from sim.sensors.classes import Semantic

POINTS = 16
"""Corners of an outline: eight of each of two parts."""
OBSTACLE = 2.0
"""Length and width of highway-env's obstacles [m]."""
OBSTACLE_SPREAD = 0.3
"""How much obstacles differ in length and width, as a standard deviation of the logarithm."""
LEAST_SPREAD = 0.015
"""Of the sizes within a pattern: uniform over `SPREAD`, 0.05 / sqrt(12)."""


@dataclass(frozen=True)
class Outlines:
    """The classes' outlines, tensors whose row k is label k; row 0, no class, is like row 1.

    Attributes:
        points: [K, 16, 3], corners ahead, to the right and above the ground under the thing's middle [m].
        spread: [K, 3], standard deviation of the logarithm of length, width and height.
        footprint: [K, 2], length and width that count in a collision [m]: in highway-env those of every vehicle are
            the same, whatever it looks like.
        still: bool [K], does it never drive.
    """

    points: Tensor
    spread: Tensor
    footprint: Tensor
    still: Tensor


def outlines_of(classes: Sequence[str], device: str | torch.device = "cpu") -> Outlines:
    """Return the outlines of a detector's classes, labels 1, 2, ...

    Raises:
        ValueError: a class of which nothing is known.
    """
    known = {one.name.lower(): one for one in Semantic if Semantic.CAR <= one <= Semantic.OBSTACLE}
    require_known(classes, known, "class of things on a road")
    rows = [_outline(known[name]) for name in classes]
    rows = [rows[0], *rows]
    real = {"dtype": torch.float64, "device": device}
    still = [known[name] == Semantic.OBSTACLE for name in classes]
    return Outlines(
        torch.stack([points for points, _, _ in rows]).to(**real),
        torch.tensor([spread for _, spread, _ in rows], **real),
        torch.tensor([footprint for _, _, footprint in rows], **real),
        torch.tensor([still[0], *still], device=device),
    )


def _outline(category: Semantic) -> tuple[Tensor, tuple[float, ...], tuple[float, float]]:
    """Corners [16, 3], spread and footprint of a class: the mean over its patterns, by their shares."""
    if category == Semantic.OBSTACLE:
        box = Part(-OBSTACLE / 2, OBSTACLE / 2, OBSTACLE / 2, OBSTACLE_HEIGHT)
        points = torch.tensor([*_corners(box), *_corners(box)], dtype=torch.float64)
        return points, (OBSTACLE_SPREAD, OBSTACLE_SPREAD, LEAST_SPREAD), (OBSTACLE, OBSTACLE)
    patterns = [one for one in PATTERNS if one.category == category]
    share = torch.tensor([one.share for one in patterns], dtype=torch.float64)
    share = share / share.sum()
    corners = torch.tensor([_pattern_corners(one) for one in patterns], dtype=torch.float64) * (1 - SPREAD / 2)
    sizes = (corners.amax(1) - corners.amin(1)).log()  # [patterns, 3]
    mean = (share[:, None] * sizes).sum(0)
    spread = (share[:, None] * (sizes - mean) ** 2).sum(0).add(LEAST_SPREAD**2).sqrt()
    return (share[:, None, None] * corners).sum(0), tuple(spread.tolist()), (LENGTH, WIDTH)


def _pattern_corners(pattern: Pattern) -> list[tuple[float, float, float]]:
    return [*_corners(pattern.hull), *_corners(pattern.cabin or pattern.hull)]


def _corners(part: Part) -> Iterator[tuple[float, float, float]]:
    """The eight corners of a part, whose faces lean inwards."""
    for height in (part.bottom, part.top):
        up = height - part.bottom
        for end in (part.rear + part.lean_rear * up, part.front - part.lean_front * up):
            for side in (-1.0, 1.0):
                yield end, side * (part.half - part.lean_side * up), height
