"""What happens to observations before a torso reads them.

Shapes: B samples, S one observation's shape.
"""

from typing import Literal

import torch
from torch import Tensor, nn


class Standardize(nn.Module):
    """Shifts and scales observations to mean 0 and deviation 1, by the statistics of all that `update` was shown.

    highway-env normalises by the range of a feature, not by its spread: lateral speeds fill a hundredth of [-1, 1].
    What the torso must not tell apart shares its statistics: all rows but the ego's (`pooled` "rows"), or the cells of
    a grid ("cells"). The column `presence` stays as it is.
    """

    LEAST_DEVIATION = 1e-3  # below it a feature is constant and stays as it is
    LIMIT = 10.0  # deviations beyond which an observation is clipped

    def __init__(self, shape: tuple[int, ...], pooled: Literal["rows", "cells"] | None, presence: int | None = None):
        super().__init__()
        self.pooled, self.presence = pooled, presence
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, observation: Tensor) -> Tensor:
        """[B, *S] -> [B, *S]."""
        varies = self.variance > self.LEAST_DEVIATION**2
        scale = torch.where(varies, self.variance, 1.0).rsqrt()
        return ((observation - torch.where(varies, self.mean, 0.0)) * scale).clamp(-self.LIMIT, self.LIMIT)

    @torch.no_grad()
    def update(self, observation: Tensor) -> None:
        """Adds observations [B, *S] to the statistics (Chan et al.'s parallel variance)."""
        observation = observation.float()
        if self.pooled == "cells":
            variance, mean = torch.var_mean(observation, (0, 2, 3), unbiased=False)
            mean, variance = (one[:, None, None].expand_as(self.mean) for one in (mean, variance))
        else:
            mean, variance = observation.mean(0), observation.var(0, unbiased=False)
        if self.pooled == "rows" and len(mean) > 1:
            pooled = observation[:, 1:].flatten(0, 1)
            mean = torch.cat((mean[:1], pooled.mean(0).expand_as(mean[1:])))
            variance = torch.cat((variance[:1], pooled.var(0, unbiased=False).expand_as(variance[1:])))
        total = self.count + len(observation)
        share = (len(observation) / total).to(mean.dtype)
        if self.presence is not None:
            mean[:, self.presence], variance[:, self.presence] = 0.0, 1.0
        step = mean - self.mean
        between = step.square() * share * (1.0 - share)
        self.variance.copy_(self.variance * (1.0 - share) + variance * share + between)
        self.mean.add_(step * share)
        self.count.copy_(total)


class AsSeen(nn.Module):
    """Leaves observations as they are: a picture's bytes, whose range is known. The interface is `Standardize`'s."""

    def forward(self, observation: Tensor) -> Tensor:
        """[B, *S] -> [B, *S]."""
        return observation

    def update(self, observation: Tensor) -> None:
        """Nothing to learn."""
