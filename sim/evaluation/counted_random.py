"""Random numbers that are looked up, not drawn: each is a function of its episode and step alone.

Whoever needs one names the episode, the step and which number of that step; no state moves on. So an episode meets the
same numbers in any batch, at any place, and on any device (integers and a table decide them, no rounding does), and two
runs of one case differ by what is changed between them and nothing else (common random numbers).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sim.sensors.noise import GOLDEN, LAST_SHIFT, ROUNDS, normal_quantiles

MEMBER_SPAN = 1 << 32
"""How many numbers of one step belong to each member."""
QUANTILES = 1 << 16
"""A normal number is one of so many equally likely quantiles: at most 4.3 standard deviations, of variance 1 - 2e-5."""


class CountedRandom:
    """The numbers of N episodes.

    Args:
        seed, stream: which numbers; equal pairs give equal numbers.
        episode_seeds: of each episode, non-negative integers of any size.
        device: where the numbers are wanted.
    """

    def __init__(
        self, seed: int, stream: int, episode_seeds: Sequence[int], device: str | torch.device = "cpu"
    ) -> None:
        keys = [np.random.SeedSequence([seed, stream, int(one)]).generate_state(1, np.uint64) for one in episode_seeds]
        self.keys = torch.from_numpy(np.concatenate(keys).view(np.int64)).to(device)

    def bits(self, step: Tensor, count: int, member: int = 0) -> Tensor:
        """Returns 64 random bits each, as int64 [N, count].

        Args:
            step: of each episode, int64 [N].
            count: how many numbers.
            member: tells apart who asks in the same step: each gets numbers of its own.
        """
        states = mixed(self.keys + _signed(GOLDEN) * (step + 1))
        first = member * MEMBER_SPAN + 1
        places = torch.arange(first, first + count, device=self.keys.device)
        return mixed(states[:, None] + _signed(GOLDEN) * places)

    def uniform(self, step: Tensor, count: int, member: int = 0) -> Tensor:
        """Returns numbers evenly spread over [0, 1), float64 [N, count]; arguments as in `bits`."""
        return _shifted(self.bits(step, count, member), 11).double() * 2.0**-53

    def normal(self, step: Tensor, count: int, member: int = 0) -> Tensor:
        """Returns standard normal numbers, float64 [N, count]; arguments as in `bits`."""
        table = torch.from_numpy(normal_quantiles(QUANTILES)).to(self.keys.device)
        return table[_shifted(self.bits(step, count, member), 64 - 16)]


def mixed(numbers: Tensor) -> Tensor:
    """Returns splitmix64's output for each state, int64 of any shape read as 64 bits."""
    for shift, factor in ROUNDS:
        numbers = (numbers ^ _shifted(numbers, shift)) * _signed(factor)
    return numbers ^ _shifted(numbers, LAST_SHIFT)


def _shifted(numbers: Tensor, places: int) -> Tensor:
    """Shifts to the right and fills with zeros, which int64's own shift does not do for negative numbers."""
    return (numbers >> places) & ((1 << (64 - places)) - 1)


def _signed(number: int) -> int:
    """The int64 of the same 64 bits."""
    return number - (1 << 64) if number >= 1 << 63 else number
