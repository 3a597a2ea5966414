"""Small matrices in batches, written out.

A library may add in another order in another batch, and what becomes of one world must not depend on the others.
"""

from __future__ import annotations

import torch
from torch import Tensor


def product(first: Tensor, second: Tensor) -> Tensor:
    """Return the matrix product of [..., A, B] and [..., B, C], term by term."""
    terms = (first[..., k, None] * second[..., k, None, :] for k in range(second.shape[-2]))
    return sum(terms, start=torch.zeros((), dtype=first.dtype, device=first.device))


def inverse(matrix: Tensor) -> Tensor:
    """Return the inverse of symmetric 2 x 2 matrices [..., 2, 2]."""
    a, b, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 1]
    rows = torch.stack([torch.stack([d, -b], -1), torch.stack([-b, a], -1)], -2)
    return rows / (a * d - b * b)[..., None, None]
