"""Where everyone has been: fading lines on the road."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.overlays.base import lag_of
from sim.recording.replay import Frame
from sim.render import EGO, TRAIL, Colour, Mark
from sim.world import Kind

EGO_SECONDS = 8.0
"""How far back the trail of an ego goes [s]."""
SECONDS = 2.0
"""How far back those of others go [s], as highway-env's `show_trajectories`."""
FADES = ((1.0, 0.22), (0.6, 0.42), (0.3, 0.68))
"""Up to which share of its age a trail is drawn how opaque, the oldest stretch first."""
WIDTH = 3
"""Of a trail [px]."""
DOT = 0.45
"""Radius of the dot that a trail has at each full second of the past [m]."""


@dataclass(frozen=True)
class Past:
    """Who was where at a frame.

    Attributes:
        index: of the frame. time: since the reset [s]. places: (x, y) [m] by the number of the vehicle.
    """

    index: int
    time: float
    places: dict[int, tuple[float, float]]


class Trail:
    """Draws where vehicles were, the egos' longer; those that never moved have no trail."""

    def __init__(self) -> None:
        self._past: list[Past] = []

    def note(self, frame: Frame) -> None:
        """Remembers a frame; one that is not later than the last begins the past anew from there."""
        while self._past and self._past[-1].index >= frame.index:
            self._past.pop()
        places = {number: place for number, _, place in _vehicles(frame.world)}
        self._past.append(Past(frame.index, frame.time, places))
        oldest = frame.time - EGO_SECONDS
        self._past = [one for one in self._past if one.time >= oldest - 1e-9]

    def __call__(self, frame: Frame, moment: Any) -> list[Mark]:
        """Returns a line for each vehicle, from its oldest place to where it is at the moment, in stretches."""
        if not self._past or self._past[-1].index != frame.index:
            self.note(frame)
        now = frame.time - lag_of(moment)
        egos = set(moment.ego[0].tolist())
        marks = []
        for number, slot, place in _vehicles(moment):
            span = EGO_SECONDS if slot in egos else SECONDS
            colour = EGO if slot in egos else TRAIL
            known = [one for one in self._past if now - span - 1e-9 <= one.time < now - 1e-9 and number in one.places]
            times = np.array([one.time for one in known] + [now])
            points = np.array([one.places[number] for one in known] + [place])
            if len(points) > 1 and np.ptp(points, axis=0).max() > 0.01:
                marks += _faded((now - times) / span, points, colour)
                if slot in egos:
                    marks += _dots(now - times, points, colour)
        return marks


def _vehicles(world: Any) -> list[tuple[int, int, tuple[float, float]]]:
    """Number, slot and place of each vehicle of the first world; slots are given away, numbers are not."""
    kind = world.kind[0].cpu().numpy()
    slots = np.flatnonzero((kind != Kind.ABSENT) & (kind < Kind.OBSTACLE) & (kind != Kind.PARKED))
    x, y = (getattr(world, name)[0].cpu().double().numpy() for name in ("x", "y"))
    numbers = world.number[0].cpu().numpy() if hasattr(world, "number") else np.arange(len(kind))
    return [(int(numbers[slot]), int(slot), (float(x[slot]), float(y[slot]))) for slot in slots]


def _faded(age: np.ndarray, points: np.ndarray, colour: Colour) -> list[Mark]:
    """A line in stretches, the older the fainter; `age` [n] is a share of the oldest that is shown."""
    marks = []
    for (oldest, alpha), (youngest, _) in zip(FADES, (*FADES[1:], (0.0, 0.0)), strict=True):
        part = np.flatnonzero((age <= oldest + 1e-9) & (age >= youngest - 1e-9))
        part = np.arange(part[0], min(part[-1] + 2, len(points))) if len(part) else part  # up to the next stretch
        if len(part) > 1:
            marks.append(Mark(points[part], colour, closed=False, width=WIDTH, alpha=alpha, under=True))
    return marks


def _dots(age: np.ndarray, points: np.ndarray, colour: Colour) -> list[Mark]:
    """Dots where the vehicle was one, two, three ... seconds ago [s]."""
    around = np.arange(10) * (2 * np.pi / 10)
    circle = DOT * np.stack([np.cos(around), np.sin(around)], axis=-1)
    marks = []
    for second in range(1, int(age.max() + 1e-9) + 1):
        middle = [np.interp(second, age[::-1], column[::-1]) for column in points.T]
        marks.append(Mark(circle + middle, colour, width=0, alpha=0.75, under=True))
    return marks
