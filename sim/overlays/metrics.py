"""A table of what the metrics say about this very moment."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from sim.evaluation.episodes import REALS, WHOLES, Episodes
from sim.evaluation.metrics import comfort, conflicts, nearness
from sim.evaluation.metrics.signals import window
from sim.overlays.base import lag_of
from sim.overlays.conflicts import margins_to_danger, snapshot
from sim.recording.replay import Frame
from sim.render import CRITICAL, DIM_TEXT, NEAR, SAFE, TEXT, Colour, Row, Table

UNKNOWN = "-"
"""Stands for a figure that there is none of: nobody ahead, or too short a past."""


def _below(critical: float, near: float) -> Callable[[float], Colour]:
    return lambda value: CRITICAL if value < critical else NEAR if value < near else SAFE


def _beyond(low: float, high: float) -> Callable[[float], Colour]:
    return lambda value: TEXT if low <= value <= high else NEAR


@dataclass(frozen=True)
class Line:
    """A line of the table: its label, how a value is written, and the value's colour."""

    label: str
    form: str
    colour: Callable[[float], Colour] = lambda value: TEXT


LINES: dict[str, Line] = {
    "speed": Line("speed", "{:.1f} m/s"),
    "min_ttc": Line("TTC", "{:.1f} s", _below(conflicts.CRITICAL_TTC, nearness.HORIZON)),
    "min_thw": Line("headway", "{:.2f} s", _below(conflicts.CRITICAL_HEADWAY, 1.5 * conflicts.CRITICAL_HEADWAY)),
    "min_gap": Line("nearest", "{:.1f} m", _below(0.0, 1.0)),
    "rss": Line("RSS margin", "{:+.1f} m", _below(0.0, 0.0)),
    "lon_acceleration": Line(
        "accel. along", "{:+.1f} m/s²", _beyond(comfort.LEAST_LON_ACCELERATION, comfort.MOST_LON_ACCELERATION)
    ),
    "lat_acceleration": Line(
        "accel. across", "{:+.1f} m/s²", _beyond(-comfort.MOST_LAT_ACCELERATION, comfort.MOST_LAT_ACCELERATION)
    ),
    "lon_jerk": Line("jerk along", "{:+.1f} m/s³", _beyond(-comfort.MOST_LON_JERK, comfort.MOST_LON_JERK)),
    "lat_jerk": Line("jerk across", "{:+.1f} m/s³", _beyond(-comfort.MOST_JERK, comfort.MOST_JERK)),
}
"""The lines by the metric or signal that they show."""


class MetricsTable:
    """Shows the first ego's figures: of an episode that is this moment alone, and of comfort, one that ends here."""

    def __init__(self, envs: Any) -> None:
        dt = 1 / envs.config["simulation_frequency"]
        self._frames = window(comfort.JERK_WINDOW, dt) + window(comfort.ACCELERATION_WINDOW, dt)
        self._past: list[tuple[int, Episodes]] = []
        self._seen = -1

    def note(self, frame: Frame) -> None:
        """Remembers the ego at a frame; one that is not later than the last begins the past anew from there."""
        self._seen = frame.index
        while self._past and self._past[-1][0] >= frame.index:
            self._past.pop()
        if self._past and self._past[-1][0] != frame.index - 1:
            self._past.clear()  # frames are missing: no derivative across the gap
        now = joined([snapshot(frame.envs, frame.world)])  # a copy: the world goes on
        self._past = [*self._past, (frame.index, now)][-self._frames :]
        if bool(frame.world.crashed[0, int(frame.world.ego[0, 0])]):
            self._past.clear()  # as the metrics do: a blow is no ride

    def __call__(self, frame: Frame, moment: Any) -> list[Table]:
        """Returns the table."""
        if self._seen != frame.index:
            self.note(frame)
        values = self.figures(frame, moment)
        rows = []
        for name, line in LINES.items():
            value = values.get(name, math.nan)
            if math.isfinite(value):
                written = re.sub(r"^-(?=0\.0+ )", "+", line.form.format(value))  # no minus before a zero
                rows.append(Row(line.label, written, line.colour(value)))
            else:
                rows.append(Row(line.label, UNKNOWN, DIM_TEXT))
        return [Table(rows, "metrics")]

    def figures(self, frame: Frame, moment: Any) -> dict[str, float]:
        """Returns the figures by the names in `LINES`; NaN or infinite where there is none."""
        now = snapshot(frame.envs, moment)
        measures = conflicts.measure(now)
        values = {name: float(measures[name].value[0]) for name in LINES if name in measures}
        past = [one for index, one in self._past if index < frame.index or lag_of(moment) == 0]
        signals = comfort.signals(joined(past)) if past else {}
        values |= {name: float(signals[name][-1, 0]) for name in LINES if name in signals}
        values["speed"] = float(now.of_ego("speed")[0, 0])
        values["rss"] = float(margins_to_danger(now).min())
        return values


def joined(moments: list[Episodes]) -> Episodes:
    """Returns one episode of the ego alone, of moments one after the other."""
    fields = {}
    for name in (*REALS, *WHOLES, "crashed"):
        fields[name] = torch.cat([one.of_ego(name)[:, :, None] for one in moments])
    count = len(moments)
    ego = torch.zeros(count, 1, dtype=torch.int64)
    return replace(moments[-1], **fields, ego=ego, frames=torch.tensor([count]))
