"""How far and how fast the ego comes: distance, completion of its way, speed against the traffic, standing still."""

from __future__ import annotations

import math
from typing import Any

import torch
import warp as wp
from torch import Tensor

from sim.engine.launch import Program
from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics import routes
from sim.evaluation.metrics.base import Measure, Spec
from sim.evaluation.metrics.device_boxes import episodes_per_thread, is_driven, tape_of
from sim.evaluation.metrics.signals import longest_run, seconds, total, way
from sim.provenance import usable_cores

NEAR = 100.0  # m, around the ego: whose speed it is compared with (CARLA leaderboard's minimum speed)
STANDING = 0.1  # m/s (CARLA leaderboard: blocked)
STUCK = 10.0  # s

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


@wp.kernel(enable_backward=False, module="unique")
def sum_speeds(
    tape: Any, ego: wp.array2d(dtype=wp.int32), last: wp.array(dtype=wp.int32), count: wp.array2d(dtype=wp.int32),
    speeds: wp.array2d(dtype=wp.float64), size: int, first: int,
):  # fmt: skip
    """Write how many vehicles are near the ego at a frame, and the sum of their speeds; a thread has `size` worlds."""
    begin = (first + wp.tid()) * size
    end = wp.min(begin + size, last.shape[0])
    for t in range(tape.x.shape[0]):
        for n in range(begin, end):
            if t <= last[n]:
                mine = ego[t, n]
                near = type(tape.x[t, n, mine])(NEAR)
                for v in range(tape.x.shape[2]):
                    if v != mine and is_driven(tape.kind[t, n, v]):
                        x = tape.x[t, n, v] - tape.x[t, n, mine]
                        y = tape.y[t, n, v] - tape.y[t, n, mine]
                        if x * x + y * y <= near * near:
                            count[t, n] = count[t, n] + 1
                            speeds[t, n] = speeds[t, n] + wp.abs(wp.float64(tape.speed[t, n, v]))


def _relative_speed(episodes: Episodes, speed: Tensor) -> tuple[Tensor, Tensor]:
    """The ego's mean speed over that of the traffic near it, at the frames at which there is some, and whether any is.

    The traffic's speed at a frame is the mean of the vehicles' near the ego; parked ones are none. Not known either
    where all of it stands.
    """
    shape, device = episodes.ego.shape, episodes.x.device
    count = torch.zeros(shape, dtype=torch.int32, device=device)
    speeds = torch.zeros(shape, dtype=torch.float64, device=device)
    ego, last = episodes.ego.to(torch.int32).contiguous(), episodes.last.to(torch.int32)
    size = episodes_per_thread(device)
    inputs = [tape_of(episodes), *map(wp.from_torch, (ego, last, count, speeds)), size]
    Program([(sum_speeds, inputs)], math.ceil(shape[1] / size), device, len(usable_cores()))()
    met = count > 0
    traffic = total(speeds / count.clamp(min=1), met)
    own = total(speed.abs(), met)
    known = traffic > STANDING * met.sum(0).to(torch.float64)
    return own / torch.where(known, traffic, 1.0), known
