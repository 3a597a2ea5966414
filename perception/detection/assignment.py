"""Which cells of a one-stage detector are to find which object.

Source: C. Feng et al. (2021), "TOOD: Task-aligned one-stage object detection": the cells that already do best at an
object's class and box together are its positives, and how well they do is the score they are to learn.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou

TOP = 9
"""Cells an object gets at most."""
SCORE_POWER, OVERLAP_POWER = 0.5, 4.0
"""How much the score and the overlap count in how well a cell does."""
REACH = 1.0
"""Cells whose middle is so many strides from the middle of a small object may still find it."""


@dataclass(frozen=True)
class Assignment:
    """What the A cells of one picture are to say.

    Attributes:
        positive: bool [A].
        object: int64 [A], which object a positive cell is to find; 0 elsewhere.
        quality: float32 [A], the score it is to give to the object's class; 0 elsewhere.
        ignored: bool [A]: what it says does not matter.
    """

    positive: Tensor
    object: Tensor
    quality: Tensor
    ignored: Tensor


def assign(
    scores: Tensor, boxes: Tensor, centers: Tensor, strides: Tensor, targets: Tensor, labels: Tensor, ignore: Tensor
) -> Assignment:
    """Assign the objects of one picture.

    Args:
        scores: [A, C] in 0..1, what the cells say, without gradients.
        boxes: [A, 4] [px], theirs.
        centers: [A, 2] [px], of the cells.
        strides: [A] [px].
        targets: [K, 4] [px], boxes of the objects, those to be ignored among them.
        labels: int64 [K] from 0.
        ignore: bool [K]: objects too small or too hidden to be asked for; cells inside them are left alone.
    """
    count = len(centers)
    nothing = Assignment(
        torch.zeros(count, dtype=torch.bool, device=boxes.device),
        torch.zeros(count, dtype=torch.int64, device=boxes.device),
        torch.zeros(count, device=boxes.device),
        torch.zeros(count, dtype=torch.bool, device=boxes.device),
    )
    if len(targets) == 0:
        return nothing
    sides = torch.cat((centers - targets[:, None, :2], targets[:, None, 2:] - centers), dim=-1)  # [K, A, 4]
    inside = (sides > 0).all(-1)
    middle = (targets[:, :2] + targets[:, 2:]) / 2
    near = ((centers - middle[:, None]).abs() < REACH * strides[:, None]).all(-1)
    small = (targets[:, 2:] - targets[:, :2]).amin(-1) < 2 * REACH * strides.min()
    wanted = ~ignore[:, None]
    allowed = (inside | (near & small[:, None])) & wanted
    overlap = box_iou(targets, boxes).clamp(min=0)  # [K, A]
    aligned = scores[:, labels].T.pow(SCORE_POWER) * overlap.pow(OVERLAP_POWER)
    # Where no box overlaps yet, as in the first steps, nearness decides.
    nearness = torch.exp(-((centers - middle[:, None]) / strides[:, None]).square().sum(-1))
    aligned = torch.where(allowed, aligned + 1e-9 * nearness, -1.0)
    value, cell = aligned.topk(min(TOP, count), dim=1)
    chosen = torch.zeros_like(allowed).scatter(1, cell, value > 0)
    best, owner = torch.where(chosen, overlap + 1e-9 * nearness, -1.0).max(dim=0)  # a cell finds one object
    positive = best >= 0
    mine = chosen & positive & (owner == torch.arange(len(targets), device=boxes.device)[:, None])
    held = torch.where(mine, aligned, 0.0)
    best_overlap = torch.where(mine, overlap, 0.0).amax(1, keepdim=True)
    quality = (held / held.amax(1, keepdim=True).clamp(min=1e-12) * best_overlap).amax(0)
    return Assignment(positive, torch.where(positive, owner, 0), quality, (inside & ~wanted).any(0) & ~positive)
