"""Which track is seen in which detection: similarities, a shift common to all, and the assignment of highest sum."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

ANCHORS = 4
"""Tracks that a common shift is guessed from; each costs as many guesses as there are detections."""


def overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Return the IoU [..., T, D] of boxes x0, y0, x1, y1 [..., T, 4] and [..., D, 4]; 0 where both are empty."""
    low = torch.maximum(first[..., :, None, :2], second[..., None, :, :2])
    high = torch.minimum(first[..., :, None, 2:], second[..., None, :, 2:])
    sides = (high - low).clamp(min=0)
    shared = sides[..., 0] * sides[..., 1]
    one, other = (((b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])) for b in (first, second))
    union = one[..., :, None] + other[..., None, :] - shared
    return torch.where(union > 0, shared / union.clamp(min=torch.finfo(union.dtype).tiny), 0.0)


def common_shift(tracks: Tensor, used: Tensor, found: Tensor, free: Tensor, gain: float) -> Tensor:
    """Return by how much all tracks of each stream seem to have moved together, [B, 2] [px]; 0 where that tells little.

    A camera that turns moves everything at once, further than any filter expects. Its turn is read from the boxes
    alone: of all shifts that put one of the first `ANCHORS` tracks on a detection, the one at which tracks overlap
    most with their nearest detections. Pictures are not needed, unlike for the camera motion of BoT-SORT.

    Args:
        tracks: corners where tracks are expected [B, T, 4], the surest first.
        used: bool [B, T], which of them take part.
        found: corners of detections [B, D, 4].
        free: bool [B, D], which of them take part.
        gain: least gain in the sum of overlaps, in boxes that overlap fully.
    """
    shift = tracks.new_zeros(len(tracks), 2)
    counts = torch.minimum(used.sum(1), free.sum(1))
    if not tracks.shape[1] or not found.shape[1]:
        return shift
    still = _support(tracks, used, found, free)
    # Where nearly all overlap already there is nothing to gain.
    for stream in (counts - still > gain).nonzero()[:, 0].tolist():
        boxes, seen = tracks[stream, used[stream]], found[stream, free[stream]]
        corners = boxes[:ANCHORS, None, :2] + boxes[:ANCHORS, None, 2:]
        tried = ((seen[None, :, :2] + seen[None, :, 2:] - corners) / 2).reshape(-1, 1, 2)  # [C, 1, 2]
        moved = boxes[None] + tried.repeat(1, 1, 2)  # [C, T, 4]
        everything = torch.ones(1, 1, dtype=torch.bool, device=boxes.device)
        support = _support(moved, everything, seen[None], everything)
        best = int(support.argmax())
        # One box alone, whose overlap is 1 at most, would fit anywhere.
        if support[best] > max(float(still[stream]) + gain, 1):
            shift[stream] = tried[best, 0]
    return shift


def _support(tracks: Tensor, used: Tensor, found: Tensor, free: Tensor) -> Tensor:
    """Sum [B] over tracks [B, T, 4] of the highest overlap with any detection [B, D, 4]."""
    best = (overlaps(tracks, found) * free[:, None]).amax(2)
    # One after the other: a sum in parts would be rounded otherwise where there are more streams and so more padding.
    return (best * used).cumsum(1)[:, -1]


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


def outdone(same: Tensor, rank: Tensor) -> Tensor:
    """Return bool [N, M]: is one the `same` [N, M, M] as another of higher rank [N, M], or as high and before."""
    order = torch.arange(rank.shape[1], device=rank.device)
    mine, other = rank[:, :, None], rank[:, None]
    return (same & ((other > mine) | ((other == mine) & (order < order[:, None])))).any(2)
