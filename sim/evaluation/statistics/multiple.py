"""Adjusted p-values for many metrics at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p: Sequence[float]) -> np.ndarray:
    """Returns Holm's adjusted p-values, for claims: the chance of any false one stays below the level.

    Args:
        p: [m]; NaN marks a test that could not be made and counts for nothing.

    Source: S. Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    return _stepwise(p, lambda ranked: np.maximum.accumulate(ranked * np.arange(len(ranked), 0, -1)))


def benjamini_hochberg(p: Sequence[float]) -> np.ndarray:
    """Returns Benjamini and Hochberg's adjusted p-values, for exploring: the share of false ones among those found.

    `p` as in `holm`. Source: Y. Benjamini and Y. Hochberg (1995), "Controlling the false discovery rate".
    """

    def adjust(ranked: np.ndarray) -> np.ndarray:
        scaled = ranked * len(ranked) / np.arange(1, len(ranked) + 1)
        return np.minimum.accumulate(scaled[::-1])[::-1]

    return _stepwise(p, adjust)


def _stepwise(p: Sequence[float], adjust) -> np.ndarray:
    p = np.asarray(p, dtype=np.float64)
    if ((p < 0) | (p > 1)).any():
        raise ValueError("p-values lie between 0 and 1")
    tests = np.flatnonzero(~np.isnan(p))
    order = tests[np.argsort(p[tests], kind="stable")]
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(adjust(p[order]), 1)
    return adjusted
