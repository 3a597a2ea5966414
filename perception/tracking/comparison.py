"""Our trackers against Roboflow's on identical detections, at three rates of frames and three of occlusion.

Trackers are tuned on clips of "val" and judged on those of "test". What is scored are the detections that a tracker
gave numbers to, each with its own box: neither ours nor Roboflow's are asked for guesses while nothing is seen, and
what differs between two trackers is identity alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perception.detection.postprocess import Detections
from perception.tracking.byte_tracker import Tracker, TrackerSettings
from perception.tracking.clips import FRAME_RATE, Clip, Trouble, troubled
from perception.tracking.metrics import BoxTracks, Counts, count
from perception.tracking.tracks import Motion

RATES = {"15/s": 1, "5/s": 3, "3/s": 5}
"""Frame rates: each so manieth frame of `clips.FRAME_RATE`, 15 a second."""
OCCLUSION = {"none": 0.0, "some": 0.1, "much": 0.3}
"""How often an object disappears for 0.5 to 2 s [1/s]."""
PEER_PACKAGE = "trackers==2.6.1"


@dataclass(frozen=True)
class Peer:
    """A tracker of Roboflow's.

    Attributes:
        tracker: name of its class. options: what it is made with; its frame rate is given too.
    """

    tracker: str
    options: Mapping[str, Any] = field(default_factory=dict)


PEERS = {"ByteTrack (Roboflow)": Peer("ByteTrackTracker"), "OC-SORT (Roboflow)": Peer("OCSORTTracker")}
"""With their defaults."""
TUNED_PEERS = {
    "ByteTrack (Roboflow), tuned": Peer("ByteTrackTracker", {"lost_track_buffer": 60, "high_conf_det_threshold": 0.3}),
    "OC-SORT (Roboflow), tuned": Peer(
        "OCSORTTracker",
        {
            "lost_track_buffer": 60,
            "high_conf_det_threshold": 0.1,
            "minimum_iou_threshold": 0.1,
            "minimum_consecutive_frames": 1,
        },
    ),
}
"""As they did best on perfect clips of "val" made worse; `lost_track_buffer` is in thirtieths of a second."""
TUNED_ON_DETECTIONS = {
    "ByteTrack (Roboflow), tuned": Peer(
        "ByteTrackTracker",
        {
            "lost_track_buffer": 60,
            "track_activation_threshold": 0.4,
            "high_conf_det_threshold": 0.3,
            "minimum_iou_threshold": 0.2,
        },
    ),
    "OC-SORT (Roboflow), tuned": Peer(
        "OCSORTTracker",
        {
            "lost_track_buffer": 60,
            "high_conf_det_threshold": 0.3,
            "minimum_iou_threshold": 0.1,
            "minimum_consecutive_frames": 1,
            "direction_consistency_weight": 0.0,
        },
    ),
}
"""As they did best on what our one-stage detector finds in clips of "val"."""


def follow(clips: Sequence[Clip], motion: str | Motion, settings: TrackerSettings | None = None) -> list[BoxTracks]:
    """Return what our tracker makes of clips, all followed at once.

    Args:
        clips: what to follow.
        motion: as of `Tracker`.
        settings: as of `Tracker`.

    Raises:
        ValueError: an LSTM that was trained on pictures of another size.
    """
    tracker = Tracker(motion, len(clips), settings)
    frame, sizes = getattr(tracker.motion, "frame", None), sorted({(clip.width, clip.height) for clip in clips})
    if frame is not None and sizes != [(size := tuple(int(side) for side in frame))]:
        raise ValueError(f"the model of motion is for pictures of {size}, the clips have {sizes}")
    rows = [torch.zeros(0, 7, dtype=torch.float64)]  # stream, frame, number, box
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    for frame in range(max(len(clip) for clip in clips)):
        there = torch.tensor([frame < len(clip) for clip in clips])
        passed = [float(clip.times[frame] - clip.times[frame - 1]) if 0 < frame < len(clip) else 0.0 for clip in clips]
        found = [clip.at(frame) if frame < len(clip) else nothing for clip in clips]
        tracks = tracker.update(found, elapsed=torch.tensor(passed, dtype=torch.float64), arrived=there)
        tracks = tracks.where(tracks.seen)
        counts = torch.tensor([len(one) for one in found])
        first = counts.cumsum(0) - counts
        boxes = torch.cat([one.boxes for one in found])[first[tracks.stream] + tracks.detection]
        names = torch.stack([tracks.stream, torch.full_like(tracks.stream, frame), tracks.number], 1)
        rows.append(torch.cat([names.double(), boxes.double()], 1))
    table = torch.cat(rows).numpy()
    return [_tracks(table[table[:, 0] == stream, 1:]) for stream in range(len(clips))]


def follow_with_peers(
    clips: Sequence[Clip], peers: Mapping[str, Peer] = PEERS, python: str = sys.executable
) -> dict[str, list[BoxTracks]]:
    """Return what Roboflow's trackers make of clips, by name.

    Args:
        clips: what to follow.
        peers: trackers by name.
        python: an interpreter that has `PEER_PACKAGE`.

    Raises:
        ChildProcessError: it has not, or a tracker failed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arrays: dict[str, Any] = {"count": len(clips)}
        for k, clip in enumerate(clips):
            for key in ("frame_rate", "times", "frame", "boxes", "scores", "labels"):
                arrays[f"{k}.{key}"] = getattr(clip, key)
        np.savez(folder / "clips.npz", **arrays)
        tasks = [
            {"name": str(k), "tracker": peer.tracker, "options": dict(peer.options)}
            for k, peer in enumerate(peers.values())
        ]
        (folder / "tasks.json").write_text(json.dumps(tasks), encoding="utf-8")
        program = Path(__file__).with_name("peer_trackers.py")
        paths = [folder / part for part in ("clips.npz", "tasks.json", "tracks.npz")]
        run = subprocess.run([python, str(program), *map(str, paths)], capture_output=True, text=True, check=False)
        if run.returncode:
            why = (run.stderr.strip() or "no message").splitlines()[-1]
            hint = ""
            if "No module named" in why:
                hint = f"; make an environment of its own: python -m venv peers && peers/bin/pip install {PEER_PACKAGE}"
            raise ChildProcessError(f"{python} could not run the other trackers: {why}{hint}")
        with np.load(folder / "tracks.npz", allow_pickle=False) as stored:
            return {
                name: [_tracks(stored[f"{task}.{k}"]) for k in range(len(clips))] for task, name in enumerate(peers)
            }


def _tracks(rows: np.ndarray) -> BoxTracks:
    return BoxTracks(rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64), rows[:, 2:])


def score(clips: Sequence[Clip], tracks: Sequence[BoxTracks]) -> dict[str, float]:
    """Return the combined scores of clips; see `metrics.Counts.scores`."""
    total = Counts()
    for clip, found in zip(clips, tracks, strict=True):
        total = total + count(clip.truth, found)
    return total.scores()


def compare(
    clips: Sequence[Clip],
    ours: Mapping[str, tuple[str | Motion, TrackerSettings]],
    peers: Mapping[str, Peer] = PEERS,
    python: str = sys.executable,
    seed: int = 0,
    spoil: Callable[[Clip, Trouble], Clip] = troubled,
) -> list[dict[str, Any]]:
    """Return the scores of all trackers under all conditions, a row a condition and tracker.

    Args:
        clips: perfect ones, see `clips.record`, or those of a detector.
        ours: motion and settings by name.
        peers: Roboflow's, by name; none are run where it is empty.
        python: an interpreter that has them.
        seed: of the trouble.
        spoil: makes the trouble: `clips.troubled` of perfect clips, `clips.thinned` of a detector's.

    Rows hold "rate", "occlusion", "tracker" and the scores.

    Raises:
        ValueError: clips of another frame rate than `clips.FRAME_RATE`.
    """
    if wrong := [clip for clip in clips if clip.frame_rate != FRAME_RATE]:
        rate = wrong[0].frame_rate
        raise ValueError(f"clip {wrong[0].name} has {rate:g} frames a second; a comparison needs {FRAME_RATE:g}")
    conditions = [(rate, occlusion) for rate in RATES for occlusion in OCCLUSION]
    made = {
        key: [spoil(clip, Trouble(every=RATES[key[0]], hidden=OCCLUSION[key[1]], seed=seed)) for clip in clips]
        for key in conditions
    }
    together = [clip for key in conditions for clip in made[key]]
    found = follow_with_peers(together, peers, python) if peers else {}
    found |= {name: follow(together, motion, settings) for name, (motion, settings) in ours.items()}
    rows = []
    for number, (rate, occlusion) in enumerate(conditions):
        part = slice(number * len(clips), (number + 1) * len(clips))
        for name, tracks in found.items():
            row = {"rate": rate, "occlusion": occlusion, "tracker": name}
            rows.append(row | score(made[rate, occlusion], tracks[part]))
    return rows


def losses(rows: Sequence[Mapping[str, Any]], ours: Sequence[str], metric: str = "IDF1") -> list[dict[str, Any]]:
    """Return how far ours are ahead of the best of the others, a row a condition and tracker; below 0 is behind."""
    out = []
    for key in dict.fromkeys((row["rate"], row["occlusion"]) for row in rows):
        here = {row["tracker"]: row[metric] for row in rows if (row["rate"], row["occlusion"]) == key}
        others = {name: value for name, value in here.items() if name not in ours}
        best = max(others, key=others.__getitem__)
        for name in ours:
            ahead = here[name] - others[best]
            out.append({"rate": key[0], "occlusion": key[1], "tracker": name, "best": best, "ahead": ahead})
    return out


def table(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str] = ("IDF1", "MOTA", "HOTA")) -> str:
    """Return the scores as Markdown: a line a condition, a column a tracker, `metrics` in each cell."""
    names = list(dict.fromkeys(row["tracker"] for row in rows))
    lines = [f"| frames, occlusion | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for key in dict.fromkeys((row["rate"], row["occlusion"]) for row in rows):
        here = {row["tracker"]: row for row in rows if (row["rate"], row["occlusion"]) == key}
        cells = [" / ".join(f"{here[name][metric]:.3f}" for metric in metrics) for name in names]
        lines.append(f"| {key[0]}, {key[1]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(rows: Sequence[Mapping[str, Any]], ours: Sequence[str], metric: str = "IDF1") -> str:
    """Return as Markdown how far ours are ahead of the best of the others, and the mean over all conditions."""
    names = list(dict.fromkeys(row["tracker"] for row in rows))
    means = [np.mean([row[metric] for row in rows if row["tracker"] == name]) for name in names]
    lines = ["| tracker | mean " + metric + " |", "|---|--:|"]
    lines += [f"| {name} | {mean:.3f} |" for name, mean in zip(names, means, strict=True)]
    if set(names) - set(ours):
        lines += ["", f"| frames, occlusion | {' | '.join(ours)} | best other |", "|---" * (len(ours) + 2) + "|"]
        ahead = losses(rows, ours, metric)
        for first in range(0, len(ahead), len(ours)):
            here = ahead[first : first + len(ours)]
            cells = [f"{one['rate']}, {one['occlusion']}" for one in here[:1]]
            cells += [f"{one['ahead']:+.3f}" for one in here] + [here[0]["best"]]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
