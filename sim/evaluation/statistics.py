"""Confidence intervals for rates and means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A rate or a mean with its confidence interval; None where the data cannot say.

    Attributes:
        value: the estimate.
        low, high: the ends of its interval.
        n: the number of observations behind it.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int

    def as_dict(self) -> dict:
        """Returns `{"value": v, "ci95": [low, high]}` for JSON."""
        return {"value": self.value, "ci95": [self.low, self.high]}


def wilson_interval(events: int, n: int, confidence: float = 0.95) -> Estimate:
    """Returns a rate with Wilson's score interval.

    Unlike the textbook interval it does not collapse to a point when nothing (or everything) happened.
    Source: E. B. Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    if not 0 <= events <= n:
        raise ValueError(f"events must be between 0 and n = {n}, got {events}")
    if n == 0:
        return Estimate(None, None, None, 0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = events / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # The ends are exact at the edges; rounding would leave 1e-17 there.
    low = 0.0 if events == 0 else max(0.0, centre - half)
    high = 1.0 if events == n else min(1.0, centre + half)
    return Estimate(rate, low, high, n)


def mean_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> Estimate:
    """Returns a mean with Student's t interval; the ends are None for fewer than two values."""
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a mean needs finite values; count failed episodes as errors instead")
    n = len(values)
    if n == 0:
        return Estimate(None, None, None, 0)
    mean = float(values.mean())
    if n == 1:
        return Estimate(mean, None, None, 1)
    half = student_t_quantile((1 + confidence) / 2, n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


def student_t_quantile(probability: float, degrees: int) -> float:
    """Returns the quantile of Student's t distribution, to 0.3 % at 3 degrees of freedom and better above.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5 (expansion in 1 / degrees);
    closed forms for one and two degrees of freedom, where the expansion is poor.
    """
    p, v = probability, degrees
    if v == 1:
        return math.tan(math.pi * (p - 0.5))
    if v == 2:
        return (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    z = NormalDist().inv_cdf(p)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / v**power for power, term in enumerate(terms))
