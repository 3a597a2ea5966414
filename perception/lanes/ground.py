"""Where a vehicle is in its lane, from the two lines beside it and the geometry of its camera."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perception.data.lanes import rows_of
from perception.lanes.lane_metrics import OWN
from sim.sensors.camera.cameras import Camera

NEAR_ENOUGH = 40.0
"""Points farther ahead are left out [m]: one pixel is then metres along the road."""
LEAST = 3
"""Points that each of the two lines must have near enough."""


@dataclass(frozen=True)
class PlaceInLane:
    """Where the middle of a vehicle is in its lane.

    Attributes:
        offset: to the right of the lane's middle [m].
        heading: to the right of the lane's direction here [rad].
        curvature: of the lane, positive to the right [1/m].
        width: of the lane [m].
    """

    offset: float
    heading: float
    curvature: float
    width: float


class PlaceLedger:
    """How well the place in the lane is known: from the lines found, against that from the true ones, same camera.

    Args:
        camera: of the pictures.
    """

    def __init__(self, camera: Camera):
        self.camera = camera
        self.errors: list[tuple[float, float]] = []
        self.true = 0

    def add(self, found: np.ndarray, truth: np.ndarray) -> None:
        """Count pictures: x [px] [B, 4, R] of the lines found and the true ones; without a true place they are left."""
        for lanes, real in zip(found, truth, strict=True):
            place, wanted = place_in_lane(lanes, self.camera), place_in_lane(real, self.camera)
            self.true += wanted is not None
            if place is not None and wanted is not None:
                self.errors.append((abs(place.offset - wanted.offset), abs(place.heading - wanted.heading)))

    def summary(self) -> dict[str, float]:
        """Return the median errors offset_error_m and heading_error_deg, their p90, and placed, the share of places."""
        offset, heading = np.array([*self.errors, *[(np.nan, np.nan)] * (not self.errors)]).T
        scores = {}
        for name, values in (("offset_error_m", offset), ("heading_error_deg", np.degrees(heading))):
            scores |= {name: float(np.median(values)), f"{name}_p90": float(np.percentile(values, 90))}
        return scores | {"placed": len(self.errors) / self.true if self.true else float("nan")}


def place_in_lane(lanes: np.ndarray, camera: Camera, rows: Sequence[float] | None = None) -> PlaceInLane | None:
    """Return where a vehicle is in its lane; None where too little of either line is seen.

    The road is taken as flat and both lines as one parabola, shifted. A point's weight falls with its distance, as a
    pixel then is farther to the side.

    Args:
        lanes: x [px] of the four lines at rows, [4, R]; negative where there is none.
        camera: looks ahead; on the vehicle as it says.
        rows: y [px] of them, as of `RowAnchor.rows`; `rows_of(camera.height, R)` if None.
    """
    rows = np.array(rows_of(camera.height, lanes.shape[1]) if rows is None else rows, dtype=float)
    ahead, right, side = [], [], []
    for index, slot in enumerate(OWN):
        there = lanes[slot] >= 0
        points = camera.to_ground(np.stack([lanes[slot][there], rows[there]], axis=-1), (0.0, 0.0, 0.0))
        near = points[(points[:, 0] > 0) & (points[:, 0] < NEAR_ENOUGH)]  # above the horizon they are NaN, never near
        if len(near) < LEAST:
            return None
        ahead.append(near[:, 0])
        right.append(near[:, 1])
        side.append(np.full(len(near), index))
    x, y, line = (np.concatenate(parts) for parts in (ahead, right, side))
    terms = np.stack([line == 0, line == 1, x, x**2], axis=-1).astype(float)
    left, other, slope, bend = np.linalg.lstsq(terms / x[:, None], y / x, rcond=None)[0]
    angle = math.atan(slope)
    return PlaceInLane(
        offset=float(-(left + other) / 2 * math.cos(angle)),
        heading=-angle,
        curvature=float(2 * bend * math.cos(angle) ** 3),
        width=float((other - left) * math.cos(angle)),
    )
