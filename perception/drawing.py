"""Draws on pictures what was found in them: boxes with class, certainty, number and trail, lanes, classes of pixels.

Readable from 320 x 192 up: lines and letters grow with the picture. Pictures are uint8 [H, W, 3], RGB.
"""

from __future__ import annotations

import colorsys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from perception.detection.postprocess import Detections
from sim.sensors.colouring import CLASS_COLOURS

Colour = tuple[int, int, int]
LETTERS, LEAST_LETTERS = 1 / 42, 10
"""Height of letters as a share of the picture's, and the least [px]."""
LINES = 1 / 320
"""Width of lines as a share of the picture's height; at least one pixel."""
TRAIL = 30
"""Updates that a trail goes back, and after which it is forgotten where its track was not seen again."""
LANES: tuple[Colour, ...] = ((255, 60, 60), (60, 220, 90), (70, 150, 255), (255, 200, 40))
SURFACES = {int(one): colour for one, colour in CLASS_COLOURS.items()}
"""Colours of the simulator's classes of pixels."""
OPACITY = 0.45
"""Of what is laid over the pixels."""


def colour_of(number: int) -> Colour:
    """Return the colour of a track number or label: always the same, and far from those of the numbers beside it."""
    hue = number * 0.618034 % 1  # the golden ratio
    shade = (1.0, 0.8, 0.6)[number // 5 % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, 1.0 if shade == 1.0 else 0.75, 0.55 + 0.45 * shade)
    return round(255 * red), round(255 * green), round(255 * blue)


class Trails:
    """Where the tracks of one stream touched the ground, the last `TRAIL` updates."""

    def __init__(self) -> None:
        self._points: dict[int, deque[tuple[float, float]]] = {}
        self._seen: dict[int, int] = {}
        self._now = 0

    def restart(self) -> None:
        """Forget all."""
        self._points, self._seen = {}, {}

    def update(self, numbers: Sequence[int], boxes: Sequence[Sequence[float]]) -> None:
        """Add the middles of the lower sides of boxes (x0, y0, x1, y1 [px]) of the tracks seen in a frame."""
        self._now += 1
        for number, (x0, _, x1, y1) in zip(numbers, boxes, strict=True):
            self._points.setdefault(number, deque(maxlen=TRAIL)).append(((x0 + x1) / 2, y1))
            self._seen[number] = self._now
        for number in [number for number, last in self._seen.items() if self._now - last >= TRAIL]:
            del self._points[number], self._seen[number]

    def of(self, number: int) -> list[tuple[float, float]]:
        """Return the points of a track, the oldest first."""
        return list(self._points.get(number, ()))


def with_detections(
    picture: np.ndarray,
    found: Detections,
    classes: Sequence[str],
    numbers: Sequence[int] | None = None,
    trails: Trails | None = None,
) -> np.ndarray:
    """Return a picture with boxes, each with its class and certainty and, of tracks, number and trail.

    Args:
        picture: uint8 [H, W, 3].
        found: n things.
        classes: names, of labels 1, 2, ...
        numbers: n track numbers, 0 for what belongs to no track.
        trails: of the tracks.
    """
    _require(picture)
    canvas = Image.fromarray(picture)
    pen, height = ImageDraw.Draw(canvas), picture.shape[0]
    wide = max(1, round(height * LINES))
    numbers = [0] * len(found) if numbers is None else list(numbers)
    things = list(zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), numbers, strict=True))
    things.sort(key=lambda thing: thing[1])
    for box, _, label, number in things:  # the most certain on top
        colour = colour_of(number or label)
        line = trails.of(number) if trails is not None and number else []
        if len(line) > 1:
            pen.line(line, colour, wide, joint="curve")
        _rectangle(pen, box, colour, wide)
    labels = _Labels(pen, canvas.size, _letters(height))
    for box, score, label, number in reversed(things):
        name = classes[label - 1]
        text = f"{number} {name} {100 * score:.0f}" if number else f"{name} {100 * score:.0f}"
        labels.put(text, box, colour_of(number or label))
    return np.asarray(canvas)


def _rectangle(pen: ImageDraw.ImageDraw, box: Sequence[float], colour: Colour, wide: int) -> None:
    """The outline of a box, with a dark rim that keeps it visible on a ground of its own colour."""
    x0, y0, x1, y1 = (round(value) for value in box)
    x1, y1 = max(x1 - 1, x0), max(y1 - 1, y0)
    if wide > 1:
        pen.rectangle([x0 - 1, y0 - 1, x1 + 1, y1 + 1], outline=(20, 20, 20))
    pen.rectangle([x0, y0, x1, y1], outline=colour, width=wide)


class _Labels:
    """Writes names beside boxes where no other name is, if there is such a place."""

    def __init__(self, pen: ImageDraw.ImageDraw, size: tuple[int, int], font: ImageFont.FreeTypeFont) -> None:
        self.pen, self.size, self.font = pen, size, font
        self.taken: list[tuple[float, float, float, float]] = []
        self.high = sum(font.getmetrics())

    def put(self, text: str, box: Sequence[float], colour: Colour) -> None:
        wide, high = self.pen.textlength(text, self.font) + 2, self.high
        x0, y0, x1, y1 = box
        places = [(x0, y0 - high), (x1 - wide, y0 - high), (x0, y1), (x0, y0), (x1, y0), (x0 - wide, y0)]
        fitted = [
            (min(max(x, 0), max(self.size[0] - wide, 0)), min(max(y, 0), max(self.size[1] - high, 0)))
            for x, y in places
        ]
        free = (place for place in fitted if not self._hides(*place, wide))
        x, y = next(free, fitted[0])
        self.taken.append((x, y, x + wide, y + high))
        self.pen.rectangle([x, y, x + wide - 1, y + high - 1], fill=colour)
        light = np.dot(colour, (0.299, 0.587, 0.114)) > 130  # ITU-R BT.601
        self.pen.text((x + 1, y), text, (0, 0, 0) if light else (255, 255, 255), self.font)

    def _hides(self, x: float, y: float, wide: float) -> bool:
        return any(x < x1 and x + wide > x0 and y < y1 and y + self.high > y0 for x0, y0, x1, y1 in self.taken)


def with_lanes(
    picture: np.ndarray, lanes: Iterable[Sequence[Sequence[float]]], colours: Sequence[Colour] = LANES
) -> np.ndarray:
    """Return a picture with a line through the points (x, y [px]) of each lane line, except those that are NaN."""
    _require(picture)
    canvas = Image.fromarray(picture)
    pen, wide = ImageDraw.Draw(canvas), max(2, round(2 * picture.shape[0] * LINES))
    for number, lane in enumerate(lanes):
        points = [(float(x), float(y)) for x, y in lane if np.isfinite(x) and np.isfinite(y)]
        colour = colours[number % len(colours)]
        if len(points) > 1:
            pen.line(points, colour, wide, joint="curve")
        elif points:
            pen.circle(points[0], wide / 2, colour)
    return np.asarray(canvas)


def with_surfaces(
    picture: np.ndarray, classes: np.ndarray, colours: Mapping[int, Colour] = SURFACES, opacity: float = OPACITY
) -> np.ndarray:
    """Return a picture with each pixel tinted by its class.

    Args:
        picture: uint8 [H, W, 3].
        classes: whole numbers [h, w], scaled to the picture.
        colours: of classes; pixels of others stay as they are.
        opacity: of the tint, 0 to 1.

    Raises:
        ValueError: no map of classes.
    """
    _require(picture)
    if classes.ndim != 2 or classes.size == 0 or classes.dtype.kind not in "iu":
        raise ValueError(f"classes of pixels must be whole numbers [h, w], not {classes.dtype} {classes.shape}")
    height, width = picture.shape[:2]
    rows, columns = (np.arange(n) * m // n for n, m in zip((height, width), classes.shape, strict=True))
    wide = classes[rows[:, None], columns]
    tinted = picture.astype(np.float32)
    for one, colour in colours.items():
        here = wide == one
        tinted[here] += opacity * (np.array(colour, np.float32) - tinted[here])
    return np.rint(tinted).astype(np.uint8)


def beside(tiles: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Return pictures of one height beside each other, each under its title, uint8 [H + h, W, 3]."""
    height = max(picture.shape[0] for _, picture in tiles)
    font = _letters(height)
    high, gap = sum(font.getmetrics()) + 2, max(2, round(2 * height * LINES))
    wide = sum(picture.shape[1] + gap for _, picture in tiles) - gap
    canvas = Image.new("RGB", (wide, high + height), "white")
    left = 0
    for title, picture in tiles:
        ImageDraw.Draw(canvas).text((left + 2, 1), title, (0, 0, 0), font)
        canvas.paste(Image.fromarray(picture), (left, high))
        left += picture.shape[1] + gap
    return np.asarray(canvas)


def _letters(height: int) -> ImageFont.FreeTypeFont:
    """The font for a picture of a height [px]."""
    return ImageFont.load_default(max(LEAST_LETTERS, round(height * LETTERS)))


def _require(picture: np.ndarray) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise ValueError(f"a picture must be uint8 [H, W, 3], not {picture.dtype} {picture.shape}")
