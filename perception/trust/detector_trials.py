"""Pictures on which a detector is tried, of one domain or several, and its precision on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from perception.cameras import FRONT
from perception.data.stream import FrameStream, StreamSettings
from perception.data.targets import Target
from perception.detection.average_precision import Ledger, boxes_of, plainly_visible
from perception.detection.detector import Detector
from perception.detection.learning import CLASSES, lesson_targets
from perception.trust.robustness import CorruptedPrecision, corrupted_precision
from sim.sensors.camera.cameras import Camera

LEAST_SCORE = 0.005
"""Below which a box is dropped: precision at every recall is asked for."""
SEVERITIES = (1, 3, 5)
"""Of the corruptions that detectors are tried on."""
DRAWN = 20
"""Worlds that are drawn from at a time."""


@dataclass(frozen=True)
class Trial:
    """Test pictures.

    Attributes:
        images: uint8 [N, 3, H, W].
        lessons: what a detector is taught to find in each; see `perception.detection.learning.lesson_targets`.
        truths: what its precision is computed against; see `perception.detection.average_precision.boxes_of`.
    """

    images: Tensor
    lessons: list[Target]
    truths: list[Target]


def drawn_trial(domains: Sequence[str], count: int, seed: int = 0, camera: Camera = FRONT) -> Trial:
    """Return pictures of the test split: scenario seeds that no training saw.

    Args:
        domains: held-out ones, or training ones with seeds of their own.
        count: pictures.
        seed: of the stream.
        camera: whose pictures.

    Raises:
        ValueError: no such domain, or count below 1.
    """
    if count < 1:
        raise ValueError(f"{count} pictures; at least 1 is needed")
    worlds = min(DRAWN, count)
    settings = StreamSettings("test", domains=tuple(domains), cameras=(camera,), batch_size=worlds, frames=2, seed=seed)
    stream = FrameStream(settings, threads=1)
    batches = [next(stream) for _ in range(-(-count // worlds))]
    stream.close()
    size = camera.width, camera.height
    targets = [target for batch in batches for target in batch.targets][:count]
    return Trial(
        torch.cat([batch.images for batch in batches])[:count],
        [lesson_targets(target, size) for target in targets],
        [boxes_of(target, size, len(CLASSES)) for target in targets],
    )


def precision(detector: Detector, trial: Trial, images: Tensor | None = None, batch: int = 20) -> dict[str, float]:
    """Return AP, AP50 and AP75 (0..1) of what is plainly visible, whatever its class, and how many objects that is.

    Args:
        detector: to be tried.
        trial: the truth.
        images: uint8 [N, 3, H, W] in place of the trial's own, such as corrupted ones.
        batch: pictures at a time.
    """
    images = trial.images if images is None else images
    ledger = Ledger(detector.classes, (images.shape[3], images.shape[2]))
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        ledger.add(detector.predict(images[part], LEAST_SCORE), trial.truths[part])
    return ledger.score(plainly_visible, class_blind=True)


def precision_under_corruption(
    detector: Detector, trial: Trial, seed: int = 0, told: Callable[[str], None] = lambda name: None
) -> CorruptedPrecision:
    """Return AP under each corruption at `SEVERITIES`; `told` hears of each before it is tried."""

    def tried(change: Callable[[Tensor, Tensor], Tensor]) -> float:
        numbers = torch.arange(len(trial.images))
        parts = zip(trial.images.split(DRAWN), numbers.split(DRAWN), strict=True)
        return precision(detector, trial, torch.cat([change(*part) for part in parts]))["AP"]

    return corrupted_precision(tried, seed, severities=SEVERITIES, told=told)
