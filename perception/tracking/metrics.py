"""How good tracks are: CLEAR MOT (MOTA, MOTP, MT, ML, Frag, IDSW), identity (IDF1) and HOTA, as TrackEval counts them.

Sequences are combined by adding their counts and dividing then, never by averaging ratios.
Sources: Bernardin and Stiefelhagen (2008), "Evaluating multiple object tracking performance: the CLEAR MOT metrics";
Ristani et al. (2016), arXiv 1609.01775 (IDF1); Luiten et al. (2020), arXiv 2009.07736 (HOTA). Where the papers leave a
choice, it is TrackEval 1.3.0's (github.com/JonathonLuiten/TrackEval), which the tests compare with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from perception.data import mot

OVERLAP = 0.5
"""IoU from which a box counts as found, in CLEAR MOT and identity."""
THRESHOLDS = np.arange(0.05, 0.99, 0.05)
"""IoUs over which HOTA is averaged, 19."""
MOSTLY_TRACKED, MOSTLY_LOST = 0.8, 0.2
"""Share of its frames in which an object is found: more than the first, less than the second."""
KEPT = 1000.0
"""Weight of a pair of the frame before against any overlap: pairs are kept while they overlap enough."""
EPS = np.finfo(float).eps

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class BoxTracks:
    """Boxes with identities, R rows in any order.

    Attributes:
        frame, track: int64 [R]. boxes: float64 [R, 4]: x0, y0, x1, y1 [px].

    Raises:
        ValueError: other shapes, a box that is not finite, or an identity twice in a frame.
    """

    frame: NDArray[np.int64]
    track: NDArray[np.int64]
    boxes: Rows

    def __post_init__(self) -> None:
        frame, track = (np.asarray(value, dtype=np.int64) for value in (self.frame, self.track))
        boxes = np.asarray(self.boxes, dtype=np.float64)
        if frame.ndim != 1 or track.shape != frame.shape or boxes.shape != (len(frame), 4):
            raise ValueError(
                f"frame {frame.shape}, track {track.shape} and boxes {boxes.shape} must be [R], [R] and [R, 4]"
            )
        if not np.isfinite(boxes).all():
            raise ValueError(f"box {boxes[~np.isfinite(boxes).all(1)][0].tolist()} is not finite")
        order = np.lexsort((track, frame))
        frame, track, boxes = frame[order], track[order], boxes[order]
        twice = np.flatnonzero((frame[1:] == frame[:-1]) & (track[1:] == track[:-1]))
        if len(twice):
            raise ValueError(f"track {track[twice[0]]} has two boxes in frame {frame[twice[0]]}; one is allowed")
        for name, value in (("frame", frame), ("track", track), ("boxes", boxes)):
            object.__setattr__(self, name, value)

    @classmethod
    def from_mot(cls, tracks: mot.Tracks) -> BoxTracks:
        """Return the rows of a MOT file that count in an evaluation."""
        counts = tracks.counts
        return cls(tracks.frame[counts], tracks.track[counts], tracks.boxes[counts])

    @classmethod
    def read(cls, path: str | Path) -> BoxTracks:
        """Return those of a gt.txt or of a file of results; errors as of `mot.read_tracks`."""
        return cls.from_mot(mot.read_tracks(path))

    def __len__(self) -> int:
        return len(self.frame)


def _zeros() -> Rows:
    return np.zeros(len(THRESHOLDS))


@dataclass
class Counts:
    """What is counted in a sequence; add two for the counts of both.

    Attributes:
        found, missed, invented: true positives, false negatives and false positives of CLEAR MOT. overlap: sum of the
            IoUs of those found. switches: IDSW. fragments: Frag. mostly_tracked, partly_tracked, mostly_lost: objects.
        id_found, id_missed, id_invented: IDTP, IDFN and IDFP.
        hota_found, hota_missed, hota_invented [19]: at each of `THRESHOLDS`. hota_overlap [19]: sum of IoUs.
        association, association_recall, association_precision [19]: sums over true positives.
    """

    found: float = 0
    missed: float = 0
    invented: float = 0
    overlap: float = 0
    switches: float = 0
    fragments: float = 0
    mostly_tracked: float = 0
    partly_tracked: float = 0
    mostly_lost: float = 0
    id_found: float = 0
    id_missed: float = 0
    id_invented: float = 0
    hota_found: Rows = field(default_factory=_zeros)
    hota_missed: Rows = field(default_factory=_zeros)
    hota_invented: Rows = field(default_factory=_zeros)
    hota_overlap: Rows = field(default_factory=_zeros)
    association: Rows = field(default_factory=_zeros)
    association_recall: Rows = field(default_factory=_zeros)
    association_precision: Rows = field(default_factory=_zeros)

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, part.name) + getattr(other, part.name) for part in fields(Counts)))

    def scores(self) -> dict[str, float]:
        """Return the metrics by their usual names; MOTP is a mean IoU, HOTA and its parts are means of 19."""
        whole = max(1.0, self.found + self.missed)
        hits = np.maximum(1.0, self.hota_found)
        det = self.hota_found / np.maximum(1.0, self.hota_found + self.hota_missed + self.hota_invented)
        ass = self.association / hits
        tiny = 1e-10  # TrackEval's: LocA is 1 where nothing is found
        return {
            "MOTA": (self.found - self.invented - self.switches) / whole,
            "MOTP": self.overlap / max(1.0, self.found),
            "IDF1": self.id_found / max(1.0, self.id_found + 0.5 * (self.id_invented + self.id_missed)),
            "IDP": self.id_found / max(1.0, self.id_found + self.id_invented),
            "IDR": self.id_found / max(1.0, self.id_found + self.id_missed),
            "HOTA": float(np.sqrt(det * ass).mean()),
            "DetA": float(det.mean()),
            "AssA": float(ass.mean()),
            "DetRe": float((self.hota_found / np.maximum(1.0, self.hota_found + self.hota_missed)).mean()),
            "DetPr": float((self.hota_found / np.maximum(1.0, self.hota_found + self.hota_invented)).mean()),
            "AssRe": float((self.association_recall / hits).mean()),
            "AssPr": float((self.association_precision / hits).mean()),
            "LocA": float((np.maximum(tiny, self.hota_overlap) / np.maximum(tiny, self.hota_found)).mean()),
            "MT": self.mostly_tracked,
            "PT": self.partly_tracked,
            "ML": self.mostly_lost,
            "Frag": self.fragments,
            "IDSW": self.switches,
            "TP": self.found,
            "FN": self.missed,
            "FP": self.invented,
            "IDTP": self.id_found,
            "IDFN": self.id_missed,
            "IDFP": self.id_invented,
        }


@dataclass(frozen=True)
class _Frame:
    """One frame: which objects and which tracks are in it (numbered from 0), and the IoU of each pair."""

    objects: NDArray[np.int64]
    tracks: NDArray[np.int64]
    overlap: Rows


def overlaps(first: Rows, second: Rows) -> Rows:
    """Return the IoU [n, m] of boxes [n, 4] and [m, 4]; 0 where both are empty."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > EPS)


def count(truth: BoxTracks, found: BoxTracks) -> Counts:
    """Return the counts of one sequence: tracks that were found against the truth."""
    objects, truth_index = np.unique(truth.track, return_inverse=True)
    tracks, found_index = np.unique(found.track, return_inverse=True)
    frames = []
    for frame in np.union1d(truth.frame, found.frame):
        a = slice(*np.searchsorted(truth.frame, [frame, frame + 1]))
        b = slice(*np.searchsorted(found.frame, [frame, frame + 1]))
        frames.append(_Frame(truth_index[a], found_index[b], overlaps(truth.boxes[a], found.boxes[b])))
    counts = Counts()
    shape = len(objects), len(tracks)
    lengths = np.bincount(truth_index, minlength=shape[0]), np.bincount(found_index, minlength=shape[1])
    _count_clear(counts, frames, lengths[0])
    _count_identity(counts, frames, lengths)
    _count_hota(counts, frames, lengths)
    return counts


def evaluate(sequences: Iterable[tuple[str, BoxTracks, BoxTracks]]) -> dict[str, dict[str, float]]:
    """Return the scores of each sequence (name, truth, found) by its name, and of all under "COMBINED".

    Raises:
        ValueError: no sequence, or two of one name.
    """
    total, scores = Counts(), {}
    for name, truth, found in sequences:
        if name in scores or name == "COMBINED":
            raise ValueError(f"two sequences are called {name!r}; each needs a name of its own")
        counts = count(truth, found)
        scores[name] = counts.scores()
        total = total + counts
    if not scores:
        raise ValueError("there is no sequence to evaluate")
    return scores | {"COMBINED": total.scores()}


def _count_clear(counts: Counts, frames: list[_Frame], lengths: NDArray[np.int64]) -> None:
    """Frame by frame: pairs of the frame before first, then as much overlap as possible."""
    last = np.full(len(lengths), -1)  # the track an object was last found by
    before = np.full(len(lengths), -1)  # the one it was found by in the last frame that had boxes of both
    found, starts = np.zeros(len(lengths)), np.zeros(len(lengths))
    for frame in frames:
        if not len(frame.objects) or not len(frame.tracks):
            counts.missed += len(frame.objects)
            counts.invented += len(frame.tracks)
            continue
        weight = KEPT * (frame.tracks[None] == before[frame.objects][:, None]) + frame.overlap
        weight[frame.overlap < OVERLAP - EPS] = 0
        rows, columns = linear_sum_assignment(-weight)
        matched = weight[rows, columns] > EPS
        rows, columns = rows[matched], columns[matched]
        objects, tracks = frame.objects[rows], frame.tracks[columns]
        counts.switches += int(((last[objects] >= 0) & (last[objects] != tracks)).sum())
        starts[objects] += before[objects] < 0
        found[objects] += 1
        last[objects] = tracks
        before[:] = -1
        before[objects] = tracks
        counts.found += len(rows)
        counts.missed += len(frame.objects) - len(rows)
        counts.invented += len(frame.tracks) - len(rows)
        counts.overlap += float(frame.overlap[rows, columns].sum())
    share = found / np.maximum(1, lengths)
    counts.mostly_tracked = int((share > MOSTLY_TRACKED).sum())
    counts.mostly_lost = int((share < MOSTLY_LOST).sum())
    counts.partly_tracked = len(lengths) - counts.mostly_tracked - counts.mostly_lost
    counts.fragments = int((starts[starts > 0] - 1).sum())


def _count_identity(counts: Counts, frames: list[_Frame], lengths: tuple[NDArray[np.int64], ...]) -> None:
    """One assignment of whole tracks to whole objects: the one with the most frames in common."""
    common = np.zeros((len(lengths[0]), len(lengths[1])))
    for frame in frames:
        rows, columns = np.nonzero(frame.overlap >= OVERLAP)
        common[frame.objects[rows], frame.tracks[columns]] += 1
    rows, columns = linear_sum_assignment(-common)
    counts.id_found = int(common[rows, columns].sum())
    counts.id_missed = int(lengths[0].sum()) - counts.id_found
    counts.id_invented = int(lengths[1].sum()) - counts.id_found


def _count_hota(counts: Counts, frames: list[_Frame], lengths: tuple[NDArray[np.int64], ...]) -> None:
    """Frame by frame, pairs that belong together over the whole sequence first; then count at each threshold."""
    of_object, of_track = lengths[0][:, None], lengths[1][None]
    common = np.zeros((len(lengths[0]), len(lengths[1])))
    for frame in frames:
        spread = frame.overlap.sum(0)[None] + frame.overlap.sum(1)[:, None] - frame.overlap
        share = np.divide(frame.overlap, spread, out=np.zeros_like(spread), where=spread > EPS)
        common[np.ix_(frame.objects, frame.tracks)] += share
    alignment = common / np.maximum(of_object + of_track - common, EPS)
    matched = np.zeros((len(THRESHOLDS), *common.shape))
    for frame in frames:
        rows, columns = linear_sum_assignment(-alignment[np.ix_(frame.objects, frame.tracks)] * frame.overlap)
        overlap = frame.overlap[rows, columns]
        hit = overlap[None] >= THRESHOLDS[:, None] - EPS  # [19, pairs]
        matched[:, frame.objects[rows], frame.tracks[columns]] += hit
        hits = hit.sum(1)
        counts.hota_found += hits
        counts.hota_missed += len(frame.objects) - hits
        counts.hota_invented += len(frame.tracks) - hits
        counts.hota_overlap += (hit * overlap).sum(1)
    axes = (1, 2)
    counts.association = (matched * matched / np.maximum(1, of_object + of_track - matched)).sum(axes)
    counts.association_recall = (matched * matched / np.maximum(1, of_object)).sum(axes)
    counts.association_precision = (matched * matched / np.maximum(1, of_track)).sum(axes)
