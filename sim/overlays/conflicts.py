"""Times to collision and RSS margins over the vehicles they are about: the metrics' own figures, at one moment."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sim.evaluation.episodes import REALS, WHOLES, Episodes
from sim.evaluation.metrics import rss
from sim.evaluation.metrics.boxes import Boxes, touching
from sim.evaluation.metrics.conflicts import CRITICAL_TTC
from sim.evaluation.metrics.nearness import HORIZON
from sim.overlays.base import corners_of, place_of
from sim.recording.replay import Frame
from sim.render import CRITICAL, NEAR, SAFE, Mark

RSS_PARAMETERS = "dense-traffic"
RSS_RANGE = 10.0
"""RSS margins up to here are drawn [m]."""
LABEL_OFFSET = 3.0
"""How far above the middle of a vehicle its label stands [m]."""


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
        ends = np.array([place_of(moment, int(ego[0])), place_of(moment, other)])
        marks.append(Mark(ends, colour, closed=False))
        marks.append(Mark(ends.mean(0, keepdims=True), colour, label=f"{max(begin, 0.0):.1f} s"))
    return marks


def rss_margins(frame: Frame, moment: Any) -> list[Mark]:
    """Frames around the vehicles that RSS judges, with the margin to a dangerous situation where it is small [m].

    It is the margin along the road, or across it while that one is kept.
    """
    margin = margins_to_danger(snapshot(frame.envs, moment))
    marks = []
    for slot in (margin < RSS_RANGE).nonzero()[:, 0].tolist():
        metres = float(margin[slot])
        colour = CRITICAL if metres < 0 else SAFE
        marks.append(Mark(corners_of(moment, slot, 0.5), colour, width=1))
        above = place_of(moment, slot) - np.array([0.0, LABEL_OFFSET])
        marks.append(Mark(above[None], colour, label=f"RSS {metres:+.1f} m"))
    return marks


def margins_to_danger(episodes: Episodes) -> torch.Tensor:
    """Returns by how much each pair of the ego and a slot [V] is off a dangerous situation [m]; inf without a pair.

    Along the road, or across it while that distance is kept; `episodes` is of one frame.
    """
    along, across = rss.margins(episodes, rss.PARAMETERS[RSS_PARAMETERS])
    return torch.where(across < 0, along, torch.maximum(along, across))[0, 0]


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
