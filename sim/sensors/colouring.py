"""Makes depth, classes, instances and labels visible, and composes pictures to sheets; for people, on the host.

Pictures are uint8 [H, W, 3] arrays.
"""

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sim.sensors.camera.cameras import Camera
from sim.sensors.camera.frames import Frames
from sim.sensors.camera.views import NEAR
from sim.sensors.classes import Semantic

CLASS_COLOURS: dict[Semantic, tuple[int, int, int]] = {
    Semantic.SKY: (150, 190, 230),
    Semantic.GRASS: (90, 150, 70),
    Semantic.SHOULDER: (170, 160, 130),
    Semantic.ROAD: (80, 75, 90),
    Semantic.MARKING: (250, 250, 250),
    Semantic.CAR: (40, 90, 220),
    Semantic.VAN: (40, 200, 220),
    Semantic.TRUCK: (220, 60, 60),
    Semantic.MOTORCYCLE: (240, 190, 30),
    Semantic.OBSTACLE: (250, 120, 20),
    Semantic.GOAL: (200, 70, 220),
}
AMODAL, VISIBLE, SOLID = (255, 200, 0), (0, 255, 90), (255, 90, 160)
"""Colours of boxes around whole bodies, of what is seen of them, and of 3-D boxes."""
NEAREST, FARTHEST = 2.0, 250.0
"""Depths at the ends of the colour scale [m]; it is logarithmic."""
LABEL, GAP = 18, 4
"""Height of the writing over a tile, and space between tiles [px]."""


def rgb_picture(frames: Frames, world: int = 0, camera: int = 0) -> np.ndarray:
    """Return what the camera shows."""
    return frames.rgb[world, camera].permute(1, 2, 0).cpu().numpy().copy()


def depth_picture(frames: Frames, world: int = 0, camera: int = 0) -> np.ndarray:
    """Return the depth, near red and far blue, sky black."""
    depth = frames.depth[world, camera].cpu().numpy()
    share = np.log(np.clip(depth, NEAREST, FARTHEST) / NEAREST) / np.log(FARTHEST / NEAREST)
    colours = cv2.applyColorMap((255 * (1 - share)).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1].copy()
    colours[np.isinf(depth)] = 0
    return colours


def class_picture(frames: Frames, world: int = 0, camera: int = 0) -> np.ndarray:
    """Return the class of each pixel in `CLASS_COLOURS`."""
    table = np.array([CLASS_COLOURS[one] for one in Semantic], dtype=np.uint8)
    return table[frames.semantic[world, camera].cpu().numpy()]


def instance_picture(frames: Frames, world: int = 0, camera: int = 0) -> np.ndarray:
    """Return each object in a colour of its own, the rest as a grey shade of the picture."""
    instance = frames.instance[world, camera].cpu().numpy()
    picture = np.repeat(rgb_picture(frames, world, camera).mean(axis=-1, keepdims=True) * 0.5, 3, axis=-1)
    for slot in np.unique(instance[instance > 0]):
        hue = colorsys.hsv_to_rgb(slot * 0.618034 % 1, 0.85, 1.0)  # the golden ratio keeps neighbours apart
        picture[instance == slot] = 255 * np.array(hue)
    return picture.astype(np.uint8)


def with_boxes(
    picture: np.ndarray, frames: Frames, world: int = 0, camera: int = 0, amodal: bool = True, visible: bool = True
) -> np.ndarray:
    """Return a picture with the 2-D boxes of all objects of which at least a pixel is seen."""
    canvas, objects = Image.fromarray(picture), frames.objects
    pen = ImageDraw.Draw(canvas)
    for slot in np.flatnonzero(objects.pixels[world, camera].cpu().numpy()):
        if amodal:
            x0, y0, x1, y1 = objects.box[world, camera, slot].tolist()
            pen.rectangle([x0 - 1, y0 - 1, x1, y1], outline=AMODAL)
        if visible:
            x0, y0, x1, y1 = objects.visible[world, camera, slot].tolist()
            pen.rectangle([x0, y0, x1 - 1, y1 - 1], outline=VISIBLE)
    return np.array(canvas)


def with_solids(
    picture: np.ndarray, frames: Frames, lens: Camera, world: int = 0, camera: int = 0, focal: float = 1.0
) -> np.ndarray:
    """Return a picture with the 3-D boxes of all objects of which at least a pixel is seen.

    `lens` is the camera, level on its vehicle, `focal` what its focal length is jittered by.
    """
    canvas, objects = Image.fromarray(picture), frames.objects
    pen = ImageDraw.Draw(canvas)
    for slot in np.flatnonzero(objects.pixels[world, camera].cpu().numpy()):
        corners = solid_corners(
            *(getattr(objects, name)[world, camera, slot].cpu().numpy() for name in ("center", "size", "yaw"))
        )
        for one, other in _EDGES:
            ends = _clipped(corners[one], corners[other])
            if ends is not None:
                pixels = ends[:, :2] / ends[:, 2:] * lens.focal * focal + [lens.width / 2, lens.height / 2]
                pen.line([tuple(pixel) for pixel in pixels], fill=SOLID)
    return np.array(canvas)


def solid_corners(center: np.ndarray, size: np.ndarray, yaw: float) -> np.ndarray:
    """Return the corners [8, 3] of a box in the frame of a level camera [m].

    Corner number 4 a + 2 b + c is at the front if a, on the right if b, at the top if c.
    """
    ends = np.array([[a, b, c] for a in (-0.5, 0.5) for b in (-0.5, 0.5) for c in (-0.5, 0.5)]) * size
    axes = np.array([[np.sin(yaw), 0, np.cos(yaw)], [np.cos(yaw), 0, -np.sin(yaw)], [0, -1, 0]])
    return center + ends @ axes


_EDGES = [(one, one | bit) for one in range(8) for bit in (1, 2, 4) if not one & bit]


def _clipped(one: np.ndarray, other: np.ndarray) -> np.ndarray | None:
    """Return the part [2, 3] of a line that is before the camera, None if there is none."""
    ends = np.stack([one, other])
    behind = ends[:, 2] < NEAR
    if behind.all():
        return None
    if behind.any():
        share = (NEAR - one[2]) / (other[2] - one[2])
        ends[behind] = one + share * (other - one)
    return ends


def sheet(tiles: Sequence[tuple[str, np.ndarray]], columns: int) -> Image.Image:
    """Return pictures, each with what is written over it, side by side in rows of equal height."""
    rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
    heights = [max(picture.shape[0] for _, picture in row) + LABEL + GAP for row in rows]
    widths = [max((row[k][1].shape[1] for row in rows if k < len(row)), default=0) + GAP for k in range(columns)]
    canvas, font = Image.new("RGB", (sum(widths) - GAP, sum(heights) - GAP), "white"), ImageFont.load_default(13)
    pen = ImageDraw.Draw(canvas)
    for number, row in enumerate(rows):
        top = sum(heights[:number])
        for place, (text, picture) in enumerate(row):
            left = sum(widths[:place])
            canvas.paste(Image.fromarray(picture), (left, top + LABEL))
            pen.text((left + 2, top + LABEL // 2), text, (30, 30, 30), font, anchor="lm")
    return canvas
