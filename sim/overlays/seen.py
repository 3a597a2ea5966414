"""What a feature observation holds, over the road: vehicles of a table, beams of a lidar, taken cells of a grid."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.engine.lanes import DEFAULT_WIDTH
from sim.observations.kinematics import Feature, Kinematics
from sim.observations.lidar import LidarObservation
from sim.observations.occupancy_grid import OccupancyGrid
from sim.overlays.base import box, first_leaf, first_observation, lag_of
from sim.recording.replay import Frame
from sim.render import SAFE, SEEN, Mark

SEEN_SIZE = (5.0, 2.0)
"""Length and width of a vehicle of which only the place is seen [m]."""


def seen(frame: Frame, moment: Any) -> list[Mark]:
    """What the observation holds: frames where vehicles were seen, beams of a lidar, taken cells of a grid.

    It shows the moment of the decision, which may be up to a policy step ago; vehicles whose velocity was seen are
    carried on at it since, as the driver could do.
    """
    kind, rows = drawable(frame.envs), first_leaf(frame.observation)[0].cpu().double().numpy()
    if isinstance(kind, Kinematics):
        return _seen_vehicles(frame, kind, rows, frame.age - lag_of(moment))
    return _seen_beams(frame, kind, rows) if isinstance(kind, LidarObservation) else _seen_cells(frame, kind, rows)


def drawable(envs: Any) -> Any:
    """Returns the observation type of the first agent; ValueError if it cannot be drawn."""
    kind = first_observation(envs)
    known = isinstance(kind, Kinematics | LidarObservation | OccupancyGrid)
    if isinstance(kind, Kinematics):
        known = {"x", "y"} <= set(kind.features) and kind.exit_lane < 0
    elif isinstance(kind, OccupancyGrid):
        known = Feature.PRESENCE in kind.layers
    if not known:
        raise ValueError(
            f"the overlay 'seen' cannot draw this {type(kind).__name__}: it draws Kinematics with x and y, "
            "LidarObservation and OccupancyGrid with presence"
        )
    return kind


def _seen_vehicles(frame: Frame, kind: Kinematics, rows: np.ndarray, age: float) -> list[Mark]:
    """Frames around the vehicles in the rows of a table, at the places that the table says, `age` seconds later."""
    values = {}
    wide = DEFAULT_WIDTH * int(frame.world.lanes_seen[0, kind.agent])
    for name, column, scaled, low, high in zip(kind.features, rows.T, *kind.scaling(), strict=True):
        low, high = (-wide, wide) if scaled == 2 else (low, high)
        values[name] = low + (column + 1) / 2 * (high - low) if scaled else column
    own = frame.decided[kind.agent]
    if not kind.flags["absolute"]:
        for name, mine in (("x", own[0]), ("y", own[1]), ("vx", own[3]), ("vy", own[4])):
            values[name] = values[name] + mine if name in values else None
    heading = np.zeros(len(rows))
    for across, ahead in (("sin_h", "cos_h"), ("vy", "vx")):
        if values.get(across) is not None and values.get(ahead) is not None:
            heading = np.arctan2(values[across], values[ahead])
            break
    there = np.flatnonzero(values.get("presence", rows.any(1)))
    places = np.stack([values["x"], values["y"]], axis=-1)
    if values.get("vx") is not None and values.get("vy") is not None:
        places = places + age * np.stack([values["vx"], values["vy"]], axis=-1)
    return [Mark(box(places[row], heading[row], *SEEN_SIZE, 0.3), SEEN, width=1) for row in there if row > 0]


def _seen_beams(frame: Frame, kind: LidarObservation, rows: np.ndarray) -> list[Mark]:
    """Beams, each up to what it met."""
    own, angles = frame.decided[kind.agent, :2], np.arange(kind.cells) * (2 * np.pi / kind.cells)
    reach = rows[:, 0] * (kind.maximum_range if kind.normalize else 1)
    tips = own + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    met = reach < kind.maximum_range
    return [Mark(np.array([own, tip]), SEEN if hit else SAFE, False, 1) for tip, hit in zip(tips, met, strict=True)]


def _seen_cells(frame: Frame, kind: OccupancyGrid, layers: np.ndarray) -> list[Mark]:
    """Outlines of the cells that hold a vehicle."""
    taken = np.argwhere(layers[kind.layers.index(Feature.PRESENCE)] > 0)
    own, heading = frame.decided[kind.agent, :2], float(frame.decided[kind.agent, 2]) if kind.aligned else 0.0
    centres = np.array(kind.low) + (taken + 0.5) * np.array(kind.step)
    turn = np.array([[np.cos(heading), np.sin(heading)], [-np.sin(heading), np.cos(heading)]])
    return [Mark(box(own + centre @ turn, heading, *kind.step, 0.0), SEEN, width=1) for centre in centres]
