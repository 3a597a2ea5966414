"""Oriented rectangles that move: how far apart two are, and when they touch.

Two rectangles overlap where they do on each of four axes, the two of either one (the separating-axis theorem); held at
constant velocity, each axis gives an interval of time in closed form, and they touch while all four do.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sim.evaluation.episodes import Episodes


@dataclass(frozen=True)
class Boxes:
    """Rectangles, each field float64 [P].

    Attributes:
        x, y: centre [m]. along_x, along_y: unit vector of the heading. half_length, half_width [m].
        speed: [m/s] along the heading.
    """

    x: Tensor
    y: Tensor
    along_x: Tensor
    along_y: Tensor
    half_length: Tensor
    half_width: Tensor
    speed: Tensor

    @classmethod
    def at(cls, episodes: Episodes, index: Tensor) -> Boxes:
        """Return the boxes at flat indices [P] of [T, N, V]; in float64, whatever was recorded."""
        x, y, heading, length, width, speed = (
            getattr(episodes, name).reshape(-1).index_select(0, index).double()
            for name in ("x", "y", "heading", "length", "width", "speed")
        )
        return cls(x, y, heading.cos(), heading.sin(), length / 2, width / 2, speed)

    def pick(self, index: Tensor) -> Boxes:
        """Return the boxes at indices or where a mask [P] is true."""
        return Boxes(*(value[index] for value in vars(self).values()))

    def after(self, time: Tensor) -> Boxes:
        """Return the boxes [P] after `time` seconds [P] at constant velocity."""
        x, y = self.x + self.speed * self.along_x * time, self.y + self.speed * self.along_y * time
        return Boxes(x, y, *list(vars(self).values())[2:])

    def standing(self) -> Boxes:
        """Return the same boxes at rest."""
        return Boxes(*list(vars(self).values())[:-1], torch.zeros_like(self.speed))

    def corners(self) -> tuple[Tensor, Tensor]:
        """Return x and y [m] of the corners, [4, P]."""
        end = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=self.x.dtype, device=self.x.device)[:, None] * self.half_length
        side = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=self.x.dtype, device=self.x.device)[:, None] * self.half_width
        x = self.x + end * self.along_x - side * self.along_y
        return x, self.y + end * self.along_y + side * self.along_x


def on_axes(a: Boxes, b: Boxes) -> tuple[Tensor, Tensor, Tensor]:
    """Project pairs of boxes on the axes along and across `a`, then along and across `b`.

    Returns:
        [4, P] each: from the centre of a to that of b [m], how far apart the centres are when the two just touch [m],
        and the speed of b relative to a [m/s].
    """
    x, y = b.x - a.x, b.y - a.y
    vx = b.speed * b.along_x - a.speed * a.along_x
    vy = b.speed * b.along_y - a.speed * a.along_y
    cosine = (a.along_x * b.along_x + a.along_y * b.along_y).abs()
    sine = (a.along_x * b.along_y - a.along_y * b.along_x).abs()
    offset, speed = [], []
    for box in (a, b):
        offset += [x * box.along_x + y * box.along_y, y * box.along_x - x * box.along_y]
        speed += [vx * box.along_x + vy * box.along_y, vy * box.along_x - vx * box.along_y]
    reach = [
        a.half_length + b.half_length * cosine + b.half_width * sine,
        a.half_width + b.half_length * sine + b.half_width * cosine,
        b.half_length + a.half_length * cosine + a.half_width * sine,
        b.half_width + a.half_length * sine + a.half_width * cosine,
    ]
    return torch.stack(offset), torch.stack(reach), torch.stack(speed)


def separation(a: Boxes, b: Boxes) -> Tensor:
    """Return the largest gap on any of the four axes [m], [P].

    Below zero it is how deep the boxes overlap; above, it is the distance or less (corner faces corner).
    """
    offset, reach, _ = on_axes(a, b)
    return (offset.abs() - reach).amax(0)


def distance(a: Boxes, b: Boxes) -> Tensor:
    """Return the distance between two boxes [m], [P], exact; where they overlap, minus the depth of the overlap."""
    squares = []
    for one, other in ((a, b), (b, a)):
        x, y = one.corners()
        x, y = x - other.x, y - other.y
        beyond = (x * other.along_x + y * other.along_y).abs() - other.half_length
        beside = (y * other.along_x - x * other.along_y).abs() - other.half_width
        squares.append((beyond.clamp(min=0) ** 2 + beside.clamp(min=0) ** 2).amin(0))
    apart = separation(a, b)
    return torch.where(apart > 0, torch.minimum(*squares).sqrt(), apart)


def touching(a: Boxes, b: Boxes) -> tuple[Tensor, Tensor]:
    """Return the first and last time [s] at which two boxes touch if they go on at their velocities, [P] each.

    The first is negative where they touch already; where they never do, the first is greater than the last.
    """
    offset, reach, speed = on_axes(a, b)
    away = offset * speed.sign()
    first, last = (-reach - away) / speed.abs(), (reach - away) / speed.abs()
    never = (speed == 0) & (offset.abs() > reach)
    return torch.where(never, torch.inf, first).amax(0), torch.where(never, -torch.inf, last).amin(0)
