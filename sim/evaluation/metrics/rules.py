"""How the ego keeps the rules of the road: lane changes and what they cost others, speed limit, lane keeping.

A lane change is the frame at which the lane nearest to the ego becomes another one of its road. To pass from one road
to the next is none, unless both have as many lanes and it goes on in another one. A car park's spots are no lanes:
there all of this but success is invalid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sim.engine.drivers import LANE_CHANGE_MAX_BRAKING_IMPOSED
from sim.engine.state import Kind
from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics.base import Measure, Spec
from sim.evaluation.metrics.routes import ego_lane, family
from sim.evaluation.metrics.signals import (
    first_frame,
    longest_run,
    picked,
    seconds,
    share,
    total,
    way,
    worst,
    worst_event,
)

SHORT = 1.0  # m, least distance to speak of events per kilometre
OSCILLATION = 5.0  # s, within which a lane change is taken back
OVERSPEED = 2.23  # m/s, nuPlan's tolerance, with which the integral of the overspeed is compared
SPEED_ROUNDING = 0.1  # m/s, by which the limit may be exceeded before the time counts
KEPT = 0.5  # m, that the ego may be off its lane's middle (NAVSIM's lane keeping)
KEPT_SECONDS = 2.0  # s, for which it may be farther
CHANGING = 3.0  # s, before and after a lane change, in which it may be anywhere
AFTERMATH = 3.0  # s, after a lane change, in which the new follower is watched

SPECS: dict[str, Spec] = {
    "lane_changes": Spec("", "", False, "lane changes of the ego"),
    "lane_changes_per_km": Spec("1/km", "lower", False, "lane changes of the ego by distance"),
    "oscillations": Spec("", "lower", False, "lane changes taken back within 5 s"),
    "speed_compliance": Spec("", "higher", False, "nuPlan: 1 - mean speed above the limit / 2.23 m/s, at least 0"),
    "speeding_share": Spec("", "lower", False, "share of time more than 0.1 m/s above the speed limit"),
    "keep_right_share": Spec("", "", False, "share of time on the rightmost lane, of that on roads of several lanes"),
    "lane_kept": Spec("", "higher", True, "never 0.5 m off its lane's middle for 2 s, lane changes aside"),
    "forced_braking": Spec("m/s2", "lower", False, "hardest braking of a new follower in the 3 s after a lane change"),
    "hard_braking_forced": Spec("", "lower", True, "did a new follower brake harder than 2 m/s2 (MOBIL's limit)"),
    "success": Spec("", "higher", True, "was the goal of the id reached, as it reports it"),
}


@dataclass(frozen=True)
class LaneChanges:
    """The E lane changes of a batch, sorted by episode and frame; each int64 [E].

    Attributes:
        world: the episode. frame: the first on the new lane. side: by how many lanes to the right, negative: left.
    """

    world: Tensor
    frame: Tensor
    side: Tensor

    def count(self, worlds: int, which: Tensor | None = None) -> Tensor:
        """Return how many there are of each episode [N], of those picked by a mask [E]."""
        return torch.bincount(self.world if which is None else self.world[which], minlength=worlds)


def measure(episodes: Episodes) -> dict[str, Measure]:
    """Return the measures of rules of N episodes."""
    n, last = len(episodes.frames), episodes.last
    road = torch.full((n,), family(episodes.id) != "parking", device=last.device)
    changed = lane_changed(episodes)
    changes = lane_changes(episodes, changed)
    count = changes.count(n)
    distance = total(way(episodes), episodes.counts[1:])
    first = first_frame(changed)
    per_km = count * 1000 / distance.clamp(min=SHORT)
    measures = {
        "lane_changes": Measure.of(count, road, first),
        "lane_changes_per_km": Measure.of(per_km, road & (distance >= SHORT), first),
        "oscillations": Measure.of(*_oscillations(episodes, changes, road)),
        **_speed(episodes, road),
        **_lanes(episodes, changed, road),
        **_forced_braking(episodes, changes, road),
    }
    reported = torch.full_like(road, episodes.reports_success)
    return measures | {"success": Measure.of(episodes.success, reported)}


def lane_changed(episodes: Episodes) -> Tensor:
    """Return at which frames the ego is on another lane than the frame before, bool [T, N]; see `LaneChanges`."""
    first = np.asarray(episodes.network.edge_first)
    edges = torch.from_numpy(np.repeat(np.arange(len(first) - 1), np.diff(first))).to(episodes.x.device)
    lane, facts = ego_lane(episodes), episodes.facts
    edge = edges[lane]
    same_road = edge[1:] == edge[:-1]
    alike = (facts.lane_count[1:] == facts.lane_count[:-1]) & (facts.lane_index[1:] != facts.lane_index[:-1])
    changed = torch.zeros_like(episodes.counts)
    changed[1:] = (lane[1:] != lane[:-1]) & (same_road | alike) & episodes.counts[1:]
    return changed


def lane_changes(episodes: Episodes, changed: Tensor | None = None) -> LaneChanges:
    """Return the lane changes of the egos; `changed` saves asking `lane_changed` again."""
    changed = lane_changed(episodes) if changed is None else changed
    world, frame = changed.T.nonzero().unbind(1)
    index = episodes.facts.lane_index.long()
    return LaneChanges(world, frame, index[frame, world] - index[frame - 1, world])


def _oscillations(episodes: Episodes, changes: LaneChanges, road: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How often a lane change is taken back at once [N], where that is valid, and the first such frame."""
    frames = round(OSCILLATION / episodes.dt)
    again = changes.world[1:] == changes.world[:-1]
    again &= changes.frame[1:] - changes.frame[:-1] <= frames
    again &= changes.side[1:] == -changes.side[:-1]
    back = torch.cat([torch.zeros(len(changes.world[:1]), dtype=torch.bool, device=again.device), again])
    back_at = torch.zeros_like(episodes.counts)
    back_at[changes.frame[back], changes.world[back]] = True
    return changes.count(len(episodes.frames), back), road, first_frame(back_at)


def _speed(episodes: Episodes, road: Tensor) -> dict[str, Measure]:
    limit = episodes.facts.speed_limit.to(torch.float64)
    limited = episodes.counts & ~limit.isnan()
    over = (episodes.of_ego("speed").to(torch.float64) - limit).clamp(min=0)
    mean = total(over, limited) / episodes.counts.sum(0).clamp(min=1)
    top, frame = worst(over, limited)
    frame = torch.where(top > 0, frame, -1)
    known = road & limited.any(0)
    return {
        "speed_compliance": Measure.of((1 - mean / OVERSPEED).clamp(min=0), known, frame),
        "speeding_share": Measure.of(share(limited & (over > SPEED_ROUNDING), episodes.counts), known, frame),
    }


def _lanes(episodes: Episodes, changed: Tensor, road: Tensor) -> dict[str, Measure]:
    facts, counts = episodes.facts, episodes.counts
    several = counts & (facts.lane_count > 1)
    right = share(facts.lane_index == facts.lane_count - 1, several)
    beside = (facts.lateral.abs() > KEPT) & counts & ~_changing(episodes, changed)
    run, begin = longest_run(beside)
    left = seconds(run - 1, episodes.dt) >= KEPT_SECONDS - 1e-9
    return {
        "keep_right_share": Measure.of(right, road & several.any(0)),
        "lane_kept": Measure.of(~left, road, torch.where(left, begin, -1)),
    }


def _changing(episodes: Episodes, changed: Tensor) -> Tensor:
    """Whether a lane change is near in time, or wanted by an ego that follows lanes, bool [T, N]."""
    span = round(CHANGING / episodes.dt)
    frames = torch.arange(len(changed), device=changed.device)[:, None]
    before = torch.where(changed, frames, -span - 1).cummax(0).values
    after = torch.where(changed, frames, len(changed) + span).flip(0).cummin(0).values.flip(0)
    # The change lies between two frames: the one after it is as far from it as the one before.
    near = (frames - before <= span) | (after - 1 - frames <= span)
    follows = episodes.of_ego("kind") <= Kind.MDP
    return near | (follows & (episodes.of_ego("target_lane") != episodes.of_ego("lane")))


def _forced_braking(episodes: Episodes, changes: LaneChanges, road: Tensor) -> dict[str, Measure]:
    """How hard the vehicle that the ego has moved in front of brakes, of each lane change that has such a vehicle."""
    n = len(episodes.frames)
    slot = episodes.facts.follower[changes.frame, changes.world]
    driven = (slot >= 0) & (episodes.kind[changes.frame, changes.world, slot.clamp(min=0)] < Kind.PARKED)
    world, frame = changes.world[driven], changes.frame[driven]
    number = episodes.number[frame, world, slot[driven]]
    hardest, when = hardest_braking(episodes, world, frame, number, AFTERMATH)
    top, which = worst_event(hardest, world, n)
    at, other = (picked(values, torch.where(top > 0, which, -1)) for values in (when, number))
    value = top.clamp(min=0)
    changed = changes.count(n) > 0
    return {
        "forced_braking": Measure.of(value, road & changed, at, other),
        "hard_braking_forced": Measure.of(value > LANE_CHANGE_MAX_BRAKING_IMPOSED, road, at, other),
    }


def hardest_braking(
    episodes: Episodes, world: Tensor, frame: Tensor, number: Tensor, span: float
) -> tuple[Tensor, Tensor]:
    """Return the hardest braking [E] [m/s2], positive, of vehicles by their `number` [E], and at which frame.

    From `frame` [E] on for `span` seconds, before the contact; -inf for a vehicle that is not there. What the engine
    does to a crashed vehicle's speed is no braking.
    """
    last = episodes.last[world]
    hardest = torch.full((len(world),), -torch.inf, dtype=torch.float64, device=world.device)
    when = frame.clone()
    for k in range(round(span / episodes.dt) + 1):
        now = (frame + k).minimum(last)  # later frames look at the last one again
        here = (episodes.number[now, world] == number[:, None]) & ~episodes.crashed[now, world]
        braking = torch.where(here, -episodes.acceleration[now, world], -torch.inf).amax(1).to(torch.float64)
        harder = braking > hardest
        hardest = torch.where(harder, braking, hardest)
        when = torch.where(harder, now, when)
    return hardest, when
