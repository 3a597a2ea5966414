"""Responsibility-sensitive safety (RSS): does the ego keep the distances that a prudent driver keeps, and react if not.

A pair is dangerous where its distance along the road and the one across it are both too small. Both are measured in a
frame halfway between the directions of the two vehicles' lanes, which on a straight road is the road's, and in which
two vehicles on one arc are in line. Vehicles that go the same way (within 60 degrees) or the opposite way are judged;
for those that cross there are TTC and PET. Source: S. Shalev-Shwartz, S. Shammah, A. Shashua (2017), "On a formal
model of safe and scalable self-driving cars"; the parameters `adlib-default` are those of intel/ad-rss-lib 847b9c2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sim.engine.lanes import StraightLane
from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics.base import Measure, Spec
from sim.evaluation.metrics.pairs import absence, blocks, found
from sim.evaluation.metrics.signals import first_frame, total
from sim.world import Kind

ALONG = 0.5  # cosine of the 60 degrees within which two vehicles go the same way, or exactly opposite ways
MOVING = 0.05  # m/s, below which nobody need slow down any more
ROUNDING = 1e-3  # m/s2, by which a braking may fall short of what is asked for


@dataclass(frozen=True)
class Parameters:
    """What is taken for prudent.

    Attributes:
        ego_response, other_response: time until a vehicle reacts [s].
        acceleration: the most it may speed up meanwhile [m/s2].
        braking: the least it brakes afterwards [m/s2]; own_lane_braking: the same against an oncoming vehicle that
            is in the wrong lane. hardest_braking: the most that the vehicle in front may brake.
        lateral_acceleration, lateral_braking: the same across the road [m/s2]. margin: to stay apart there [m].
    """

    ego_response: float
    other_response: float
    acceleration: float
    braking: float
    own_lane_braking: float
    hardest_braking: float
    lateral_acceleration: float = 0.2
    lateral_braking: float = 0.8
    margin: float = 0.1


PARAMETERS = {
    "adlib-default": Parameters(1.0, 2.0, 3.5, 4.0, 3.0, 8.0),
    # highway-env's IDM keeps about 10 m + 1.5 s v, at 25 m/s 47 m, where the defaults ask for 89 m and these for 30 m.
    "dense-traffic": Parameters(0.5, 0.5, 2.0, 6.0, 3.0, 8.0),
}


def _specs(name: str) -> dict[str, Spec]:
    key = f"rss_{name.replace('-', '_')}"
    return {
        key: Spec("", "lower", False, f"share of time in a dangerous situation, RSS with {name} parameters"),
        f"{key}_margin": Spec("m", "higher", False, f"least margin to a dangerous situation, RSS {name}"),
        f"{key}_violations": Spec("", "lower", False, f"times that the ego failed to respond as RSS {name} asks"),
    }


SPECS = {key: spec for name in PARAMETERS for key, spec in _specs(name).items()}


@dataclass(frozen=True)
class Situation:
    """The ego and each other vehicle at some frames, [t, N, V] each, in the frame of their road.

    Attributes:
        absent: 0 where there is such a pair, at a frame that counts; inf elsewhere.
        ahead: 1 where the other one is ahead of the ego, as the ego faces, else 0.
        opposite: do they face opposite ways, None if none do.
        own_lane: does the ego follow its lane's direction, [t, N, 1].
        gap, lateral_gap: between the rectangles, along and across [m], below zero where they overlap.
        speed, other_speed: along each one's lane, as it faces [m/s].
        approach, other_approach: across each one's lane, towards the other one [m/s].
        side: 1 where the other one is to the right of the ego, -1 to the left.
    """

    absent: Tensor
    ahead: Tensor
    opposite: Tensor | None
    own_lane: Tensor
    gap: Tensor
    lateral_gap: Tensor
    speed: Tensor
    other_speed: Tensor
    approach: Tensor
    other_approach: Tensor
    side: Tensor


def situation(episodes: Episodes, rows: slice) -> Situation:
    """Return the situation at the frames `rows`."""
    ego = episodes.ego[rows, :, None]
    heading, absent = episodes.heading[rows], absence(episodes, rows)
    along_x, along_y = heading.cos(), heading.sin()
    half_length, half_width = episodes.length[rows] / 2, episodes.width[rows] / 2
    mine_x, mine_y = along_x.gather(2, ego), along_y.gather(2, ego)
    lane_heading = episodes.facts.lane_heading[rows, :, None]
    road_x, road_y = lane_heading.cos(), lane_heading.sin()
    own_lane = _sign(mine_x * road_x + mine_y * road_y)
    road_x, road_y = road_x * own_lane, road_y * own_lane  # as the ego faces
    lane_x, lane_y = _lane_directions(episodes, rows, along_x, along_y)
    ways = lane_x * road_x + lane_y * road_y  # cosine between the two lanes
    lane_x, lane_y = lane_x * _sign(ways), lane_y * _sign(ways)
    facing = along_x * lane_x + along_y * lane_y
    still = episodes.kind[rows] == Kind.OBSTACLE
    if bool(still.any()):  # a cone has no direction
        lane_x, lane_y = torch.where(still, road_x, lane_x), torch.where(still, road_y, lane_y)
        facing, ways = torch.where(still, 1.0, facing), torch.where(still, 1.0, ways)
    crossing = torch.minimum(facing.abs(), ways.abs()) < ALONG
    if bool(crossing.any()):
        absent = absent.masked_fill(crossing, torch.inf)
    x, y = road_x + lane_x, road_y + lane_y
    size = (x * x + y * y).sqrt()
    x, y = x / size, y / size
    away_x, away_y = (part - part.gather(2, ego) for part in (episodes.x[rows], episodes.y[rows]))
    away, across = away_x * x + away_y * y, away_y * x - away_x * y
    cosine, sine = along_x * x + along_y * y, along_y * x - along_x * y
    my_cosine, my_sine = mine_x * x + mine_y * y, mine_y * x - mine_x * y
    length, width = half_length.gather(2, ego), half_width.gather(2, ego)
    reach = length * my_cosine.abs() + width * my_sine.abs() + half_length * cosine.abs() + half_width * sine.abs()
    beside = length * my_sine.abs() + width * my_cosine.abs() + half_length * sine.abs() + half_width * cosine.abs()
    speed, side = episodes.speed[rows], _sign(across)
    mine = speed.gather(2, ego)
    opposite = facing < 0
    return Situation(
        absent=absent,
        ahead=_sign(away) / 2 + 0.5,
        opposite=opposite if bool(opposite.any()) else None,
        own_lane=own_lane > 0,
        gap=away.abs() - reach,
        lateral_gap=across.abs() - beside,
        speed=mine * (mine_x * road_x + mine_y * road_y),
        other_speed=speed * facing.abs(),
        approach=mine * (mine_y * road_x - mine_x * road_y) * side,
        other_approach=speed * (along_x * lane_y - along_y * lane_x) * side,
        side=side,
    )


def _sign(values: Tensor) -> Tensor:
    """Return 1 where a value is zero or more, -1 where it is less."""
    return torch.copysign(torch.ones((), dtype=values.dtype, device=values.device), values)


def _lane_directions(episodes: Episodes, rows: slice, along_x: Tensor, along_y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the unit vectors of the vehicles' lanes; on a lane that bends, of the vehicles themselves."""
    lanes = episodes.network.lanes
    straight = torch.tensor([type(one) is StraightLane for one in lanes], device=along_x.device)
    chords = np.array([one.direction if type(one) is StraightLane else (0.0, 0.0) for one in lanes])
    x, y = torch.from_numpy(chords).to(along_x).unbind(1)
    if bool(straight.all()) and bool((x == x[0]).all()) and bool((y == y[0]).all()):
        return x[0], y[0]
    lane = episodes.lane[rows].clamp(min=0).long()
    return torch.where(straight[lane], x[lane], along_x), torch.where(straight[lane], y[lane], along_y)


def margins(now: Situation, asked: Parameters) -> tuple[Tensor, Tensor]:
    """Return by how much the distances along and across exceed the least safe ones [m], [t, N, V] each."""
    rear = torch.lerp(now.other_speed, now.speed, now.ahead).clamp_(min=0)
    front = torch.lerp(now.speed.expand_as(now.ahead), now.other_speed, now.ahead).clamp_(min=0)
    response = asked.other_response + now.ahead * (asked.ego_response - asked.other_response)
    least = _stopping(rear, response, asked.acceleration, asked.braking)
    least = (least - front * front / (2 * asked.hardest_braking)).clamp_(min=0)
    if now.opposite is not None:
        brakes = asked.braking + now.own_lane * (asked.own_lane_braking - asked.braking)
        theirs = asked.own_lane_braking + now.own_lane * (asked.braking - asked.own_lane_braking)
        facing = _stopping(now.speed.clamp(min=0), asked.ego_response, asked.acceleration, brakes)
        facing = facing + _stopping(now.other_speed.clamp(min=0), asked.other_response, asked.acceleration, theirs)
        least = torch.where(now.opposite, facing * now.ahead, least)
    sway, brakes = asked.lateral_acceleration, asked.lateral_braking
    lateral = _stopping(now.approach, asked.ego_response, sway, brakes)
    lateral = lateral + _stopping(now.other_approach, asked.other_response, sway, brakes)
    return now.gap - least, now.lateral_gap - lateral.clamp_(min=0) - asked.margin


def _stopping(speed: Tensor, response: Tensor | float, acceleration: float, braking: Tensor | float) -> Tensor:
    """Distance [m] covered while speeding up for the response time and then braking to a stand.

    A vehicle that still goes the other way after the response time has no braking to add.
    """
    then = speed + response * acceleration
    travelled = (speed + then) * (response / 2)
    then = then.clamp_(min=0)
    return travelled + then * then / (2 * braking)


class Run:
    """One parameter set's way through the frames of N episodes.

    Who broke which distance last decides what the ego owes: if the one along the road, braking, where the other one is
    ahead; if the one across, to stop drifting towards it. It owes that from its response time after both were broken.
    """

    def __init__(self, episodes: Episodes, asked: Parameters):
        t, n, _ = episodes.x.shape
        device = episodes.x.device
        self.episodes, self.asked = episodes, asked
        self.margin = torch.full((t, n), torch.inf, dtype=episodes.x.dtype, device=device)
        self.slot = torch.zeros(t, n, dtype=torch.int64, device=device)
        self.close = torch.zeros(episodes.x.shape, dtype=torch.bool, device=device)  # is the distance along too small
        # Of the dangerous pairs: their flat indices, and whether the ego fails to brake or to stop drifting.
        self.pairs = [torch.zeros(0, dtype=torch.int64, device=device)]
        self.fails, self.drifts = ([torch.zeros(0, dtype=torch.bool, device=device)] for _ in range(2))

    def add(self, now: Situation, rows: slice, braking: Tensor, settling: Tensor) -> None:
        """Take in the frames `rows`; braking and settling: what the ego does, [T, N] [m/s2]."""
        along, across = margins(now, self.asked)
        along = along + now.absent
        margin = torch.maximum(along, across)
        self.margin[rows], self.slot[rows] = margin.min(2)
        torch.lt(along, 0, out=self.close[rows])
        pairs = found(margin < 0, rows)
        row = pairs // margin.shape[2]
        here = pairs - rows.start * margin[0].numel()

        def of(value: Tensor) -> Tensor:
            return value.expand_as(margin).reshape(-1).index_select(0, here)

        enough = torch.full_like(of(along), self.asked.braking)
        if now.opposite is not None:
            enough[of(now.opposite) & of(now.own_lane)] = self.asked.own_lane_braking
        brakes = braking.reshape(-1).index_select(0, row) >= enough - ROUNDING
        self.fails.append((of(now.ahead) > 0) & (of(now.speed) > MOVING) & ~brakes)
        settled = settling.reshape(-1).index_select(0, row) * of(now.side)
        self.drifts.append((of(now.approach) > MOVING) & (settled < self.asked.lateral_braking - ROUNDING))
        self.pairs.append(pairs)

    def violating(self) -> Tensor:
        """Return at which frames the ego fails to respond to some dangerous pair, bool [T, N]."""
        t, n, v = self.episodes.x.shape
        pairs, fails, drifts = torch.cat(self.pairs), torch.cat(self.fails), torch.cat(self.drifts)
        number = self.episodes.number.reshape(-1).index_select(0, pairs).long()
        # One vehicle after the other, frame by frame: where the next is not the next frame of the same one, it is new.
        key = ((pairs // v % n) * (number.max() + 1 if len(number) else 1) + number) * (t + 1) + pairs // (n * v)
        key, order = key.sort()
        pairs, fails, drifts = pairs[order], fails[order], drifts[order]
        place = torch.arange(len(key), device=key.device)
        begins = torch.ones_like(fails)
        begins[1:] = key[1:] != key[:-1] + 1
        first = torch.where(begins, place, 0).cummax(0).values if len(key) else place
        drifted = torch.zeros_like(fails)
        drifted[begins] = self._was_close(pairs[begins], number[order][begins])
        owes = place - first >= self.asked.ego_response / self.episodes.dt - ROUNDING
        wrong = owes & torch.where(drifted[first], drifts, fails)
        result = torch.zeros(t * n, dtype=torch.bool, device=key.device)
        result[pairs[wrong] // v] = True
        return result.view(t, n)

    def _was_close(self, pairs: Tensor, number: Tensor) -> Tensor:
        """Return whether the distance along was too small one frame earlier; vehicles may have changed slots since."""
        v = self.episodes.x.shape[2]
        row = pairs // v - self.episodes.x.shape[1]
        there = self.episodes.number.view(-1, v)[row.clamp(min=0)] == number[:, None]
        return (there & self.close.view(-1, v)[row.clamp(min=0)]).any(1) & (row >= 0)

    def finish(self, key: str) -> dict[str, Measure]:
        """Return the three measures of the parameter set."""
        frames = total(self.episodes.counts)
        recorded = frames > 0
        violating = self.violating()
        begins = violating.clone()
        begins[1:] &= ~violating[:-1]
        least = self.margin.amin(0)
        frame = (self.margin == least).to(torch.uint8).argmax(0)
        number = self.episodes.number.gather(2, self.slot[:, :, None])[:, :, 0].gather(0, frame[None])[0]
        some = least < 0
        worst = {"frame": torch.where(some, frame, -1), "other": torch.where(some, number, -1)}
        return {
            key: Measure.of(total(self.margin < 0) / frames.clamp(min=1), recorded, **worst),
            f"{key}_margin": Measure.of(least, least < torch.inf, frame, number),
            f"{key}_violations": Measure.of(total(begins), recorded, first_frame(violating)),
        }


def _ego_response(episodes: Episodes) -> tuple[Tensor, Tensor]:
    """Return how hard the ego brakes, as commanded, and how fast it gains speed to its left, [T, N] each [m/s2]."""
    turned = episodes.of_ego("heading") - episodes.facts.lane_heading
    right = episodes.of_ego("speed") * turned.sin()
    gained = torch.cat([torch.zeros_like(right[:1]), right[1:] - right[:-1]]) / episodes.dt
    return -episodes.of_ego("acceleration"), -gained


def measure(episodes: Episodes) -> dict[str, Measure]:
    """Return all measures of this module."""
    runs = {name: Run(episodes, asked) for name, asked in PARAMETERS.items()}
    response = _ego_response(episodes)
    for rows in blocks(episodes):
        now = situation(episodes, rows)
        for run in runs.values():
            run.add(now, rows, *response)
    measures = {}
    for name, run in runs.items():
        measures |= run.finish(f"rss_{name.replace('-', '_')}")
    return measures
