"""Responsibility-sensitive safety (RSS): does the ego keep the distances that a prudent driver keeps, and react if not.

A pair is dangerous where its distance along the road and the one across it are both too small. Both are measured in a
frame halfway between the directions of the two vehicles' lanes, which on a straight road is the road's, and in which
two vehicles on one arc are in line. Vehicles that go the same way (within 60 degrees) or the opposite way are judged;
for those that cross there are TTC and PET. Source: S. Shalev-Shwartz, S. Shammah, A. Shashua (2017), "On a formal
model of safe and scalable self-driving cars"; the parameters `adlib-default` are those of intel/ad-rss-lib 847b9c2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import warp as wp
from torch import Tensor

from sim.engine.lanes import StraightLane
from sim.engine.launch import Program
from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics.base import Measure, Spec
from sim.evaluation.metrics.device_boxes import episodes_per_thread, tape_of
from sim.evaluation.metrics.least import measure_of, nothing_yet
from sim.evaluation.metrics.rss_kernels import LONG_AGO, Asked, Roads, Watch, watch_episodes, write_margins
from sim.provenance import usable_cores


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


def measure(episodes: Episodes) -> dict[str, Measure]:
    """Return all measures of this module."""
    braking, settling = _ego_response(episodes)
    first, second = (_Run(episodes, asked) for asked in PARAMETERS.values())
    watched = [first.watch, first.margin, second.watch, second.margin]
    given = [wp.from_torch(braking), wp.from_torch(settling), *watched, wp.float64(episodes.dt)]
    _launch(watch_episodes, episodes, given)
    frames = (episodes.last + 1).clamp(min=0)
    measures = {}
    for name, run in zip(PARAMETERS, (first, second), strict=True):
        measures |= run.measures(f"rss_{name.replace('-', '_')}", frames)
    return measures


def margins(episodes: Episodes, asked: Parameters) -> tuple[Tensor, Tensor]:
    """Return by how much the distances along and across exceed the least safe ones [m], float64 [T, N, V] each.

    inf where there is nobody, or nobody whom RSS judges.
    """
    along, across = (torch.full(episodes.x.shape, torch.inf, dtype=torch.float64, device=episodes.x.device),) * 2
    across = across.clone()
    _launch(write_margins, episodes, [_asked(asked), wp.from_torch(along), wp.from_torch(across)])
    return along, across


def _launch(kernel: Any, episodes: Episodes, given: list[Any]) -> None:
    """Run a kernel over the episodes, with what each of them begins with."""
    x, y = _lane_directions(episodes)
    lane_heading = episodes.facts.lane_heading.double().contiguous()
    ego, last = episodes.ego.to(torch.int32).contiguous(), episodes.last.to(torch.int32)
    size = episodes_per_thread(ego.device)
    roads = Roads()
    roads.x, roads.y, roads.lane_heading = map(wp.from_torch, (x, y, lane_heading))
    inputs = [tape_of(episodes), roads, wp.from_torch(ego), wp.from_torch(last), *given, size]
    Program([(kernel, inputs)], math.ceil(len(last) / size), ego.device, len(usable_cores()))()


def _lane_directions(episodes: Episodes) -> tuple[Tensor, Tensor]:
    """Return the unit vectors of the lanes, float64 [L] each; zero for a lane that bends."""
    straight = [one.direction if type(one) is StraightLane else (0.0, 0.0) for one in episodes.network.lanes]
    x, y = np.array(straight, dtype=np.float64).T.copy()
    return torch.from_numpy(x).to(episodes.x.device), torch.from_numpy(y).to(episodes.x.device)


def _asked(parameters: Parameters) -> Asked:
    asked = Asked()
    for name in Asked.vars:
        if not name.endswith("way"):
            setattr(asked, name, getattr(parameters, name))
    for name in ("", "own_lane_", "hardest_", "lateral_"):
        setattr(asked, f"{name}way", 1 / (2 * getattr(parameters, f"{name}braking")))
    return asked


class _Run:
    """What one parameter set finds in N episodes.

    Who broke which distance last decides what the ego owes: if the one along the road, braking, where the other one is
    ahead; if the one across, to stop drifting towards it. It owes that from its response time after both were broken.
    """

    def __init__(self, episodes: Episodes, parameters: Parameters):
        n, device = len(episodes.frames), episodes.x.device
        numbers = 1 + (max(int(episodes.number.max()), 0) if episodes.number.numel() else 0)
        kept = dict.fromkeys(("dangerous", "violations"), ((n,), 0)) | {
            "failed": ((n,), -1),
            "failing": ((n,), LONG_AGO),
        }
        kept |= dict.fromkeys(("close", "danger", "since", "drifted"), ((n, numbers), LONG_AGO))
        self.found = {
            name: torch.full(shape, value, dtype=torch.int32, device=device) for name, (shape, value) in kept.items()
        }
        self.watch = Watch()
        self.watch.asked = _asked(parameters)
        for name, tensor in self.found.items():
            setattr(self.watch, name, wp.from_torch(tensor))
        self.margin, self.least = nothing_yet(n, device)

    def measures(self, key: str, frames: Tensor) -> dict[str, Measure]:
        """Return the three measures; frames: how many count, [N]."""
        recorded, margin = frames > 0, measure_of(self.least)
        some = self.found["dangerous"] > 0
        frame, other = (torch.where(some, part, -1) for part in (margin.frame, margin.other))
        share = self.found["dangerous"].double() / frames.clamp(min=1)
        return {
            key: Measure.of(share, recorded, frame, other),
            f"{key}_margin": margin,
            f"{key}_violations": Measure.of(self.found["violations"], recorded, self.found["failed"]),
        }


def _ego_response(episodes: Episodes) -> tuple[Tensor, Tensor]:
    """Return how hard the ego brakes, as commanded, and how fast it gains speed to its left, float64 [T, N] [m/s2]."""
    turned = episodes.of_ego("heading").double() - episodes.facts.lane_heading.double()
    right = episodes.of_ego("speed").double() * turned.sin()
    gained = torch.cat([torch.zeros_like(right[:1]), right[1:] - right[:-1]]) / episodes.dt
    return -episodes.of_ego("acceleration").double(), -gained
