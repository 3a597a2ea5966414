"""A road as the few strips of asphalt that it is painted on, each in the coordinates of its own curve.

Parallel lanes are one strip, so that a wide pixel over two of them adds up; lines that two lanes share are one line.
The layout is that of `sim.road_shapes`, whose polygons the tests compare with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import Any

import numpy as np

from sim.engine.lanes import CircularLane, LineType, SineLane, StraightLane
from sim.road_shapes import ASPHALT_MARGIN, STRIPE_LENGTH, STRIPE_SPACING, STRIPE_WIDTH, RoadShapes

SAME = 1e-3
"""Difference below which two directions, angles or places are one [m, rad]."""
MEETING = 0.5
"""How far apart the ends of lanes may be that continue each other [m]: on racetracks they miss by centimetres."""
SEGMENTS = 8
"""Of a polyline that are one strip."""
NO_END = 1e9
"""Where a strip that has no blurred end, or no hard one, has it [m]."""


class Curve(IntEnum):
    """What a strip's coordinates follow: `lateral` from a line, a sine or a sampled curve [m], or a circle's radius."""

    LINE = 0
    SINE = 1
    CIRCLE = 2
    RIBBON = 3


@dataclass
class Line:
    """A painted line along a strip."""

    lateral: float
    """Of its middle [m]."""
    period: float = 0.0
    """From dash to dash, the first at half of it [m, of circles rad]; 0 where the line is continuous."""
    half: float = 0.0
    """Half a dash's length [m, of circles rad]."""
    twin: int = 0
    """Does it lie on the line before it, with other dashes?"""


@dataclass
class Strip:
    """Lanes side by side along one curve."""

    curve: Curve
    frame: dict[str, float]
    """The curve: fields of `sim.sensors.surface.StripRow`."""
    ends: tuple[float, float]
    """Along the curve [m]; of circles 0 and the span [rad]."""
    road: tuple[float, float]
    """Lateral bounds of the lanes without margins [m]."""
    lines: list[Line] = field(default_factory=list)
    """From low to high lateral."""
    open_ends: tuple[bool, bool] = (False, False)
    """Do lanes of other strips go on from there?"""
    knots: np.ndarray = field(default_factory=lambda: np.zeros((0, 6)))
    """Of a ribbon [n, 6]: s, x, y of the middle [m]; unit vector to its right; width [m]."""

    @property
    def spread(self) -> float:
        """How far the curve leaves its line, on each side [m]."""
        return abs(self.frame.get("amplitude", 0.0))

    def box(self) -> np.ndarray:
        """Corners [[low x, low y], [high x, high y]] of a box around the lanes [m]."""
        reach = max(map(abs, self.road)) + self.spread
        at = np.array([self.frame["x"], self.frame["y"]])
        if self.curve == Curve.RIBBON:
            points = self.knots[:, 1:3]
        elif self.curve == Curve.CIRCLE:
            points = at[None]
        else:
            along = np.array([self.frame["dx"], self.frame["dy"]])
            points = at + np.outer(self.ends, along)
        return np.stack([points.min(axis=0) - reach, points.max(axis=0) + reach])


def strips_of(lanes: Sequence[Any]) -> list[Strip]:
    """Return the strips of a list of lanes (`sim.engine.lanes`, or anything that `RoadShapes` takes)."""
    families: dict[tuple, list[tuple[Any, float, int]]] = {}
    ribbons, members = [], []
    for lane in lanes:
        if isinstance(lane, (StraightLane, CircularLane)):
            key, lateral, sense = (_arc if isinstance(lane, CircularLane) else _line)(lane)
            families.setdefault(key, []).append((lane, lateral, sense))
        else:
            ribbons.append(lane)
    strips = []
    for family in families.values():
        for group in _side_by_side(sorted(family, key=lambda one: one[1])):
            strips.append(_strip(group))
            members.append([lane for lane, _, _ in group])
    for lane in ribbons:
        chunks = _ribbon(lane)
        strips += chunks
        members += [[lane]] * len(chunks)
    for strip, own in zip(strips, members, strict=True):
        if strip.curve != Curve.RIBBON:
            strip.open_ends = _continued(strip, own, lanes)
        else:
            begins, ends = (_meets(point, [one for one in lanes if one is not own[0]]) for point in _ends(own[0]))
            first, last = strip.open_ends
            strip.open_ends = (first or begins, last or ends)
    return strips


def _line(lane: StraightLane) -> tuple[tuple, float, int]:
    """Return what lanes side by side share, a lane's lateral place [m], and whether it runs along (1) or back (-1)."""
    along, sense = lane.direction, 1
    wave: tuple = ()
    if isinstance(lane, SineLane):
        wave = (lane.amplitude, lane.pulsation, lane.phase)
    elif along[0] < -SAME or (abs(along[0]) <= SAME and along[1] < 0):
        along, sense = -along, -1
    start = np.array(lane.start if sense > 0 else lane.end)
    place = (*_rounded(along), *_rounded([start @ along, lane.length]), *wave)
    return (Curve.SINE if wave else Curve.LINE, *place), float(start @ _right_of(along)), sense


def _arc(lane: CircularLane) -> tuple[tuple, float, int]:
    """As `_line`; lateral is the radius, and "along" is towards larger angles (clockwise on the screen)."""
    low, high = sorted((lane.start_phase, lane.end_phase))
    place = _rounded([*lane.center, np.cos(low), np.sin(low), high - low])
    return (Curve.CIRCLE, *place), lane.radius, lane.turn


def _rounded(numbers: Any) -> tuple[int, ...]:
    return tuple(round(float(number) / SAME) for number in numbers)


def _right_of(along: np.ndarray) -> np.ndarray:
    return np.array([-along[1], along[0]])


def _side_by_side(family: list[tuple[Any, float, int]]) -> list[list[tuple[Any, float, int]]]:
    """Return runs of lanes, sorted by their place, whose asphalt touches."""
    groups, reach = [], -np.inf
    for one in family:
        lane, lateral, _ = one
        if lateral - lane.width / 2 - ASPHALT_MARGIN > reach:
            groups.append([])
        groups[-1].append(one)
        reach = max(reach, lateral + lane.width / 2 + ASPHALT_MARGIN)
    return groups


def _strip(group: list[tuple[Any, float, int]]) -> Strip:
    lane, first, sense = group[0]
    if isinstance(lane, CircularLane):
        low, high = sorted((lane.start_phase, lane.end_phase))
        span = min(high - low, 2 * np.pi)
        frame = {"x": lane.center[0], "y": lane.center[1]}
        for name, angle in (("low", low), ("high", low + span), ("middle", low + span / 2)):
            frame |= {f"{name}_x": np.cos(angle), f"{name}_y": np.sin(angle)}
        curve, ends, zero = Curve.CIRCLE, (0.0, span), 0.0
    else:
        start = lane.start if sense > 0 else lane.end
        frame = {"x": start[0], "y": start[1], "dx": sense * lane.direction[0], "dy": sense * lane.direction[1]}
        curve, ends, zero = Curve.LINE, (0.0, lane.length), first
        if isinstance(lane, SineLane):
            curve = Curve.SINE
            frame |= {"amplitude": lane.amplitude, "pulsation": lane.pulsation, "phase": lane.phase}
    low = min(lateral - one.width / 2 for one, lateral, _ in group) - zero
    high = max(lateral + one.width / 2 for one, lateral, _ in group) - zero
    lines: list[Line] = []
    for one, lateral, way in group:
        sign = -way if curve == Curve.CIRCLE else way  # a clockwise lane's right is towards the centre
        unit = lateral if curve == Curve.CIRCLE else 1.0
        lines += _lines(one, lateral - zero, sign, unit)
    return Strip(curve, frame, ends, (low, high), _without_doubles(lines))


def _lines(lane: Any, lateral: float, sense: int, unit: float) -> list[Line]:
    """Return a lane's lines; `sense` is 1 where its right is towards larger laterals, `unit` [m] that of lengths."""
    found = []
    spacing = lane.length / max(1, round(lane.length / STRIPE_SPACING))
    for side, kind in zip((-0.5, 0.5), lane.line_types, strict=True):
        place = lateral + sense * side * lane.width
        if kind in (LineType.CONTINUOUS, LineType.CONTINUOUS_LINE):
            found.append(Line(place))
        elif kind == LineType.STRIPED:
            found.append(Line(place, spacing / unit, min(STRIPE_LENGTH, spacing) / 2 / unit))
    return found


def _without_doubles(lines: list[Line]) -> list[Line]:
    """Return the lines sorted, without those that lie on another of the same dashes, or on a continuous one."""
    kept: list[Line] = []
    for line in sorted(lines, key=lambda one: (round(one.lateral / SAME), one.period)):
        on_last = bool(kept) and abs(line.lateral - kept[-1].lateral) < STRIPE_WIDTH / 2
        if on_last and (kept[-1].period == 0 or abs(line.period - kept[-1].period) < 1e-6):
            continue
        line.twin = int(on_last)
        kept.append(line)
    return kept


def _ribbon(lane: Any) -> list[Strip]:
    """Return the strips of a lane that is known by samples alone."""
    table = RoadShapes([lane]).tables[0]
    wide = float(table[:, 5].max())
    lines = _without_doubles(_lines(_Plain(float(table[-1, 0]), wide, lane.line_types), 0.0, 1, 1.0))
    strips = []
    cuts = [*range(0, len(table) - 1, SEGMENTS), len(table) - 1]
    for first, last in pairwise(cuts):
        frame = {"x": table[first, 1], "y": table[first, 2], "half": wide / 2}
        ends = (float(table[first, 0]), float(table[last, 0]))
        inner = (first > 0, last < len(table) - 1)
        knots = table[first : last + 1]
        strips.append(Strip(Curve.RIBBON, frame, ends, (-wide / 2, wide / 2), lines, inner, knots))
    return strips


@dataclass(frozen=True)
class _Plain:
    """What `_lines` asks of a lane."""

    length: float
    width: float
    line_types: tuple[LineType, LineType]


def _ends(lane: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return where a lane begins and ends [m]."""
    begin, end = (lane.position(at, 0.0) for at in (0.0, float(lane.length)))
    return np.array([float(begin[0]), float(begin[1])]), np.array([float(end[0]), float(end[1])])


def _meets(point: np.ndarray, lanes: Sequence[Any]) -> bool:
    return any(np.linalg.norm(point - other) < MEETING for lane in lanes for other in _ends(lane))


def _continued(strip: Strip, own: list[Any], lanes: Sequence[Any]) -> tuple[bool, bool]:
    """Return whether a lane of another strip goes on where the strip's low and high end are."""
    others = [lane for lane in lanes if not any(lane is one for one in own)]
    goes_on = [False, False]
    for lane in own:
        for point in _ends(lane):
            if strip.curve == Curve.CIRCLE:
                arm = point - (strip.frame["x"], strip.frame["y"])
                to_low, to_high = (arm @ (strip.frame[f"{end}_x"], strip.frame[f"{end}_y"]) for end in ("low", "high"))
                side = int(to_high > to_low)
            else:
                s = (point - (strip.frame["x"], strip.frame["y"])) @ (strip.frame["dx"], strip.frame["dy"])
                side = int(s > strip.ends[1] / 2)
            goes_on[side] = goes_on[side] or _meets(point, others)
    return goes_on[0], goes_on[1]
