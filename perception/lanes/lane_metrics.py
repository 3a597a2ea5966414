"""How well lane lines are found: TuSimple's accuracy and CULane's F1, at our size of pictures.

Both data sets fix distances in pixels of their own pictures: 20 px of 1280 and lines 30 px wide of 1640. Here they are
the same shares of the width: at 320 px, 5 px and lines 5.85 px wide. No figure may stand beside one on those data.
Sources: TuSimple benchmark, `LaneEval`; X. Pan et al. (2018), "Spatial as deep" (CULane); Y. Zheng et al. (2022),
"CLRNet" (mF1). A lane is x [px] at rows, negative where it has none; with fewer than two
points it is none.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from perception.data.lanes import ORDERS

TOLERANCE = 20 / 1280
"""How far beside the truth a point may lie across a vertical line, of the width (TuSimple: 20 of 1280 px)."""
MATCHED = 0.85
"""Share of a true lane's rows that must be right for it to be found (TuSimple)."""
MANY = 2
"""So many lanes more than there are, and a picture counts as wholly wrong (TuSimple)."""
NOWHERE = -100.0
"""x where a lane has none; far from any that has (TuSimple)."""
THICKNESS, CANVAS = 30, 1640
"""Lines are drawn so wide on a canvas so wide [px], whatever the size of the pictures (CULane)."""
OWN = (ORDERS.index(-1), ORDERS.index(1))
"""Slots of the lines between which the own lane lies."""
OVERLAPS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
"""What the overlap of two lines must exceed; mF1 is the mean over all."""


def lanes_of(table: np.ndarray) -> np.ndarray:
    """Return the lanes of x at rows [S, R] that have two points, as [L, R]."""
    return table[(table >= 0).sum(axis=1) >= 2]


def tusimple(found: np.ndarray, truth: np.ndarray, rows: np.ndarray, width: int) -> tuple[float, float, float]:
    """Return accuracy, share of false lanes and share of missed ones in one picture, as TuSimple's `LaneEval` does.

    A row where neither lane has a point is right. One lane found may match several true ones. For more than four true
    lanes there are exceptions, which are not here.

    Args:
        found: x [px] of lanes at rows, [P, R].
        truth: of the true ones, [L, R], L from 1 to 4.
        rows: y [px] [R].
        width: of the picture [px].

    Raises:
        ValueError: no true lane, or more than four.
    """
    if not 1 <= len(truth) <= 4:
        raise ValueError(f"{len(truth)} true lanes; TuSimple's scores are for 1 to 4")
    if len(found) > len(truth) + MANY:
        return 0.0, 0.0, 1.0
    if len(found) == 0:
        return 0.0, 0.0, 1.0
    limits = np.array([TOLERANCE * width * _slant(lane, rows) for lane in truth])
    one, other = (np.where(lanes < 0, NOWHERE, lanes).astype(float) for lanes in (found, truth))
    right = np.abs(one[None] - other[:, None]) < limits[:, None, None]
    best = right.mean(axis=2).max(axis=1)
    matched = int((best >= MATCHED).sum())
    return float(best.mean()), (len(found) - matched) / len(found), (len(truth) - matched) / len(truth)


def _slant(lane: np.ndarray, rows: np.ndarray) -> float:
    """One over the cosine of a lane's angle to the vertical, from the straight line closest to its points."""
    y = rows[lane >= 0].astype(float)
    y -= y.mean()
    slope = float(y @ lane[lane >= 0] / (y @ y))
    return float(np.hypot(1.0, slope))


def overlaps(found: np.ndarray, truth: np.ndarray, rows: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the intersection over union [P, L] of lanes [P, R] and [L, R], drawn as CULane does; `size` is [px]."""
    if not len(found) or not len(truth):
        return np.zeros((len(found), len(truth)))
    ones, others = ([_drawn(lane, rows, size) for lane in lanes] for lanes in (found, truth))
    shares = [np.count_nonzero(one & other) / max(np.count_nonzero(one | other), 1) for one in ones for other in others]
    return np.reshape(shares, (len(found), len(truth)))


def _drawn(lane: np.ndarray, rows: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A lane's points joined by a thick line, uint8 0 or 1, without what lies above all rows."""
    scale = CANVAS / size[0]
    above = int(rows.min() * scale) - THICKNESS
    canvas = np.zeros((round(size[1] * scale) - above, CANVAS), dtype=np.uint8)
    points = np.stack([lane * scale, rows * scale - above], axis=-1)[lane >= 0]
    cv2.polylines(canvas, [points.astype(np.int32)], False, 1, THICKNESS)
    return canvas


class LaneLedger:
    """Counts of many pictures, of lanes at the same rows.

    Args:
        rows: y [px] [R].
        size: width and height of the pictures [px].
    """

    def __init__(self, rows: np.ndarray, size: tuple[int, int]):
        self.rows, self.size = np.asarray(rows, dtype=float), size
        self.pictures = self.found = self.true = 0
        self.hits = np.zeros(len(OVERLAPS), dtype=np.int64)
        self.scores: list[tuple[float, float, float]] = []

    def add(self, found: np.ndarray, truth: np.ndarray) -> None:
        """Count pictures: x [px] [B, S, R] of the lanes found and the true ones, in any order.

        Raises:
            ValueError: other shapes.
        """
        for name, table in (("found", found), ("true", truth)):
            if table.ndim != 3 or table.shape[2] != len(self.rows) or len(table) != len(truth):
                raise ValueError(
                    f"{name} lanes are {table.shape}; they must be [pictures, lanes, {len(self.rows)} rows], "
                    "with as many pictures as the other"
                )
        for one, other in zip(found, truth, strict=True):
            lanes, real = lanes_of(one), lanes_of(other)
            self.pictures += 1
            self.found += len(lanes)
            self.true += len(real)
            if len(real):
                self.scores.append(tusimple(lanes, real, self.rows, self.size[0]))
            overlap = overlaps(lanes, real, self.rows, self.size)
            chosen = overlap[linear_sum_assignment(-overlap)]
            self.hits += (chosen[:, None] > np.array(OVERLAPS)).sum(axis=0)

    def summary(self) -> dict[str, float]:
        """Return the scores of all pictures, and the numbers of pictures and true lanes.

        tusimple_accuracy, tusimple_fp and tusimple_fn are means over the pictures that have a lane (all of TuSimple's
        have); f1_50, f1_75, mf1, precision_50 and recall_50 count all. NaN where nothing is found and nothing there.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            f1 = 2 * self.hits / np.float64(self.found + self.true)
            precision, recall = (self.hits[0] / np.float64(count) for count in (self.found, self.true))
        means = np.mean(self.scores, axis=0) if self.scores else np.full(3, np.nan)
        names = ("tusimple_accuracy", "tusimple_fp", "tusimple_fn")
        return dict(zip(names, means.tolist(), strict=True)) | {
            "f1_50": float(f1[0]),
            "f1_75": float(f1[OVERLAPS.index(0.75)]),
            "mf1": float(f1.mean()),
            "precision_50": float(precision),
            "recall_50": float(recall),
            "pictures": self.pictures,
            "lanes": self.true,
        }


class OwnLane:
    """How far the two lines of the own lane, told in their slots, lie from the true ones, at rows where both are."""

    def __init__(self) -> None:
        self.errors: list[np.ndarray] = []
        self.true = 0

    def add(self, found: np.ndarray, truth: np.ndarray) -> None:
        """Count pictures: x [px] [B, 4, R] of the lines found and the true ones, slot by slot."""
        one, other = found[:, OWN], truth[:, OWN]
        self.errors.append(np.abs(one - other)[(one >= 0) & (other >= 0)])
        self.true += int((other >= 0).sum())

    def summary(self) -> dict[str, float]:
        """Return own_error_px (median), own_error_px_p90, and own_found, the share of true points with one found."""
        errors = np.concatenate([*self.errors, np.zeros(0)])
        median, high = np.percentile(errors, (50, 90)) if len(errors) else (np.nan, np.nan)
        share = len(errors) / self.true if self.true else np.nan
        return {"own_error_px": float(median), "own_error_px_p90": float(high), "own_found": float(share)}
