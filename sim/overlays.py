"""What can be drawn over a replay: times to collision, RSS margins, and what the driver saw.

The first two are the metrics' own figures (`sim.evaluation.metrics`), asked for at the moment that is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from sim.engine.lanes import DEFAULT_WIDTH
from sim.evaluation.episodes import REALS, WHOLES, Episodes
from sim.evaluation.metrics import rss
from sim.evaluation.metrics.boxes import Boxes, touching
from sim.evaluation.metrics.conflicts import CRITICAL_TTC, HORIZON
from sim.observations import TupleObservation
from sim.observations.kinematics import Feature, Kinematics
from sim.observations.lidar import LidarObservation
from sim.observations.occupancy_grid import OccupancyGrid
from sim.recording.film import Overlay
from sim.recording.replay import Frame
from sim.render import Colour, Mark

CRITICAL: Colour = (255, 70, 60)
"""Below the metric's critical value, or in danger."""
NEAR: Colour = (255, 196, 60)
SAFE: Colour = (150, 230, 160)
SEEN: Colour = (250, 240, 120)
RSS_PARAMETERS = "dense-traffic"
RSS_RANGE = 10.0
"""RSS margins up to here are drawn [m]."""
LABEL_OFFSET = 3.0
"""How far above the middle of a vehicle its label stands [m]."""
SEEN_SIZE = (5.0, 2.0)
"""Length and width of a vehicle of which only the place is seen [m]."""


def overlay_of(names: Sequence[str], envs: Any) -> Overlay:
    """Returns what draws the overlays of these names for `envs`.

    Raises:
        ValueError: an unknown name, or an observation that cannot be drawn.
    """
    unknown = [name for name in names if name not in OVERLAYS]
    if unknown or not names:
        raise ValueError(f"unknown overlay {', '.join(map(repr, unknown))}; there are {', '.join(OVERLAYS)}")
    if "seen" in names:
        _observation(envs)
    return lambda frame, moment: [mark for name in names for mark in OVERLAYS[name](frame, moment)]


def time_to_collision(frame: Frame, moment: Any) -> list[Mark]:
    """Lines from the ego to all that it would touch within `HORIZON` seconds if nobody changed speed or course."""
    episodes = snapshot(frame.envs, moment)
    others = episodes.present.flatten().nonzero()[:, 0]
    ego = episodes.ego.flatten().expand(len(others))
    first, last = touching(Boxes.at(episodes, ego), Boxes.at(episodes, others))
    marks = []
    for other, begin, end in zip(others.tolist(), first.tolist(), last.tolist(), strict=True):
        if begin > HORIZON or begin > end or end < 0:
            continue
        colour = CRITICAL if begin <= CRITICAL_TTC else NEAR
        ends = np.array([_place(moment, int(ego[0])), _place(moment, other)])
        marks.append(Mark(ends, colour, closed=False))
        marks.append(Mark(ends.mean(0, keepdims=True), colour, label=f"{max(begin, 0.0):.1f} s"))
    return marks


def rss_margins(frame: Frame, moment: Any) -> list[Mark]:
    """Frames around the vehicles that RSS judges, with the margin to a dangerous situation where it is small [m].

    It is the margin along the road, or across it while that one is kept.
    """
    episodes = snapshot(frame.envs, moment)
    now = rss.situation(episodes, slice(0, 1))
    along, across = rss.margins(now, rss.PARAMETERS[RSS_PARAMETERS])
    margin = torch.where(across < 0, along, torch.maximum(along, across)) + now.absent
    marks = []
    for slot in (margin[0, 0] < RSS_RANGE).nonzero()[:, 0].tolist():
        metres = float(margin[0, 0, slot])
        colour = CRITICAL if metres < 0 else SAFE
        marks.append(Mark(_corners(moment, slot, 0.5), colour, width=1))
        above = _place(moment, slot) - np.array([0.0, LABEL_OFFSET])
        marks.append(Mark(above[None], colour, label=f"RSS {metres:+.1f} m"))
    return marks


def seen(frame: Frame, moment: Any) -> list[Mark]:
    """What the observation holds: frames where vehicles were seen, beams of a lidar, taken cells of a grid.

    It shows the moment of the decision, which may be up to a policy step ago; vehicles whose velocity was seen are
    carried on at it since, as the driver could do.
    """
    observation, kind = frame.observation, _observation(frame.envs)
    while isinstance(observation, tuple):
        observation = observation[0]
    rows = observation[0].cpu().double().numpy()
    if isinstance(kind, Kinematics):
        return _seen_vehicles(frame, kind, rows, frame.age - getattr(moment, "lag", 0.0))
    return _seen_beams(frame, kind, rows) if isinstance(kind, LidarObservation) else _seen_cells(frame, kind, rows)


OVERLAYS: dict[str, Callable[[Frame, Any], list[Mark]]] = {"ttc": time_to_collision, "rss": rss_margins, "seen": seen}


def snapshot(envs: Any, moment: Any) -> Episodes:
    """Returns world 0 at one moment as an episode of one frame, for the metrics."""
    state = {name: getattr(moment, name)[None, :1].cpu() for name in (*REALS, *WHOLES, "crashed")}
    nothing = torch.zeros(1, dtype=torch.bool)
    return Episodes(
        id=envs.id,
        config=dict(envs.config),
        network=envs.network,
        seeds=[0],
        dt=1 / envs.config["simulation_frequency"],
        frames_per_step=1,
        **(state | {"crashed": torch.zeros_like(state["crashed"])}),  # also a crashed ego is shown its surroundings
        ego=moment.ego[None, :1, 0].cpu().long(),
        frames=torch.ones(1, dtype=torch.int64),
        actions=torch.zeros(0, 1),
        rewards=torch.zeros(0, 1, dtype=torch.float64),
        latency=torch.zeros(0, dtype=torch.float64),
        terminated=nothing,
        success=nothing,
        reports_success=False,
    )


def _observation(envs: Any) -> Any:
    """The observation type of the first agent; ValueError if it cannot be drawn."""
    kind = envs.observation_type
    while isinstance(kind, TupleObservation):
        kind = kind.members[0]
    drawable = isinstance(kind, Kinematics | LidarObservation | OccupancyGrid)
    if isinstance(kind, Kinematics):
        drawable = {"x", "y"} <= set(kind.features) and kind.exit_lane < 0
    elif isinstance(kind, OccupancyGrid):
        drawable = Feature.PRESENCE in kind.layers
    if not drawable:
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
    return [Mark(_box(places[row], heading[row], *SEEN_SIZE, 0.3), SEEN, width=1) for row in there if row > 0]


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
    return [Mark(_box(own + centre @ turn, heading, *kind.step, 0.0), SEEN, width=1) for centre in centres]


def _place(moment: Any, slot: int) -> np.ndarray:
    return np.array([float(moment.x[0, slot]), float(moment.y[0, slot])])


def _corners(moment: Any, slot: int, margin: float) -> np.ndarray:
    length, width, heading = (float(getattr(moment, name)[0, slot]) for name in ("length", "width", "heading"))
    return _box(_place(moment, slot), heading, length, width, margin)


def _box(place: np.ndarray, heading: float, length: float, width: float, margin: float) -> np.ndarray:
    """Corners [4, 2] of a rectangle, the front left one first [m]."""
    half_length, half_width = length / 2 + margin, width / 2 + margin
    corners = np.array([(1, -1), (1, 1), (-1, 1), (-1, -1)]) * np.array([half_length, half_width])
    turn = np.array([[np.cos(heading), np.sin(heading)], [-np.sin(heading), np.cos(heading)]])
    return place + corners @ turn
