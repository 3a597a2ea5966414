"""How good detections are, by COCO's rules; the computing is faster-coco-eval's.

Objects that nobody asks for (hidden, tiny) are there as crowds: finding them is neither right nor wrong.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster

from perception.data.targets import Target, seen_share, whole_boxes
from perception.detection.postprocess import Detections

NAMES = ("AP", "AP50", "AP75")
BY_HEIGHT: tuple[tuple[float, float], ...] = ((0, 12), (12, 24), (24, 48), (48, math.inf))
"""Heights of boxes [px] that are looked at apart."""
BY_DISTANCE: tuple[tuple[float, float], ...] = ((0, 10), (10, 20), (20, 40), (40, 80), (80, math.inf))
"""Distances [m] that are looked at apart."""


@dataclass
class Ledger:
    """Detections beside the truth, picture after picture.

    Attributes:
        classes: names of labels 1, 2, ...
        size: width and height of the pictures [px].
    """

    classes: tuple[str, ...]
    size: tuple[int, int]
    found: list[np.ndarray] = field(default_factory=list)  # rows: picture, x0, y0, x1, y1, score, label
    there: list[np.ndarray] = field(default_factory=list)  # rows: picture, x0, y0, x1, y1, label, visible, distance
    pictures: int = 0

    def add(self, detections: Sequence[Detections], targets: Sequence[Target]) -> None:
        """Enter pictures: what was found, and `boxes`, `labels`, `visibility` and `distance` of what is there."""
        for found, target in zip(detections, targets, strict=True):
            number = torch.full((len(found), 1), float(self.pictures))
            row = (number, found.boxes.cpu(), found.scores.cpu()[:, None], found.labels.cpu()[:, None])
            self.found.append(torch.cat([part.double() for part in row], 1).numpy())
            number = torch.full((len(target["labels"]), 1), float(self.pictures))
            columns = (target["labels"], target["visibility"], target["distance"])
            row = (number, target["boxes"], *(column[:, None] for column in columns))
            self.there.append(torch.cat([part.cpu().double() for part in row], 1).numpy())
            self.pictures += 1

    def score(self, asked: Callable[[np.ndarray], np.ndarray], class_blind: bool = False) -> dict[str, float]:
        """Return AP, AP50 and AP75 (0..1, NaN where nothing was asked for), and how many objects were asked for.

        Args:
            asked: gets rows of `there` [n, 8] and returns which count, bool [n].
            class_blind: everything is a "vehicle"; else the mean over the classes that are there.
        """
        there = np.concatenate(self.there) if self.there else np.zeros((0, 8))
        found = np.concatenate(self.found) if self.found else np.zeros((0, 7))
        counts = asked(there)
        objects = int(counts.sum())
        if objects == 0:
            return dict.fromkeys(NAMES, math.nan) | {"objects": 0}
        labels = {1: "vehicle"} if class_blind else dict(enumerate(self.classes, start=1))
        present = {1} if class_blind else {int(label) for label in there[counts, 5]}
        truth = self._coco_truth(there, counts, class_blind, labels)
        results = [
            {
                "image_id": int(row[0]),
                "category_id": 1 if class_blind else int(row[6]),
                "bbox": [row[1], row[2], row[3] - row[1], row[4] - row[2]],
                "score": row[5],
            }
            for row in found
        ]
        if not results:
            return dict.fromkeys(NAMES, 0.0) | {"objects": objects}
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(truth)
            run = COCOeval_faster(coco, coco.loadRes(results), "bbox")
            run.params.catIds = sorted(present)
            run.evaluate()
            run.accumulate()
            run.summarize()
        return dict(zip(NAMES, map(float, run.stats[:3]), strict=True)) | {"objects": objects}

    def _coco_truth(self, there: np.ndarray, counts: np.ndarray, class_blind: bool, labels: dict[int, str]) -> dict:
        annotations = []
        for i, (row, counted) in enumerate(zip(there, counts, strict=True)):
            box = [row[1], row[2], row[3] - row[1], row[4] - row[2]]
            annotations.append(
                {
                    "id": i + 1,
                    "image_id": int(row[0]),
                    "category_id": 1 if class_blind else int(row[5]),
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": int(not counted),
                }
            )
        width, height = self.size
        images = [{"id": i, "width": width, "height": height} for i in range(self.pictures)]
        categories = [{"id": label, "name": name} for label, name in labels.items()]
        return {"images": images, "annotations": annotations, "categories": categories}


def plainly_visible(there: np.ndarray, least_height: float = 12.0, least_visible: float = 0.5) -> np.ndarray:
    """The objects that a driver must see: more than half visible (the rest hidden or off the frame), 12 px high."""
    return (there[:, 4] - there[:, 2] >= least_height) & (there[:, 6] > least_visible)


def table(ledger: Ledger) -> dict[str, dict[str, float]]:
    """Return the scores of all that is asked: as a whole, class by class, by height and by distance.

    Small and far objects stand in rows of their own and are hidden nowhere: "all" counts every object more than half
    visible, whatever its size.
    """
    rows = {
        "plainly visible": ledger.score(plainly_visible),
        "plainly visible, any vehicle": ledger.score(plainly_visible, class_blind=True),
        "all more than half visible": ledger.score(lambda there: there[:, 6] > 0.5, class_blind=True),
    }
    for label, name in enumerate(ledger.classes, start=1):
        rows[name] = ledger.score(lambda there, label=label: plainly_visible(there) & (there[:, 5] == label))
    for low, high in BY_HEIGHT:
        rows[f"height {low:g} to {high:g} px"] = ledger.score(
            lambda there, low=low, high=high: (
                (there[:, 6] > 0.5) & (there[:, 4] - there[:, 2] >= low) & (there[:, 4] - there[:, 2] < high)
            ),
            class_blind=True,
        )
    for low, high in BY_DISTANCE:
        rows[f"distance {low:g} to {high:g} m"] = ledger.score(
            lambda there, low=low, high=high: (there[:, 6] > 0.5) & (there[:, 7] >= low) & (there[:, 7] < high),
            class_blind=True,
        )
    return rows


def boxes_of(target: Target, size: tuple[int, int], classes: int) -> Target:
    """Return a target as `Ledger.add` takes it: whole objects as far as they are in the frame of `size`."""
    kept = target["labels"] <= classes
    boxes = whole_boxes(target, size)[kept]
    seen = {"boxes": boxes, "visibility": seen_share(target)[kept]}
    return seen | {name: target[name][kept] for name in ("labels", "distance")}
