"""Pictures for a detector, one by one: of a file, a folder, a video, or a drive in the simulator.

A video that breaks off gives its whole frames first and then the error. OpenCV, which reads pictures and videos in all
of this project, does not say that a file breaks off: so the length that its container states is compared with its own.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import cv2
import numpy as np

from perception.data.images import read_image

if TYPE_CHECKING:
    from sim.evaluation.driver import Driver

PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
FRAME_RATE = 10.0
"""Of pictures in a folder, where they are followed as if they were a video [1/s]."""
SIMULATOR = "simulator"
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
"""Ids of the two parts of a Matroska file (RFC 9559, section 4)."""


@dataclass(frozen=True)
class Frame:
    """A picture.

    Attributes:
        name: of its file, or of the video with the frame's number from 1.
        pixels: uint8 [3, H, W], RGB.
        time: since the first one [s].
        begins: nothing that was seen before can be seen again.
    """

    name: str
    pixels: np.ndarray
    time: float = 0.0
    begins: bool = False

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if self.pixels.dtype != np.uint8 or len(shape) != 3 or shape[0] != 3 or 0 in shape:
            raise ValueError(f"{self.name}: a picture must be uint8 [3, H, W] (RGB), not {self.pixels.dtype} {shape}")


@dataclass
class Footage:
    """Pictures that belong together, to be gone through once.

    Attributes:
        name: of all. frames: one by one; an error comes where the broken one would have.
        count: how many there should be; None where only the end will tell.
        fps: pictures a second. moving: is it a video, or single pictures.
        folder: where its files are; None without files.
    """

    name: str
    frames: Iterator[Frame]
    count: int | None
    fps: float
    moving: bool
    folder: Path | None = None

    def first(self, count: int | None) -> Footage:
        """Return footage of the first `count` pictures; of all without."""
        if count is None:
            return self
        known = count if self.count is None else min(count, self.count)
        return replace(self, frames=islice(self.frames, count), count=known)


def open_footage(path: str | Path, fps: float = FRAME_RATE) -> Footage:
    """Return the pictures at a path: a picture, a folder of pictures (in the order of their numbers), or a video.

    Grey, palette and 16-bit pictures become 8-bit RGB, transparency is dropped, and cameras' notes on how they were
    held (EXIF) are heeded.

    Args:
        path: where they are.
        fps: pictures a second of a folder.

    Raises:
        FileNotFoundError: nothing is there. ValueError: a file of an unknown type, an empty folder or one without
            pictures, a rate that is none, or a video that cannot be opened. `frames` raises ValueError at a picture or
            frame that is broken.
    """
    path = Path(path)
    if not 0 < fps < math.inf:
        raise ValueError(f"fps is {fps}; it must be a number above 0")
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    if path.is_dir():
        files = pictures_in(path)
        return Footage(path.resolve().name, _read(files, fps), len(files), fps, False, path)
    if path.suffix.lower() in PICTURES:
        return Footage(path.name, _read([path], fps), 1, fps, False, path.parent)
    if path.suffix.lower() not in VIDEOS:
        raise ValueError(f"{path} is of an unknown type; pictures are {_list(PICTURES)}, videos {_list(VIDEOS)}")
    return _open_video(path)


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures in a folder, "2.png" before "10.png".

    Raises:
        ValueError: it holds none.
    """
    entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
    files = [path for path in entries if path.suffix.lower() in PICTURES and path.is_file()]
    if not files:
        what = f"its {len(entries)} entries are of other types" if entries else "it is empty"
        raise ValueError(f"{folder} holds no picture ({_list(PICTURES)}): {what}")
    return sorted(files, key=lambda path: [int(s) if s.isdecimal() else s for s in re.split(r"(\d+)", path.name)])


def _read(files: list[Path], fps: float) -> Iterator[Frame]:
    for number, path in enumerate(files):
        yield Frame(path.name, read_image(path), number / fps, number == 0)


def _list(endings: tuple[str, ...]) -> str:
    return ", ".join(f"*{ending}" for ending in endings)


def _open_video(path: Path) -> Footage:
    """Open a video; ValueError if there is none in the file, or none of it can be read."""
    size = path.stat().st_size
    stated, indexed = stated_size(path)
    if stated is None:
        raise ValueError(f"{path} is no video: its {size} bytes do not begin as those of {_list(VIDEOS)} do")
    cut = f"{path} breaks off: it has {size} of {stated} bytes" if stated > size else ""
    if cut and not indexed:
        raise ValueError(f"{cut}, and its index, without which no frame can be read, is behind them")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # the words for a broken frame are ours, below
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not video.isOpened():
        raise ValueError(f"{path} cannot be read as a video: {cut or 'it is damaged, or of an unknown codec'}")
    count, fps = video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)
    fps = fps if 0 < fps < math.inf else FRAME_RATE
    frames = _frames(video, path, fps, cut)
    return Footage(path.stem, frames, int(count) if count > 0 else None, fps, True, path.parent)


def _frames(video: cv2.VideoCapture, path: Path, fps: float, cut: str) -> Iterator[Frame]:
    """The whole frames of a video; then ValueError if there is a `cut`, or no frame at all."""
    held, count = None, 0
    while True:
        there, pixels = video.read()
        if not there:
            break
        if held is not None:
            yield held
            count += 1
        time = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
        time = time if time > 0 and math.isfinite(time) else (0.0 if held is None else held.time + 1 / fps)
        pixels = np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1))  # OpenCV's pixels are BGR
        held = Frame(f"{path.stem} {count + 1:06d}", pixels, time, held is None)
    video.release()
    if cut:  # and the frame that is held is the one it breaks off in
        raise ValueError(f"{cut}, in the middle of frame {count + 1}; {count} frames before it are whole")
    if held is None:
        raise ValueError(f"{path} holds no frame that can be decoded")
    yield held


def stated_size(path: Path) -> tuple[int | None, bool]:
    """Return how long a video file says it is [bytes], None if it is none, and whether frames of a part can be read.

    AVI and Matroska state it in front. MP4 and QuickTime are a list of boxes: it is where the last one ends, and its
    index (`moov`) may be behind the frames.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:] == b"AVI ":
            return _end_of_riff(file, size), True
        if head[:4] == EBML:
            return _end_of_matroska(file, size), True
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
            return _end_of_boxes(file, size)
    return None, False


def _end_of_riff(file: BinaryIO, size: int) -> int:
    """Where the last RIFF list ends: files over 1 GB have several."""
    end = 0
    while end < size:
        file.seek(end)
        head = file.read(8)
        if head[:4] != b"RIFF":
            break
        end += 8 + int.from_bytes(head[4:], "little") + head[4] % 2
    return end if end - size != 1 else size  # the last list may lack the byte that makes its length even


def _end_of_boxes(file: BinaryIO, size: int) -> tuple[int, bool]:
    """Where the last box ends (ISO/IEC 14496-12, section 4.2), and whether the index is whole."""
    end, indexed = 0, False
    while end < size:
        file.seek(end)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        if length == 0:  # as far as the file goes
            length = size - end
        if length < 8:
            break
        end += length
        indexed |= kind == b"moov" and end <= size
    return max(end, size + (not indexed)), indexed


def _end_of_matroska(file: BinaryIO, size: int) -> int:
    """Where the segment ends; the file's own size where it does not say, as of streams."""

    def length() -> int | None:
        first = file.read(1)[0]
        extra = 8 - first.bit_length()
        value = int.from_bytes(bytes([first & (0x7F >> extra)]) + file.read(extra), "big")
        return None if value == (1 << 7 * (extra + 1)) - 1 else value

    try:
        file.seek(len(EBML))
        file.seek(length() or 0, os.SEEK_CUR)
        if file.read(len(SEGMENT)) != SEGMENT:
            return size
        stated = length()
    except IndexError:  # not even that is whole
        return size + 1
    return size if stated is None else file.tell() + stated


def drive(
    source: str, make_driver: Callable[..., Driver], count: int, fps: float, seed: int = 0, domain: str = "clear"
) -> Footage:
    """Return what the front camera sees in a world of the simulator, episode after episode.

    Args:
        source: the environment, such as "highway-v0:vehicles_density=1.5"; see `perception.data.driving.Source`.
        make_driver: makes who drives, called with `device=`.
        count: how many pictures.
        fps: pictures a second; must divide the simulation frequency.
        seed: of the first episode.
        domain: what the pictures look like.

    Raises:
        ValueError: no such environment, setting, domain or rate, or a driver that cannot drive there.
    """
    from perception.cameras import FRONT
    from perception.data.driving import Pool, Source  # the simulator takes seconds to load: only where it is asked for

    pool = Pool(Source.parse(source), 1, [FRONT], [domain], make_driver, fps, threads=1)

    def frames() -> Iterator[Frame]:
        episode = None
        for moment in pool.drive([seed], count, lead=0, restart=True):
            now, before = int(pool.envs.world.episode[0]), episode
            pixels, episode = pool.rig.render().rgb[0, 0].cpu().numpy().copy(), now
            yield Frame(f"{pool.source.id} {moment.tick + 1:06d}", pixels, moment.tick / fps, now != before)

    return Footage(pool.source.id, frames(), count, fps, True)
