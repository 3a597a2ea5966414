"""How good a lane network is on pictures of a split, and how good it is to look at no picture at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from perception.cameras import FRONT
from perception.data.lanes import ABSENT, rows_of
from perception.lanes import row_anchor
from perception.lanes.ground import PlaceLedger
from perception.lanes.lane_metrics import LaneLedger, OwnLane
from perception.lanes.learning import lane_lesson, lane_stream
from perception.lanes.models import load_lane_model
from perception.lanes.row_anchor import RowAnchor, RowAnchorConfig
from perception.lanes.segmentation import GROUPS, Confusion

SEED = 7
"""Of the streams of an evaluation; those of the training split begin with other scenario seeds anyway."""
LEARNT_BATCHES = 20
"""Batches of the training split from which a baseline knows what is usual."""


def evaluate(
    folder: Path,
    split: str = "val",
    batches: int = 20,
    batch_size: int = 20,
    device: torch.device | str = "cpu",
    threads: int | None = None,
) -> dict[str, float]:
    """Return the scores of the lane network in a folder, on the front camera's pictures of a split.

    "val" has the training domains, "test" those that are held out. For lane lines: `LaneLedger`,
    `OwnLane` and `PlaceLedger`; for classes: `Confusion` and the number of pictures.

    Raises:
        FileNotFoundError, ValueError: no such model (see `load_lane_model`), split, or numbers below 1.
    """
    model = load_lane_model(folder, device)
    if isinstance(model, RowAnchor):
        return scored_lanes(model.predict, model.config.rows, split, batches, batch_size, threads)
    return scored_classes(model.predict, model.config.classes, split, batches, batch_size, threads)


def baseline(
    network: str, split: str = "val", batches: int = 20, batch_size: int = 20, threads: int | None = None
) -> dict[str, float]:
    """Return the scores, as `evaluate` does, of what is usual in the training split, whatever a picture shows.

    For "row-anchor": each slot's median x at each row, where it has a line in most pictures. For "segmentation": each
    pixel's most frequent class; miou_one_class, too, with the one most frequent class everywhere.
    """
    lines = network == row_anchor.KIND
    stream = lane_stream("train", batch_size, SEED, lines, not lines, threads)
    rows = RowAnchorConfig().rows
    lessons = [lane_lesson(next(stream), rows) for _ in range(LEARNT_BATCHES)]
    if lines:
        lanes = usual_lanes(np.concatenate([lesson.lanes.numpy() for lesson in lessons]))
        told = torch.from_numpy(lanes)
        return scored_lanes(lambda images: told.expand(len(images), -1, -1), rows, split, batches, batch_size, threads)
    classes = tuple(GROUPS)
    counts = sum(torch.nn.functional.one_hot(lesson.labels.long(), len(classes)).sum(0) for lesson in lessons)
    pixels, one = counts.argmax(-1).to(torch.uint8), counts.sum((0, 1)).argmax().to(torch.uint8)
    scores = [
        scored_classes(
            lambda images, told=told: told.expand(len(images), *images.shape[2:]),
            classes, split, batches, batch_size, threads,
        )
        for told in (pixels, one)
    ]  # fmt: skip
    return scores[0] | {"miou_one_class": scores[1]["miou"]}


def usual_lanes(lanes: np.ndarray) -> np.ndarray:
    """Return the median x [4, R] of lanes [M, 4, R] where they are; ABSENT where at most half have any."""
    there = lanes != ABSENT
    often = there.mean(axis=0) > 0.5
    middle = np.ma.median(np.ma.masked_array(lanes, ~there), axis=0).filled(ABSENT)
    return np.where(often, middle, ABSENT).astype(np.float32)


def scored_lanes(
    predict: Callable[[Tensor], Tensor],
    rows: int,
    split: str,
    batches: int,
    batch_size: int,
    threads: int | None = None,
) -> dict[str, float]:
    """Return the scores of a function from pictures uint8 [B, 3, H, W] to x at rows, float32 [B, 4, R] [px]."""
    stream = lane_stream(split, batch_size, SEED, classes=False, threads=threads)
    size = FRONT.width, FRONT.height
    ledgers = LaneLedger(np.array(rows_of(FRONT.height, rows)), size), OwnLane(), PlaceLedger(FRONT)
    for _ in range(at_least_one(batches)):
        lesson = lane_lesson(next(stream), rows)
        found, truth = predict(lesson.images).numpy(), lesson.lanes.numpy()
        for ledger in ledgers:
            ledger.add(found, truth)
    return {name: value for ledger in ledgers for name, value in ledger.summary().items()}


def scored_classes(
    predict: Callable[[Tensor], Tensor],
    classes: tuple[str, ...],
    split: str,
    batches: int,
    batch_size: int,
    threads: int | None = None,
) -> dict[str, float]:
    """Return the scores of a function from pictures uint8 [B, 3, H, W] to the class of each pixel, uint8 [B, H, W].

    Raises:
        ValueError: it has other classes than `GROUPS`.
    """
    if classes != tuple(GROUPS):
        raise ValueError(f"the model tells {', '.join(classes)}; the simulator's groups are {', '.join(GROUPS)}")
    stream = lane_stream(split, batch_size, SEED, lines=False, threads=threads)
    confusion = Confusion(classes)
    for _ in range(at_least_one(batches)):
        lesson = lane_lesson(next(stream), 0)
        confusion.add(predict(lesson.images), lesson.labels)
    return confusion.summary() | {"pictures": batches * batch_size}


def at_least_one(batches: int) -> int:
    """Return the number of batches; ValueError where it is none."""
    if batches < 1:
        raise ValueError(f"{batches} batches; an evaluation needs at least 1")
    return batches
