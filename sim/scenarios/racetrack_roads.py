"""The roads of racetrack, racetrack-large and racetrack-oval: closed circuits of one edge after the other.

Source: highway_env/envs/racetrack_env.py `_make_road`, 1.12.1.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from sim.engine.lanes import CircularLane, Lane, LineType, StraightLane
from sim.engine.network import Network

WIDTH = 5  # m, of every lane
SPEED_LIMIT = 10.0  # m/s, of racetrack and racetrack-oval

# Left and right marking
FIRST = (LineType.CONTINUOUS, LineType.STRIPED)
INNER = (LineType.CONTINUOUS, LineType.NONE)
MIDDLE = (LineType.STRIPED, LineType.STRIPED)
OPEN_MIDDLE = (LineType.STRIPED, LineType.NONE)
OUTER = (LineType.STRIPED, LineType.CONTINUOUS)
OPEN_OUTER = (LineType.NONE, LineType.CONTINUOUS)

Point = tuple[float, float]


def _straight(start: Point, end: Point, lines: tuple[LineType, LineType], limit: float = SPEED_LIMIT) -> Lane:
    """A straight lane; points in metres, `limit` in m/s."""
    ends = (float(start[0]), float(start[1])), (float(end[0]), float(end[1]))
    return StraightLane(*ends, width=WIDTH, line_types=lines, speed_limit=limit)


def _arc(
    center: Point,
    radius: float,
    degrees: tuple[float, float],
    lines: tuple[LineType, LineType],
    limit: float = SPEED_LIMIT,
) -> Lane:
    """An arc around `center` [m] from the first to the second angle; clockwise if the angle grows."""
    phases = (float(np.deg2rad(angle)) for angle in degrees)
    where = (float(center[0]), float(center[1])), float(radius)
    clockwise = degrees[1] > degrees[0]
    return CircularLane(*where, *phases, clockwise, width=WIDTH, line_types=lines, speed_limit=limit)


def _circuit(*sections: list[Lane]) -> Network:
    """Name the nodes a, b, c ... and close the circuit at a."""
    names = [chr(ord("a") + i) for i in range(len(sections))]
    return Network({start: {names[(i + 1) % len(names)]: sections[i]} for i, start in enumerate(names)})


def racetrack() -> Network:
    """The two-lane circuit."""
    return _circuit(
        [_straight((42, 0), (100, 0), FIRST), _straight((42, 5), (100, 5), OUTER)],
        [_arc((100, -20), 20, (90, -1), INNER), _arc((100, -20), 25, (90, -1), OUTER)],
        [_straight((120, -20), (120, -30), INNER), _straight((125, -20), (125, -30), OUTER)],
        [_arc((105, -30), 15, (0, -181), INNER), _arc((105, -30), 20, (0, -181), OUTER)],
        [_arc((70, -30), 20, (0, 136), FIRST), _arc((70, -30), 15, (0, 137), OPEN_OUTER)],
        [
            _straight((55.7, -15.7), (35.7, -35.7), INNER),
            _straight((59.3934, -19.2), (39.3934, -39.2), OUTER),
        ],
        [_arc((18.1, -18.1), 25, (315, 170), INNER), _arc((18.1, -18.1), 30, (315, 165), OUTER)],
        [_arc((18.1, -18.1), 25, (170, 56), INNER), _arc((18.1, -18.1), 30, (170, 58), OUTER)],
        [_arc((43.2, 23.4), 23.5, (240, 270), FIRST), _arc((43.2, 23.4), 18.5, (238, 268), OPEN_OUTER)],
    )


def racetrack_large(limit: float) -> Network:
    """The three-lane circuit with a speed limit [m/s]."""

    def straights(ends: list[tuple[Point, Point]], lines: tuple) -> list[Lane]:
        return [_straight(start, end, pair, limit) for (start, end), pair in zip(ends, lines, strict=True)]

    def arcs(center: Point, radii: tuple, degrees: list[Point], lines: tuple) -> list[Lane]:
        return [_arc(center, *of, limit) for of in zip(radii, degrees, lines, strict=True)]

    marked = (INNER, MIDDLE, OPEN_OUTER)
    first = (155.7, -45.7), (135.7 + -30, -65.7 + -30)
    second = (159.3934, -49.2), (139.3934 + -30, -69.2 + -30)
    third = tuple((a[0] + 2 * (b[0] - a[0]), a[1] + 2 * (b[1] - a[1])) for a, b in zip(first, second, strict=True))
    back = (118.1 + -30, -48.1 + -30)
    turned, met = np.deg2rad(205), np.deg2rad(30)  # where the way back leaves one arc and meets the last
    starts = [(back[0] + r * np.cos(turned), back[1] + r * np.sin(turned)) for r in (25, 30, 35)]
    ends = [(42 - r * np.cos(met), -15 - r * np.sin(met)) for r in (15, 20, 25)]
    return _circuit(
        straights([((42, y), (200, y)) for y in (0, 5, 10)], (FIRST, MIDDLE, OPEN_OUTER)),
        arcs((200, -20), (20, 25, 30), [(90, -1)] * 3, marked),
        straights([((x, -20), (x, -61)) for x in (220, 225, 230)], marked),
        arcs((205, -60), (15, 20, 25), [(0, -181)] * 3, marked),
        arcs((170, -60), (20, 15, 10), [(0, 136), (0, 137), (0, 137)], marked),
        straights([first, second, third], marked),
        arcs(back, (25, 30, 35), [(317, 202), (317, 205), (317, 205)], marked),
        straights(list(zip(starts, ends, strict=True)), marked),
        arcs((42, -15), (15, 20, 25), [(210, 88), (210, 90), (212, 88)], marked),
    )


def racetrack_oval(length: float, count: int) -> Network:
    """The oval of `count` lanes with straights of `length` [m]; `count` 1 gives two lanes on one another."""
    lanes = [0, *range(1, count - 1), count - 1]

    def section(make: Callable[..., Lane], *shape: Callable[[int], Any], first: tuple = INNER, middle: tuple) -> list:
        lines = [first, *[middle] * (len(lanes) - 2), OUTER]
        return [make(*(part(5 * i) for part in shape), pair) for i, pair in zip(lanes, lines, strict=True)]

    def straight(start: Callable[[int], Point], end: Callable[[int], Point], first: tuple = INNER) -> list[Lane]:
        return section(_straight, start, end, first=first, middle=OPEN_MIDDLE)

    def arc(center: Point, radius: int, degrees: Point, middle: tuple = OPEN_MIDDLE) -> list[Lane]:
        return section(_arc, lambda _: center, lambda out: radius + out, lambda _: degrees, middle=middle)

    return _circuit(
        straight(lambda out: (0, out), lambda out: (length + 1, out), FIRST),
        arc((length, -20), 20, (90, 0)),
        straight(lambda out: (length + 20 + out, -20), lambda out: (length + 20 + out, -50)),
        arc((length + 5, -50), 15, (0, -90)),
        straight(lambda out: (length + 5, -(65 + out)), lambda out: (-5, -(65 + out))),
        arc((-5, -50), 15, (-90, -180)),
        straight(lambda out: (-20 - out, -50), lambda out: (-20 - out, -20)),
        arc((0, -20), 20, (180, 90), OUTER),
    )
