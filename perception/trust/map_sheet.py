"""Maps of explanations as one picture: a row for each picture explained, a column for each method."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

LEAST_SIDE = 128
"""Side below which small pictures are enlarged [px]."""
GAP, TITLE = 6, 22
"""Between pictures, and height of the titles [px]."""
LIMIT = 99.5
"""Percentile of a map that is shown brightest: single pixels would darken all the others."""
BOX = (60, 255, 90)


def map_sheet(images: Tensor, maps: Mapping[str, Tensor], boxes: Tensor | None = None, rows: int = 6) -> Image.Image:
    """Return a picture of maps laid over the pictures that they explain.

    Args:
        images: float [B, C, H, W] in 0..1.
        maps: [B, H, W] by name of method.
        boxes: [B, 4] [px], drawn on the pictures.
        rows: most pictures that are shown.
    """
    count = min(rows, len(images))
    height, width = images.shape[2:]
    scale = max(1, -(-LEAST_SIDE // min(height, width)))
    height, width = height * scale, width * scale
    across = (width + GAP) * (1 + len(maps)) + GAP
    sheet = Image.new("RGB", (across, TITLE + (height + GAP) * count), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for column, name in enumerate(("picture", *maps)):
        draw.text((GAP + column * (width + GAP), 3), name, fill="black", font=font)
    for row in range(count):
        picture = np.rint(images[row].expand(3, -1, -1).numpy() * 255).astype(np.uint8).transpose(1, 2, 0)
        cells = [picture, *(overlaid(picture, one[row].numpy()) for one in maps.values())]
        for column, cell in enumerate(cells):
            shown = Image.fromarray(cell).resize((width, height), Image.Resampling.NEAREST)
            if boxes is not None:
                corners = [round(float(value) * scale) for value in boxes[row]]
                ImageDraw.Draw(shown).rectangle(corners, outline=BOX)
            sheet.paste(shown, (GAP + column * (width + GAP), TITLE + row * (height + GAP)))
    return sheet


def overlaid(picture: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a grey version of a picture, uint8 [H, W, 3], coloured where a map [H, W] is great."""
    grey = picture.mean(2, keepdims=True).astype(np.float32)
    least, most = float(values.min()), float(np.percentile(values, LIMIT))
    strength = ((values - least) / max(most - least, 1e-12)).clip(0, 1).astype(np.float32)
    colours = cv2.applyColorMap(np.rint(strength * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    weight = 0.25 + 0.6 * strength[..., None]
    return np.rint(grey * (1 - weight) + colours * weight).astype(np.uint8)
