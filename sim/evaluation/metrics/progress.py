"""How far and how fast the ego comes: distance, completion of its way, speed against the traffic, standing still."""

from __future__ import annotations

import torch
from torch import Tensor

from sim.engine.state import Kind
from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics import routes
from sim.evaluation.metrics.base import Measure, Spec
from sim.evaluation.metrics.signals import longest_run, seconds, total, way

NEAR = 100.0  # m, around the ego: whose speed it is compared with (CARLA leaderboard's minimum speed)
STANDING = 0.1  # m/s (CARLA leaderboard: blocked)
STUCK = 10.0  # s
BLOCK = 1 << 16  # numbers that an operation works on at once, so that they stay in the cache

SPECS: dict[str, Spec] = {
    "duration": Spec("s", "", False, "time before the first contact or the end"),
    "distance": Spec("m", "higher", False, "way driven before the first contact"),
    "completion": Spec("", "higher", False, "share of the way to the goal, or of the plan on an endless road"),
    "mean_speed": Spec("m/s", "higher", False, "distance by duration"),
    "relative_speed": Spec("", "higher", False, "mean speed by that of the traffic within 100 m"),
    "stuck": Spec("", "lower", True, "did the ego stand (below 0.1 m/s) for 10 s or longer"),
    "time_to_goal": Spec("s", "lower", False, "time to the goal, of the episodes that reach it"),
}


def measure(episodes: Episodes) -> dict[str, Measure]:
    """Return the progress measures of N episodes."""
    speed = episodes.of_ego("speed").to(torch.float64)
    counts, last = episodes.counts, episodes.last
    duration = seconds(last.clamp(min=0), episodes.dt)
    distance = total(way(episodes), counts[1:])
    ran = last > 0
    come = routes.progress(episodes)
    known = ~come.completion.isnan()
    # Where lanes do not lead to the goal (parking), success ends the episode.
    goal = torch.where(episodes.success & (come.reached < 0) & ~known, episodes.frames - 1, come.reached)
    relative, met = _relative_speed(episodes, speed)
    run, begin = longest_run((speed.abs() < STANDING) & counts)
    stuck = seconds(run - 1, episodes.dt) >= STUCK - 1e-9
    return {
        "duration": Measure.of(duration),
        "distance": Measure.of(distance),
        "completion": Measure.of(come.completion, known),
        "mean_speed": Measure.of(distance / torch.where(ran, duration, 1.0), ran),
        "relative_speed": Measure.of(relative, met),
        "stuck": Measure.of(stuck, None, torch.where(stuck, begin, -1)),
        "time_to_goal": Measure.of(seconds(goal, episodes.dt), goal >= 0, goal),
    }


def _relative_speed(episodes: Episodes, speed: Tensor) -> tuple[Tensor, Tensor]:
    """The ego's mean speed over that of the traffic near it, at the frames at which there is some, and whether any is.

    The traffic's speed at a frame is the mean of the vehicles' near the ego; parked ones are none. Not known either
    where all of it stands.
    """
    x, y = episodes.of_ego("x")[..., None], episodes.of_ego("y")[..., None]
    frames, worlds, slots = episodes.x.shape
    count = torch.empty(frames, worlds, dtype=torch.int64, device=x.device)
    sums = torch.empty(frames, worlds, dtype=torch.float64, device=x.device)
    size = max(BLOCK // max(worlds * slots, 1), 1)
    for start in range(0, frames, size):
        part = slice(start, start + size)
        away_x, away_y = episodes.x[part] - x[part], episodes.y[part] - y[part]
        near = episodes.present[part] & (away_x * away_x + away_y * away_y <= NEAR * NEAR)
        near &= episodes.kind[part] < Kind.PARKED
        count[part] = near.sum(2)
        sums[part] = torch.where(near, episodes.speed[part].abs(), 0.0).sum(2)
    met = (count > 0) & episodes.counts
    traffic = total(sums / count.clamp(min=1), met)
    own = total(speed.abs(), met)
    known = traffic > STANDING * met.sum(0).to(torch.float64)
    return own / torch.where(known, traffic, 1.0), known
