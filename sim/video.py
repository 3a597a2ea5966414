"""Writes frames to mp4 and gif files."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

FORMATS = (".mp4", ".gif")
GIF_RATE = 20.0
"""Most pictures a second of a gif: it grows with each, and viewers slow down beyond 50."""


def check_video_path(path: str | Path) -> Path:
    """Returns the path; ValueError for an unknown ending, FileNotFoundError for a missing folder."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"a video is written to {' or '.join('*' + f for f in FORMATS)}, not {path.name!r}")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"the folder {path.absolute().parent} does not exist")
    return path


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float) -> int:
    """Writes frames (uint8 [H, W, 3], RGB) to `path`, one after the other; returns how many it wrote.

    The file appears at `path` only when it is whole.
    """
    path = check_video_path(path)
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        count = (_write_gif if path.suffix.lower() == ".gif" else _write_mp4)(partial, frames, fps)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _write_mp4(path: Path, frames: Iterable[np.ndarray], fps: float) -> int:
    writer, count = None, 0
    try:
        for frame in frames:
            if writer is None:
                height, width = frame.shape[:2]
                writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
                if not writer.isOpened():
                    raise OSError(f"OpenCV cannot write {path}")
            writer.write(np.ascontiguousarray(frame[..., ::-1]))  # OpenCV wants blue first
            count += 1
    finally:
        if writer is not None:
            writer.release()
    if count == 0:
        raise ValueError("a video needs at least one frame")
    return count


def _write_gif(path: Path, frames: Iterable[np.ndarray], fps: float) -> int:
    every = math.ceil(fps / GIF_RATE)
    images = [
        Image.fromarray(frame).quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        for number, frame in enumerate(frames)
        if number % every == 0
    ]
    if not images:
        raise ValueError("a video needs at least one frame")
    # A gif counts in hundredths of a second: the end of each picture is rounded, so that errors do not add up.
    ends = [round(100 * every * number / fps) for number in range(len(images) + 1)]
    durations = [10 * (end - start) for start, end in pairwise(ends)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0)
    return len(images)
