"""Recorded episodes packed for the replay player of the report page: a few kilobytes each, in plain JSON.

The format, which page/player.js reads: numbers of one kind lie together, each thing's frames in a row, as differences
from the frame before (modulo 2^16); deflated, in base64. A viewer sees a centimetre or two, never less.
"""

from __future__ import annotations

import base64
import math
import zlib
from typing import Any

import numpy as np

from sim.engine.lanes import LineType
from sim.engine.state import Kind
from sim.evaluation.episodes import Episodes
from sim.evaluation.worst_cases import moments
from sim.road_shapes import RoadShapes
from sim.sensors.camera.things import BRAKING

SIGHT = 150.0
"""What never comes nearer to the ego than this is left out [m]."""
MOST_FRAMES = 900
"""Longer episodes are cut to this many frames around the worst one: 60 s at 15 Hz."""
FINEST = 0.001
"""Positions are rounded to no less than this [m]."""
STEPS = 2**16
"""A number is stored in 16 bits."""
SPEED_QUANTUM = 0.01
"""[m/s]"""
ROAD_QUANTUM = 0.01
"""[m]"""

# Bits of a thing's flags in a frame.
PRESENT, CRASHED, BRAKES = 1, 2, 4
# What the player draws a thing as.
LOOKS = {Kind.PARKED: "parked", Kind.OBSTACLE: "obstacle", Kind.LANDMARK: "landmark"}
LINES = {LineType.NONE: 0, LineType.STRIPED: 1, LineType.CONTINUOUS: 2, LineType.CONTINUOUS_LINE: 2}


def pack(episodes: Episodes, world: int, case: dict[str, Any]) -> dict[str, Any]:
    """Returns an episode as the player of the report page takes it, ready for JSON.

    Args:
        episodes: of one id and config.
        world: which of them.
        case: the episode's entry in the `cases` of report.json.

    Returns:
        `case`: its name; `dt` [s]; `first`: which frame of the episode the first one here is; `frames`: T;
        `ego`, `other`: which things they are, `other` None or the one that the worst moment was with;
        `looks`, `sizes` [m]: of the K things; `origin` [m], `quantum` [m]: of the positions; `data`: x, y, heading
        as [K, T] uint16 each, speed of the ego as [T] int16 [cm/s], flags as [K, T] uint8; `road`: `pack_road`.

    Raises:
        ValueError: `world` is not one of the episodes, or has no frames.
    """
    if not 0 <= world < len(episodes.seeds):
        raise ValueError(f"world {world} is none of the {len(episodes.seeds)} episodes")
    count = int(episodes.frames[world])
    if count < 1:
        raise ValueError(f"episode {case['case']} has no frames to show")
    found = moments(case)
    first, stop = _window(count, found[0][1] if found else count - 1)
    names = ("x", "y", "heading", "length", "width", "acceleration", "kind", "number", "crashed")
    state = {name: getattr(episodes, name)[first:stop, world].detach().cpu().numpy() for name in names}
    ego_slots = episodes.ego[first:stop, world].cpu().numpy()
    speed = episodes.speed[first:stop, world].detach().cpu().numpy()[np.arange(stop - first), ego_slots]
    identities = _identities(state["kind"], state["number"])
    ego_identity = identities[0, ego_slots[0]]
    tracks = _tracks(state, identities, ego_identity)
    other = _other(case, found, tracks["identity"])
    origin, quantum, data = _quantise(tracks, speed)
    return {
        "case": case["case"],
        "dt": round(float(episodes.dt), 9),
        "first": first,
        "frames": stop - first,
        "ego": int(np.flatnonzero(tracks["identity"] == ego_identity)[0]),
        "other": other,
        "looks": tracks["looks"],
        "sizes": np.round(tracks["sizes"].astype(float), 2).tolist(),
        "origin": [round(float(value), 3) for value in origin],
        "quantum": quantum,
        "data": data,
        "road": pack_road(episodes.network),
    }


def pack_road(network: Any) -> dict[str, Any]:
    """Returns the lanes of a network for the player.

    Returns:
        `lanes`: of each `left` and `right`, its edges as [x0, y0, x1, y1, ...] [cm] in the direction of travel, and
        `lines`, how they are painted: 0 not, 1 dashed, 2 solid; `paved`: None, or of a car park
        [low x, low y, high x, high y] [m].
    """
    shapes = RoadShapes(network.lanes)
    lanes = []
    for number, (lane, table) in enumerate(zip(shapes.lanes, shapes.tables, strict=True)):
        outline = shapes.ribbon(number, 0.0, float(table[-1, 0]))
        half = len(outline) // 2
        left, right = outline[:half], outline[half:][::-1]
        edges = {side: _thin(edge) for side, edge in (("left", left), ("right", right))}
        lanes.append(edges | {"lines": [LINES[LineType(kind)] for kind in lane.line_types]})
    park = shapes.car_park()
    return {"lanes": lanes, "paved": None if park is None else np.round(park.ravel(), 2).tolist()}


def _thin(edge: np.ndarray) -> list[int]:
    """Every third point of a line [n, 2] and its ends, rounded: lanes are sampled more finely than a screen shows."""
    kept = np.unique(np.append(np.arange(0, len(edge), 3), len(edge) - 1))
    return np.rint(edge[kept] / ROAD_QUANTUM).astype(int).ravel().tolist()


def _window(count: int, worst: int) -> tuple[int, int]:
    """First frame and the one after the last: all, or `MOST_FRAMES` with the worst after three quarters."""
    first = max(0, min(worst - MOST_FRAMES * 3 // 4, count - MOST_FRAMES))
    return first, min(count, first + MOST_FRAMES)


def _identities(kind: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Who is in each slot [T, V]: its number; without one, below -1 by slot; -1 nobody."""
    slots = np.arange(kind.shape[1])
    return np.where(kind == Kind.ABSENT, -1, np.where(number >= 0, number, -2 - slots))


def _tracks(state: dict[str, np.ndarray], identities: np.ndarray, ego: int) -> dict[str, Any]:
    """The K things within sight of the ego, by identity: poses and flags [K, T], sizes [K, 2], looks [K].

    Where a thing is absent it keeps the pose that it had last, or will have first: no differences, no bytes.
    """
    frames = np.arange(len(identities))
    known = np.unique(identities[identities != -1])
    inside = identities == known[:, None, None]  # [K, T, V]
    present, slot = inside.any(2), inside.argmax(2)
    # Of each frame the last one, or else the first one, at which the thing was there.
    last = np.maximum.accumulate(np.where(present, frames, -1), axis=1)
    source = np.where(last < 0, present.argmax(1)[:, None], last)
    pose = {}
    for name in ("x", "y", "heading"):
        pose[name] = state[name][source, np.take_along_axis(slot, source, 1)]
    own = int(np.flatnonzero(known == ego)[0])
    distance = np.hypot(pose["x"] - pose["x"][own], pose["y"] - pose["y"][own])
    near = np.flatnonzero(np.where(present, distance, np.inf).min(1) < SIGHT)
    begin = present.argmax(1)
    first_slot = slot[np.arange(len(known)), begin]
    at = {name: state[name][frames, slot] for name in ("crashed", "acceleration")}
    flags = (
        PRESENT * present + CRASHED * (present & at["crashed"]) + BRAKES * (present & (at["acceleration"] < BRAKING))
    )
    kinds = state["kind"][begin, first_slot]
    return {
        "identity": known[near],
        "x": pose["x"][near],
        "y": pose["y"][near],
        "heading": pose["heading"][near],
        "flags": flags[near].astype(np.uint8),
        "sizes": np.stack([state[name][begin, first_slot] for name in ("length", "width")], axis=1)[near],
        "looks": ["ego" if known[k] == ego else LOOKS.get(Kind(int(kinds[k])), "vehicle") for k in near],
    }


def _other(case: dict[str, Any], found: list[tuple[str, int]], identities: np.ndarray) -> int | None:
    """Which of the things the worst moment was with."""
    others = case.get("others") or {}
    if not found:
        return None
    names = ("collision", "at_fault_collision") if found[0][0] == "contact" else (found[0][0],)
    number = next((others[name] for name in names if others.get(name, -1) not in (None, -1)), None)
    places = np.flatnonzero(identities == number) if number is not None else []
    return int(places[0]) if len(places) else None


def _quantise(tracks: dict[str, Any], speed: np.ndarray) -> tuple[tuple[float, float], float, str]:
    """Origin and step of the positions [m], and all numbers as base64."""
    x, y = tracks["x"].astype(float), tracks["y"].astype(float)
    origin = (math.floor(x.min()), math.floor(y.min()))
    extent = max(float(x.max()) - origin[0], float(y.max()) - origin[1])
    quantum = max(FINEST, math.ceil(extent / (STEPS - 1) * 1e5) / 1e5)
    heading = tracks["heading"].astype(float) / (2 * math.pi) * STEPS
    numbers = [(x - origin[0]) / quantum, (y - origin[1]) / quantum, heading, speed[None].astype(float) / SPEED_QUANTUM]
    planes = [_differences(np.rint(values).astype(np.int64)) for values in numbers]
    flags = np.diff(tracks["flags"], axis=1, prepend=np.uint8(0))
    raw = b"".join(plane.tobytes() for plane in planes) + flags.tobytes()
    return origin, quantum, base64.b64encode(zlib.compress(raw, 9)).decode("ascii")


def _differences(values: np.ndarray) -> np.ndarray:
    """From the frame before, modulo 2^16, little-endian [rows, T]; the first frame from zero."""
    return (np.diff(values, axis=1, prepend=0) % STEPS).astype("<u2")
