"""The least value of each episode, found by a kernel of one thread an episode."""

from __future__ import annotations

import torch
import warp as wp

from sim.evaluation.metrics.base import Measure

NEVER = 1e30  # s or m, stands for infinity: bool and infinity do not mix well in float32 kernels


@wp.struct
class Least:
    """The least value of each episode so far, its frame and the number of whom it was reached with, [N] each."""

    value: wp.array(dtype=wp.float64)
    frame: wp.array(dtype=wp.int32)
    other: wp.array(dtype=wp.int32)


@wp.func
def keep_least(least: Least, n: int, value: wp.float64, frame: int, other: int):
    """Take a value if it is less, or the same at an earlier frame, or at the same one with a lower number."""
    before = least.value[n]
    if value > before:
        return
    if value == before and (frame > least.frame[n] or (frame == least.frame[n] and other >= least.other[n])):
        return
    least.value[n] = value
    least.frame[n] = frame
    least.other[n] = other


def nothing_yet(worlds: int, device: torch.device) -> tuple[Least, tuple[torch.Tensor, ...]]:
    """Return what `keep_least` writes to, as a Warp struct and as tensors [N]: value, frame, other."""
    value = torch.full((worlds,), NEVER, dtype=torch.float64, device=device)
    tensors = (value, *(torch.full((worlds,), -1, dtype=torch.int32, device=device) for _ in range(2)))
    least = Least()
    least.value, least.frame, least.other = map(wp.from_torch, tensors)
    return least, tensors


def measure_of(tensors: tuple[torch.Tensor, ...]) -> Measure:
    """Return what was kept; invalid where nothing was."""
    value, frame, other = tensors
    return Measure.of(value, value < NEVER, frame, other)
