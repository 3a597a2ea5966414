"""What a lane network tells, drawn over pictures: lane lines, or the classes of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from perception.data.lanes import ABSENT
from perception.drawing import with_lanes, with_surfaces
from perception.lanes.learning import lane_lesson, lane_stream
from perception.lanes.models import load_lane_model
from perception.lanes.row_anchor import RowAnchor
from perception.lanes.segmentation import Segmentation
from sim.sensors.colouring import sheet

SLOT_COLOURS = ((255, 160, 0), (255, 40, 40), (40, 220, 60), (60, 140, 255))
"""Of the four lines, from left to right."""
TRUE_COLOUR = (255, 255, 255)
GROUP_COLOURS = {
    "shoulder": (200, 140, 60),
    "road": (130, 70, 160),
    "marking": (255, 235, 60),
    "object": (240, 50, 60),
}
"""Of classes of pixels; the rest stays as it is."""


def with_told(network: RowAnchor | Segmentation, told: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Return a picture with the lane lines, or the classes of pixels, that a network told of it.

    Args:
        network: of which it is.
        told: what `predict` returns of one picture: x [px] of the four lines, [4, R], or classes, uint8 [H, W].
        picture: uint8 [H, W, 3], of the size of that picture.
    """
    if isinstance(network, RowAnchor):
        return with_lanes(picture, _points(told, network.rows(len(picture)).tolist()), SLOT_COLOURS)
    names = network.config.classes
    colours = {label: GROUP_COLOURS[name] for label, name in enumerate(names) if name in GROUP_COLOURS}
    return with_surfaces(picture, told, colours)


def _points(lanes: np.ndarray, rows: Sequence[float]) -> list[list[tuple[float, float]]]:
    """The points [px] of lane lines at rows, without those that are absent."""
    return [[(x, y) for x, y in zip(line, rows, strict=True) if x != ABSENT] for line in lanes]


def contact_sheet(folder: Path, split: str = "test", columns: int = 3, rows: int = 4) -> Image.Image:
    """Return a sheet of what the lane network in a folder finds in pictures of a split; true lanes are white dots.

    Raises:
        FileNotFoundError, ValueError: no such model or split, or a sheet without pictures.
    """
    if columns < 1 or rows < 1:
        raise ValueError(f"a sheet of {columns} x {rows} pictures; it needs at least one of each")
    network, batch = load_lane_model(folder), next(lane_stream(split, columns * rows))
    lesson = lane_lesson(batch, getattr(network.config, "rows", 0))
    tiles = []
    for one, image, told, truth in zip(
        batch.pictures, lesson.images.numpy(), network.predict(lesson.images).numpy(), lesson.lanes.numpy(), strict=True
    ):
        picture = with_told(network, told, image.transpose(1, 2, 0).copy())
        if isinstance(network, RowAnchor):
            dots = [[point] for line in _points(truth, network.rows(len(picture)).tolist()) for point in line[::2]]
            picture = with_lanes(picture, dots, [TRUE_COLOUR])
        tiles.append((one.domain, picture))
    return sheet(tiles, columns)
