"""What a camera sees of a batch of worlds, and what there is to know about it.

N worlds, C cameras, H x W pixels, V slots of a world.
"""

from dataclasses import dataclass, fields

import torch


@dataclass
class Objects:
    """Labels of vehicles, obstacles and goals, each `[N, C, V, ...]`; all zero where nothing is `present`."""

    present: torch.Tensor
    """Bool: at least one pixel would show it, were nothing in front of it."""
    number: torch.Tensor
    """int32: its name in the episode, `World.number`, which it keeps while slots move up."""
    category: torch.Tensor
    """uint8: `classes.Semantic`."""
    box: torch.Tensor
    """float32 `[4]`: x0, y0, x1, y1 [px] around the projection of the whole body (what lies at least NEAR ahead of the
    camera), hidden parts and parts outside the frame included. It holds the middle of each of the body's pixels."""
    visible: torch.Tensor
    """int32 `[4]`: first column, first row, column and row after the last of its pixels in `instance`."""
    pixels: torch.Tensor
    """int32: how many pixels show it."""
    whole: torch.Tensor
    """int32: how many pixels would show it, were nothing in front of it."""
    visibility: torch.Tensor
    """float32: pixels / whole."""
    truncation: torch.Tensor
    """float32: the share of `box` outside the frame."""
    center: torch.Tensor
    """float32 `[3]`: of the box around the body, camera frame [m]."""
    size: torch.Tensor
    """float32 `[3]`: length, width, height of that box [m]."""
    yaw: torch.Tensor
    """float32: its heading relative to the camera's optical axis, to the right [rad], in [-pi, pi)."""
    distance: torch.Tensor
    """float32: from the camera to `center` [m]."""

    def clone(self) -> "Objects":
        """Return an independent copy."""
        return Objects(**{field.name: getattr(self, field.name).clone() for field in fields(self)})


@dataclass
class Frames:
    """One picture a camera, pixel by pixel in four kinds."""

    rgb: torch.Tensor
    """uint8 `[N, C, 3, H, W]`."""
    depth: torch.Tensor
    """float32 `[N, C, H, W]` [m] along the optical axis; infinite in the sky."""
    semantic: torch.Tensor
    """uint8 `[N, C, H, W]`: `classes.Semantic`."""
    instance: torch.Tensor
    """int16 `[N, C, H, W]`: slot + 1 of the object seen, 0 none."""
    objects: Objects

    def clone(self) -> "Frames":
        """Return an independent copy: a rig overwrites its frames at the next rendering."""
        images = {name: getattr(self, name).clone() for name in ("rgb", "depth", "semantic", "instance")}
        return Frames(**images, objects=self.objects.clone())


PICTURES: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
    "rgb": ((3,), torch.uint8),
    "depth": ((), torch.float32),
    "semantic": ((), torch.uint8),
    "instance": ((), torch.int16),
}
"""The tensors of `Frames`: axes before the rows and columns, and types."""

LABELS: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
    "present": ((), torch.bool),
    "number": ((), torch.int32),
    "category": ((), torch.uint8),
    "box": ((4,), torch.float32),
    "visible": ((4,), torch.int32),
    "pixels": ((), torch.int32),
    "whole": ((), torch.int32),
    "visibility": ((), torch.float32),
    "truncation": ((), torch.float32),
    "center": ((3,), torch.float32),
    "size": ((3,), torch.float32),
    "yaw": ((), torch.float32),
    "distance": ((), torch.float32),
}
"""The tensors of `Objects`: axes after the slots, and types."""
