"""Which track is seen in which detection: similarities, and the assignment with the highest sum of them."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Return the IoU [B, T, D] of boxes x0, y0, x1, y1 [B, T, 4] and [B, D, 4]; 0 where both are empty."""
    low = torch.maximum(first[:, :, None, :2], second[:, None, :, :2])
    high = torch.minimum(first[:, :, None, 2:], second[:, None, :, 2:])
    sides = (high - low).clamp(min=0)
    shared = sides[..., 0] * sides[..., 1]
    one, other = (((b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])) for b in (first, second))
    union = one[:, :, None] + other[:, None] - shared
    return torch.where(union > 0, shared / union.clamp(min=torch.finfo(union.dtype).tiny), 0.0)


def distances(middle: Tensor, variance: Tensor, found: Tensor) -> Tensor:
    """Return the squared Mahalanobis distance [B, T, D] of boxes found [B, D, 4] from where tracks are thought to be.

    Args:
        middle: [B, T, 4]: middle x, middle y, width, height [px].
        variance: [B, T, 4]: of each, the detector's error included [px2].
        found: [B, D, 4], as `middle`.
    """
    error = found[:, None] - middle[:, :, None]
    return (error * error / variance[:, :, None]).sum(-1)


def assign(similarity: Tensor, allowed: Tensor) -> Tensor:
    """Return for each track which detection it is seen in, int64 [B, T], -1 for none.

    Of all ways to pair allowed ones, each at most once, it takes the one with the highest sum of similarities.

    Args:
        similarity: [B, T, D], above 0 where allowed.
        allowed: bool [B, T, D].
    """
    # Where no track and no detection has two candidates, all of them are taken: no search is needed.
    contested = (allowed.sum(2) > 1).any(1) | (allowed.sum(1) > 1).any(1) if allowed.numel() else allowed.any(2).any(1)
    best = torch.where(allowed, similarity, 0.0)
    matched = torch.full(allowed.shape[:2], -1, dtype=torch.int64, device=allowed.device)
    if allowed.shape[2]:
        alone = allowed.any(2) & ~contested[:, None]
        matched = torch.where(alone, allowed.int().argmax(2), matched)
    for stream in contested.nonzero()[:, 0].tolist():
        # Rows and columns without a candidate only cost time; leaving them out changes nothing.
        rows, columns = (allowed[stream].any(axis).nonzero()[:, 0] for axis in (1, 0))
        weights = best[stream][rows][:, columns].cpu().numpy()
        row, column = (
            torch.from_numpy(index).to(rows.device) for index in linear_sum_assignment(weights, maximize=True)
        )
        row, column = rows[row], columns[column]
        matched[stream, row] = torch.where(allowed[stream, row, column], column, -1)
    return matched
