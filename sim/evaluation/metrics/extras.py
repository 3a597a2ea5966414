"""What only some scenarios have: gaps at lane changes, the merge, the exit, the right of way, the roundabout's ring.

`measure` returns the measures of the episodes' family alone; the names of other families are absent. Those of
overtaking, parking and racing are in `manoeuvres`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sim.engine.drivers import LANE_CHANGE_MAX_BRAKING_IMPOSED
from sim.engine.lanes import DEFAULT_WIDTH, CircularLane
from sim.engine.network import MARGIN
from sim.engine.state import Kind
from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics import manoeuvres
from sim.evaluation.metrics.base import Measure, Spec
from sim.evaluation.metrics.progress import STANDING
from sim.evaluation.metrics.routes import ego_lane, family, lane_mask
from sim.evaluation.metrics.rules import AFTERMATH, hardest_braking, lane_changes
from sim.evaluation.metrics.signals import first_frame, length, picked, seconds, worst_event

AHEAD = 30.0  # m, within which one with right of way brakes for an ego in its way
IN_THE_WAY = DEFAULT_WIDTH / 2 + MARGIN  # m, beside the line that it heads for: there drivers see a vehicle

SPECS: dict[str, Spec] = manoeuvres.SPECS | {
    "lane_change_gap_ahead": Spec("m", "higher", False, "least gap to the vehicle ahead at a lane change"),
    "lane_change_gap_behind": Spec("m", "higher", False, "least gap to the vehicle behind at a lane change"),
    "cut_in_ttc": Spec("s", "higher", False, "least time to collision of the vehicle behind at a lane change"),
    "merged": Spec("", "higher", True, "merge: did the vehicle on the ramp find a gap"),
    "merge_remaining": Spec("m", "higher", False, "merge: rest of the joining lane when the ramp's vehicle left it"),
    "merge_gap": Spec("s", "higher", False, "merge: time gap that the vehicle behind the ramp's had when it joined"),
    "merge_braking": Spec("m/s2", "lower", False, "merge: hardest braking of the ramp's vehicle"),
    "exit_missed": Spec("", "lower", True, "exit: did the ego drive past"),
    "exit_remaining": Spec("m", "higher", False, "exit: rest of the exit lane when the ego entered it"),
    "waiting_time": Spec("s", "lower", False, "intersection: time standing before the junction"),
    "blocking_time": Spec("s", "lower", False, "intersection: time standing inside the junction"),
    "priority_braking": Spec(
        "m/s2", "lower", False, "intersection: hardest braking of one with right of way, with the ego in its way"
    ),
    "right_of_way_violated": Spec("", "lower", True, "intersection: did such a one brake harder than 2 m/s2"),
    "entry_gap": Spec("s", "higher", False, "roundabout: time gap to the next vehicle on the ring, at the entry"),
    "entry_braking": Spec("m/s2", "lower", False, "roundabout: its hardest braking in the 3 s after the entry"),
    "correct_exit": Spec("", "higher", True, "roundabout: did the ego leave the ring by its exit"),
    "ring_stops": Spec("", "lower", False, "roundabout: how often the ego stopped on the ring"),
    "circulating_time": Spec("s", "", False, "roundabout: time on the ring"),
}
CHANGING_LANES = ("highway", "merge", "exit", "u-turn")


def measure(episodes: Episodes) -> dict[str, Measure]:
    """Return the measures of N episodes that only their family has."""
    kind = family(episodes.id)
    own = {
        "merge": _merge,
        "exit": _exit,
        "intersection": _intersection,
        "roundabout": _roundabout,
        "two-way": manoeuvres.overtaking,
        "parking": manoeuvres.parking,
        "racetrack": manoeuvres.lap,
        "lane-keeping": manoeuvres.lane_error,
    }.get(kind)
    measures = _lane_changes(episodes) if kind in CHANGING_LANES else {}
    return measures | (own(episodes) if own else {})


def _lane_changes(episodes: Episodes) -> dict[str, Measure]:
    """Gaps and time to collision at the lane changes that have somebody ahead or behind."""
    changes, facts, n = lane_changes(episodes), episodes.facts, len(episodes.frames)
    at = (changes.frame, changes.world)
    measures = {}

    def least(name: str, value: Tensor, slot: Tensor) -> None:
        value = torch.where(slot >= 0, -value, -torch.inf).to(torch.float64)
        top, which = worst_event(value, changes.world, n)
        other = episodes.number[at[0], at[1], slot.clamp(min=0)]
        measures[name] = Measure.of(-top, which >= 0, picked(changes.frame, which), picked(other, which))

    leader, follower = facts.leader[at], facts.follower[at]
    least("lane_change_gap_ahead", facts.gap[at], leader)
    least("lane_change_gap_behind", facts.follower_gap[at], follower)
    behind = episodes.speed[at[0], at[1], follower.clamp(min=0)]
    closing = behind - episodes.of_ego("speed")[at]
    time = facts.follower_gap[at].clamp(min=0) / torch.where(closing > 0, closing, 1.0)
    least("cut_in_ttc", time, torch.where(closing > 0, follower, -1))
    return measures


def _merge(episodes: Episodes) -> dict[str, Measure]:
    """How the vehicle on the ramp, which is not the ego, gets in."""
    network, worlds = episodes.network, torch.arange(len(episodes.frames), device=episodes.x.device)
    ramp = lane_mask(episodes, [("j", "k"), ("k", "b")])
    joining = network.lane_number("b", "c", len(network.graph["b"]["c"]) - 1)
    lane = episodes.lane.long().clamp(0, len(network.lanes) - 1)
    starts = ramp[lane[0]] & episodes.present[0] & (episodes.kind[0] < Kind.PARKED)
    some, slot = starts.any(1), starts.to(torch.uint8).argmax(1)
    own = lane[:, worlds, slot]
    first = first_frame(~ramp[own] & (own != joining) & episodes.counts)
    found, frame = first >= 0, first.clamp(min=0)
    number = episodes.number[0, worlds, slot]
    at = (frame, worlds)
    end = network.lanes[joining].end[0]
    x, on = episodes.x[at], lane[at]
    mine, lengths = x.gather(1, slot[:, None]), episodes.length[at]
    away = mine - x - (lengths + lengths.gather(1, slot[:, None])) / 2
    vehicle = (episodes.kind[at] != Kind.ABSENT) & (episodes.kind[at] < Kind.PARKED)
    behind = vehicle & (on == on.gather(1, slot[:, None])) & (x < mine)
    gap, follower = torch.where(behind, away, torch.inf).min(1)
    speed = episodes.speed[frame, worlds, follower]
    timed = some & found & behind.any(1) & (speed > STANDING)
    headway = gap.clamp(min=0) / torch.where(timed, speed, 1.0)
    driving = episodes.counts & ~episodes.crashed[:, worlds, slot]
    braking = torch.where(driving, -episodes.acceleration[:, worlds, slot], -torch.inf)
    hardest, when = braking.max(0)
    return {
        "merged": Measure.of(found, some, first, number),
        "merge_remaining": Measure.of(end - mine[:, 0], some & found, first, number),
        "merge_gap": Measure.of(headway, timed, first, episodes.number[frame, worlds, follower]),
        "merge_braking": Measure.of(hardest.clamp(min=0), some, when, number),
    }


def _exit(episodes: Episodes) -> dict[str, Measure]:
    network, lane = episodes.network, ego_lane(episodes)
    exit_lane = network.lane_number("1", "2", len(network.graph["1"]["2"]) - 1)
    ramp = network.lane_number("2", "exit", 0)
    entered = first_frame(((lane == exit_lane) | (lane == ramp)) & episodes.counts)
    past = first_frame(lane_mask(episodes, [("2", "3")])[lane] & episodes.counts)
    s = episodes.facts.s.gather(0, entered.clamp(min=0)[None])[0]
    on_ramp = lane.gather(0, entered.clamp(min=0)[None])[0] == ramp
    rest = torch.where(on_ramp, 0.0, network.lanes[exit_lane].length - s).clamp(min=0)
    missed = (past >= 0) & (entered < 0)
    return {
        "exit_missed": Measure.of(missed, None, torch.where(missed, past, -1)),
        "exit_remaining": Measure.of(rest, entered >= 0, entered),
    }


def _intersection(episodes: Episodes) -> dict[str, Measure]:
    """Waiting, blocking, and what the ego costs those whose lane has the higher priority.

    These are vehicles on their way in or inside, with the ego, which is inside, less than 30 m ahead and less than 3 m
    beside the line that they head for. They may brake for others at the same time: a hint, not a verdict.
    """
    network, counts = episodes.network, episodes.counts
    ways_in = lane_mask(episodes, [edge for edge in network.edges if edge[1].startswith("ir")])
    crossing = lane_mask(episodes, [edge for edge in network.edges if edge[0].startswith("ir")])
    priority = torch.tensor([one.priority for one in network.lanes], device=counts.device)
    own = ego_lane(episodes)
    inside = crossing[own] & counts
    entered = inside.any(0)
    standing = (episodes.of_ego("speed").abs() < STANDING) & counts
    time, world = inside.nonzero(as_tuple=True)
    at = (time, world)  # [M] frames of all episodes
    away_x, away_y = (episodes.of_ego(axis)[at][:, None] - getattr(episodes, axis)[at] for axis in ("x", "y"))
    heading = episodes.heading[at].double()
    cosine, sine = heading.cos(), heading.sin()
    along, beside = away_x * cosine + away_y * sine, away_y * cosine - away_x * sine
    first = (along > 0) & (along < AHEAD) & (beside.abs() <= IN_THE_WAY)
    first &= episodes.present[at] & ~episodes.crashed[at] & (episodes.kind[at] < Kind.PARKED)
    lane = episodes.lane[at].long().clamp(0, len(network.lanes) - 1)
    first &= (ways_in | crossing)[lane] & (priority[lane] > priority[own[at]][:, None])
    braking, slot = torch.where(first, -episodes.acceleration[at], -torch.inf).max(1)
    hardest, which = worst_event(braking, world, len(entered))
    which = torch.where(hardest > 0, which, -1)
    frame, other = picked(time, which), picked(episodes.number[time, world, slot], which)
    value = hardest.clamp(min=0)

    def spent(mask: Tensor) -> Measure:
        return Measure.of(seconds(mask.sum(0), episodes.dt), None, first_frame(mask))

    return {
        "waiting_time": spent(standing & ways_in[own]),
        "blocking_time": spent(standing & inside),
        "priority_braking": Measure.of(value, entered, frame, other),
        "right_of_way_violated": Measure.of(value > LANE_CHANGE_MAX_BRAKING_IMPOSED, entered, frame, other),
    }


def _roundabout(episodes: Episodes) -> dict[str, Measure]:
    """The entry, the exit and the time on the ring between them."""
    network, counts = episodes.network, episodes.counts
    circles = [edge for edge in network.edges if isinstance(network.graph[edge[0]][edge[1]][0], CircularLane)]
    ring = lane_mask(episodes, circles)
    exits = lane_mask(episodes, [edge for edge in network.edges if edge[0].endswith("x") and edge not in circles])
    right = lane_mask(episodes, [("nx", "nxs")])
    lane = ego_lane(episodes)
    circling = ring[lane] & counts
    entered = first_frame(circling)
    left = first_frame(exits[lane] & counts & (circling.cumsum(0) > 0))
    taken = right[lane.gather(0, left.clamp(min=0)[None])[0]]
    standing = circling & (episodes.of_ego("speed").abs() < STANDING)
    stops = standing.clone()
    stops[1:] &= ~standing[:-1]
    gap, number, met = _upstream(episodes, entered, ring)
    worlds = torch.arange(len(entered), device=entered.device)
    hardest, when = hardest_braking(episodes, worlds, entered.clamp(min=0), number, AFTERMATH)
    return {
        "entry_gap": Measure.of(gap, met, entered, number),
        "entry_braking": Measure.of(hardest.clamp(min=0), met, when, number),
        "correct_exit": Measure.of(taken, left >= 0, left),
        "ring_stops": Measure.of(stops.sum(0), None, first_frame(stops)),
        "circulating_time": Measure.of(seconds(circling.sum(0), episodes.dt), None, entered),
    }


def _upstream(episodes: Episodes, entered: Tensor, ring: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Time gap [s] to the next vehicle that comes along the ring when the ego enters, its number, and is there one.

    Along the half circle behind the ego, by the angle around the middle and the ego's distance from it.
    """
    network = episodes.network
    circle = network.lanes[int(ring.nonzero()[0])]
    worlds = torch.arange(len(entered), device=entered.device)
    at = (entered.clamp(min=0), worlds)
    x, y = episodes.x[at].double() - circle.center[0], episodes.y[at].double() - circle.center[1]
    ego = episodes.ego[at][:, None]
    angle = torch.atan2(y, x) * circle.turn
    behind = torch.remainder(angle.gather(1, ego) - angle, 2 * torch.pi)
    radius = length(x, y).gather(1, ego)
    lengths, speed = episodes.length[at], episodes.speed[at]
    arc = (behind * radius - (lengths + lengths.gather(1, ego)) / 2).clamp(min=0)
    lane = episodes.lane[at].long().clamp(0, len(network.lanes) - 1)
    comes = ring[lane] & episodes.present[at] & (behind < torch.pi) & (speed > STANDING)
    gap, slot = torch.where(comes, arc / torch.where(comes, speed, 1.0), torch.inf).min(1)
    met = comes.any(1) & (entered >= 0)
    number = episodes.number[at].gather(1, slot[:, None])[:, 0]
    return gap, torch.where(met, number, -1), met
