"""Two composite scores of an episode, each after a published one, from 0 to 1.

`nuplan16` is nuPlan's closed-loop score as shipped (closed_loop_reactive_agents_weighted_average.yaml, nuplan-devkit
e924167): (5 progress + 5 TTC + 4 speed limit + 2 comfort) / 16, times four factors.

| term | from | how it differs from nuPlan's |
|---|---|---|
| no at-fault collision {0, 0.5, 1} | at_fault_collision | the first contact only; 0.5 for an obstacle, no pedestrians |
| drivable area {0, 1} | off_road | the lanes and their rounded corners |
| driving direction {0, 0.5, 1} | wrong_way_distance | against the nearest lane's direction |
| making progress {0, 1} | completion | at least 0.2 |
| progress, 5 | completion | the whole way (see `routes`) stands in for the expert's; the floor of 2 m never matters |
| TTC, 5 | min_ttc_2d | every vehicle counts, not only those ahead; 0 with an at-fault collision |
| speed limit, 4 | speed_compliance | the lane's own limit |
| comfort, 2 | comfortable | windows in seconds, derivatives of speed and heading |

`carla21` is the CARLA leaderboard's driving score, version 2.1: completion / (1 + sum of c) times the share of the
distance on the road. Of its table our scenarios have: collision with a vehicle (0.7) or an obstacle (0.6) at more than
0.1 m/s, whoever's fault it is, and minimum speed, 0.4 (1 - p) with p the ego's mean speed over the traffic's, of the
whole episode instead of four checkpoints. There are no pedestrians, lights, stop signs, timeouts or emergency vehicles.

In both, a rule that had nothing to apply to is kept: no traffic, no speed limit, no lanes that bound the way. Comfort
that is not known, because the drive was shorter than its filters, counts as none, so that a clean drive that ends early
never scores more. Where there is no way (parking), success stands in for completion; without either there is no score.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sim.engine.state import Kind
from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics.base import Measure, Spec
from sim.evaluation.metrics.signals import total, way

# nuPlan
WEIGHTS = {"progress": 5, "ttc": 5, "speed": 4, "comfort": 2}
OBJECT_HIT = 0.5  # what is left after one at-fault collision with an object
LEAST_PROGRESS = 0.2
LEAST_TTC = 0.95  # s
BACKWARDS = (2.0, 6.0)  # m in the worst second: from the first on it costs half, from the second on all
# CARLA leaderboard 2.1
VEHICLE_HIT = 0.7
OBSTACLE_HIT = 0.6
TOO_SLOW = 0.4
MOVING = 0.1  # m/s, own speed from which a collision counts
OUTSIDE = 0.5  # m, off the road from which the distance counts as outside

SPECS: dict[str, Spec] = {
    "nuplan16": Spec("", "higher", False, "nuPlan's closed-loop score with what our data gives, 0 to 1"),
    "carla21": Spec("", "higher", False, "CARLA leaderboard 2.1's driving score with what our data gives, 0 to 1"),
}


def measure(episodes: Episodes, measures: dict[str, Measure]) -> dict[str, Measure]:
    """Return the scores of N episodes from their other measures."""
    come = measures["completion"]
    reported = torch.full_like(come.valid, episodes.reports_success)
    completion = torch.where(come.valid, come.value, episodes.success.to(torch.float64))
    known = come.valid | reported
    hit = measures["collision"]
    scores = {
        "nuplan16": _nuplan(completion, _partner(episodes, hit), measures),
        "carla21": _carla(completion, _partner(episodes, hit), _outside(episodes, measures), episodes, measures),
    }
    return {name: Measure.of(value, known, hit.frame, hit.other) for name, value in scores.items()}


def _nuplan(completion: Tensor, partner: Tensor, measures: dict[str, Measure]) -> Tensor:
    at_fault = _value(measures["at_fault_collision"], 0.0) > 0
    collision = torch.where(partner == Kind.OBSTACLE, OBJECT_HIT, 0.0)
    back = _value(measures["wrong_way_distance"], 0.0)
    factors = (
        torch.where(at_fault, collision, 1.0),
        1 - _value(measures["off_road"], 0.0),
        torch.where(back < BACKWARDS[0], 1.0, torch.where(back < BACKWARDS[1], 0.5, 0.0)),
        (completion >= LEAST_PROGRESS).to(torch.float64),
    )
    far = (_value(measures["min_ttc_2d"], torch.inf) > LEAST_TTC) & ~at_fault
    terms = {
        "progress": completion,
        "ttc": far.to(torch.float64),
        "speed": _value(measures["speed_compliance"], 1.0),
        "comfort": _value(measures["comfortable"], 0.0),
    }
    score = torch.zeros_like(completion)
    for name, weight in WEIGHTS.items():
        score = score + weight * terms[name]
    score = score / sum(WEIGHTS.values())
    for factor in factors:
        score = score * factor
    return score


def _carla(
    completion: Tensor, partner: Tensor, outside: Tensor, episodes: Episodes, measures: dict[str, Measure]
) -> Tensor:
    last = episodes.last.clamp(min=0)[None]
    moving = episodes.of_ego("speed").gather(0, last)[0].abs() > MOVING
    hit = (_value(measures["collision"], 0.0) > 0) & moving
    sum_of_c = torch.where(hit, torch.where(partner == Kind.OBSTACLE, OBSTACLE_HIT, VEHICLE_HIT), 0.0)
    pace = _value(measures["relative_speed"], 1.0).clamp(0, 1)
    return completion / (1 + sum_of_c + TOO_SLOW * (1 - pace)) * (1 - outside)


def _value(measure: Measure, otherwise: float) -> Tensor:
    """The values [N], with something else where they are not valid."""
    return torch.where(measure.valid, measure.value, otherwise)


def _partner(episodes: Episodes, hit: Measure) -> Tensor:
    """The kind of what the ego hit, [N]; ABSENT for nothing."""
    worlds = torch.arange(len(hit.frame), device=hit.frame.device)
    at = (hit.frame.clamp(min=0), worlds)
    it = (episodes.number[at] == hit.other[:, None]) & (hit.other >= 0)[:, None]
    return torch.where(it, episodes.kind[at], int(Kind.ABSENT)).amax(1)


def _outside(episodes: Episodes, measures: dict[str, Measure]) -> Tensor:
    """Share of the distance driven with a corner outside every lane, [N]; 0 where lanes do not bound the way."""
    step, counts = way(episodes), episodes.counts[1:]
    driven = total(step, counts)
    off = total(step, counts & (episodes.facts.off_road[1:] > OUTSIDE))
    known = measures["off_road"].valid & (driven > 0)
    return torch.where(known, off / torch.where(known, driven, 1.0), 0.0)
