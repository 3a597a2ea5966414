"""Runs Roboflow's trackers over clips; a program of its own, as they bring an OpenCV that cannot stand beside ours.

    PYTHON perception/tracking/peer_trackers.py CLIPS.npz TASKS.json TRACKS.npz

It imports nothing of Slipstream. `perception.tracking.comparison` writes what it reads and reads what it writes.
"""

import json
import sys

import numpy as np


def follow(make, options, clip):
    """Rows frame, track, x0, y0, x1, y1 of one clip: each detection that a tracker gave a number, with its own box."""
    import supervision as sv

    tracker = make(frame_rate=float(clip["frame_rate"]), **options)
    rows = []
    for frame, time in enumerate(clip["times"]):
        low, high = np.searchsorted(clip["frame"], [frame, frame + 1])
        found = sv.Detections(
            xyxy=clip["boxes"][low:high].astype(np.float32).reshape(-1, 4),
            confidence=clip["scores"][low:high].astype(np.float32),
            class_id=clip["labels"][low:high].astype(int),
        )
        told = tracker.update(found, timestamp=float(time))
        if len(told):
            kept = told.tracker_id >= 0
            columns = [np.full((int(kept.sum()), 1), frame), told.tracker_id[kept][:, None], told.xyxy[kept]]
            rows.append(np.concatenate(columns, 1))
    return np.concatenate(rows) if rows else np.zeros((0, 6))


def main(clips_path, tasks_path, out_path):
    """Follow every clip with every tracker of the list; a task is a name, a tracker and its options."""
    import trackers

    with open(tasks_path, encoding="utf-8") as file:
        tasks = json.load(file)
    with np.load(clips_path, allow_pickle=False) as stored:
        arrays = dict(stored)
    results = {}
    for task in tasks:
        make = getattr(trackers, task["tracker"])
        for k in range(int(arrays["count"])):
            clip = {key.partition(".")[2]: value for key, value in arrays.items() if key.startswith(f"{k}.")}
            results[f"{task['name']}.{k}"] = follow(make, task["options"], clip)
    np.savez(out_path, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
