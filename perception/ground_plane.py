"""Where on the ground things stand whose boxes a camera shows.

A box says four things: where its thing begins and ends to the left, the right, above, and below, where it touches the
ground. Place and size of a body of the detected class, on the flat ground and along its lane, are fitted to them by
least squares (Gauss-Newton). The lower edge, seen from the camera's height, and the size in the picture thus both tell
the range, each as well as it can; a side at the edge of the picture says only that the thing goes on beyond it. The
errors of the pixels and the differences within a class become a covariance: long along the ray, narrow across.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perception.bodies import POINTS, Outlines

NEAR = 0.1
"""Least depth of a point before a camera [m], as in the renderer."""
ROUNDS = 10
"""Gauss-Newton steps; the best of them counts."""
LARGEST_STEP = (0.5, 0.3, 0.15, 0.15, 0.15, 0.1)
"""Of the logarithm of the range, the bearing [rad], the logarithms of length, width and height, the heading [rad]."""
TURNED = 0.1
"""Standard deviation of a vehicle's heading from its lane's [rad]: lane changes."""
RANGE_PRIOR = 1.5
"""Standard deviation of the logarithm of the range around the first guess: it keeps the equations solvable."""
CUT = 4.0
"""Distance from the edge of the picture within which a side counts as cut by it [px]: a detector's do not end on it."""
STEP = 1e-4
"""Of the differences that stand for derivatives."""


@dataclass(frozen=True)
class BoxErrors:
    """Standard deviations of what a detector and this model of bodies get wrong.

    Attributes:
        pixels: of each side of a box [px]. share: of each side, added to it, of the box's size along that axis.
        cut: of the upper and lower side, added to `share`, where the picture cuts the thing to the left or right: how
            far it reaches is then beyond the picture. cut_place: of such a thing's place, both ways [m]: two cameras
            that cut it err alike, look after look.
        range_share: of the range, which no look at the same thing takes away. bearing: [rad].
    """

    pixels: float = 0.6
    share: float = 0.03
    cut: float = 0.1
    cut_place: float = 0.7
    range_share: float = 0.02
    bearing: float = 0.004


@dataclass(frozen=True)
class Viewpoints:
    """The camera of each of B boxes.

    Attributes:
        place: [B, 3], in the world, x, y and height [m]. axes: [B, 3, 3], its x, y and z axis as rows, in the world.
        focal: [B] [px]. size: width and height of the pictures [px].
    """

    place: Tensor
    axes: Tensor
    focal: Tensor
    size: tuple[int, int]


@dataclass(frozen=True)
class Places:
    """Where B things are.

    Attributes:
        place: [B, 2], their middles in the world [m]. covariance: [B, 2, 2] [m2].
        range, bearing: [B], of the middle from the camera [m], [rad] from the world's x towards y.
        misfit: [B], sum of squared residuals of the four sides in standard deviations.
    """

    place: Tensor
    covariance: Tensor
    range: Tensor
    bearing: Tensor
    misfit: Tensor


def ground_under(pixels: Tensor, seen_from: Viewpoints) -> Tensor:
    """Return x, y [B, 2] [m] of the ground that is seen at pixels [B, 2] (x, y); NaN above the horizon."""
    ray = _rays(pixels, seen_from)
    reach = torch.where(ray[:, 2] < 0, -seen_from.place[:, 2] / ray[:, 2], torch.nan)
    return seen_from.place[:, :2] + reach[:, None] * ray[:, :2]


def _rays(pixels: Tensor, seen_from: Viewpoints) -> Tensor:
    """Directions [B, 3] in the world, of depth 1, in which pixels [B, 2] look."""
    middle = pixels.new_tensor(seen_from.size) / 2
    offset = (pixels - middle) / seen_from.focal[:, None]
    right, down, ahead = seen_from.axes.unbind(1)
    return offset[:, :1] * right + offset[:, 1:] * down + ahead


def first_guess(boxes: Tensor, labels: Tensor, outlines: Outlines, seen_from: Viewpoints) -> Tensor:
    """Return about where the middles of things are, [B, 2] [m]: by the lower edge, where it shows the ground."""
    across = (boxes[:, 0] + boxes[:, 2]) / 2
    points = outlines.points[labels]
    height = points[..., 2].amax(1)
    ray = _rays(torch.stack([across, boxes[:, 3]], -1), seen_from)
    level = ray[:, :2].norm(dim=1).clamp(min=1e-9)
    by_size = seen_from.focal * height / (boxes[:, 3] - boxes[:, 1]).clamp(min=1.0) * level
    ground = -seen_from.place[:, 2] / ray[:, 2].clamp(max=-1e-6) * level
    cut = boxes[:, 3] > seen_from.size[1] - CUT
    usable = (ray[:, 2] < 0) & ~cut
    reach = torch.where(usable, torch.minimum(ground, 2 * by_size), by_size)
    reach = reach + torch.minimum(points[..., 0].amax(1), points[..., 1].amax(1))  # the middle is behind what is seen
    return seen_from.place[:, :2] + (reach / level)[:, None] * ray[:, :2]


def outer_boxes(unknowns: Tensor, points: Tensor, heading: Tensor, seen_from: Viewpoints) -> Tensor:
    """Return the boxes [..., B, 4] [px] around bodies, also where they reach outside the picture.

    Args:
        unknowns: [..., B, 6]: logarithm of the range [m], bearing [rad], logarithms of how much longer, wider and
            higher than its outline the body is, how far it is turned from `heading` [rad].
        points: [B, 16, 3], outlines [m].
        heading: [B] [rad].
        seen_from: the cameras.
    """
    reach, bearing, turned = unknowns[..., 0].exp(), unknowns[..., 1], heading + unknowns[..., 5]
    scale = unknowns[..., 2:5].exp()
    ahead, right, up = (points[..., axis] * scale[..., axis, None] for axis in range(3))
    cosine, sine = turned.cos()[..., None], turned.sin()[..., None]
    x = (reach * bearing.cos())[..., None] + ahead * cosine - right * sine
    y = (reach * bearing.sin())[..., None] + ahead * sine + right * cosine
    z = up - seen_from.place[:, 2, None]
    seen = [x * axis[:, :1] + y * axis[:, 1:2] + z * axis[:, 2:] for axis in seen_from.axes.unbind(1)]
    scale = seen_from.focal[:, None] / seen[2].clamp(min=NEAR)
    width, height = seen_from.size
    across, down = seen[0] * scale + width / 2, seen[1] * scale + height / 2
    return torch.stack([across.amin(-1), down.amin(-1), across.amax(-1), down.amax(-1)], dim=-1)


def fit_places(
    boxes: Tensor,
    labels: Tensor,
    heading: Tensor,
    outlines: Outlines,
    seen_from: Viewpoints,
    errors: BoxErrors | None = None,
) -> Places:
    """Return where things stand.

    Args:
        boxes: [B, 4], x0, y0, x1, y1 of whole things as far as they are in the picture [px].
        labels: int64 [B], their classes.
        heading: [B], along which they stand [rad].
        outlines: of the classes.
        seen_from: the cameras.
        errors: of boxes and bodies.
    """
    errors = errors or BoxErrors()
    boxes = boxes.to(torch.float64)
    points, spread = outlines.points[labels].reshape(-1, POINTS, 3), outlines.spread[labels]
    offset = first_guess(boxes, labels, outlines, seen_from) - seen_from.place[:, :2]
    guess = torch.zeros(len(boxes), 6, dtype=torch.float64, device=boxes.device)
    guess[:, 0] = offset.norm(dim=1).clamp(1.0, 500.0).log()
    guess[:, 1] = torch.atan2(offset[:, 1], offset[:, 0])
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    cut = (boxes - boxes.new_tensor([0.0, 0.0, *seen_from.size])).abs() < CUT
    beside = cut[:, [0, 2]].any(1)
    share = torch.full_like(sides, errors.share)
    share[:, [1, 3]] += errors.cut * beside[:, None]
    weight = 1 / (errors.pixels**2 + (share * sides) ** 2)
    loose = torch.full_like(guess[:, :1], torch.inf)
    prior = torch.cat([loose, loose, spread, torch.full_like(loose, TURNED)], 1) ** -2.0
    prior[:, 0] = RANGE_PRIOR**-2.0
    unknowns = best = guess
    lowest = torch.full_like(guess[:, 0], torch.inf)
    limit = guess.new_tensor(LARGEST_STEP)
    for _ in range(ROUNDS + 1):
        residual, slope = _linearised(boxes, cut, unknowns, points, heading, seen_from)
        away = unknowns - guess
        cost = (weight * residual**2).sum(1) + (prior * away**2).sum(1)
        better = cost < lowest
        lowest, best = torch.where(better, cost, lowest), torch.where(better[:, None], unknowns, best)
        pull = (weight[:, :, None] * residual[:, :, None] * slope).sum(1) - prior * away
        step = _solved(_normal(weight, slope, prior), pull[..., None])[..., 0]
        unknowns = unknowns + torch.minimum(torch.maximum(step, -limit), limit)
    residual, slope = _linearised(boxes, cut, best, points, heading, seen_from)
    unsure = _solved(_normal(weight, slope, prior), torch.eye(6, dtype=guess.dtype, device=guess.device)[:, :2])
    return _placed(best, unsure[:, :2], (weight * residual**2).sum(1), beside, seen_from, errors)


def _linearised(
    boxes: Tensor, cut: Tensor, unknowns: Tensor, points: Tensor, heading: Tensor, seen_from: Viewpoints
) -> tuple[Tensor, Tensor]:
    """What is left of the boxes [B, 4] and how the model's sides move with the unknowns [B, 4, 6].

    `cut` [B, 4]: which sides of the boxes the edge of the picture cuts.
    """
    changes = torch.eye(6, dtype=unknowns.dtype, device=unknowns.device) * STEP
    tried = torch.cat([unknowns[None], unknowns[None] + changes[:, None]])
    shown = outer_boxes(tried, points, heading, seen_from)
    beyond = torch.cat(
        [shown[..., :2].clamp(min=0), torch.minimum(shown[..., 2:], boxes.new_tensor(seen_from.size))], -1
    )
    # Only of a side that the picture cuts: elsewhere a guess outside the picture would have no slope to lead it back.
    shown = torch.where(cut, beyond, shown)
    return boxes - shown[0], ((shown[1:] - shown[:1]) / STEP).permute(1, 2, 0)


def _normal(weight: Tensor, slope: Tensor, prior: Tensor) -> Tensor:
    """The matrix of the normal equations [B, 6, 6]."""
    matrix = (weight[:, :, None, None] * slope[:, :, :, None] * slope[:, :, None, :]).sum(1)
    eye = torch.eye(6, dtype=slope.dtype, device=slope.device)
    # A bearing that no side tells is as good as unknown; a tiny weight keeps the matrix regular.
    return matrix + eye * (prior + 1e-6)[:, None, :]


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve positive definite systems [B, 6, 6] by elimination.

    Written out because a library may add in another order in another batch, and a world's result must not depend on
    the others.
    """
    rows = torch.cat([matrix, right.expand(len(matrix), *right.shape[-2:])], -1)
    for k in range(matrix.shape[-1]):
        pivot = rows[:, k : k + 1] / rows[:, k : k + 1, k : k + 1]
        rows = rows - rows[:, :, k : k + 1] * pivot
        rows[:, k] = pivot[:, 0]
    return rows[:, :, matrix.shape[-1] :]


def _placed(
    best: Tensor, polar: Tensor, misfit: Tensor, cut: Tensor, seen_from: Viewpoints, errors: BoxErrors
) -> Places:
    """Polar unknowns and their covariance [B, 2, 2] in the world's metres; `cut` [B] by the picture to a side."""
    reach, bearing = best[:, 0].exp(), best[:, 1]
    along = torch.stack([bearing.cos(), bearing.sin()], -1)
    across = torch.stack([-along[:, 1], along[:, 0]], -1)
    turn = torch.stack([along, across], -1)  # columns
    polar = polar + torch.diag(polar.new_tensor([errors.range_share**2, errors.bearing**2]))
    polar = polar * (reach**2)[:, None, None]
    covariance = (turn[:, :, :, None, None] * polar[:, None, :, :, None] * turn.mT[:, None, None]).sum((2, 3))
    loose = errors.cut_place**2 * torch.eye(2, dtype=covariance.dtype, device=covariance.device)
    covariance = covariance + cut[:, None, None] * loose
    return Places(seen_from.place[:, :2] + reach[:, None] * along, covariance, reach, bearing, misfit)
