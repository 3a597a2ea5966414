"""Lane lines and classes drawn over pictures, to be looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from perception.data.lanes import ABSENT, rows_of
from perception.lanes.learning import lane_lesson, lane_stream
from perception.lanes.models import load_lane_model
from perception.lanes.row_anchor import RowAnchor
from perception.lanes.segmentation import GROUPS

SLOT_COLOURS = ((255, 160, 0), (255, 40, 40), (40, 220, 60), (60, 140, 255))
"""Of the four lines, from left to right."""
TRUE_COLOUR = (255, 255, 255)
GROUP_COLOURS = {
    "rest": (60, 60, 70),
    "shoulder": (200, 140, 60),
    "road": (130, 70, 160),
    "marking": (255, 235, 60),
    "object": (240, 50, 60),
}
COVER = 0.65
"""How much of a picture its classes cover."""
ZOOM, GAP = 2, 4
"""Pictures of a sheet are so many times larger, so that thin lines can be seen; px between them."""


def draw_lanes(image: np.ndarray, lanes: np.ndarray, truth: np.ndarray | None = None) -> Image.Image:
    """Return a picture, ZOOM times larger, with its lane lines in the colours of their slots.

    Args:
        image: uint8 [3, H, W].
        lanes: x [px] of the four lines at `rows_of(H, R)`, [4, R]; ABSENT where there is none.
        truth: the true ones, drawn as white dots.
    """
    height, width = image.shape[1:]
    picture = Image.fromarray(image.transpose(1, 2, 0)).resize((width * ZOOM, height * ZOOM), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(picture)
    rows = np.array(rows_of(height, lanes.shape[1]), dtype=float) * ZOOM
    for lane, colour in zip(lanes, SLOT_COLOURS, strict=True):
        there = lane != ABSENT
        pen.line([*zip(lane[there] * ZOOM, rows[there], strict=True)], fill=colour, width=ZOOM + 1, joint="curve")
    for lane in () if truth is None else truth:
        for x, y in zip(lane * ZOOM, rows, strict=True):
            if x >= 0:
                pen.ellipse((x - 1, y - 1, x + 1, y + 1), fill=TRUE_COLOUR)
    return picture


def draw_classes(image: np.ndarray, labels: np.ndarray) -> Image.Image:
    """Return a picture uint8 [3, H, W], ZOOM times larger, in the colours of its classes uint8 [H, W]."""
    colours = np.array([GROUP_COLOURS[name] for name in GROUPS], dtype=float)[labels]
    mixed = (1 - COVER) * image.transpose(1, 2, 0) + COVER * colours
    height, width = labels.shape
    return Image.fromarray(mixed.round().astype(np.uint8)).resize(
        (width * ZOOM, height * ZOOM), Image.Resampling.NEAREST
    )


def contact_sheet(folder: Path, split: str = "test", columns: int = 3, rows: int = 4) -> Image.Image:
    """Return a sheet of what the lane network in a folder finds in pictures of a split; true lanes are white dots.

    Raises:
        FileNotFoundError, ValueError: no such model or split, or a sheet without pictures.
    """
    if columns < 1 or rows < 1:
        raise ValueError(f"a sheet of {columns} x {rows} pictures; it needs at least one of each")
    model = load_lane_model(folder)
    lesson = lane_lesson(next(lane_stream(split, columns * rows)), getattr(model.config, "rows", 0))
    found = model.predict(lesson.images).numpy()
    tiles = [
        draw_lanes(image, told, truth) if isinstance(model, RowAnchor) else draw_classes(image, told)
        for image, told, truth in zip(lesson.images.numpy(), found, lesson.lanes.numpy(), strict=True)
    ]
    width, height = tiles[0].width + GAP, tiles[0].height + GAP
    sheet = Image.new("RGB", (columns * width - GAP, rows * height - GAP), TRUE_COLOUR)
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % columns * width, index // columns * height))
    return sheet
