"""MOT17's format: a folder a clip with gt/gt.txt, seqinfo.ini and img1/000001.png, 000002.png, ...

A row of gt.txt: frame, track, left, top, width, height, counts, class, visibility. Frames and tracks count from 1,
pixels too (the upper left one is 1, 1). Boxes are of the whole body, as MOT17's: they go on behind others and outside
the frame. `counts` is 0 where nothing of the body is visible, which evaluations then ignore. gt/visible.txt has the
same rows with boxes around what is visible, gt/labels.txt the name of each class, a line a class, as CVAT writes it.
Source: Milan et al. (2016), "MOT16", arXiv 1603.00831, table 5; motchallenge.net.
"""

from __future__ import annotations

import configparser
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from perception.data.images import read_image
from perception.data.targets import CATEGORIES, require_categories

COLUMNS = ("frame", "track", "left", "top", "width", "height", "counts", "class", "visibility")
GROUND_TRUTH, VISIBLE, LABELS = "gt/gt.txt", "gt/visible.txt", "gt/labels.txt"
INFO, IMAGES = "seqinfo.ini", "img1"
FIRST = 1
"""Number of the first frame, and of the first pixel."""


@dataclass
class Tracks:
    """Boxes of objects through a clip, R rows, by frame and then by track.

    Attributes:
        frame: int64 [R], from 1. track: int64 [R]; -1 where no identity is given, as in lists of detections.
        boxes: float64 [R, 4]: x0, y0, x1, y1 [px], the frame's upper left corner at 0, 0.
        counts: bool [R]: does it count in an evaluation; of detections the file's confidence is in `score`.
        labels: int64 [R]. visibility, score: float64 [R].
    """

    frame: np.ndarray
    track: np.ndarray
    boxes: np.ndarray
    counts: np.ndarray
    labels: np.ndarray
    visibility: np.ndarray
    score: np.ndarray

    @classmethod
    def from_rows(cls, rows: np.ndarray) -> Tracks:
        """Return the tracks of rows [R, 9] in MOT17's units and order (see the module)."""
        boxes = rows[:, 2:6] - np.array([FIRST, FIRST, 0, 0])
        boxes[:, 2:] += boxes[:, :2]
        frame, track, labels = (rows[:, i].astype(np.int64) for i in (0, 1, 7))
        return cls(frame, track, boxes, rows[:, 6] != 0, labels, rows[:, 8], rows[:, 6])

    def at(self, frame: int) -> np.ndarray:
        """Return which rows belong to a frame, as indices."""
        low, high = np.searchsorted(self.frame, [frame, frame + 1])
        return np.arange(low, high)


@dataclass
class Clip:
    """A clip on disk.

    Attributes:
        folder: of the clip. name: of it. fps: pictures a second. length: how many. width, height: [px].
        tracks: ground truth, whole bodies. visible: the same objects, boxes around what is visible; None without.
        categories: names by label; empty without labels.txt (MOT17's own).
        suffix: of the pictures, such as ".png".
    """

    folder: Path
    name: str
    fps: float
    length: int
    width: int
    height: int
    tracks: Tracks
    visible: Tracks | None = None
    categories: dict[int, str] = field(default_factory=dict)
    suffix: str = ".png"

    def image(self, frame: int) -> np.ndarray:
        """Return picture 1, 2, ... of the clip, uint8 [3, H, W]; errors as of `images.read_image`."""
        if not FIRST <= frame <= self.length:
            raise ValueError(f"{self.folder} has frames 1 to {self.length}, not {frame}")
        pixels = read_image(self.folder / IMAGES / image_name(frame, self.suffix))
        if pixels.shape[1:] != (self.height, self.width):
            size = f"{pixels.shape[2]}x{pixels.shape[1]}"
            raise ValueError(
                f"frame {frame} of {self.folder} is {size}, but its {INFO} says {self.width}x{self.height}"
            )
        return pixels


def image_name(frame: int, suffix: str = ".png") -> str:
    """Return the name of picture 1, 2, ... of a clip."""
    return f"{frame:06d}{suffix}"


def rows_text(rows: np.ndarray) -> str:
    """Return rows [R, 9] (see the module) as the text of a gt.txt."""
    lines = [
        f"{int(row[0])},{int(row[1])},{row[2]:.2f},{row[3]:.2f},{row[4]:.2f},{row[5]:.2f},"
        f"{int(row[6])},{int(row[7])},{row[8]:.3f}\n"
        for row in np.asarray(rows, dtype=float).reshape(-1, len(COLUMNS))
    ]
    return "".join(lines)


def labels_text(categories: dict[int, str] = CATEGORIES) -> str:
    """Return the text of labels.txt: the name of class 1, of class 2, ..."""
    return "".join(f"{categories[label]}\n" for label in sorted(categories))


def info_text(name: str, fps: float, length: int, width: int, height: int) -> str:
    """Return the text of seqinfo.ini."""
    return (
        f"[Sequence]\nname={name}\nimDir={IMAGES}\nframeRate={fps:g}\nseqLength={length}\n"
        f"imWidth={width}\nimHeight={height}\nimExt=.png\n"
    )


def read_clip(folder: str | Path, expected: dict[int, str] | None = CATEGORIES) -> Clip:
    """Return a clip of ours, or one of MOT17.

    Args:
        folder: of the clip.
        expected: classes that its labels.txt must name; None takes any, and a clip without that file.

    Raises:
        FileNotFoundError: no seqinfo.ini, gt.txt, or picture.
        ValueError: one of them cannot be read, names other classes, or rows lie outside the clip.
    """
    folder = Path(folder)
    info = configparser.ConfigParser()
    if not info.read(folder / INFO, encoding="utf-8"):
        raise FileNotFoundError(f"{folder} is no clip: it has no {INFO}")
    try:
        about = info["Sequence"]
        length, width, height = (int(about[key]) for key in ("seqLength", "imWidth", "imHeight"))
        name, fps, suffix = about["name"], float(about["frameRate"]), about.get("imExt", ".png")
    except (KeyError, ValueError) as error:
        raise ValueError(f"{folder / INFO} cannot be read: {type(error).__name__} {error}") from None
    categories = {}
    if (folder / LABELS).is_file():
        names = (folder / LABELS).read_text(encoding="utf-8").split("\n")
        categories = {label: name for label, name in enumerate(names, 1) if name}
    if expected is not None:
        require_categories(categories, expected, folder / LABELS)
    for frame in range(FIRST, length + 1):
        if not (folder / IMAGES / image_name(frame, suffix)).is_file():
            raise FileNotFoundError(f"{folder} says it has {length} frames, but frame {frame} is missing")
    tracks = read_tracks(folder / GROUND_TRUTH, length, categories)
    visible = read_tracks(folder / VISIBLE, length, categories) if (folder / VISIBLE).is_file() else None
    return Clip(folder, name, fps, length, width, height, tracks, visible, categories, suffix)


def read_tracks(path: str | Path, length: int | None = None, categories: dict[int, str] | None = None) -> Tracks:
    """Return the rows of a gt.txt, or of a list of detections or results (tracks may be -1, later columns missing).

    Args:
        path: the file.
        length: of the clip; rows beyond it raise.
        categories: classes that may occur; none, or an empty dict, allows all.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that is no row, or names a frame or class that is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    rows = []
    for number, line in enumerate(io.StringIO(path.read_text(encoding="utf-8")), 1):
        try:
            row = [float(part) for part in line.split(",")]
        except ValueError:
            row = []
        if not 6 <= len(row) <= 10 or not np.isfinite(row).all():
            raise ValueError(f"{path}, line {number} is no row of {', '.join(COLUMNS)}: {line.strip()[:60]!r}")
        row = (row + [1.0, 1.0, 1.0][len(row) - 6 :])[: len(COLUMNS)]
        if row[0] < FIRST or (length is not None and row[0] > length):
            raise ValueError(f"{path}, line {number}: there is no frame {row[0]:g}; the clip has {length}")
        if categories and row[7] not in categories:
            raise ValueError(f"{path}, line {number}: there is no class {row[7]:g}; there are {categories}")
        rows.append(row)
    table = np.array(rows, dtype=float).reshape(-1, len(COLUMNS))
    return Tracks.from_rows(table[np.lexsort((table[:, 1], table[:, 0]))])
