"""From the cells of a detector to a list of things."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import nms

LEAST_SCORE = 0.05
"""Score below which a box is dropped; evaluation keeps more, see `suppress`."""
OVERLAP = 0.6
"""Overlap (IoU) above which the less certain of two boxes is dropped, whatever their classes: a thing is one thing."""
MOST = 100
"""Boxes a picture keeps, as COCO's evaluation does."""


@dataclass(frozen=True)
class Detections:
    """What was found in one picture.

    Attributes:
        boxes: float32 [n, 4], x0, y0, x1, y1 [px]; scores: float32 [n], falling; labels: int64 [n], from 1.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.scores)


def suppress(
    boxes: Tensor, scores: Tensor, size: tuple[int, int], least_score: float = LEAST_SCORE, overlap: float = OVERLAP
) -> Detections:
    """Return the best boxes of one picture.

    Args:
        boxes: [A, 4] [px].
        scores: [A, C] in 0..1.
        size: width and height of the picture [px], to which boxes are cut.
        least_score: below which a box is dropped.
        overlap: above which the less certain of two boxes is dropped, of whatever class.
    """
    cell, label = (scores > least_score).nonzero(as_tuple=True)
    score = scores[cell, label]
    if len(score) > 10 * MOST:
        score, best = score.topk(10 * MOST)
        cell, label = cell[best], label[best]
    box = boxes[cell]
    limit = torch.tensor([*size, *size], dtype=box.dtype, device=box.device)
    box = torch.minimum(box.clamp(min=0), limit)
    kept = nms(box, score, overlap)[:MOST]
    return Detections(box[kept], score[kept], label[kept] + 1)
