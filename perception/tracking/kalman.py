"""The Kalman filter of SORT and ByteTrack: a box moves at constant velocity, shaken by white acceleration.

The state is middle x, middle y, width and height, and the velocity of each; noise grows with the size of the box, as in
ByteTrack (arXiv 2110.06864), width by width and height by height, as in BoT-SORT (arXiv 2206.14651, section 3.1). Time
is in seconds, so that one setting serves every frame rate and uneven gaps. Noise never couples the four coordinates, so
the 8 x 8 filter falls apart into four of 2 x 2 without approximation. These are written out, one operation an element:
a track's numbers depend neither on how many others there are nor on its place among them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

COORDINATES = 4
LEAST_SIZE = 1.0
"""Width and height that a prediction does not fall below [px]."""


@dataclass(frozen=True)
class KalmanSettings:
    """Noise, in shares of the box's width (for x and width) or height (for y and height).

    Attributes:
        detector: standard deviation of a detected coordinate. pixels: that of its rounding, beside it [px].
        velocity: standard deviation of the velocity of a track seen once [1/s].
        acceleration: root of the spectral density of the acceleration of the middle [1/s^1.5].
        growth: that of the size.
    """

    detector: float = 0.05
    pixels: float = 0.5
    velocity: float = 2.0
    acceleration: float = 1.0
    growth: float = 0.1

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
                raise ValueError(f"{part.name} is {value!r}; it must be a number above 0")


class KalmanMotion:
    """Motion at constant velocity; see `tracks.Motion`.

    A state holds 4 middles and sizes, 4 velocities, and of each coordinate the variance of its place, the covariance of
    place and velocity, and the variance of its velocity: 20 numbers.
    """

    size = 5 * COORDINATES

    def __init__(
        self,
        settings: KalmanSettings | None = None,
        dtype: torch.dtype = torch.float64,
        device: str | torch.device = "cpu",
    ) -> None:
        self.settings = settings or KalmanSettings()
        self.dtype, self.device = dtype, torch.device(device)

    def start(self, boxes: Tensor) -> Tensor:
        zero = torch.zeros_like(boxes)
        velocity = (self.settings.velocity * _scale(boxes)).square()
        return torch.cat([boxes, zero, self.noise(boxes), zero, velocity], 1)

    def predict(self, states: Tensor, elapsed: Tensor) -> Tensor:
        place, velocity, pp, pv, vv = states.split(COORDINATES, 1)
        dt, settings = elapsed[:, None], self.settings
        scale = _scale(place)
        shake = torch.cat([settings.acceleration * scale[:, :2], settings.growth * scale[:, 2:]], 1).square()
        # White acceleration of density q over a time t: covariance q [[t^3/3, t^2/2], [t^2/2, t]].
        pp = pp + dt * (2 * pv + dt * vv) + shake * dt**3 / 3
        pv = pv + dt * vv + shake * dt**2 / 2
        moved = place + dt * velocity
        moved = torch.cat([moved[:, :2], moved[:, 2:].clamp(min=LEAST_SIZE)], 1)
        return torch.cat([moved, velocity, pp, pv, vv + shake * dt], 1)

    def update(self, states: Tensor, boxes: Tensor) -> Tensor:
        place, velocity, pp, pv, vv = states.split(COORDINATES, 1)
        noise = self.noise(boxes)
        certain = 1 / (pp + noise)
        gain, drift, error = pp * certain, pv * certain, boxes - place
        return torch.cat(
            [place + gain * error, velocity + drift * error, gain * noise, drift * noise, vv - drift * pv], 1
        )

    def shift(self, states: Tensor, offset: Tensor) -> Tensor:
        return torch.cat([states[:, :2] + offset, states[:, 2:]], 1)

    def boxes(self, states: Tensor) -> Tensor:
        return states[:, :COORDINATES]

    def velocities(self, states: Tensor) -> Tensor:
        return states[:, COORDINATES : 2 * COORDINATES]

    def variances(self, states: Tensor) -> Tensor:
        return states[:, 2 * COORDINATES : 3 * COORDINATES]

    def noise(self, boxes: Tensor) -> Tensor:
        return (self.settings.detector * _scale(boxes)).square() + self.settings.pixels**2


def _scale(boxes: Tensor) -> Tensor:
    """Width, height, width, height [M, 4]."""
    return boxes[:, 2:].clamp(min=LEAST_SIZE).repeat(1, 2)
