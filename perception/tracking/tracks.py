"""What a tracker tells, and what it asks of a model of motion."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tracks:
    """The confirmed tracks of B streams, M rows, by stream and then by number.

    Attributes:
        stream: int64 [M], 0 to B - 1.
        number: int64 [M], from 1, names a track for as long as its stream is not restarted; none is used twice.
        boxes: [M, 4], where it is now: x0, y0, x1, y1 [px].
        velocities: [M, 4], of middle x, middle y, width and height [px/s].
        covariances: [M, 4, 4], of middle x, middle y, width and height [px2].
        ages: int64 [M], updates since it was first seen. unseen: [M], time since it was last seen [s].
        detection: int64 [M], which detection of this update it was seen in, -1 where it was not.
        labels: int64 [M], and scores [M]: of the last detection it was seen in.
    """

    stream: Tensor
    number: Tensor
    boxes: Tensor
    velocities: Tensor
    covariances: Tensor
    ages: Tensor
    unseen: Tensor
    detection: Tensor
    labels: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.number)

    @property
    def seen(self) -> Tensor:
        """Bool [M]: was it seen in this update."""
        return self.detection >= 0

    def where(self, mask: Tensor) -> Tracks:
        """Return the rows of a mask, bool [M]."""
        return Tracks(*(getattr(self, part.name)[mask] for part in fields(Tracks)))


class Motion(Protocol):
    """How boxes move. A state is a row of numbers of its own: `size` of them a track, in `dtype`, on `device`."""

    size: int
    dtype: torch.dtype
    device: torch.device

    def start(self, boxes: Tensor) -> Tensor:
        """Return the states [M, size] of tracks seen once, in boxes [M, 4] (middle x, middle y, width, height)."""

    def predict(self, states: Tensor, elapsed: Tensor) -> Tensor:
        """Return the states a time [M] later [s]."""

    def update(self, states: Tensor, boxes: Tensor) -> Tensor:
        """Return the states of tracks that have just been seen in boxes [M, 4]."""

    def shift(self, states: Tensor, offset: Tensor) -> Tensor:
        """Return the states of tracks that were moved by an offset [M, 2] [px], as by a turn of the camera."""

    def boxes(self, states: Tensor) -> Tensor:
        """Return where they are [M, 4]: middle x, middle y, width, height [px]."""

    def velocities(self, states: Tensor) -> Tensor:
        """Return how fast each of the four changes [M, 4] [px/s]."""

    def variances(self, states: Tensor) -> Tensor:
        """Return how sure each of the four is [M, 4] [px2]."""


def to_middle(boxes: Tensor) -> Tensor:
    """Return boxes x0, y0, x1, y1 [..., 4] as middle x, middle y, width, height."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1)


def to_corners(boxes: Tensor) -> Tensor:
    """Return boxes middle x, middle y, width, height [..., 4] as x0, y0, x1, y1."""
    middle, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([middle - half, middle + half], -1)


def times_of(elapsed: float | Tensor, like: Tensor) -> Tensor:
    """Return times since the last update as [B]; ValueError unless finite, at least 0 s, and one or B of them.

    Args:
        elapsed: of all or of each [s].
        like: [B], of the number, kind and device wanted.
    """
    times = torch.as_tensor(elapsed, dtype=like.dtype, device=like.device)
    if times.shape not in ((), like.shape):
        raise ValueError(f"elapsed has the shape {tuple(times.shape)}; expected one time or ({len(like)},)")
    if not bool((times.isfinite() & (times >= 0)).all()):
        raise ValueError(f"elapsed is {elapsed}; times must be finite and at least 0 s")
    return times.expand(len(like))
