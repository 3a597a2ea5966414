"""How near the ego came to anything: the least distance of the rectangles and the least time until two would touch.

One thread an episode looks at all vehicles and obstacles of all frames. Circles around the rectangles leave most of
them out, in the recorded type and a little wider than needed; for the rest the exact formulas are asked.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import warp as wp

from sim.engine.launch import Program
from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics.base import Measure
from sim.evaluation.metrics.device_boxes import ZERO, box_at, distance, episodes_per_thread, is_thing, tape_of, touching
from sim.evaluation.metrics.least import Least, keep_least, measure_of, nothing_yet
from sim.provenance import usable_cores

HORIZON = 3.0  # s, how far ahead rectangles are moved (nuPlan's time_to_collision)
SLACK = 1.001  # by which the filters are wider than what they stand for
ROUNDING = 1e-3  # m


@wp.func
def may_touch(x: Any, y: Any, vx: Any, vy: Any, reach: Any, horizon: Any):
    """Can circles that touch at the distance `reach` do so within `horizon`, from this place at this velocity?"""
    apart = x * x + y * y
    if apart <= reach * reach:
        return True
    if x * vx + y * vy >= type(x)(0.0):
        return False
    speed = vx * vx + vy * vy
    cross = x * vy - y * vx
    if cross * cross > reach * reach * speed:
        return False
    farthest = reach + wp.sqrt(speed) * horizon
    return apart <= farthest * farthest


@wp.func
def velocity(tape: Any, t: int, n: int, v: int):
    """Return the velocity of a slot [m/s]."""
    speed = tape.speed[t, n, v]
    heading = tape.heading[t, n, v]
    if heading == type(speed)(0.0):
        return speed, heading
    return speed * wp.cos(heading), speed * wp.sin(heading)


@wp.func
def compare(tape: Any, gap: Least, time: Least, t: int, n: int, mine: int, horizon: wp.float64):
    """Take in the ego, in slot `mine`, and all others at a frame."""
    x = tape.x[t, n, mine]
    y = tape.y[t, n, mine]
    half = type(x)(0.5)
    vx, vy = velocity(tape, t, n, mine)
    size = tape.length[t, n, mine] + tape.width[t, n, mine]
    for v in range(tape.x.shape[2]):
        if v != mine and is_thing(tape.kind[t, n, v]):
            away_x = tape.x[t, n, v] - x
            away_y = tape.y[t, n, v] - y
            reach = (size + tape.length[t, n, v] + tape.width[t, n, v]) * half + type(x)(ROUNDING)
            reach = reach * type(x)(SLACK)
            near = type(x)(wp.max(gap.value[n], ZERO)) * type(x)(SLACK) + reach
            if away_x * away_x + away_y * away_y <= near * near:
                keep_least(gap, n, distance(box_at(tape, t, n, mine), box_at(tape, t, n, v)), t, tape.number[t, n, v])
            other_x, other_y = velocity(tape, t, n, v)
            limit = type(x)(wp.min(horizon, time.value[n])) * type(x)(SLACK)
            if may_touch(away_x, away_y, other_x - vx, other_y - vy, reach, limit):
                a = box_at(tape, t, n, mine)
                b = box_at(tape, t, n, v)
                begins, ends = touching(a, b, a.speed, b.speed)
                if begins <= ends and ends >= ZERO and begins <= horizon:
                    keep_least(time, n, wp.max(begins, ZERO), t, tape.number[t, n, v])


@wp.kernel(enable_backward=False, module="unique")
def find_nearest(
    tape: Any, ego: wp.array2d(dtype=wp.int32), last: wp.array(dtype=wp.int32), gap: Least, time: Least,
    horizon: wp.float64, size: int, first: int,
):  # fmt: skip
    """Write the least distance and the least time to touch of each episode; a thread has `size` of them."""
    begin = (first + wp.tid()) * size
    end = wp.min(begin + size, last.shape[0])
    for t in range(tape.x.shape[0]):
        for n in range(begin, end):
            if t <= last[n]:
                compare(tape, gap, time, t, n, ego[t, n], horizon)


def nearest(episodes: Episodes) -> tuple[Measure, Measure]:
    """Return the least distance [m] of each episode and the least time [s], of at most HORIZON, until two touch."""
    n, device = len(episodes.frames), episodes.x.device
    ego, last = episodes.ego.to(torch.int32).contiguous(), episodes.last.to(torch.int32)
    size = episodes_per_thread(device)
    gap, gaps = nothing_yet(n, device)
    time, times = nothing_yet(n, device)
    given = [tape_of(episodes), wp.from_torch(ego), wp.from_torch(last)]
    Program(
        [(find_nearest, [*given, gap, time, wp.float64(HORIZON), size])],
        math.ceil(n / size),
        device,
        len(usable_cores()),
    )()
    return measure_of(gaps), measure_of(times)
