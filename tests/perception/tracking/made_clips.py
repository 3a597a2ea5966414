"""Made-up clips: boxes that move at constant speed through a picture of 320 x 192 px."""

import numpy as np

from perception.tracking.clips import FRAME_RATE, Clip
from perception.tracking.metrics import BoxTracks


def made_clip(name="made", seconds=6.0, objects=6, speed=20.0, seed=0):
    """A clip of perfect detections; objects begin apart from each other."""
    random = np.random.default_rng(seed)
    frames = round(seconds * FRAME_RATE)
    size = random.uniform([18, 14], [40, 30], (objects, 2))
    start = np.stack([np.linspace(5, 270, objects), random.uniform(20, 150, objects)], 1)
    velocity = random.normal(0, speed, (objects, 2))
    time = np.arange(frames) / FRAME_RATE
    place = start + time[:, None, None] * velocity  # [T, K, 2]
    boxes = np.concatenate([place, place + size], -1).reshape(-1, 4)
    frame, track = np.repeat(np.arange(frames), objects), np.tile(np.arange(objects), frames)
    truth = BoxTracks(frame, track, boxes)
    return Clip(name, 320, 192, FRAME_RATE, time, frame, boxes, np.ones(len(boxes)), np.ones(len(boxes), int), truth)
