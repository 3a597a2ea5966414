"""The ego and each other vehicle, at each frame: how they are named, passed over and reduced to one value an episode.

A pair is named by the flat index of the other vehicle in [T, N, V].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics.base import Measure

BLOCK = 32_768  # elements that the operations of one pass handle at a time, so that what they hold stays in the cache


@dataclass(frozen=True)
class Pairs:
    """Values of the ego with single vehicles: flat index of the vehicle in [T, N, V], and value, [P] each."""

    index: Tensor
    value: Tensor

    def least(self, episodes: Episodes) -> Measure:
        """Return the least value of each episode."""
        n, v = episodes.x.shape[1:]
        number = episodes.number.flatten()[self.index].long()
        return least_of(n, self.value, self.index // v % n, self.index // (n * v), number)


def ego_index(episodes: Episodes, index: Tensor) -> Tensor:
    """Return the flat index of the ego at the frame and in the world of flat indices [P] of [T, N, V]."""
    v = episodes.x.shape[2]
    row = index // v
    return row * v + episodes.ego.view(-1).index_select(0, row)


def least_of(worlds: int, value: Tensor, world: Tensor, frame: Tensor, number: Tensor) -> Measure:
    """Return the least of values [P] in each of `worlds`, at its first frame and there with the least number."""
    least = torch.full((worlds,), torch.inf, dtype=torch.float64, device=value.device)
    least = least.scatter_reduce(0, world, value, "amin")
    kept, found = value == least[world], []
    for part in (frame, number):
        best = torch.full((worlds,), torch.iinfo(torch.int64).max, device=part.device)
        best = best.scatter_reduce(0, world[kept], part[kept], "amin")
        kept &= part == best[world]
        found.append(best)
    return Measure.of(least, least < torch.inf, *found)


def blocks(episodes: Episodes) -> Iterator[slice]:
    """Yield slices of frames whose [T, N, V] fit in the cache; rows that no episode has are left out."""
    frames = int(episodes.frames.max()) if len(episodes.frames) else 0
    step = max(1, BLOCK // max(1, episodes.x[0].numel()))
    for first in range(0, frames, step):
        yield slice(first, min(first + step, frames))


def absence(episodes: Episodes, rows: slice) -> Tensor:
    """Return 0 for the pairs that count at the frames `rows` and inf for the others, in the recorded type [t, N, V].

    Added to what is to be small, it leaves out what does not count. On one core it is many times faster than
    `torch.where` with a mask that varies, which is why the modules of pairs reckon where others would choose.
    """
    here = episodes.present[rows] & episodes.counts[rows, :, None]
    return torch.zeros(here.shape, dtype=episodes.x.dtype, device=here.device).masked_fill_(~here, torch.inf)


def found(mask: Tensor, rows: slice) -> Tensor:
    """Return the flat indices in [T, N, V] of what is true in a mask of the frames `rows`."""
    return mask.view(-1).nonzero()[:, 0] + rows.start * mask[0].numel()
