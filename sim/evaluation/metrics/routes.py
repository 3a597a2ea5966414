"""How far along its way the ego has come: what the road and the config of each family say of where it is to go.

| family | the way ends |
|---|---|
| merge | where the episode does, behind the merge |
| exit | on the exit lane; whoever misses it comes no further than where that lane begins |
| intersection | 25 m into the road to any exit, where an ego has arrived |
| roundabout | at the end of the north exit's bend, the ego's destination |
| u-turn | at the end of the road back |
| highway | nowhere: the way is what the lowest rewarded speed covers in the planned duration |
| two-way | nowhere: what the lowest target speed covers in it |
| racetrack | nowhere: what the lanes' speed limit covers in it |
| lane-keeping | nowhere: what the start's speed covers in it |

Parking, and scenarios of one's own, have no way that a lane describes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sim.actions import TARGET_SPEEDS
from sim.engine.network import Network
from sim.evaluation.episodes import Episodes
from sim.scenarios import SCENARIOS, intersection, lane_keeping, merge, roundabout, u_turn

Edge = tuple[str, str]
ROUNDING = 1e-6  # m, by which the sum of a way's lanes may be off


@dataclass(frozen=True)
class Route:
    """A way over lanes with an end.

    Attributes:
        offset, scale: float64 [L]; at s [m] of a lane the ego has come `offset + scale * s` [m] far, NaN beside the
            way. The lanes of a road count alike, whatever their lengths.
        goal: how far it is to the end [m].
    """

    offset: np.ndarray
    scale: np.ndarray
    goal: float


@dataclass(frozen=True)
class Progress:
    """How far N episodes have come.

    Attributes:
        completion: share of the way, float64 [N], within 0 and 1; NaN where there is no way.
        reached: first frame at its end, int64 [N], -1 for never.
    """

    completion: Tensor
    reached: Tensor


def family(id: str) -> str:
    """Return the family of one of Slipstream's ids, "merge" for merge-generic-v1; "" for other ids."""
    scenario = SCENARIOS.get(id.removeprefix("slipstream/"))
    module = type(scenario).__module__
    prefix = "sim.scenarios."
    return module.removeprefix(prefix).replace("_", "-") if module.startswith(prefix) else ""


def planned_seconds(episodes: Episodes) -> float | None:
    """Return how long an episode lasts if nothing ends it [s]; None for one that lasts until something does."""
    config = episodes.config
    if "duration" in config:
        return float(config["duration"])
    scenario = SCENARIOS.get(episodes.id.removeprefix("slipstream/"))
    steps = None if scenario is None else scenario.max_episode_steps
    return None if steps is None else steps / config["policy_frequency"]


def route(episodes: Episodes) -> Route | None:
    """Return the way of a family that has one with an end, else None."""
    make = {
        "merge": _through_merge,
        "exit": _to_exit,
        "intersection": _over_junction,
        "roundabout": _around,
        "u-turn": _around,
    }.get(family(episodes.id))
    return None if make is None else make(episodes.network, episodes.config)


def progress(episodes: Episodes) -> Progress:
    """Return how far the egos have come on their way before the first contact."""
    way = route(episodes)
    if way is not None:
        return _on_route(episodes, way)
    n = len(episodes.frames)
    never = torch.full((n,), -1, dtype=torch.int64, device=episodes.x.device)
    speed = _nominal_speed(episodes)
    seconds = planned_seconds(episodes)
    if speed is None or seconds is None or not speed * seconds > 0:
        return Progress(torch.full((n,), torch.nan, dtype=torch.float64, device=never.device), never)
    share = forward(episodes) / (speed * seconds)
    completion = torch.where(episodes.counts, share, 0.0).amax(0).clamp(0, 1)
    return Progress(completion, never)


def forward(episodes: Episodes) -> Tensor:
    """Return how far the ego has come along its lanes by each frame [m], float64 [T, N]; backwards counts down.

    It stays where it is after the last frame that counts.
    """
    step = forward_steps(episodes)
    return torch.cat([torch.zeros_like(step[:1]), step.cumsum(0)])


def forward_steps(episodes: Episodes) -> Tensor:
    """Return by how much the ego comes forward on its lanes from frame to frame [m], float64 [T - 1, N]."""
    x, y = (episodes.of_ego(name).to(torch.float64) for name in ("x", "y"))
    heading = episodes.facts.lane_heading[:-1].to(torch.float64)
    step = (x[1:] - x[:-1]) * heading.cos() + (y[1:] - y[:-1]) * heading.sin()
    return torch.where(episodes.counts[1:], step, 0.0)


def ego_lane(episodes: Episodes) -> Tensor:
    """Return the flat number of the ego's lane, int64 [T, N]; some lane in rows that do not count."""
    return episodes.of_ego("lane").long().clamp(0, len(episodes.network.lanes) - 1)


def lane_mask(episodes: Episodes, edges: list[Edge]) -> Tensor:
    """Return which lanes belong to these roads, bool [L]."""
    mask = torch.zeros(len(episodes.network.lanes), dtype=torch.bool, device=episodes.x.device)
    for edge in edges:
        mask[_lanes(episodes.network, edge)] = True
    return mask


def _on_route(episodes: Episodes, way: Route) -> Progress:
    """How far along a way with an end."""
    device = episodes.x.device
    lane = ego_lane(episodes)
    lengths = torch.tensor([one.length for one in episodes.network.lanes], dtype=torch.float64, device=device)
    offset, scale = (torch.from_numpy(table).to(device)[lane] for table in (way.offset, way.scale))
    s = episodes.facts.s.to(torch.float64).clamp(min=0).minimum(lengths[lane])
    come = offset + scale * s
    start = come[0]
    come = torch.where(episodes.counts & ~come.isnan(), come, -torch.inf)
    there = come >= way.goal - ROUNDING
    reached = torch.where(there.any(0), there.to(torch.uint8).argmax(0), -1)
    completion = ((come.amax(0) - start) / (way.goal - start)).clamp(0, 1)
    return Progress(torch.where(start < way.goal, completion, torch.nan), reached)


def _nominal_speed(episodes: Episodes) -> float | None:
    """The speed [m/s] that measures a road without an end."""
    config, kind = episodes.config, family(episodes.id)
    if kind == "highway":
        return float(config["reward_speed_range"][0])
    if kind == "two-way":
        action = config["action"]
        speeds = action.get("action_config", action).get("target_speeds")
        return float(min(TARGET_SPEEDS if speeds is None else speeds))
    if kind == "racetrack":
        return episodes.network.lanes[0].speed_limit
    return lane_keeping.EGO_SPEED if kind == "lane-keeping" else None


def _empty(network: Network) -> tuple[np.ndarray, np.ndarray]:
    return np.full(len(network.lanes), np.nan), np.ones(len(network.lanes))


def _lanes(network: Network, edge: Edge) -> list[int]:
    first = network.lane_number(*edge, 0)
    return list(range(first, first + len(network.graph[edge[0]][edge[1]])))


def _chain(network: Network, edges: list[Edge]) -> Route:
    """One road after the other; the middle of a road is as long as its lanes are on average."""
    offset, scale = _empty(network)
    come = 0.0
    for edge in edges:
        numbers = _lanes(network, edge)
        lengths = np.array([network.lanes[i].length for i in numbers])
        offset[numbers], scale[numbers] = come, lengths.mean() / lengths
        come += float(lengths.mean())
    return Route(offset, scale, come)


def _through_merge(network: Network, config: dict[str, Any]) -> Route:
    way = _chain(network, [("a", "b"), ("b", "c"), ("c", "d")])
    generic = "before_merge_length" in config
    return Route(way.offset, way.scale, way.goal - merge.END_MARGIN if generic else merge.END)


def _to_exit(network: Network, config: dict[str, Any]) -> Route:
    way = _chain(network, [("0", "1"), ("1", "2")])
    *others, exit_lane = _lanes(network, ("1", "2"))
    way.offset[others] = np.nan
    for number in (exit_lane, network.lane_number("2", "exit", 0)):
        way.offset[number], way.scale[number] = way.goal, 0.0
    return way


def _over_junction(network: Network, config: dict[str, Any]) -> Route:
    """From the south; however the ego turns, the junction counts as long as on the way to the destination."""
    offset, scale = _empty(network)
    (entry,) = _lanes(network, ("o0", "ir0"))
    before = network.lanes[entry].length
    offset[entry] = 0.0
    wanted = str(config["destination"])
    turn = wanted.replace("o", "il")
    inner = network.graph["ir0"]
    across = inner[turn if turn in inner else "il2"][0].length
    for end in inner:
        (number,) = _lanes(network, ("ir0", end))
        offset[number], scale[number] = before, across / network.lanes[number].length
        (number,) = _lanes(network, (end, end.replace("il", "o")))
        offset[number] = before + across
    return Route(offset, scale, before + across + intersection.ARRIVED_DISTANCE)


def _around(network: Network, config: dict[str, Any]) -> Route:
    """Along the shortest path to the destination; who drives on has been there."""
    u_turns = "incoming_vehicle_destination" not in config
    start, goal = ("a", u_turn.DESTINATION) if u_turns else ("ser", roundabout.EGO_DESTINATION)
    way = _chain(network, list(pairwise(network.shortest_path(start, goal))))
    for end in network.graph.get(goal, {}):
        numbers = _lanes(network, (goal, end))
        way.offset[numbers], way.scale[numbers] = way.goal, 0.0
    return way
