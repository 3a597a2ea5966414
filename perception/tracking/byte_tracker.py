"""ByteTrack over many independent streams at once, with a Kalman filter or a learned model of motion.

Each update, in each stream: the turn of the camera since the last one is read from what all tracks have in common and
taken off; certain detections are given to tracks they overlap with; then uncertain ones to tracks seen a moment ago
(arXiv 2110.06864); then certain ones that are left to tracks that they overlap with where these were last seen, as in
OC-SORT (arXiv 2203.14360, observation-centric recovery); then to tracks seen once. What is left of the certain ones
begins new tracks. Times are in seconds: a dropped frame or another frame rate needs no other settings. A stream's
tracks depend neither on the other streams nor on how many there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from perception.detection.postprocess import Detections
from perception.tracking.association import assign, common_shift, overlaps
from perception.tracking.kalman import KalmanMotion
from perception.tracking.tracks import Motion, Tracks, times_of, to_corners, to_middle


@dataclass(frozen=True)
class TrackerSettings:
    """When a detection belongs to a track.

    Attributes:
        certain: score from which a detection is certain. uncertain: score below which it is not looked at.
        begin: score from which a certain detection begins a track.
        overlap: least IoU of a track and a certain detection. uncertain_overlap: of one with an uncertain detection.
        new_overlap: of a track seen once and its second detection.
        last_overlap: of the box a track was last seen in and a certain detection that fits nothing else; above 1 for
            never.
        turn: least gain in overlap, in boxes that overlap fully, for which all tracks of a stream are moved together
            because the camera has turned; infinite for never.
        confirm: updates in a row in which a track must be seen before it is told; a stream's first are told at once.
        lost: how long a track is kept unseen [s].
        recent: how long it may have been unseen to be given uncertain detections [s].
        same_label: may only detections of its own label belong to a track.
    """

    certain: float = 0.3
    uncertain: float = 0.1
    begin: float = 0.3
    overlap: float = 0.1
    uncertain_overlap: float = 0.5
    new_overlap: float = 0.3
    last_overlap: float = 0.1
    turn: float = 0.5
    confirm: int = 2
    lost: float = 3.5
    recent: float = 0.5
    same_label: bool = False

    def __post_init__(self) -> None:
        for part in fields(self):
            value, whole = getattr(self, part.name), part.name in ("confirm", "same_label")
            least = 1 if part.name == "confirm" else 0
            most = value == math.inf if part.name == "turn" else False
            if not isinstance(value, int if whole else int | float) or not (least <= value < math.inf or most):
                raise ValueError(f"{part.name} is {value!r}; it must be a number of at least {least}")


MOTIONS = ("kalman", "lstm")


@dataclass
class _State:
    """All tracks of all streams, M rows, by stream and then by age.

    `number` is 0 until a track is told; `label`, `score` and `detection` are of the last detection, `last` is its box
    [M, 4] (middle x, middle y, width, height), moved with the camera's turns since.
    """

    stream: Tensor
    number: Tensor
    motion: Tensor
    last: Tensor
    age: Tensor
    hits: Tensor
    unseen: Tensor
    label: Tensor
    score: Tensor
    detection: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))

    def where(self, index: Tensor) -> _State:
        return _State(*(getattr(self, part.name)[index] for part in fields(_State)))


@dataclass
class _Padded:
    """The detections of B streams, D places each: middle x ... height [B, D, 4], corners [B, D, 4], scores, labels."""

    middles: Tensor
    corners: Tensor
    scores: Tensor
    labels: Tensor
    free: Tensor


class Tracker:
    """Follows what detectors find in B streams.

    Args:
        motion: "kalman", "lstm" with a folder of its weights in `weights`, or a `tracks.Motion` of one's own.
        streams: B.
        settings: see `TrackerSettings`.
        frame_rate: of the streams, where `update` is not told the time [1/s].
        weights: folder of the weights, of "lstm" alone.

    Raises:
        ValueError: an unknown motion, no stream, or weights that cannot be read.
    """

    def __init__(
        self,
        motion: str | Motion = "kalman",
        streams: int = 1,
        settings: TrackerSettings | None = None,
        frame_rate: float = 15.0,
        weights: str | None = None,
    ) -> None:
        if streams < 1 or not 0 < frame_rate < math.inf:
            raise ValueError(f"a tracker needs streams >= 1 and frame_rate > 0, got {streams} and {frame_rate}")
        if isinstance(motion, str):
            motion = _motion_named(motion, weights)
        self.motion, self.streams, self.frame_rate = motion, streams, frame_rate
        self.settings = settings or TrackerSettings()
        self.restart()

    def restart(self) -> None:
        """Forget everything in all streams."""
        device, dtype = self.motion.device, self.motion.dtype

        def none(*shape: int, of: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(0, *shape, dtype=of, device=device)

        motion, last = none(self.motion.size, of=dtype), none(4, of=dtype)
        unseen, score = none(of=dtype), none(of=dtype)
        self._state = _State(none(), none(), motion, last, none(), none(), unseen, none(), score, none())
        self._next = torch.ones(self.streams, dtype=torch.int64, device=device)
        self._fresh = torch.ones(self.streams, dtype=torch.bool, device=device)

    def update(
        self,
        detections: Sequence[Detections],
        restart: Tensor | None = None,
        elapsed: float | Tensor | None = None,
        arrived: Tensor | None = None,
    ) -> Tracks:
        """Return the tracks of all streams after one more frame.

        Args:
            detections: of each stream, B in all.
            restart: bool [B]: streams that begin anew with this frame, with no track and numbers from 1.
            elapsed: time since the last update, of all or [B] [s]; one over the frame rate without.
            arrived: bool [B]: streams whose frame came; in the others time passes and detections are ignored. All
                without.

        Raises:
            ValueError: another number of streams, a time that is negative or not finite, or a box that is not finite.
        """
        if len(detections) != self.streams:
            raise ValueError(f"detections of {len(detections)} streams; this tracker follows {self.streams}")
        device = self.motion.device
        everywhere = torch.ones(self.streams, dtype=torch.bool, device=device)
        restart = None if restart is None else self._mask(restart, "restart")
        arrived = everywhere if arrived is None else self._mask(arrived, "arrived")
        elapsed = times_of(1 / self.frame_rate if elapsed is None else elapsed, everywhere.to(self.motion.dtype))
        found = self._padded(detections, arrived)
        if restart is not None:  # once nothing more is refused
            self._drop(restart)
        state = self._state
        passed = elapsed[state.stream]
        state.motion = self.motion.predict(state.motion, passed)
        state.unseen, state.age = state.unseen + passed, state.age + 1
        self._turn(state, found)
        self._match(state, found)
        self._state = self._with_new(self._alive(state, arrived), found)
        self._fresh = self._fresh & ~arrived
        return self._told()

    def _mask(self, mask: Tensor, name: str) -> Tensor:
        mask = torch.as_tensor(mask, device=self.motion.device)
        if mask.dtype != torch.bool or mask.shape != (self.streams,):
            raise ValueError(f"{name} is {mask.dtype} {tuple(mask.shape)}; expected bool ({self.streams},)")
        return mask

    def _drop(self, streams: Tensor) -> None:
        self._state = self._state.where(~streams[self._state.stream])
        self._next = torch.where(streams, 1, self._next)
        self._fresh = self._fresh | streams

    def _padded(self, detections: Sequence[Detections], arrived: Tensor) -> _Padded:
        """The detections side by side; those of streams whose frame did not come are not `free`."""
        counts = torch.tensor([len(one) for one in detections])
        places = torch.arange(int(counts.max()))
        there = (places < counts[:, None]).to(self.motion.device)  # [B, D]
        boxes = torch.cat([one.boxes.reshape(-1, 4) for one in detections]).to(self.motion.device, self.motion.dtype)
        if not bool(boxes.isfinite().all()):
            raise ValueError(f"a detected box is not finite: {boxes[~boxes.isfinite().all(1)][0].tolist()}")

        def spread(values: Tensor) -> Tensor:
            out = values.new_zeros(*there.shape, *values.shape[1:])
            out[there] = values
            return out

        corners = spread(boxes)
        scores = spread(torch.cat([one.scores for one in detections]).to(self.motion.device, self.motion.dtype))
        labels = spread(torch.cat([one.labels for one in detections]).to(self.motion.device))
        free = there & arrived[:, None] & (scores >= self.settings.uncertain)
        return _Padded(to_middle(corners), corners, scores, labels, free)

    def _turn(self, state: _State, found: _Padded) -> None:
        """Move all tracks of a stream as its camera's turn since the last update has moved them."""
        order = torch.argsort(state.unseen, stable=True)
        order = order[torch.argsort(state.stream[order], stable=True)]  # those seen last are the surest
        spread = self._spread(state.stream)
        used = spread(torch.ones_like(state.stream, dtype=torch.bool))
        boxes = spread(to_corners(self.motion.boxes(state.motion))[order])
        shift = common_shift(boxes, used, found.corners, found.free, self.settings.turn)[state.stream]
        state.motion = self.motion.shift(state.motion, shift)
        state.last = torch.cat([state.last[:, :2] + shift, state.last[:, 2:]], 1)

    def _spread(self, stream: Tensor) -> Callable[[Tensor], Tensor]:
        """What puts rows, by stream, side by side: [M, ...] -> [B, T, ...], 0 where there is none."""
        place = places_of(stream, self.streams)
        width = int(place.max()) + 1 if len(place) else 0

        def spread(values: Tensor) -> Tensor:
            out = values.new_zeros((self.streams, width, *values.shape[1:]))
            out[stream, place] = values
            return out

        return spread

    def _match(self, state: _State, found: _Padded) -> None:
        """Give detections to tracks and update these; `state.detection` tells which, -1 for none."""
        settings, row, spread = self.settings, state.stream, self._spread(state.stream)
        place = places_of(row, self.streams)
        width = int(place.max()) + 1 if len(place) else 0
        seen_as = torch.full((self.streams, width), -1, dtype=torch.int64, device=row.device)
        told = spread(state.number > 0)
        recent = told & (spread(state.unseen) <= settings.recent + 1e-9)
        once = spread(state.number == 0)
        certain = found.scores >= settings.certain
        similar = overlaps(spread(to_corners(self.motion.boxes(state.motion))), found.corners)
        same = True
        if settings.same_label:
            same = spread(state.label)[:, :, None] == found.labels[:, None]

        def stage(tracks: Tensor, choice: Tensor, similarity: Tensor, fits: Tensor) -> None:
            open_ = (tracks & (seen_as < 0))[:, :, None] & (choice & found.free)[:, None] & same
            matched = assign(similarity, open_ & fits)
            taken = matched >= 0
            seen_as[taken] = matched[taken]
            found.free[taken.nonzero()[:, 0], matched[taken]] = False

        stage(told, certain, similar, similar >= max(settings.overlap, 1e-6))
        stage(recent, ~certain, similar, similar >= max(settings.uncertain_overlap, 1e-6))
        where_last = overlaps(spread(to_corners(state.last)), found.corners)
        stage(told, certain, where_last, where_last >= max(settings.last_overlap, 1e-6))
        stage(once, certain, similar, similar >= max(settings.new_overlap, 1e-6))
        state.detection = seen_as[row, place]
        self._see(state, found)

    def _see(self, state: _State, found: _Padded) -> None:
        seen = (state.detection >= 0).nonzero()[:, 0]
        where = state.stream[seen], state.detection[seen]
        state.motion[seen] = self.motion.update(state.motion[seen], found.middles[where])
        state.last[seen] = found.middles[where]
        state.label[seen], state.score[seen] = found.labels[where], found.scores[where]
        state.unseen[seen] = 0
        state.hits[seen] += 1

    def _alive(self, state: _State, arrived: Tensor) -> _State:
        """Without tracks unseen for too long, or seen too few times in a row; numbers for those now confirmed."""
        once = state.number == 0
        failed = once & (state.detection < 0) & arrived[state.stream]
        gone = state.unseen > self.settings.lost + 1e-9
        state = state.where(~(failed | gone))
        self._number(state, (state.number == 0) & (state.hits >= self.settings.confirm))
        return state

    def _number(self, state: _State, new: Tensor) -> None:
        """Name tracks, in each stream in the order in which they stand."""
        streams = state.stream[new]
        state.number[new] = self._next[streams] + places_of(streams, self.streams)
        self._next = self._next + torch.bincount(streams, minlength=self.streams)

    def _with_new(self, state: _State, found: _Padded) -> _State:
        """With a track for each certain detection that is left."""
        least = max(self.settings.begin, self.settings.certain)
        stream, detection = (found.free & (found.scores >= least)).nonzero(as_tuple=True)
        zero = torch.zeros_like(stream)
        new = _State(
            stream,
            zero.clone(),
            self.motion.start(found.middles[stream, detection]),
            found.middles[stream, detection],
            zero + 1,
            zero + 1,
            torch.zeros(len(stream), dtype=self.motion.dtype, device=stream.device),
            found.labels[stream, detection],
            found.scores[stream, detection],
            detection,
        )
        self._number(new, self._fresh[stream] | (new.hits >= self.settings.confirm))
        both = _State(*(torch.cat([getattr(state, part.name), getattr(new, part.name)]) for part in fields(_State)))
        return both.where(torch.argsort(both.stream, stable=True))

    def _told(self) -> Tracks:
        state = self._state.where(self._state.number > 0)
        order = torch.argsort(state.stream * (1 << 40) + state.number)
        state = state.where(order)
        return Tracks(
            state.stream,
            state.number,
            to_corners(self.motion.boxes(state.motion)),
            self.motion.velocities(state.motion),
            torch.diag_embed(self.motion.variances(state.motion)),
            state.age,
            state.unseen,
            state.detection,
            state.label,
            state.score,
        )


def places_of(stream: Tensor, streams: int) -> Tensor:
    """Return the place of each row among those of its stream, for streams int64 [M] in rising order."""
    counts = torch.bincount(stream, minlength=streams)
    first = counts.cumsum(0) - counts
    return torch.arange(len(stream), device=stream.device) - first[stream]


def _motion_named(name: str, weights: str | None) -> Motion:
    if name == "kalman":
        if weights is not None:
            raise ValueError(f"a Kalman filter has no weights, but they were named: {weights}")
        return KalmanMotion()
    if name == "lstm":
        from perception.tracking.lstm_motion import LstmMotion

        if weights is None:
            raise ValueError("motion 'lstm' needs the folder of its weights")
        return LstmMotion.load(weights)
    raise ValueError(f"unknown motion {name!r}; known are {', '.join(MOTIONS)}")
