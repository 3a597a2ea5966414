"""Pinhole cameras on a vehicle, and where their pixels look.

Frames: the vehicle's is forward, right, up from the ground under its middle; a camera's is x right, y down, z forward,
as in OpenCV. Pixel (row i, column j) has its middle at (j + 0.5, i + 0.5); the optical axis meets (W / 2, H / 2).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from sim.config import require_known

SMALLEST = 8  # px, of either side


@dataclass(frozen=True)
class Camera:
    """A camera that looks along its vehicle unless turned.

    Raises:
        ValueError: a size below 8 pixels or not whole, a field of view outside (0, 180) degrees, a height not above
            the ground, a number that is not finite.
    """

    name: str = "front"
    width: int = 128  # px
    height: int = 96  # px
    fov: float = 75.0  # deg, from the left edge to the right
    x: float = 1.0  # m, ahead of the vehicle's middle
    y: float = 0.0  # m, to its right
    z: float = 1.5  # m, above the ground
    yaw: float = 0.0  # deg, to the right
    pitch: float = 0.0  # deg, up
    roll: float = 0.0  # deg, clockwise as seen from behind: the right side goes down

    def __post_init__(self) -> None:
        """Refuse what cannot be a camera."""
        for side in ("width", "height"):
            size = getattr(self, side)
            if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < SMALLEST:
                raise ValueError(f"camera {side} is {size!r}; it must be an integer of at least {SMALLEST} pixels")
        for name in ("fov", "x", "y", "z", "yaw", "pitch", "roll"):
            value = getattr(self, name)
            number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if not number or not math.isfinite(value):
                raise ValueError(f"camera {name} is {value!r}; it must be a finite number")
        if not 0 < self.fov < 180:
            raise ValueError(f"camera fov is {self.fov!r}; it must be between 0 and 180 degrees")
        if not self.z > 0:
            raise ValueError(f"camera z is {self.z!r}; it must be above the ground, 0 m")

    @property
    def focal(self) -> float:
        """Focal length [px], the same along both axes."""
        return self.width / 2 / math.tan(math.radians(self.fov) / 2)

    def intrinsics(self) -> np.ndarray:
        """Return the matrix [3, 3] that takes points of the camera's frame to homogeneous pixels."""
        return np.array([[self.focal, 0, self.width / 2], [0, self.focal, self.height / 2], [0, 0, 1]])

    def axes(self) -> np.ndarray:
        """Return the camera's x, y and z axis as rows [3, 3] in the vehicle's frame: forward, right, up."""
        yaw, pitch, roll = np.radians([self.yaw, self.pitch, self.roll])
        ahead = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)])
        right = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
        down = np.array([np.sin(pitch) * np.cos(yaw), np.sin(pitch) * np.sin(yaw), -np.cos(pitch)])
        turned = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right
        return np.stack([*turned, ahead])

    def to_camera(self, points: np.ndarray, pose: Sequence[float]) -> np.ndarray:
        """Return points [..., 3] of the world (x, y, height [m]) in the camera's frame [m].

        `pose` is the vehicle's x, y [m] and heading [rad].
        """
        points = np.asarray(points, dtype=float)
        along, across = points[..., 0] - pose[0], points[..., 1] - pose[1]
        cosine, sine = np.cos(pose[2]), np.sin(pose[2])
        forward, right = cosine * along + sine * across, cosine * across - sine * along
        return np.stack([forward - self.x, right - self.y, points[..., 2] - self.z], axis=-1) @ self.axes().T

    def project(self, points: np.ndarray, pose: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Return pixels [..., 2] (x, y) and depth [m] along the optical axis; behind the camera the pixels are NaN."""
        seen = self.to_camera(points, pose)
        depth = seen[..., 2]
        ahead = np.where(depth > 0, depth, np.nan)[..., None]
        return self.focal * seen[..., :2] / ahead + np.array([self.width, self.height]) / 2, depth

    def to_ground(self, pixels: np.ndarray, pose: Sequence[float]) -> np.ndarray:
        """Return x, y [..., 2] [m] of the ground seen at pixels [..., 2] (x, y); NaN above the horizon."""
        offset = (np.asarray(pixels, dtype=float) - np.array([self.width, self.height]) / 2) / self.focal
        ray = np.concatenate([offset, np.ones_like(offset[..., :1])], axis=-1) @ self.axes()
        reach = np.where(ray[..., 2] < 0, -self.z / np.where(ray[..., 2] < 0, ray[..., 2], 1.0), np.nan)
        forward, right = self.x + reach * ray[..., 0], self.y + reach * ray[..., 1]
        cosine, sine = np.cos(pose[2]), np.sin(pose[2])
        return np.stack([pose[0] + cosine * forward - sine * right, pose[1] + sine * forward + cosine * right], -1)


PRESETS: dict[str, tuple[dict[str, Any], ...]] = {
    "front": ({"name": "front"},),
    "wide": ({"name": "wide", "fov": 120.0},),
    "rear": ({"name": "rear", "x": -1.0, "yaw": 180.0},),
    "left": ({"name": "left", "x": 0.0, "yaw": -90.0},),
    "right": ({"name": "right", "x": 0.0, "yaw": 90.0},),
    "far": ({"name": "far", "fov": 30.0},),
    "surround": (
        {"name": "front"},
        {"name": "left", "x": 0.0, "yaw": -85.0, "fov": 100.0},
        {"name": "right", "x": 0.0, "yaw": 85.0, "fov": 100.0},
        {"name": "rear", "x": -1.0, "yaw": 180.0, "fov": 95.0},
    ),
}
"""Mountings by name: what differs from a `Camera` that looks ahead. "surround" leaves no gap around the vehicle."""


def preset(name: str, **changes: Any) -> list[Camera]:
    """Return the cameras of a preset; `changes` (width, height, ...) go to all of them.

    Raises:
        ValueError: an unknown preset or field, or an impossible camera.
    """
    require_known([name], PRESETS, "camera preset")
    return [camera_from(one | changes) for one in PRESETS[name]]


def camera_from(options: dict[str, Any]) -> Camera:
    """Return the camera that a dict of its fields describes.

    Raises:
        TypeError, ValueError: no dict, an unknown field, or an impossible camera.
    """
    if not isinstance(options, dict):
        raise TypeError(f"a camera is {options!r}; it must be a dict of {', '.join(FIELDS)}")
    require_known(options, FIELDS, "camera field")
    return Camera(**options)


FIELDS = [field.name for field in fields(Camera)]
