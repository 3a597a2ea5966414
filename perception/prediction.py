"""Detectors, and trackers behind them, at work on footage: what they find is drawn, and written down as it comes.

A folder of results holds, of each model (the second's names end in _2, and so on):

    detections.json   COCO results: image_id, category_id, bbox [x, y, width, height] [px], score (and track_id)
    images.json       the images and categories that these ids mean, as in a COCO data set
    tracks.txt        MOT's results: frame, track, left, top, width, height, score, -1, -1, -1; where followed

and the pictures, or one video, with all that was drawn; beside each other where several models are at work. Each file
appears when it is whole. Where the footage breaks off, or the work is stopped, they hold what came before.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np
import torch
from tqdm import tqdm

from perception.data.images import write_bytes
from perception.data.mot import FIRST
from perception.detection.detector import Detector
from perception.detection.postprocess import Detections
from perception.drawing import Trails, beside, with_detections
from perception.model_folder import moved_into_place
from perception.pictures import Footage, Frame
from perception.tracking.byte_tracker import Tracker, TrackerSettings
from sim.video import write_video

DETECTIONS, IMAGES, TRACKS = "detections", "images", "tracks"
UNCERTAIN = 0.1
"""Score from which a detection may go on a track, though not begin or be one of its own."""
LEAST_WIDTH = 64
"""Of a drawing on which anything can be seen [px]."""
OPTIONS = {ending: [cv2.IMWRITE_JPEG_QUALITY, 92] for ending in (".jpg", ".jpeg")}
"""How pictures are written."""
SHARE = 0.1
"""By how much a track's first detection must be surer than those that are shown; as ByteTrack has it."""

Layer = Callable[[Frame, np.ndarray], np.ndarray]
"""Draws on a picture, uint8 [H, W, 3], what belongs to its frame, such as lanes; returns the new one."""


@dataclass(frozen=True)
class Found:
    """What was found in a frame: things, their track numbers (0 for none), and how long finding them took [s]."""

    things: Detections
    numbers: list[int]
    seconds: float


class Finder:
    """A detector that looks at frame after frame, with a tracker that follows what it finds.

    Args:
        detector: see `perception.detection.detector`.
        least_score: below which nothing is told, except what a track goes on with.
        follow: with a tracker.
    """

    def __init__(self, detector: Detector, least_score: float = 0.3, follow: bool = False) -> None:
        if not 0 <= least_score < 1:
            raise ValueError(f"least_score is {least_score}; it must be at least 0 and below 1")
        self.detector, self.least_score = detector, least_score
        self.tracker = None
        if follow:
            begin, uncertain = min(least_score + SHARE, 1.0), min(UNCERTAIN, least_score)
            settings = TrackerSettings(certain=least_score, begin=begin, uncertain=uncertain)
            self.tracker = Tracker("kalman", settings=settings)
        self._time, self._first, self._last = 0.0, 0, 0

    def find(self, frame: Frame) -> Found:
        """Return what is in a frame. Where it is followed, these are the tracks that were seen."""
        least = self.least_score if self.tracker is None else min(UNCERTAIN, self.least_score)
        start = time.perf_counter()
        things = self.detector.predict(torch.from_numpy(frame.pixels)[None], least)[0]
        seconds = time.perf_counter() - start
        if self.tracker is None:
            return Found(things, [0] * len(things), seconds)
        elapsed, self._time = max(frame.time - self._time, 0.0), frame.time
        if frame.begins:  # with numbers that follow those of before: none is used twice in one file
            self.tracker.restart()
            self._first, elapsed = self._last, 0.0
        tracks = self.tracker.update([things], elapsed=elapsed)
        tracks = tracks.where(tracks.seen)
        at = tracks.detection
        seen = Detections(things.boxes[at], things.scores[at], things.labels[at])
        numbers = (tracks.number + self._first).tolist()
        self._last = max([self._last, *numbers])
        return Found(seen, numbers, seconds)


class Results:
    """What one model finds in footage, written into a folder as it comes; the files appear at the end of `with`.

    Args:
        folder: that exists. finder: whose they are. ending: of the files' names.
    """

    def __init__(self, folder: Path, finder: Finder, ending: str = "") -> None:
        self._files = ExitStack()
        self._count = self._things = 0
        self._tracks: set[int] = set()
        self.follow = finder.tracker is not None

        def begin(name: str) -> TextIO:
            part = self._files.enter_context(moved_into_place(folder / name))
            return self._files.enter_context(part.open("w", encoding="utf-8"))

        self._detections = begin(f"{DETECTIONS}{ending}.json")
        self._images = begin(f"{IMAGES}{ending}.json")
        self._rows = begin(f"{TRACKS}{ending}.txt") if self.follow else None
        categories = [{"id": label, "name": name} for label, name in enumerate(finder.detector.classes, 1)]
        self._detections.write("[")
        self._images.write(f'{{"categories": {json.dumps(categories)},\n"annotations": [],\n"images": [')

    def add(self, frame: Frame, found: Found) -> None:
        """Write what was found in the next frame."""
        self._count += 1
        height, width = frame.pixels.shape[1:]
        image = {"id": self._count, "file_name": frame.name, "width": width, "height": height}
        self._images.write(("\n" if self._count == 1 else ",\n") + json.dumps(image | {"time": round(frame.time, 6)}))
        things = found.things
        columns = (things.boxes.tolist(), things.scores.tolist(), things.labels.tolist(), found.numbers)
        for (x0, y0, x1, y1), score, label, number in zip(*columns, strict=True):
            box = [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)]
            entry = {"image_id": self._count, "category_id": label, "bbox": box, "score": round(score, 5)}
            if self.follow:
                entry["track_id"] = number
                self._tracks.add(number)
            self._detections.write(("\n" if not self._things else ",\n") + json.dumps(entry))
            self._things += 1
            if self._rows is not None:
                left, top, wide, high = box
                place = f"{left + FIRST:.2f},{top + FIRST:.2f},{wide:.2f},{high:.2f}"
                self._rows.write(f"{self._count},{number},{place},{score:.5f},-1,-1,-1\n")

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self._detections.write("]\n")
            self._images.write("]}\n")
        self._files.__exit__(*error)

    def __str__(self) -> str:
        text = f"{self._things} things in {self._count} pictures"
        return f"{text}, {len(self._tracks)} tracks" if self.follow else text


def detect(
    footage: Footage,
    finders: Sequence[Finder],
    out: str | Path,
    layers: Sequence[Layer] = (),
    width: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: bool = True,
) -> list[str]:
    """Go through footage with one model or several and return a line about each; writes what the module's words say.

    Args:
        footage: is gone through.
        finders: at least one; all see the same frames.
        out: a folder, made if it is missing.
        layers: draw on each picture before the things that were found are drawn.
        width: of drawings, where they would be larger [px]; what is written down is in pixels of the footage.
        stop: asked after each frame.
        progress: show it on standard error.

    Raises:
        ValueError, OSError: as of the footage; what came before is written. ValueError: the results would overwrite the
            footage.
    """
    out = Path(out)
    if width is not None and width < LEAST_WIDTH:
        raise ValueError(f"width is {width}; a drawing must have at least {LEAST_WIDTH} px")
    if footage.folder is not None and out.resolve() == footage.folder.resolve():
        raise ValueError(f"results must not be written beside what they are of: choose another folder than {out}")
    frames = _Frames(footage, stop)
    first = next(frames, None)
    if first is None:
        raise frames.broken or ValueError(f"{footage.name} holds no picture")
    out.mkdir(parents=True, exist_ok=True)
    names = [f"{k} {one.detector.kind}" if len(finders) > 1 else one.detector.kind for k, one in enumerate(finders, 1)]
    with ExitStack() as files:
        works = [
            _Work(finder, files.enter_context(Results(out, finder, f"_{k}" if k > 1 else "")))
            for k, finder in enumerate(finders, 1)
        ]

        def drawn() -> Iterator[tuple[str, np.ndarray]]:
            for frame in tqdm(chain([first], frames), total=footage.count, unit="picture", disable=not progress):
                picture = np.ascontiguousarray(frame.pixels.transpose(1, 2, 0))
                for layer in layers:
                    picture = layer(frame, picture)
                picture = narrowed(picture, width)
                tiles = [(name, work.draw(frame, picture)) for name, work in zip(names, works, strict=True)]
                yield frame.name, tiles[0][1] if len(tiles) == 1 else beside(tiles)

        if footage.moving:
            write_video(out / f"{footage.name}.mp4", (picture for _, picture in drawn()), footage.fps)
        else:
            for name, picture in drawn():
                write_picture(out / name, picture)
    if frames.broken:
        raise frames.broken
    return [f"{name}: {work.told()}" for name, work in zip(names, works, strict=True)]


class _Frames:
    """The frames of footage until it ends, breaks off (`broken` then tells how) or `stop` is heard."""

    def __init__(self, footage: Footage, stop: Callable[[], bool]) -> None:
        self.broken: ValueError | OSError | None = None
        self._frames, self._stop = footage.frames, stop

    def __iter__(self) -> _Frames:
        return self

    def __next__(self) -> Frame:
        if self._stop():
            raise StopIteration
        try:
            return next(self._frames)
        except (ValueError, OSError) as error:
            self.broken = error
            raise StopIteration from None


class _Work:
    """What one model does in one run: it finds, writes down and draws."""

    def __init__(self, finder: Finder, results: Results) -> None:
        self.finder, self.results = finder, results
        self.trails = Trails()
        self.seconds: list[float] = []

    def draw(self, frame: Frame, picture: np.ndarray) -> np.ndarray:
        """Return the picture of a frame, uint8 [h, w, 3] of whatever size, with what was found in it."""
        found = self.finder.find(frame)
        self.seconds.append(found.seconds)
        self.results.add(frame, found)
        if frame.begins:
            self.trails.restart()
        scale = picture.shape[1] / frame.pixels.shape[2]
        things = Detections(found.things.boxes * scale, found.things.scores, found.things.labels)
        told = [k for k, number in enumerate(found.numbers) if number]
        self.trails.update([found.numbers[k] for k in told], things.boxes[told].tolist())
        return with_detections(picture, things, self.finder.detector.classes, found.numbers, self.trails)

    def told(self) -> str:
        return f"{self.results}; {1000 * float(np.median(self.seconds)):.0f} ms a picture"


def narrowed(picture: np.ndarray, width: int | None) -> np.ndarray:
    """Return a picture uint8 [H, W, 3] scaled down to a width [px]; as it is without one, or where it is narrower."""
    if width is None or picture.shape[1] <= width:
        return picture
    size = width, max(round(picture.shape[0] * width / picture.shape[1]), 1)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def lane_layer(folder: str | Path, device: str = "cpu") -> Layer:
    """Return what draws the lane lines, or the classes of pixels, that the network in a folder finds.

    Raises:
        FileNotFoundError, ValueError: as of `perception.lanes.models.load_lane_model`.
    """
    # Brings the simulator, which takes seconds to load.
    from perception.lanes.drawing import with_told
    from perception.lanes.models import load_lane_model

    network = load_lane_model(Path(folder), device)

    def layer(frame: Frame, picture: np.ndarray) -> np.ndarray:
        told = network.predict(torch.from_numpy(frame.pixels)[None])[0].numpy()
        return with_told(network, told, picture)

    return layer


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture uint8 [H, W, 3] in the format that its name ends in, whole or not at all."""
    ending = path.suffix.lower()
    whole, data = cv2.imencode(ending, np.ascontiguousarray(picture[..., ::-1]), OPTIONS.get(ending, []))
    assert whole, f"OpenCV refused to encode {path.name}"
    write_bytes(path, data.tobytes())
