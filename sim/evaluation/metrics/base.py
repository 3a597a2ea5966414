"""What a metric of recorded episodes is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Spec:
    """What a metric means, for reports and comparisons."""

    unit: str
    better: Literal["lower", "higher", ""]
    rate: bool  # is the value of an episode 0 or 1
    about: str  # one line


@dataclass(frozen=True)
class Measure:
    """One metric of N episodes.

    Attributes:
        value: float64 [N], NaN where it is not valid.
        valid: bool [N]. What is not valid is reported as such, never dropped or taken for zero.
        frame: int64 [N], the frame at which the value was reached, -1 for none.
        other: int64 [N], `Episodes.number` of the vehicle that it was reached with, -1 for none.
    """

    value: Tensor
    valid: Tensor
    frame: Tensor
    other: Tensor

    @classmethod
    def of(
        cls, value: Tensor, valid: Tensor | None = None, frame: Tensor | None = None, other: Tensor | None = None
    ) -> Measure:
        """Returns a measure; what is left out is valid everywhere, at no frame and with nobody."""
        valid = torch.ones(len(value), dtype=torch.bool, device=value.device) if valid is None else valid
        value = torch.where(valid, value.to(torch.float64), torch.nan)
        none = torch.full((len(value),), -1, dtype=torch.int64, device=value.device)
        frame, other = (none if part is None else torch.where(valid, part.long(), none) for part in (frame, other))
        return cls(value, valid, frame, other)
