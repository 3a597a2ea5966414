"""Detections of a clip, computed once and shared by every tracker, so that trackers are compared on the same boxes.

A file a clip and detector: an npz of plain arrays beside a header in JSON that says of which detector and which data
set they are, by their hashes. Detections of another detector, or of a data set that has changed since, are never used.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from perception.data import mot
from perception.data.manifest import read_manifest
from perception.detection.postprocess import Detections
from perception.model_folder import FACTS, WEIGHTS, moved_into_place
from perception.tracking.clips import LEAST_HEIGHT, LEAST_VISIBILITY, Clip, belongs
from perception.tracking.metrics import BoxTracks

SCHEMA = 1
HEADER = "header"
ARRAYS = {"frame": np.int64, "boxes": np.float32, "scores": np.float32, "labels": np.int64}
PARTS = ("boxes", "scores", "labels")


def detector_hash(folder: str | Path) -> str:
    """Return the SHA-256 of a detector: its description and weights.

    Raises:
        FileNotFoundError: the folder holds no model.
    """
    digest = hashlib.sha256()
    for name in (FACTS, WEIGHTS):
        path = Path(folder) / name
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no model: there is no {name}")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def clip_hash(dataset: str | Path, clip: str) -> str:
    """Return the hash of a clip: of the files that a data set's manifest lists below it.

    Raises:
        FileNotFoundError: no manifest, or no such clip in it. ValueError: the manifest is damaged.
    """
    files = read_manifest(dataset)["files"]
    listed = {path: about["sha256"] for path, about in files.items() if path.startswith(f"{clip}/")}
    if not listed:
        raise FileNotFoundError(f"{dataset} lists no clip {clip!r}")
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()


def save_detections(path: Path, detections: Sequence[Detections], detector: str, clip: str) -> None:
    """Write the detections of a clip, frame by frame.

    Args:
        path: of the file.
        detections: of each frame.
        detector: its hash.
        clip: the clip's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = np.repeat(np.arange(len(detections)), [len(one) for one in detections])
    parts = {name: [getattr(one, name).cpu().numpy() for one in detections] for name in PARTS}
    empty = {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "labels": np.zeros(0)}
    arrays = {"frame": frame} | {name: np.concatenate([empty[name], *parts[name]]) for name in parts}
    header = {"schema": SCHEMA, "detector": detector, "clip": clip, "frames": len(detections)}
    arrays = {name: arrays[name].astype(kind) for name, kind in ARRAYS.items()}
    with moved_into_place(path) as part, open(part, "wb") as file:
        np.savez_compressed(file, **arrays, **{HEADER: np.frombuffer(json.dumps(header).encode(), np.uint8)})


def load_detections(path: Path, detector: str, clip: str) -> list[Detections]:
    """Return the detections of a clip, frame by frame.

    Raises:
        FileNotFoundError: there are none.
        ValueError: they are of another detector or clip, or cannot be read.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            header: dict[str, Any] = json.loads(stored[HEADER].tobytes())
            arrays = {name: stored[name].astype(kind) for name, kind in ARRAYS.items()}
        schema, frames = header["schema"], int(header["frames"])
        stated = {"detector": header["detector"], "clip": header["clip"]}
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} holds no detections that can be read: {type(error).__name__} {error}") from None
    if schema != SCHEMA:
        raise ValueError(f"{path} has schema {schema!r}; this version reads schema {SCHEMA}")
    for name, wanted in (("detector", detector), ("clip", clip)):
        if stated[name] != wanted:
            raise ValueError(
                f"{path} was made with another {name}: {stated[name][:12]}, not {wanted[:12]}; delete it to detect anew"
            )
    rows = [slice(*np.searchsorted(arrays["frame"], [k, k + 1])) for k in range(frames)]
    return [Detections(*(torch.from_numpy(arrays[name][row]) for name in PARTS)) for row in rows]


def detected_clip(
    dataset: str | Path,
    clip: str,
    detector_folder: str | Path,
    detect: Callable[[torch.Tensor], Sequence[Detections]],
    cache: str | Path,
    batch_size: int = 16,
    least_height: float = 0.0,
    least_visibility: float = 0.0,
) -> Clip:
    """Return a clip of a data set with what a detector finds in it, from the cache where it has been there before.

    Args:
        dataset: folder with a manifest.
        clip: name in it, such as "test/clips/test-000000".
        detector_folder: the detector's model folder.
        detect: the detector: images uint8 [B, 3, H, W] to detections of each.
        cache: folder of the cache.
        batch_size: pictures detected at once.
        least_height: what is smaller [px] does not count, nor what is detected there.
        least_visibility: nor what is hidden more than this.

    Raises:
        FileNotFoundError, ValueError: no such clip, a damaged one, or a cache that cannot be read.
    """
    of_detector, of_clip = detector_hash(detector_folder), clip_hash(dataset, clip)
    # Both hashes are in the name, so several detectors share a folder; the header is checked all the same.
    path = Path(cache) / f"{clip.replace('/', '-')}-{of_clip[:12]}-{of_detector[:12]}.npz"
    stored = mot.read_clip(Path(dataset) / clip)
    if not path.is_file():
        found: list[Detections] = []
        for first in range(mot.FIRST, stored.length + 1, batch_size):
            frames = range(first, min(first + batch_size, stored.length + 1))
            found += detect(torch.stack([torch.from_numpy(stored.image(frame)) for frame in frames]))
        save_detections(path, found, of_detector, of_clip)
    detections = load_detections(path, of_detector, of_clip)
    truth, everything, counted = _truth(stored, least_height, least_visibility)
    frame = np.repeat(np.arange(len(detections)), [len(one) for one in detections])
    boxes, scores, labels = (torch.cat([getattr(one, name) for one in detections]).numpy() for name in PARTS)
    if not counted.all() and (least_height > 0 or least_visibility > 0):
        kept = ~belongs(frame, boxes, everything, ~counted)
        frame, boxes, scores, labels = frame[kept], boxes[kept], scores[kept], labels[kept]
    return _clip(stored, frame, boxes, scores, labels, truth)


def perfect_clip(
    dataset: str | Path, clip: str, least_height: float = LEAST_HEIGHT, least_visibility: float = LEAST_VISIBILITY
) -> Clip:
    """Return a clip of a data set whose detections are the truth itself, all with score 1; see `detected_clip`."""
    stored = mot.read_clip(Path(dataset) / clip)
    truth = _truth(stored, least_height, least_visibility)[0]
    ones = np.ones(len(truth))
    return _clip(stored, truth.frame, truth.boxes, ones, ones.astype(np.int64), truth)


def _truth(
    stored: mot.Clip, least_height: float, least_visibility: float
) -> tuple[BoxTracks, BoxTracks, NDArray[np.bool_]]:
    """What counts, everything there is, and which rows of that count."""
    rows = stored.visible or stored.tracks
    order = np.lexsort((rows.track, rows.frame))
    frame, track, boxes = rows.frame[order] - mot.FIRST, rows.track[order], rows.boxes[order]
    counted = rows.counts[order] & (boxes[:, 3] - boxes[:, 1] >= least_height)
    counted &= rows.visibility[order] >= least_visibility
    return BoxTracks(frame[counted], track[counted], boxes[counted]), BoxTracks(frame, track, boxes), counted


def _clip(stored: mot.Clip, frame: Any, boxes: Any, scores: Any, labels: Any, truth: BoxTracks) -> Clip:
    times = np.arange(stored.length) / stored.fps
    return Clip(stored.name, stored.width, stored.height, stored.fps, times, frame, boxes, scores, labels, truth)
