"""Post-encroachment time (PET): how long the area where two paths cross stayed empty between the two vehicles.

The shared area of two swept paths needs no polygon: the ego is in it exactly while its rectangle overlaps one that the
other vehicle covers at any time, and the other way round. So the frames of the one are laid over the frames of the
other, and each overlap tells, in closed form, when the moving rectangle enters and leaves the other one at rest.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics.base import Measure
from sim.evaluation.metrics.boxes import Boxes, separation, touching
from sim.evaluation.metrics.pairs import BLOCK, absence, blocks, found, least_of
from sim.world import Kind

CROSSING = math.radians(30)  # paths that meet at less follow or merge, which TTC and THW judge
MARGIN = 0.1  # m, by which the filters in the recorded precision are wider than needed


def post_encroachment(episodes: Episodes) -> Measure:
    """Return the least PET [s] of each episode, at the first frame that the second vehicle is in the area.

    Invalid where no path crosses the ego's, and where all that cross were in the area together with the ego. Paths
    that go on together after they have met share all of that road, so that both are in it at once.
    """
    n, v = episodes.x.shape[1:]
    others, frames = _overlaps(episodes)
    number = episodes.number.view(-1)[others].long()
    numbers = int(number.max()) + 1 if len(number) else 1
    keys, pair = torch.unique(others // v % n * numbers + number, return_inverse=True)
    # Who enters and leaves when is decided in the first and the last frame of either one in the area.
    ends = torch.zeros_like(frames, dtype=torch.bool)
    for time in (frames, others // (n * v)):
        for reduce in ("amin", "amax"):
            ends |= time == _per_pair(time, pair, len(keys), reduce)[pair]
    others, frames, pair = others[ends], frames[ends], pair[ends]
    world = others // v % n
    mine, theirs = Boxes.at(episodes, _ego(episodes, frames, world)), Boxes.at(episodes, others)
    enter, leave = _stay(mine, theirs, frames, episodes.dt)
    come, go = _stay(theirs, mine, others // (n * v), episodes.dt)
    enters, comes = _per_pair(enter, pair, len(keys), "amin"), _per_pair(come, pair, len(keys), "amin")
    leaves, goes = _per_pair(leave, pair, len(keys), "amax"), _per_pair(go, pair, len(keys), "amax")
    sine = (mine.along_x * theirs.along_y - mine.along_y * theirs.along_x).abs()
    sine = torch.where(enter == enters[pair], sine, 0.0)  # where the ego first meets the other's path
    crosses = _per_pair(sine, pair, len(keys), "amax") >= math.sin(CROSSING)
    time = torch.maximum(comes - leaves, enters - goes)
    valid = crosses & (time >= 0)
    second = (torch.maximum(enters, comes) / episodes.dt).ceil().long()
    world, number = keys // numbers, keys % numbers
    return least_of(n, *(part[valid] for part in (time, world, second, number)))


def _per_pair(values: Tensor, pair: Tensor, count: int, reduce: str) -> Tensor:
    """Return the least ("amin") or largest ("amax") value of each of `count` pairs of vehicles."""
    empty = torch.zeros(count, dtype=values.dtype, device=values.device)
    return empty.scatter_reduce(0, pair, values, reduce, include_self=False)


def _stay(moving: Boxes, other: Boxes, frame: Tensor, dt: float) -> tuple[Tensor, Tensor]:
    """Return when a box that overlaps another one at `frame` [P] enters and leaves the place of the other one [s]."""
    first, last = touching(moving, other.standing())
    return frame * dt + first.clamp(min=-dt), frame * dt + last.clamp(max=dt)


def _ego(episodes: Episodes, frames: Tensor, world: Tensor) -> Tensor:
    """Return the flat index of the ego at frames [P] of worlds [P]."""
    _, n, v = episodes.x.shape
    row = frames * n + world
    return row * v + episodes.ego.flatten()[row]


def _overlaps(episodes: Episodes) -> tuple[Tensor, Tensor]:
    """Return all (flat index of another vehicle, frame of the ego) whose rectangles overlap, at whatever frames."""
    n, v = episodes.x.shape[1:]
    path_x, path_y = episodes.of_ego("x"), episodes.of_ego("y")
    outer = (torch.hypot(episodes.of_ego("length"), episodes.of_ego("width")) / 2).amax(0)
    samples = _near_path(episodes, path_x, path_y, outer)
    overlapping = [samples.new_zeros(2, 0)]
    for some in samples.split(max(1, BLOCK // len(path_x))):
        world = some // v % n
        reach = _outer(episodes, some) + outer[world] + MARGIN
        x, y = path_x[:, world] - episodes.x.flatten()[some], path_y[:, world] - episodes.y.flatten()[some]
        near = (x * x + y * y <= reach * reach) & episodes.counts[:, world]
        frame, which = near.nonzero(as_tuple=True)
        others = some[which]
        mine, theirs = Boxes.at(episodes, _ego(episodes, frame, world[which])), Boxes.at(episodes, others)
        overlap = separation(mine, theirs) < 0
        overlapping.append(torch.stack([others[overlap], frame[overlap]]))
    both = torch.cat(overlapping, 1)
    return both[0], both[1]


def _outer(episodes: Episodes, index: Tensor) -> Tensor:
    """Return half the diagonal of vehicles [m]."""
    return torch.hypot(episodes.length.flatten()[index], episodes.width.flatten()[index]) / 2


def _near_path(episodes: Episodes, path_x: Tensor, path_y: Tensor, outer: Tensor) -> Tensor:
    """Return the flat indices of vehicles that may cross the ego's path, where they are in the box around it."""
    slots = _may_cross(episodes)
    if not bool(slots.any()):
        return torch.zeros(0, dtype=torch.int64, device=slots.device)
    box = [(name, *_range(path, episodes.counts)) for name, path in (("x", path_x), ("y", path_y))]
    fixed = torch.zeros(slots.shape, dtype=outer.dtype, device=outer.device).masked_fill_(~slots, torch.inf)
    indices = []
    for rows in blocks(episodes):
        beyond = absence(episodes, rows) + fixed - MARGIN
        reach = (episodes.length[rows] + episodes.width[rows]) / 2 + outer[:, None]
        for name, low, high in box:
            place = getattr(episodes, name)[rows]
            beyond = beyond + (torch.maximum(low[:, None] - place, place - high[:, None]) - reach).clamp(min=0)
        index = found(beyond <= 0, rows)
        kind = episodes.kind.view(-1).index_select(0, index)
        indices.append(index[(kind != Kind.OBSTACLE) & (kind != Kind.PARKED)])
    return torch.cat(indices)


def _may_cross(episodes: Episodes) -> Tensor:
    """Return the slots whose headings and the ego's differ enough at some frames, bool [N, V].

    Where vehicles change slots, all slots of a world in which there is one.
    """
    n, v = episodes.x.shape[1:]
    least = torch.full((n, v), torch.inf, dtype=episodes.heading.dtype, device=episodes.heading.device)
    most = -least
    numbers = episodes.number[0], episodes.number[0]
    for rows in blocks(episodes):
        heading, absent = episodes.heading[rows], absence(episodes, rows)
        least = torch.minimum(least, (heading + absent).amin(0))
        most = torch.maximum(most, (heading - absent).amax(0))
        number = episodes.number[rows]
        numbers = torch.minimum(numbers[0], number.amin(0)), torch.maximum(numbers[1], number.amax(0))
    low, high = _range(episodes.of_ego("heading"), episodes.counts)
    first, spread = least - high[:, None], most - least + (high - low)[:, None]
    first = first.remainder(math.pi)
    # The angle between two lines is large enough from CROSSING to pi - CROSSING, and again a half turn later.
    turned = first + spread >= torch.where(first <= math.pi - CROSSING, CROSSING, math.pi + CROSSING)
    change = (numbers[0] != numbers[1]).any(1)
    return turned | (turned.any(1) & change)[:, None]


def _range(values: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least and largest value [N] of [T, N] over the frames that count."""
    return torch.where(counts, values, torch.inf).amin(0), torch.where(counts, values, -torch.inf).amax(0)
