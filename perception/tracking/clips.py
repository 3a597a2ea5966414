"""Clips as trackers meet them: what was detected in each frame, when it was taken, and the truth to judge by."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from perception.cameras import FRONT
from perception.data.dataset import DatasetWriter
from perception.data.dataset_settings import DatasetSettings
from perception.data.driving import Source, random_or_idle
from perception.data.manifest import NAME, read_manifest
from perception.data.stream import FrameStream, StreamSettings
from perception.detection.postprocess import Detections
from perception.tracking.metrics import OVERLAP, BoxTracks, overlaps
from sim.evaluation.driver import Driver
from sim.sensors.camera.cameras import Camera

Array = NDArray[np.float64]

SOURCES = (
    Source("highway-v0", {"vehicles_density": 2.5}),
    Source("highway-v0", {"lanes_count": 3, "vehicles_count": 40, "vehicles_density": 2}),
    Source("intersection-v0", {"initial_vehicle_count": 20, "spawn_probability": 0.9}),
    Source("highway-v0", {"lanes_count": 5, "vehicles_count": 60, "vehicles_density": 2}),
)
"""Roads with traffic around the camera."""
FRAME_RATE = 15.0
"""Frames a second of what is recorded: the simulation frequency of all `SOURCES`."""
LEAST_HEIGHT, LEAST_VISIBILITY = 6.0, 0.25
"""What is smaller [px] or hidden more than this is neither detected nor counted."""


@dataclass(frozen=True)
class Clip:
    """Detections in T frames, D in all, frame by frame.

    Attributes:
        name: of the clip. width, height: of its frames [px]. frame_rate: that it is meant to have [1/s].
        times: float64 [T], when each frame was taken [s], rising. A dropped frame is not among them.
        frame: int64 [D], 0 to T - 1, rising. boxes: float64 [D, 4]: x0, y0, x1, y1 [px]. scores: float64 [D].
        labels: int64 [D].
        truth: the objects, with the same frames.
    """

    name: str
    width: int
    height: int
    frame_rate: float
    times: Array
    frame: NDArray[np.int64]
    boxes: Array
    scores: Array
    labels: NDArray[np.int64]
    truth: BoxTracks

    def __len__(self) -> int:
        return len(self.times)

    def at(self, frame: int) -> Detections:
        """Return the detections of a frame."""
        rows = slice(*np.searchsorted(self.frame, [frame, frame + 1]))
        return Detections(*(torch.from_numpy(part[rows]) for part in (self.boxes, self.scores, self.labels)))


@dataclass(frozen=True)
class ClipSettings:
    """What is recorded in the simulator.

    Attributes:
        split: "train", "val" or "test", see `perception.data.splits`. seed: of the stream.
        clips: how many. seconds: of each at most; it ends with the episode [s]. least: shorter ones are left out [s].
        sources: environments, in turn. camera: the driver's.
    """

    split: str = "val"
    seed: int = 0
    clips: int = 16
    seconds: float = 10.0
    least: float = 4.0
    sources: tuple[Source, ...] = SOURCES
    camera: Camera = field(default_factory=lambda: Camera(width=320, height=192))


def record(settings: ClipSettings, make_driver: Callable[..., Driver] = random_or_idle) -> list[Clip]:
    """Return clips from the simulator whose detections are the truth itself: the visible boxes, all with score 1.

    The same settings and driver give the same clips. The number of clips is rounded up to fill every source's share.
    """
    sources = len(settings.sources)
    worlds = sources * -(-settings.clips // sources)
    ticks = round(settings.seconds * FRAME_RATE)
    stream = FrameStream(
        StreamSettings(
            split=settings.split,
            sources=settings.sources,
            domains=("clear",) if settings.split != "test" else None,
            cameras=(settings.camera,),
            batch_size=worlds,
            frames=ticks,
            fps=FRAME_RATE,
            restart=False,
            seed=settings.seed,
        ),
        make_driver,
        threads=1,
    )
    rows: list[list[Array]] = [[] for _ in range(worlds)]
    lengths, names = np.zeros(worlds, dtype=int), [""] * worlds
    for tick in range(ticks):
        batch = next(stream)
        for k in batch.alive.nonzero()[:, 0].tolist():
            lengths[k] = tick + 1
            names[k] = f"{batch.pictures[k].id}-{batch.pictures[k].seed}"
            rows[k].append(_rows(tick, batch.targets[k]))
        if not bool(batch.alive.any()):
            break
    stream.close()
    least = round(settings.least * FRAME_RATE)
    clips = [
        _clip(names[k], settings.camera, lengths[k], np.concatenate(rows[k]))
        for k in range(worlds)
        if lengths[k] >= least
    ]
    return clips


def clip_set(
    data: Path,
    split: str,
    clips: int | None,
    seconds: float | None,
    drivers: tuple[tuple[str, ...], Callable[..., Driver]],
) -> list[str]:
    """Write a data set of clips with pictures where there is none, or go on with it, and return their names.

    Args:
        data: its folder.
        split: of the clips wanted.
        clips: how many; None for what is there, or 24 new ones.
        seconds: how long each is at most; None for what they are, or 10 s.
        drivers: their names, for the manifest, and who drives.

    Raises:
        ValueError: the set has another number, other lengths, or no clips of the split. Others as of `DatasetWriter`.
    """
    length = None if seconds is None else round(seconds * FRAME_RATE)
    if not (data / NAME).is_file():
        settings = DatasetSettings(
            frames=0,
            clips=24 if clips is None else clips,
            clip_length=length or round(10 * FRAME_RATE),
            fps=FRAME_RATE,
            splits=(split,),
            sources=SOURCES,
            cameras=(FRONT,),
            drivers=(drivers[0],) * 2,
        )
        DatasetWriter(data, settings, (drivers[1],) * 2).write(sys.stderr.isatty())
    manifest = read_manifest(data)
    there, splits = manifest["settings"], manifest["splits"]
    for name, wanted in (("clips", clips), ("clip_length", length)):
        if wanted not in (None, there[name]):
            raise ValueError(f"{data} has {name} {there[name]}, not {wanted}; leave that out, or take another folder")
    names = [clip["name"] for clip in splits.get(split, {}).get("clips", ())]
    if not names:
        raise ValueError(f"{data} holds no clips of split {split!r}; its splits are {', '.join(splits)}")
    return names


def _rows(tick: int, target: dict[str, torch.Tensor]) -> Array:
    """Frame, number, x0, y0, x1, y1, label, visibility of what is worth tracking [K, 8]."""
    boxes = target["boxes"].double()
    kept = (boxes[:, 3] - boxes[:, 1] >= LEAST_HEIGHT) & (target["visibility"] >= LEAST_VISIBILITY)
    columns = [torch.full((len(boxes), 1), float(tick)), target["number"][:, None], boxes]
    columns += [target["labels"][:, None], target["visibility"][:, None]]
    return torch.cat([column.double() for column in columns], 1)[kept].numpy()


def _clip(name: str, camera: Camera, length: int, rows: Array) -> Clip:
    frame, number, labels = (rows[:, i].astype(np.int64) for i in (0, 1, 6))
    truth = BoxTracks(frame, number, rows[:, 2:6])
    times = np.arange(length) / FRAME_RATE
    scores = np.ones(len(rows))
    return Clip(name, camera.width, camera.height, FRAME_RATE, times, frame, rows[:, 2:6], scores, labels, truth)


@dataclass(frozen=True)
class Trouble:
    """What is made of perfect detections.

    Attributes:
        every: only each so manieth frame is taken: the frame rate is `FRAME_RATE` / every.
        hidden: how often an object disappears behind something that no one sees [1/s]; it does not count then.
        hidden_least, hidden_most: for how long [s].
        missed: share of boxes not detected. dropped: share of frames that never arrive.
        noise: standard deviation of a coordinate, share of the box's width or height, 0.5 px at least.
        uncertain: share of detections with a score between 0.1 and 0.6.
        invented: false detections a frame, on average, with scores from 0.1 to 0.75.
        seed: of all this.
    """

    every: int = 1
    hidden: float = 0.0
    hidden_least: float = 0.5
    hidden_most: float = 2.0
    missed: float = 0.05
    dropped: float = 0.05
    noise: float = 0.03
    uncertain: float = 0.15
    invented: float = 0.2
    seed: int = 0


LEAST_NOISE = 0.5
"""Standard deviation of a detected coordinate at least [px]."""


def troubled(clip: Clip, trouble: Trouble) -> Clip:
    """Return a clip of perfect detections with misses, noise, inventions, gaps and dropped frames.

    The truth keeps what was missed, but neither the frames that never arrived nor objects while they are hidden.
    """
    random = np.random.default_rng([trouble.seed, *clip.name.encode()])
    hidden = _hidden(clip, trouble, random)
    arrived = (np.arange(len(clip)) % trouble.every == 0) & (random.random(len(clip)) >= trouble.dropped)
    arrived[0] = True
    frame_of = np.cumsum(arrived) - 1
    counted = arrived[clip.truth.frame] & ~hidden
    truth = BoxTracks(frame_of[clip.truth.frame[counted]], clip.truth.track[counted], clip.truth.boxes[counted])

    kept = counted & (random.random(len(clip.boxes)) >= trouble.missed)
    sides = np.tile(clip.boxes[:, 2:] - clip.boxes[:, :2], 2)
    boxes = clip.boxes + random.normal(size=clip.boxes.shape) * np.maximum(trouble.noise * sides, LEAST_NOISE)
    scores = np.where(
        random.random(len(boxes)) < trouble.uncertain,
        random.uniform(0.1, 0.6, len(boxes)),
        random.uniform(0.7, 1.0, len(boxes)),
    )
    false_frame = np.repeat(np.arange(len(clip)), random.poisson(trouble.invented, len(clip)))
    size = random.uniform([12, 10], [60, 45], (len(false_frame), 2))
    corner = random.uniform(0, 1, (len(false_frame), 2)) * (np.array([clip.width, clip.height]) - size)
    false_scores = random.uniform(0.1, 0.75, len(false_frame))
    seen = arrived[false_frame]
    frame = np.concatenate([frame_of[clip.frame[kept]], frame_of[false_frame[seen]]])
    boxes = np.concatenate([_sound(boxes[kept]), np.concatenate([corner, corner + size], 1)[seen]])
    scores = np.concatenate([scores[kept], false_scores[seen]])
    labels = np.concatenate([clip.labels[kept], np.ones(int(seen.sum()), dtype=np.int64)])
    order = np.lexsort((-scores, frame))  # as a detector gives them: the surest first
    return replace(
        clip,
        frame_rate=clip.frame_rate / trouble.every,
        times=clip.times[arrived],
        frame=frame[order],
        boxes=boxes[order],
        scores=scores[order],
        labels=labels[order],
        truth=truth,
    )


def thinned(clip: Clip, trouble: Trouble) -> Clip:
    """Return a clip of a real detector with fewer frames and hidden objects: `every`, `dropped` and `hidden` alone.

    What the detector makes of them is trouble enough. Hidden objects are neither in the truth nor detected.
    """
    random = np.random.default_rng([trouble.seed, *clip.name.encode()])
    hidden = _hidden(clip, trouble, random)
    arrived = (np.arange(len(clip)) % trouble.every == 0) & (random.random(len(clip)) >= trouble.dropped)
    arrived[0] = True
    frame_of = np.cumsum(arrived) - 1
    counted = arrived[clip.truth.frame] & ~hidden
    kept = arrived[clip.frame] & ~belongs(clip.frame, clip.boxes, clip.truth, hidden)
    truth = BoxTracks(frame_of[clip.truth.frame[counted]], clip.truth.track[counted], clip.truth.boxes[counted])
    return replace(
        clip,
        frame_rate=clip.frame_rate / trouble.every,
        times=clip.times[arrived],
        frame=frame_of[clip.frame[kept]],
        boxes=clip.boxes[kept],
        scores=clip.scores[kept],
        labels=clip.labels[kept],
        truth=truth,
    )


def belongs(
    frame: NDArray[np.int64], boxes: Array, truth: BoxTracks, rows: NDArray[np.bool_], least: float = OVERLAP
) -> NDArray[np.bool_]:
    """Return which boxes [D] in frames [D] lie on one of the marked rows of the truth, bool [D].

    A box lies on what it overlaps most, if by `least` (IoU).
    """
    out = np.zeros(len(frame), dtype=bool)
    for one in np.unique(truth.frame[rows]):
        seen, there = np.flatnonzero(frame == one), np.flatnonzero(truth.frame == one)
        overlap = overlaps(boxes[seen], truth.boxes[there])
        out[seen] = rows[there[overlap.argmax(1)]] & (overlap.max(1) >= least)
    return out


def _sound(boxes: Array) -> Array:
    """Boxes whose corners noise has not swapped."""
    low, high = boxes[:, :2], np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    return np.concatenate([low, high], 1)


def _hidden(clip: Clip, trouble: Trouble, random: np.random.Generator) -> NDArray[np.bool_]:
    """Which rows of the truth are hidden, bool [D]."""
    hidden = np.zeros(len(clip.truth), dtype=bool)
    for track in np.unique(clip.truth.track):
        rows = np.flatnonzero(clip.truth.track == track)
        times = clip.times[clip.truth.frame[rows]]
        for begin in times[0] + _events(trouble.hidden, times[-1] - times[0], random):
            end = begin + random.uniform(trouble.hidden_least, trouble.hidden_most)
            hidden[rows[(times >= begin) & (times < end)]] = True
    return hidden


def _events(rate: float, duration: float, random: np.random.Generator) -> Array:
    """Times of events of a rate [1/s] within a duration [s]."""
    return random.uniform(0, duration, random.poisson(rate * duration))


def describe(clips: Sequence[Clip]) -> dict[str, float]:
    """Return how much there is in clips: how many, seconds, objects, boxes, and pairs of boxes that overlap."""
    crowded = sum(
        int((overlaps(boxes, boxes) > 0.1).sum() - len(boxes)) // 2
        for clip in clips
        for frame in range(len(clip))
        for boxes in [clip.truth.boxes[clip.truth.frame == frame]]
    )
    return {
        "clips": len(clips),
        "seconds": round(sum(float(clip.times[-1] - clip.times[0]) for clip in clips), 1),
        "objects": sum(len(np.unique(clip.truth.track)) for clip in clips),
        "boxes": sum(len(clip.truth) for clip in clips),
        "crowded": crowded,
    }
