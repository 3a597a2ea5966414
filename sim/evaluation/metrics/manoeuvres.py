"""The extra measures of overtaking against oncoming traffic, of parking, of a lap and of keeping a lane."""

from __future__ import annotations

import torch
from torch import Tensor

from sim.engine.state import Kind
from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics.base import Measure, Spec
from sim.evaluation.metrics.progress import STANDING
from sim.evaluation.metrics.routes import ego_lane, forward_steps
from sim.evaluation.metrics.rules import lane_changes
from sim.evaluation.metrics.signals import first_frame, length, picked, seconds, total, way, worst, worst_event, wrapped

OUTSIDE = 0.3  # m, by which a corner may be off the road (nuPlan's drivable area)

SPECS: dict[str, Spec] = {
    "oncoming_time": Spec("s", "lower", False, "two-way: time on the oncoming traffic's lane"),
    "return_ttc": Spec("s", "higher", False, "two-way: least time to the oncoming vehicle when the ego is back"),
    "overtakes": Spec("", "higher", False, "two-way: vehicles overtaken, less those that overtook"),
    "aborted_overtakes": Spec("", "lower", False, "two-way: returns to the own lane with nobody overtaken"),
    "position_error": Spec("m", "lower", False, "parking: distance from the spot's middle at the end"),
    "heading_error": Spec("rad", "lower", False, "parking: angle to the spot at the end"),
    "gear_reversals": Spec("", "lower", False, "parking: changes between forwards and backwards"),
    "detour": Spec("", "lower", False, "parking: way driven over the straight line, where the ego parked"),
    "laps": Spec("", "higher", False, "racetrack: rounds driven"),
    "lateral_error": Spec("m", "lower", False, "racetrack, lane-keeping: root mean square of the lateral offset"),
    "off_track_time": Spec("s", "lower", False, "racetrack: time with a corner more than 0.3 m off the road"),
}


def overtaking(episodes: Episodes) -> dict[str, Measure]:
    """Return the measures of a road whose left lane is the oncoming traffic's too; it runs along x."""
    n, counts, lane = len(episodes.frames), episodes.counts, episodes.of_ego("lane")
    first, oncoming = episodes.network.lane_number("a", "b", 0), episodes.network.lane_number("b", "a", 0)
    wrong = ((lane == first) | (lane == oncoming)) & counts
    vehicle = episodes.present & (episodes.kind < Kind.PARKED)
    comes = vehicle & (episodes.lane == oncoming)
    ahead = episodes.x - episodes.of_ego("x")[..., None]
    passed = (vehicle & ~comes & (ahead < 0)).sum(2)  # [T, N] of the ego's direction, behind it

    changes = lane_changes(episodes)
    home = changes.side > 0
    away = changes.side < 0
    # The lane change before a return is the way out, if it is the same episode's; else the ego began on the left.
    out = torch.cat([changes.frame[:1] * 0, changes.frame[:-1]])
    known = torch.cat([away[:1] & False, away[:-1] & (changes.world[1:] == changes.world[:-1])])
    out = torch.where(known, out, 0)
    aborted = home & (passed[changes.frame, changes.world] <= passed[out, changes.world])

    at = (changes.frame, changes.world)
    half = (episodes.length[at] + episodes.of_ego("length")[at][:, None]) / 2
    meeting = comes[at] & (ahead[at] > 0) & home[:, None]
    closing = episodes.of_ego("speed")[at][:, None] + episodes.speed[at]
    meeting &= closing > 0
    time = (ahead[at] - half).clamp(min=0) / torch.where(meeting, closing, 1.0)
    soonest, slot = torch.where(meeting, time, torch.inf).min(1)
    top, which = worst_event(-soonest, changes.world, n)
    frame, other = picked(changes.frame, which), picked(episodes.number[at[0], at[1], slot], which)
    gained = passed.gather(0, episodes.last.clamp(min=0)[None])[0] - passed[0]
    return {
        "oncoming_time": Measure.of(seconds(wrong.sum(0), episodes.dt), None, first_frame(wrong)),
        "return_ttc": Measure.of(-top, which >= 0, frame, other),
        "overtakes": Measure.of(gained),
        "aborted_overtakes": Measure.of(changes.count(n, aborted)),
    }


def parking(episodes: Episodes) -> dict[str, Measure]:
    """Return how well the first ego stands in its spot, that of the first landmark, and how it got there."""
    worlds = torch.arange(len(episodes.frames), device=episodes.x.device)
    last, spots = episodes.last.clamp(min=0), episodes.kind[0] == Kind.LANDMARK
    some, goal = spots.any(1), spots.to(torch.uint8).argmax(1)
    x, y, heading, speed = (episodes.of_ego(name).to(torch.float64) for name in ("x", "y", "heading", "speed"))
    goal_x, goal_y, goal_heading = (getattr(episodes, name)[0, worlds, goal] for name in ("x", "y", "heading"))
    away = length(x - goal_x, y - goal_y)
    turned = wrapped(heading[last, worlds] - goal_heading).abs()
    driven = total(way(episodes), episodes.counts[1:])
    moving = (speed.abs() > STANDING) & episodes.counts
    gear = torch.where(moving, speed.sign(), 0.0)
    before = _held(gear)[:-1]
    shifts = (gear[1:] * before < 0).sum(0)
    parked = some & episodes.success & (away[0] > 0)
    return {
        "position_error": Measure.of(away[last, worlds], some, last),
        "heading_error": Measure.of(turned, some, last),
        "gear_reversals": Measure.of(shifts),
        "detour": Measure.of(driven / torch.where(parked, away[0], 1.0), parked),
    }


def lap(episodes: Episodes) -> dict[str, Measure]:
    """Return the measures of a closed circuit."""
    network, outside = episodes.network, episodes.facts.off_road
    lengths = [[one.length for one in network.graph[a][b]] for a, b in network.edges]
    whole = sum(sum(row) / len(row) for row in lengths)
    scale = [sum(row) / len(row) / one for row in lengths for one in row]  # of lanes beside each other alike
    table = torch.tensor(scale, dtype=torch.float64, device=outside.device)
    come = total(forward_steps(episodes) * table[ego_lane(episodes)[:-1]])
    off = (outside > OUTSIDE) & episodes.counts
    top, frame = worst(outside, episodes.counts)
    return {
        "laps": Measure.of(come / whole),
        **lane_error(episodes),
        "off_track_time": Measure.of(seconds(off.sum(0), episodes.dt), None, torch.where(top > OUTSIDE, frame, -1)),
    }


def lane_error(episodes: Episodes) -> dict[str, Measure]:
    """Return how far from the middle of its lane the ego is."""
    beside = episodes.facts.lateral.to(torch.float64)
    count = episodes.counts.sum(0)
    mean_square = total(beside * beside, episodes.counts) / count.clamp(min=1)
    return {"lateral_error": Measure.of(mean_square.sqrt(), count > 0, worst(beside.abs(), episodes.counts)[1])}


def _held(signs: Tensor) -> Tensor:
    """Signs [T, N] with the zeros replaced by the last sign before them, zero at the start."""
    frames = torch.arange(len(signs), device=signs.device)[:, None]
    at = torch.where(signs != 0, frames, 0).cummax(0).values
    return signs.gather(0, at)
