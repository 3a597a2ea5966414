"""YOLO's folders: data.yaml, images/SPLIT/*.png and labels/SPLIT/*.txt.

A line of a label file: class from 0, then the box's middle x, y, width and height as shares of the picture. In targets
labels count from 1 (0 is background, as torchvision has it): a class's label is its number plus one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from perception.data.images import read_image, write_bytes
from perception.data.targets import CATEGORIES, Target, require_categories

DATA = "data.yaml"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
"""Of pictures that are read."""


def label_text(target: Target, width: int, height: int) -> str:
    """Return the text of a label file of a picture's target (boxes [px], labels from 1)."""
    size = torch.tensor([width, height], dtype=torch.float64)
    boxes = target["boxes"].cpu().to(torch.float64)
    shares = torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2 / size, (boxes[:, 2:] - boxes[:, :2]) / size], dim=1)
    lines = zip(target["labels"].tolist(), shares.tolist(), strict=True)
    return "".join(f"{label - 1} {' '.join(f'{value:.8f}' for value in row)}\n" for label, row in lines)


def write_data(folder: str | Path, splits: tuple[str, ...], categories: dict[int, str] = CATEGORIES) -> None:
    """Write the data.yaml of a folder."""
    about = {"path": "."} | {split: f"images/{split}" for split in splits}
    about["names"] = {label - 1: name for label, name in sorted(categories.items())}
    write_bytes(Path(folder) / DATA, yaml.safe_dump(about, sort_keys=False).encode())


def read_about(folder: str | Path) -> dict[str, Any]:
    """Return what a folder's data.yaml says.

    Raises:
        FileNotFoundError: there is none. ValueError: it cannot be read, or names no classes.
    """
    path = Path(folder) / DATA
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no YOLO folder: it has no {DATA}")
    try:
        about = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(about, dict) or not isinstance(about.get("names"), (dict, list)):
        raise ValueError(f"{path} must name its classes: names: [car, ...] or {{0: car, ...}}")
    return about


class YoloFolder:
    """A split of a data set in YOLO's format; item i is (picture uint8 [3, H, W], target).

    Targets: boxes float32 [K, 4] (x0, y0, x1, y1 [px]), labels int64 [K] (class number + 1), area float32 [K],
    iscrowd int64 [K] (0). A picture without a label file shows nothing, as YOLO has it.

    Args:
        folder: of data.yaml.
        split: "train", "val" or "test".
        expected: labels and names that the set must have; others raise. None takes what comes: see `categories`.

    Raises:
        FileNotFoundError: no data.yaml, no folder of the split, no picture in it, or labels for none of them.
        ValueError: data.yaml cannot be read, has other names than expected, or a label file is wrong: the message names
            the line.
    """

    def __init__(self, folder: str | Path, split: str = "train", expected: dict[int, str] | None = CATEGORIES):
        self.folder = Path(folder)
        about = read_about(self.folder)
        names = about["names"]
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        try:
            self.categories = {int(number) + 1: str(name) for number, name in pairs}
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.folder / DATA}: names cannot be read: {error}") from None
        if about.get("nc", len(self.categories)) != len(self.categories):
            raise ValueError(f"{self.folder / DATA} says nc is {about['nc']}, but names {len(self.categories)} classes")
        if expected is not None:
            require_categories(self.categories, expected, self.folder / DATA)
        if not isinstance(about.get(split), str):
            raise ValueError(f"{self.folder / DATA} names no folder of split {split!r}")
        base = self.folder / str(about.get("path", "."))
        pictures = base / about[split]
        if not pictures.is_dir():
            raise FileNotFoundError(f"{self.folder / DATA} names a folder that is missing: {pictures}")
        self.images = sorted(path for path in pictures.iterdir() if path.suffix.lower() in SUFFIXES)
        if not self.images:
            raise FileNotFoundError(f"there is no picture in {pictures}")
        if not any(self._label_path(path).is_file() for path in self.images):
            place = self._label_path(self.images[0]).parent
            raise FileNotFoundError(f"no picture in {pictures} has a label file; they are looked for in {place}")
        self._rows = [self._labels(path) for path in self.images]

    def _label_path(self, picture: Path) -> Path:
        parts = list(picture.parts)
        places = [i for i, part in enumerate(parts[:-1]) if part == "images"]
        if places:
            parts[places[-1]] = "labels"
        return Path(*parts).with_suffix(".txt")

    def _labels(self, picture: Path) -> np.ndarray:
        """The rows [K, 5] of a picture's label file, checked."""
        path = self._label_path(picture)
        if not path.is_file():
            return np.zeros((0, 5))
        rows = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                row = [float(part) for part in line.split()]
            except ValueError:
                row = []
            if len(row) != 5 or not np.isfinite(row).all() or min(row[1:]) < 0 or max(row[1:]) > 1 + 1e-6:
                raise ValueError(f"{path}, line {number} is no class and box in shares of the picture: {line[:60]!r}")
            if row[0] + 1 not in self.categories:
                raise ValueError(f"{path}, line {number}: there is no class {row[0]:g}; labels are {self.categories}")
            rows.append(row)
        return np.array(rows, dtype=float).reshape(-1, 5)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Target]:
        """Return a picture and its target; ValueError if the picture is broken."""
        pixels = read_image(self.images[index])
        rows = self._rows[index]
        size = np.array([pixels.shape[2], pixels.shape[1]])
        middle, half = rows[:, 1:3] * size, rows[:, 3:] * size / 2
        boxes = torch.from_numpy(np.hstack([middle - half, middle + half])).to(torch.float32)
        target: Target = {
            "boxes": boxes,
            "labels": torch.from_numpy(rows[:, 0].astype(np.int64) + 1),
            "area": (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
            "iscrowd": torch.zeros(len(rows), dtype=torch.int64),
        }
        return torch.from_numpy(pixels), target
