"""Intervals for a rate, for events per kilometre or hour, and for a mean.

All distributions come from `scipy.special`, which loads in a tenth of the time of `scipy.stats`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A rate, mean or difference with its confidence interval; None where the data cannot say.

    Attributes:
        value: the estimate.
        low, high: the ends of its interval.
        n: the number of observations behind it.
        note: why there is no interval or why it deserves less trust; empty when there is nothing to say.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    note: str = ""

    def as_dict(self) -> dict:
        """Returns `{"value": v, "ci95": [low, high]}` for JSON."""
        return {"value": self.value, "ci95": [self.low, self.high]}


def wilson_interval(events: int, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """Returns a rate with Wilson's score interval, the one to show.

    Unlike the textbook interval it does not collapse to a point when nothing (or everything) happened.
    Source: E. B. Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    _check_counts(events, n)
    if n == 0:
        return Estimate(None, None, None, 0)
    low, high = wilson_bounds(events / n, n, confidence)
    return Estimate(events / n, low, high, n)


def wilson_bounds(rate: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Returns the ends of Wilson's interval of a rate seen in `n` observations; `n` need not be whole."""
    z = normal_quantile(confidence)
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # The ends are exact at the edges; rounding would leave 1e-17 there.
    return (
        0.0 if rate == 0 else max(0.0, centre - half),
        1.0 if rate == 1 else min(1.0, centre + half),
    )


def clopper_pearson_interval(events: int, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """Returns a rate with the exact interval, the one for claims: it covers at least as often as it says.

    With no events its upper end is one-sided in effect and covers with (1 + confidence) / 2.
    Source: C. J. Clopper and E. S. Pearson (1934), "The use of confidence or fiducial limits".
    """
    _check_counts(events, n)
    if n == 0:
        return Estimate(None, None, None, 0)
    tail = (1 - confidence) / 2
    return Estimate(events / n, _exact_low(events, n, tail), _exact_high(events, n, tail), n)


def rate_at_most(events: int, n: int, confidence: float = CONFIDENCE) -> float | None:
    """Returns the exact one-sided upper bound of a rate ("at most"); None for no observations.

    Without events it is 1 - (1 - confidence)^(1/n), about 3 / n at 95 %.
    """
    _check_counts(events, n)
    return _exact_high(events, n, 1 - confidence) if n else None


def rate_at_least(events: int, n: int, confidence: float = CONFIDENCE) -> float | None:
    """Returns the exact one-sided lower bound of a rate ("at least"); None for no observations."""
    _check_counts(events, n)
    return _exact_low(events, n, 1 - confidence) if n else None


def garwood_interval(events: int, exposure: float, confidence: float = CONFIDENCE) -> Estimate:
    """Returns events per unit of `exposure` (km, h) with the exact Poisson interval; `n` is the event count.

    Source: F. Garwood (1936), "Fiducial limits for the Poisson distribution". Raises ValueError for a negative
    count or exposure; without exposure there is no rate.
    """
    if events < 0 or not exposure >= 0:
        raise ValueError(f"events and exposure must not be negative, got {events} and {exposure}")
    if exposure == 0:
        return Estimate(None, None, None, events, "no exposure")
    tail = (1 - confidence) / 2
    low = special.gammaincinv(events, tail) if events else 0.0
    high = special.gammainccinv(events + 1, tail)
    return Estimate(events / exposure, float(low / exposure), float(high / exposure), events)


def mean_interval(values: Sequence[float] | np.ndarray, confidence: float = CONFIDENCE) -> Estimate:
    """Returns a mean with Student's t interval; the ends are None for fewer than two values."""
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a mean needs finite values; count failed episodes as errors instead")
    n = len(values)
    if n == 0:
        return Estimate(None, None, None, 0)
    mean = float(values.mean())
    if n == 1:
        return Estimate(mean, None, None, 1, "one value")
    half = student_quantile(confidence, n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    note = "all values are equal" if values.min() == values.max() else ""
    return Estimate(mean, mean - half, mean + half, n, note)


def normal_quantile(confidence: float) -> float:
    """Returns how many standard deviations a two-sided interval of a normal variable reaches (1.96 at 95 %)."""
    if not 0 < confidence < 1:
        raise ValueError(f"the confidence must lie between 0 and 1, got {confidence}")
    return float(special.ndtri((1 + confidence) / 2))


def student_quantile(confidence: float, degrees: float) -> float:
    """Returns the same for Student's t with `degrees` of freedom, which need not be whole."""
    return float(special.stdtrit(degrees, (1 + confidence) / 2))


def _exact_low(events: int, n: int, tail: float) -> float:
    return float(special.betaincinv(events, n - events + 1, tail)) if events else 0.0


def _exact_high(events: int, n: int, tail: float) -> float:
    return float(special.betainccinv(events + 1, n - events, tail)) if events < n else 1.0


def _check_counts(events: int, n: int) -> None:
    if not 0 <= events <= n:
        raise ValueError(f"events must be between 0 and n = {n}, got {events}")
