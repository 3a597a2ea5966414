"""The tables of the road surface: a grid over the road that lists which strips and lines come near each cell.

A point asks only those (see `surface`), and each by its own formula: no picture is stored, so that a line
is sharp at any distance and a map of 10 km small.
"""

from typing import Any

import numpy as np
import torch
import warp as wp

from sim.engine.network import Network
from sim.road_shapes import ASPHALT_MARGIN, OVERLAP, SHOULDER_MARGIN, STRIPE_WIDTH, RoadShapes
from sim.scenarios.parking import WALLS_X, WALLS_Y
from sim.sensors.ground.strips import NO_END, SAME, Curve, Strip, strips_of
from sim.sensors.ground.surface import REACH, Entry, Ground, KnotRow, LineRow, StripRow, ground_at, ground_over

__all__ = ["Ground", "GroundTables", "ground_at", "ground_over"]

CELL = 4.0
"""Side of a cell [m], more where the map would have more than `MOST_CELLS`."""
MOST_CELLS = 65_536


class GroundTables:
    """The road surface of a network on a device.

    Args:
        network: the road.
        device: of the tables.
        walled: does a car park reach as far as parking-v0's walls, or only as its bays.
    """

    ground: Ground

    def __init__(self, network: Network, device: torch.device, walled: bool = True) -> None:
        self.strips = strips_of(network.lanes)
        paved = RoadShapes(network.lanes).car_park()
        self.ground = ground = Ground()
        if paved is not None:
            walls = np.array([[-WALLS_X, -WALLS_Y], [WALLS_X, WALLS_Y]]) / 2
            if walled and (walls[0] < paved[0]).all() and (walls[1] > paved[1]).all():
                paved = walls
            ground.paved = 1
            (ground.paved_low_x, ground.paved_low_y), (ground.paved_high_x, ground.paved_high_y) = paved
        rows, lines, knots = _rows(self.strips, paved is not None)
        boxes = np.array([strip.box() for strip in self.strips])
        low = boxes[:, 0].min(axis=0) - SHOULDER_MARGIN - OVERLAP - REACH
        high = boxes[:, 1].max(axis=0) + SHOULDER_MARGIN + OVERLAP + REACH
        size = max(CELL, float(np.sqrt(np.prod(high - low) / MOST_CELLS)))
        columns, steps = (int(np.ceil(length / size)) for length in high - low)
        ground.low_x, ground.low_y, ground.cells_per_metre = *map(float, low), 1 / size
        ground.columns, ground.rows = columns, steps
        firsts, entries = _cells(self.strips, rows, low, size, (columns, steps))
        place = str(device)
        ground.cells = wp.array(firsts, dtype=wp.int32, device=place)
        ground.entries = wp.array(entries, dtype=Entry, device=place)
        for name, kind, filled in (("strips", StripRow, rows), ("lines", LineRow, lines), ("knots", KnotRow, knots)):
            setattr(ground, name, wp.array(_table(kind, filled), dtype=kind, device=place))

    @property
    def nbytes(self) -> int:
        """Memory of the tables."""
        names = ("cells", "entries", "strips", "lines", "knots")
        return sum(getattr(self.ground, name).capacity for name in names)


def _table(kind: Any, rows: list[dict[str, float]]) -> np.ndarray:
    """Return rows as an array of a Warp struct; a device table can't be empty."""
    filled = np.zeros(max(len(rows), 1), dtype=kind.numpy_dtype())
    for target, row in zip(filled, rows, strict=False):
        for name, value in row.items():
            target[name] = value
    return filled


def _rows(strips: list[Strip], car_park: bool) -> tuple[list[dict], list[dict], list[dict]]:
    """Return the rows of the strips, of their lines and of their knots; bays of a car park are lines alone."""
    rows: list[dict] = []
    lines: list[dict] = []
    knots: list[dict] = []
    for strip in strips:
        row = {"curve": strip.curve, "spread": strip.spread, "span": strip.ends[1] - strip.ends[0]} | strip.frame
        low, high = strip.road
        names = (("outer", SHOULDER_MARGIN), ("shoulder", SHOULDER_MARGIN), ("road", ASPHALT_MARGIN))
        for name, margin in names:
            hidden = NO_END if car_park and name != "outer" else 0.0  # an interval of negative length covers nothing
            row |= {f"{name}_low": low - margin + hidden, f"{name}_high": high + margin - hidden}
        for end, sign, opened in zip(("low", "high"), (-1, 1), strip.open_ends, strict=True):
            at = strip.ends[end == "high"] + sign * OVERLAP
            if strip.curve == Curve.CIRCLE:  # distances from the ends
                at, sign = -OVERLAP, -1
            row[f"cut_{end}"] = at if opened else sign * NO_END
            row[f"blurred_{end}"] = sign * NO_END if opened else at
        row["wide"] = int(strip.curve == Curve.CIRCLE and row["span"] > np.pi)
        row |= {"first_line": len(lines), "first_knot": len(knots)}
        lines += [vars(line) for line in strip.lines]
        names = ("s", "x", "y", "side_x", "side_y", "half")
        knots += [dict(zip(names, (*knot[:5], knot[5] / 2), strict=True)) for knot in strip.knots]
        rows.append(row | {"end_line": len(lines), "end_knot": len(knots)})
    return rows, lines, knots


def _cells(
    strips: list[Strip], rows: list[dict], low: np.ndarray, size: float, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first entry of each of `shape` (columns, rows) cells, with one more for the end, and the entries."""
    columns, steps = shape
    slack = size * np.sqrt(0.5) + REACH
    found = []
    for number, (strip, row) in enumerate(zip(strips, rows, strict=True)):
        corners = strip.box() + np.array([[-1], [1]]) * (SHOULDER_MARGIN + OVERLAP + REACH)
        first, last = np.clip(np.floor((corners - low) / size).astype(int), 0, (columns - 1, steps - 1))
        i, j = (grid.ravel() for grid in np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(first, last, strict=True))))
        near, lateral, slack_across = _near(strip, row, low + (np.stack([i, j], axis=1) + 0.5) * size, slack)
        places = np.array([line.lateral for line in strip.lines])
        reach = (slack_across + STRIPE_WIDTH / 2 + SAME)[near]
        first_line = row["first_line"] + np.searchsorted(places, lateral[near] - reach)
        end_line = row["first_line"] + np.searchsorted(places, lateral[near] + reach)
        found.append(np.stack([(j * columns + i)[near], np.full(near.sum(), number), first_line, end_line], axis=1))
    table = np.concatenate(found)
    table = table[np.argsort(table[:, 0], kind="stable")]
    firsts = np.searchsorted(table[:, 0], np.arange(columns * steps + 1)).astype(np.int32)
    entries = np.zeros(len(table), dtype=Entry.numpy_dtype())
    for name, column in zip(("strip", "first_line", "end_line"), table.T[1:], strict=True):
        entries[name] = column
    return firsts, entries


def _near(strip: Strip, row: dict, points: np.ndarray, slack: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which points [n, 2] are within `slack` [m] of a strip, their lateral, and by how much it may be off."""
    x, y = (points - (row["x"], row["y"])).T
    across = np.full(len(points), slack)
    if strip.curve == Curve.RIBBON:
        gaps = np.linalg.norm(points[:, None] - strip.knots[None, :, 1:3], axis=2).min(axis=1)
        reach = row["outer_high"] + slack + np.ptp(strip.knots[:, 0])
        return gaps < reach, np.zeros(len(points)), across + reach
    if strip.curve == Curve.CIRCLE:
        lateral = np.hypot(x, y)
        past = [row["low_x"] * y - row["low_y"] * x, row["high_y"] * x - row["high_x"] * y]
        beyond = -np.max(past, axis=0) if row["wide"] else -np.min(past, axis=0)
    else:
        s, lateral = x * row["dx"] + y * row["dy"], y * row["dx"] - x * row["dy"]
        beyond = np.maximum(strip.ends[0] - s, s - strip.ends[1])
        if strip.curve == Curve.SINE:
            lateral = lateral - row["amplitude"] * np.sin(row["pulsation"] * s + row["phase"])
            across = across * np.hypot(1.0, row["amplitude"] * row["pulsation"])
    beside = np.maximum(row["outer_low"] - lateral, lateral - row["outer_high"])
    return (beyond < slack + OVERLAP) & (beside < across), lateral, across
