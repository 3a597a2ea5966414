"""Collisions of the ego, whose fault they were and how hard they hit; leaving the road, and driving against it.

Everything about a collision but its partner is read from the last frame before the contact: at the contact itself the
engine has pushed the vehicles apart. Definitions: docs/evaluation.md; the classes are those of nuPlan's
no_ego_at_fault_collisions (nuplan-devkit e924167).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics.base import Measure, Spec
from sim.evaluation.metrics.boxes import Boxes, distance, on_axes, separation, touching
from sim.evaluation.metrics.signals import total, worst
from sim.world import Kind

STANDING = 0.05  # m/s, below which nuPlan calls a vehicle stopped
REAR = -(3**0.5) / 2  # cosine of 150 degrees: farther round than that is behind
OFF_ROAD = 0.3  # m, how far a corner may be outside (nuPlan's drivable_area_compliance)
WRONG_WAY_WINDOW = 1.0  # s (nuPlan's driving_direction_compliance)
RECENT = 2.0  # s before the contact in which a partner's lane change counts as cutting in
FRONT = 0.01  # m by which the front bumper may be farther away than what touches, at the moment of contact


class CollisionClass(IntEnum):
    """How the two met; the first that applies."""

    STOPPED_EGO = 0
    STOPPED_TRACK = 1
    ACTIVE_REAR = 2
    ACTIVE_FRONT = 3
    ACTIVE_LATERAL = 4


SPECS = {
    "collision": Spec("", "lower", True, "the ego crashed, whoever's fault it was"),
    "at_fault_collision": Spec("", "lower", True, "the ego hit what stood or was ahead, or from the side off its lane"),
    "collision_class": Spec("class", "", False, "0 ego stopped, 1 other stopped, 2 hit from behind, 3 front, 4 side"),
    "collision_changing_lane": Spec("", "", True, "of collisions: the ego was between lanes or changing lane"),
    "collision_after_cut_in": Spec("", "", True, "of collisions: the other changed into the ego's lane within 2 s"),
    "delta_v": Spec("m/s", "lower", False, "of collisions: change of the ego's velocity, masses by size"),
    "closing_speed": Spec("m/s", "lower", False, "of collisions: speed at which the gap between the two closed"),
    "overlap_angle": Spec("rad", "", False, "of collisions: angle between the two headings, 0 to pi"),
    "off_road": Spec("", "lower", True, "a corner of the ego was more than 0.3 m off the road"),
    "off_road_time": Spec("s", "lower", False, "time with a corner more than 0.3 m off the road"),
    "off_road_depth": Spec("m", "lower", False, "how far the worst corner got off the road"),
    "wrong_way_distance": Spec("m", "lower", False, "farthest against the lane's direction within any 1 s"),
}


def measure(episodes: Episodes) -> dict[str, Measure]:
    """Return all measures of this module."""
    return {**_collisions(episodes), **_off_road(episodes), "wrong_way_distance": _wrong_way(episodes)}


@dataclass(frozen=True)
class Crashes:
    """The M episodes in which the ego crashed.

    Attributes:
        world, contact: of each, int64 [M]; before: the frame whose state is judged, the one before the contact.
        ego, partner: their boxes then. kind, number: of the partner; known: was it there before the contact.
    """

    world: Tensor
    contact: Tensor
    before: Tensor
    ego: Boxes
    partner: Boxes
    kind: Tensor
    number: Tensor


def crashes(episodes: Episodes) -> Crashes:
    """Find the partner of each collision: who overlaps the ego most at the contact, or is nearest to it."""
    n, v = episodes.x.shape[1:]
    world = (episodes.contact >= 0).nonzero()[:, 0]
    contact = episodes.contact[world]
    before = (contact - 1).clamp(min=0)
    row = contact * n + world
    slots = torch.arange(v, device=world.device)
    ego = (row * v + episodes.ego.flatten()[row])[:, None].expand(-1, v).flatten()
    gap = separation(Boxes.at(episodes, ego), Boxes.at(episodes, (row[:, None] * v + slots).flatten())).view(-1, v)
    gap = torch.where(episodes.present[contact, world], gap, torch.inf)
    # Of equals the one of the least number, whatever slots they are in.
    numbers = episodes.number[contact, world].long()
    nearest = gap == gap.amin(1, keepdim=True) if v else gap > 0
    number = torch.where(nearest, numbers, torch.iinfo(torch.int64).max).amin(1)
    # Slots move up when a vehicle leaves, so the partner is looked up by its number; one that appeared at the contact
    # is judged there.
    there = episodes.present[before, world] & (episodes.number[before, world] == number[:, None])
    judged = torch.where(there.any(1), before, contact)
    here = episodes.present[judged, world] & (episodes.number[judged, world] == number[:, None])
    partner = (judged * n + world) * v + here.to(torch.uint8).argmax(1)
    then = before * n + world
    kind = episodes.kind.flatten()[partner]
    return Crashes(
        world, contact, before, Boxes.at(episodes, then * v + episodes.ego.flatten()[then]),
        Boxes.at(episodes, partner), kind, number,
    )  # fmt: skip


def classify(found: Crashes, dt: float) -> Tensor:
    """Return the `CollisionClass` of each collision, int64 [M]."""
    ego, partner = found.ego, found.partner
    first, last = touching(ego, partner)
    # The moment of contact lies within the frame after the last one; a frame more allows for what both did in it.
    meet = torch.where((first <= last) & (first <= 2 * dt), first.clamp(min=0), dt)
    there, other = ego.after(meet), partner.after(meet)
    bumper = Boxes(
        there.x + there.half_length * there.along_x, there.y + there.half_length * there.along_y,
        there.along_x, there.along_y, torch.zeros_like(there.x), there.half_width, there.speed,
    )  # fmt: skip
    front = distance(bumper, other) <= distance(there, other).clamp(min=0) + FRONT
    # nuPlan looks from the rear axle, which the engine's bicycle has half a length behind the centre.
    x = partner.x - ego.x + ego.half_length * ego.along_x
    y = partner.y - ego.y + ego.half_length * ego.along_y
    behind = x * ego.along_x + y * ego.along_y < REAR * torch.hypot(x, y)
    stopped = (partner.speed.abs() <= STANDING) | (found.kind == Kind.OBSTACLE)
    classes = torch.where(front, CollisionClass.ACTIVE_FRONT.value, CollisionClass.ACTIVE_LATERAL.value)
    classes = torch.where(behind, CollisionClass.ACTIVE_REAR.value, classes)
    classes = torch.where(stopped, CollisionClass.STOPPED_TRACK.value, classes)
    return torch.where(ego.speed.abs() <= STANDING, CollisionClass.STOPPED_EGO.value, classes)


def between_lanes(episodes: Episodes) -> Tensor:
    """Return where the ego's rectangle is not inside its lane, bool [T, N]."""
    facts = episodes.facts
    turned = episodes.of_ego("heading") - facts.lane_heading
    half = episodes.of_ego("length") * turned.sin().abs() + episodes.of_ego("width") * turned.cos().abs()
    return facts.lateral.abs() + half / 2 > facts.lane_width / 2


def _collisions(episodes: Episodes) -> dict[str, Measure]:
    found = crashes(episodes)
    at = (found.before, found.world)
    classes = classify(found, episodes.dt)
    straddling = between_lanes(episodes)[at]
    lane, target, kind = (episodes.of_ego(name)[at] for name in ("lane", "target_lane", "kind"))
    changing = (kind <= Kind.MDP) & (target != lane) & (_edge(episodes, target) == _edge(episodes, lane))
    lateral = (classes == CollisionClass.ACTIVE_LATERAL) & straddling
    fault = lateral | (classes == CollisionClass.STOPPED_TRACK) | (classes == CollisionClass.ACTIVE_FRONT)
    values = {
        "collision_class": classes,
        "collision_changing_lane": straddling | changing,
        "collision_after_cut_in": _cut_in(episodes, found, lane),
        **_severity(found),
    }
    n = len(episodes.frames)
    hit = episodes.contact >= 0
    who = torch.full((n,), -1, device=hit.device).scatter(0, found.world, found.number)
    before = torch.full((n,), -1, device=hit.device).scatter(0, found.world, found.before)
    blame = torch.zeros_like(hit).scatter(0, found.world, fault)
    measures = {
        "collision": Measure.of(hit, frame=episodes.contact, other=who),
        "at_fault_collision": Measure.of(
            blame, frame=torch.where(blame, episodes.contact, -1), other=torch.where(blame, who, -1)
        ),
    }
    for name, some in values.items():
        value = torch.zeros(n, dtype=torch.float64, device=hit.device).scatter(0, found.world, some.double())
        measures[name] = Measure.of(value, hit, before, who)
    return measures


def _severity(found: Crashes) -> dict[str, Tensor]:
    """Return delta-v, closing speed [m/s] and overlap angle [rad], [M] each."""
    ego, partner = found.ego, found.partner
    vx = ego.speed * ego.along_x - partner.speed * partner.along_x
    vy = ego.speed * ego.along_y - partner.speed * partner.along_y
    mine, theirs = ego.half_length * ego.half_width, partner.half_length * partner.half_width
    share = torch.where(found.kind == Kind.OBSTACLE, 1.0, theirs / (mine + theirs))  # an obstacle does not give way
    offset, reach, speed = on_axes(ego, partner)
    # The axis on which the two part last before the contact; there the gap closes at this speed.
    first = (-reach - offset * speed.sign()) / speed.abs()
    first = torch.where(speed == 0, -torch.inf, first)
    closing = (-speed * offset.sign()).gather(0, first.argmax(0, keepdim=True))[0]
    cosine = ego.along_x * partner.along_x + ego.along_y * partner.along_y
    sine = ego.along_x * partner.along_y - ego.along_y * partner.along_x
    return {
        "delta_v": share * (vx * vx + vy * vy).sqrt(),
        "closing_speed": closing,
        "overlap_angle": torch.atan2(sine.abs(), cosine),
    }


def _edge(episodes: Episodes, lane: Tensor) -> Tensor:
    """Return the number of the road that lanes are part of."""
    first = torch.as_tensor(episodes.network.edge_first[1:], device=lane.device)
    return torch.bucketize(lane, first.to(lane.dtype), right=True)


def _cut_in(episodes: Episodes, found: Crashes, lane: Tensor) -> Tensor:
    """Did the partner change to the ego's `lane`, or begin to, within RECENT before the contact, bool [M]."""
    ago = torch.arange(round(RECENT / episodes.dt) + 1, device=lane.device)[:, None]
    frames = found.contact - ago
    recent = (frames >= 0) & (frames <= found.before)
    at = (frames.clamp(min=0), found.world)  # [R, M] frames of the collisions
    partner = (episodes.number[at] == found.number[:, None]) & recent[:, :, None]
    lanes, targets = episodes.lane[at], episodes.target_lane[at]
    last = partner & (frames == found.before)[:, :, None]
    aims = (last & (targets == lane[:, None])).any(2).any(0)
    elsewhere = (lanes != lane[:, None]) & (_edge(episodes, lanes) == _edge(episodes, lane)[:, None])
    return aims & (partner & elsewhere).any(2).any(0)


def _off_road(episodes: Episodes) -> dict[str, Measure]:
    """How far and how long a corner was outside; invalid where lanes do not bound the way (`lanes_bound`).

    Road is what a lane covers, and a corner of two lanes up to its kerb (`sim.engine.drivable`). A vehicle that begins
    at the start of a lane stands out behind it; frames count once it has come onto the road.
    """
    outside = episodes.facts.off_road
    inside = (outside <= OFF_ROAD) & episodes.counts
    counts = episodes.counts & (inside.to(torch.uint8).cummax(0).values > 0)
    valid = lanes_bound(episodes) & counts.any(0)
    off = (outside > OFF_ROAD) & counts
    depth, frame = worst(outside, counts)
    frame = torch.where(depth > OFF_ROAD, frame, -1)
    return {
        "off_road": Measure.of(off.any(0), valid, frame),
        "off_road_time": Measure.of(total(off) * episodes.dt, valid, frame),
        "off_road_depth": Measure.of(depth.double().clamp(min=0), valid, frame),
    }


def lanes_bound(episodes: Episodes) -> Tensor:
    """Return whether the episode has frames that count and began on a lane, bool [N].

    On a parking lot it does not: the lanes are the spots, and the way to them is none.
    """
    facts, length = episodes.facts, episodes.of_ego("length")
    on_lane = (facts.lateral[0].abs() <= facts.lane_width[0] / 2) & (facts.s[0] >= -length[0] / 2)
    return (episodes.last >= 0) & on_lane


def _wrong_way(episodes: Episodes) -> Measure:
    """How far the ego went against its lane's direction, summed over the worst window."""
    x, y, heading = episodes.of_ego("x").double(), episodes.of_ego("y").double(), episodes.facts.lane_heading.double()
    back = -((x[1:] - x[:-1]) * heading[:-1].cos() + (y[1:] - y[:-1]) * heading[:-1].sin())
    gone = torch.cat([torch.zeros_like(x[:1]), torch.where(episodes.counts[1:], back, 0.0).cumsum(0)])
    window = min(round(WRONG_WAY_WINDOW / episodes.dt), len(gone) - 1)
    within = gone - torch.cat([gone[:1].expand(window, -1), gone[: len(gone) - window]])
    farthest, frame = worst(within, episodes.counts)
    frame = torch.where(farthest > 0, frame, -1)
    return Measure.of(farthest.clamp(min=0), lanes_bound(episodes), frame)
