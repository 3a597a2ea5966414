"""Post-encroachment time (PET): how long the area where two paths cross stayed empty between the two vehicles.

The shared area of two swept paths needs no polygon: the ego is in it exactly while its rectangle overlaps one that the
other vehicle covers at any time, and the other way round. So the frames of the one are laid over the frames of the
other, and each overlap tells, in closed form, when the moving rectangle enters and leaves the other one at rest.

One thread an episode. Vehicles whose heading never differs enough from the ego's are left out first, then those that
overlap its path at no such angle; boxes around stretches of the ego's path leave most of the others' frames out.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import warp as wp

from sim.engine.launch import Program
from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics.base import Measure
from sim.evaluation.metrics.device_boxes import (
    ZERO,
    box_at,
    episodes_per_thread,
    is_driven,
    separation,
    tape_of,
    touching,
)
from sim.evaluation.metrics.least import NEVER, Least, keep_least, measure_of, nothing_yet
from sim.provenance import usable_cores

CROSSING = math.radians(30)  # paths that meet at less follow or merge, which TTC and THW judge
SINE = math.sin(CROSSING)
MARGIN = 0.1  # m, by which the filters in the recorded precision are wider than needed
ANGLE_MARGIN = 1e-3  # rad, likewise
ROUNDING = 1e-6  # frames, by which one may seem later than it is
STRETCH = 16  # frames of the ego's path in a box

# What a vehicle's path has to do with the ego's.
APART, MAY_CROSS, CROSSES = 0, 1, 2
# What is done with each two frames at which the rectangles overlap.
FIND, SPAN, STAY = 0, 1, 2


@wp.struct
class Meeting:
    """The ego and each other vehicle of an episode, by the vehicle's number, [N, K] each.

    state: APART, MAY_CROSS or CROSSES. low, high: least and largest heading of the vehicle [rad]. first_frame,
    last_frame: of the ego, between which it is on the other's path; came_frame, gone_frame: of the other, on the ego's.
    enters, leaves: when the ego does so [s]; comes, goes: the other. sine: of the angle at which the ego enters.
    """

    state: wp.array2d(dtype=wp.int32)
    low: wp.array2d(dtype=wp.float32)
    high: wp.array2d(dtype=wp.float32)
    first_frame: wp.array2d(dtype=wp.int32)
    last_frame: wp.array2d(dtype=wp.int32)
    came_frame: wp.array2d(dtype=wp.int32)
    gone_frame: wp.array2d(dtype=wp.int32)
    enters: wp.array2d(dtype=wp.float64)
    leaves: wp.array2d(dtype=wp.float64)
    comes: wp.array2d(dtype=wp.float64)
    goes: wp.array2d(dtype=wp.float64)
    sine: wp.array2d(dtype=wp.float64)


@wp.struct
class Stretches:
    """Boxes around stretches of the ego's path, a margin and its own size wide, and its headings, [N, S] each."""

    low_x: wp.array2d(dtype=wp.float32)
    high_x: wp.array2d(dtype=wp.float32)
    low_y: wp.array2d(dtype=wp.float32)
    high_y: wp.array2d(dtype=wp.float32)
    low: wp.array2d(dtype=wp.float32)
    high: wp.array2d(dtype=wp.float32)


NOBODY = 2**30  # stands for no frame
PATH = {"low_x": NEVER, "high_x": -NEVER, "low_y": NEVER, "high_y": -NEVER, "low": NEVER, "high": -NEVER}
MEETING = {
    "state": APART, "low": NEVER, "high": -NEVER, "first_frame": NOBODY, "last_frame": -1, "came_frame": NOBODY,
    "gone_frame": -1, "enters": NEVER, "leaves": -NEVER, "comes": NEVER, "goes": -NEVER, "sine": 0.0,
}  # fmt: skip


@wp.func
def may_cross(least: wp.float32, spread: wp.float32):
    """Is the angle between two lines large enough for some difference of headings in [least, least + spread] [rad]?"""
    half_turn = wp.float32(math.pi)
    least = least - wp.float32(ANGLE_MARGIN)
    least = least - wp.floor(least / half_turn) * half_turn
    # It is from CROSSING to pi - CROSSING, and again a half turn later.
    needed = wp.float32(CROSSING)
    if least > half_turn - needed:
        needed = needed + half_turn
    return least + spread + wp.float32(2.0 * ANGLE_MARGIN) >= needed


@wp.func
def half_size(tape: Any, t: int, n: int, v: int):
    """Half of length and width [m]: no less than half the diagonal."""
    return wp.float32(tape.length[t, n, v] + tape.width[t, n, v]) * wp.float32(0.5)


@wp.func
def extend_path(tape: Any, path: Stretches, t: int, n: int, v: int):
    """Widen the box of a stretch by the ego, in slot `v`, at a frame."""
    s = t // STRETCH
    x = wp.float32(tape.x[t, n, v])
    y = wp.float32(tape.y[t, n, v])
    heading = wp.float32(tape.heading[t, n, v])
    reach = half_size(tape, t, n, v) + wp.float32(MARGIN)
    path.low_x[n, s] = wp.min(path.low_x[n, s], x - reach)
    path.high_x[n, s] = wp.max(path.high_x[n, s], x + reach)
    path.low_y[n, s] = wp.min(path.low_y[n, s], y - reach)
    path.high_y[n, s] = wp.max(path.high_y[n, s], y + reach)
    path.low[n, s] = wp.min(path.low[n, s], heading)
    path.high[n, s] = wp.max(path.high[n, s], heading)


@wp.kernel(enable_backward=False, module="unique")
def survey(
    tape: Any, ego: wp.array2d(dtype=wp.int32), last: wp.array(dtype=wp.int32), path: Stretches, meeting: Meeting,
    size: int, first: int,
):  # fmt: skip
    """Write the boxes around the egos' paths and each vehicle's headings; a thread has `size` episodes."""
    begin = (first + wp.tid()) * size
    end = wp.min(begin + size, last.shape[0])
    for t in range(tape.x.shape[0]):
        for n in range(begin, end):
            if t <= last[n]:
                extend_path(tape, path, t, n, ego[t, n])
                for v in range(tape.x.shape[2]):
                    if v != ego[t, n] and is_driven(tape.kind[t, n, v]):
                        k = tape.number[t, n, v]
                        heading = wp.float32(tape.heading[t, n, v])
                        if heading < meeting.low[n, k]:
                            meeting.low[n, k] = heading
                        if heading > meeting.high[n, k]:
                            meeting.high[n, k] = heading


@wp.func
def meet(tape: Any, meeting: Meeting, n: int, mine: int, theirs: int, t: int, at: int, dt: wp.float64, task: int):
    """Take in the ego at its frame `t` and a vehicle at its frame `at`, in slots `mine` and `theirs`, if they overlap.

    FIND: is the angle large enough. SPAN: between which frames either one is in the area. STAY: when exactly, which is
    decided in the first and the last frame of either one.
    """
    k = tape.number[at, n, theirs]
    a = box_at(tape, t, n, mine)
    b = box_at(tape, at, n, theirs)
    sine = wp.abs(a.along_x * b.along_y - a.along_y * b.along_x)
    if (task == FIND and sine < wp.float64(SINE)) or separation(a, b) >= ZERO:
        return
    if task == FIND:
        meeting.state[n, k] = CROSSES
    elif task == SPAN:
        meeting.first_frame[n, k] = wp.min(meeting.first_frame[n, k], t)
        meeting.last_frame[n, k] = wp.max(meeting.last_frame[n, k], t)
        meeting.came_frame[n, k] = wp.min(meeting.came_frame[n, k], at)
        meeting.gone_frame[n, k] = wp.max(meeting.gone_frame[n, k], at)
    else:
        begins, ends = touching(a, b, a.speed, ZERO)
        enters = wp.float64(t) * dt + wp.max(begins, -dt)
        if enters < meeting.enters[n, k]:
            meeting.enters[n, k] = enters
            meeting.sine[n, k] = sine
        elif enters == meeting.enters[n, k]:
            meeting.sine[n, k] = wp.max(meeting.sine[n, k], sine)
        meeting.leaves[n, k] = wp.max(meeting.leaves[n, k], wp.float64(t) * dt + wp.min(ends, dt))
        begins, ends = touching(a, b, ZERO, b.speed)
        meeting.comes[n, k] = wp.min(meeting.comes[n, k], wp.float64(at) * dt + wp.max(begins, -dt))
        meeting.goes[n, k] = wp.max(meeting.goes[n, k], wp.float64(at) * dt + wp.min(ends, dt))


@wp.func
def tells(meeting: Meeting, n: int, k: int, t: int, at: int, task: int):
    """May these two frames tell the task anything that is not known yet?"""
    if task == FIND:
        return meeting.state[n, k] != CROSSES
    if task == SPAN:
        known = t >= meeting.first_frame[n, k] and t <= meeting.last_frame[n, k]
        return not (known and at >= meeting.came_frame[n, k] and at <= meeting.gone_frame[n, k])
    if t == meeting.first_frame[n, k] or t == meeting.last_frame[n, k]:
        return True
    return at == meeting.came_frame[n, k] or at == meeting.gone_frame[n, k]


@wp.func
def lay_over(
    tape: Any, ego: wp.array2d(dtype=wp.int32), path: Stretches, meeting: Meeting,
    n: int, v: int, at: int, last: int, dt: wp.float64, task: int,
):  # fmt: skip
    """Lay the whole path of the ego over a vehicle in slot `v` at its frame `at`."""
    k = tape.number[at, n, v]
    x = wp.float32(tape.x[at, n, v])
    y = wp.float32(tape.y[at, n, v])
    heading = wp.float32(tape.heading[at, n, v])
    size = half_size(tape, at, n, v)
    for s in range(last // STRETCH + 1):
        near = x > path.low_x[n, s] - size and x < path.high_x[n, s] + size
        near = near and y > path.low_y[n, s] - size and y < path.high_y[n, s] + size
        if near and task == FIND:
            near = may_cross(heading - path.high[n, s], path.high[n, s] - path.low[n, s])
        if near:
            for t in range(s * STRETCH, wp.min((s + 1) * STRETCH, last + 1)):
                if tells(meeting, n, k, t, at, task):
                    mine = ego[t, n]
                    away_x = wp.float32(tape.x[t, n, mine]) - x
                    away_y = wp.float32(tape.y[t, n, mine]) - y
                    reach = half_size(tape, t, n, mine) + size + wp.float32(MARGIN)
                    if away_x * away_x + away_y * away_y < reach * reach:
                        meet(tape, meeting, n, mine, v, t, at, dt, task)


@wp.kernel(enable_backward=False, module="unique")
def find_encroachment(
    tape: Any, ego: wp.array2d(dtype=wp.int32), last: wp.array(dtype=wp.int32), path: Stretches, meeting: Meeting,
    least: Least, dt: wp.float64, first: int,
):  # fmt: skip
    """Write the least PET of each episode."""
    n = first + wp.tid()
    low = wp.float32(NEVER)
    high = -wp.float32(NEVER)
    for s in range(path.low.shape[1]):
        low = wp.min(low, path.low[n, s])
        high = wp.max(high, path.high[n, s])
    some = int(0)
    for k in range(meeting.state.shape[1]):
        if meeting.low[n, k] <= meeting.high[n, k]:
            spread = meeting.high[n, k] - meeting.low[n, k] + high - low
            if may_cross(meeting.low[n, k] - high, spread):
                meeting.state[n, k] = MAY_CROSS
                some = some + 1
    if some == 0:
        return
    for task in range(3):
        wanted = wp.where(task == FIND, MAY_CROSS, CROSSES)
        for at in range(last[n] + 1):
            for v in range(tape.x.shape[2]):
                driven = is_driven(tape.kind[at, n, v]) and v != ego[at, n]
                if driven and meeting.state[n, tape.number[at, n, v]] == wanted:
                    heading = wp.float32(tape.heading[at, n, v])
                    if task != FIND or may_cross(heading - high, high - low):
                        lay_over(tape, ego, path, meeting, n, v, at, last[n], dt, task)
    for k in range(meeting.state.shape[1]):
        if meeting.state[n, k] == CROSSES and meeting.sine[n, k] >= wp.float64(SINE):
            between = wp.max(meeting.comes[n, k] - meeting.leaves[n, k], meeting.enters[n, k] - meeting.goes[n, k])
            if between >= ZERO:
                second = wp.ceil(wp.max(meeting.enters[n, k], meeting.comes[n, k]) / dt - wp.float64(ROUNDING))
                keep_least(least, n, between, int(second), k)


def post_encroachment(episodes: Episodes) -> Measure:
    """Return the least PET [s] of each episode, at the first frame that the second vehicle is in the area.

    Invalid where no path crosses the ego's, and where all that cross were in the area together with the ego. Paths
    that go on together after they have met share all of that road, so that both are in it at once.
    """
    frames, n, _ = episodes.x.shape
    device = episodes.x.device
    ego, last = episodes.ego.to(torch.int32).contiguous(), episodes.last.to(torch.int32)
    numbers = 1 + (int(episodes.number.max()) if episodes.number.numel() else 0)
    meeting, held = _filled(Meeting, (n, max(numbers, 1)), MEETING, device)
    path, boxes = _filled(Stretches, (n, frames // STRETCH + 1), PATH, device)
    least, kept = nothing_yet(n, device)
    given = [tape_of(episodes), wp.from_torch(ego), wp.from_torch(last), path, meeting]
    size, threads = episodes_per_thread(device), len(usable_cores())
    Program([(survey, [*given, size])], math.ceil(n / size), device, threads)()
    Program([(find_encroachment, [*given, least, wp.float64(episodes.dt)])], n, device, threads)()
    del held, boxes  # the kernel's room
    return measure_of(kept)


def _filled(struct: type, shape: tuple[int, int], values: dict[str, float], device: torch.device) -> tuple[Any, list]:
    """Return a Warp struct of new arrays that hold one value each, and the tensors that they lie in."""
    made, tensors = struct(), []
    for name, value in values.items():
        dtype = wp.dtype_to_torch(struct.vars[name].type.dtype)
        tensors.append(torch.full(shape, value, dtype=dtype, device=device))
        setattr(made, name, wp.from_torch(tensors[-1]))
    return made, tensors
