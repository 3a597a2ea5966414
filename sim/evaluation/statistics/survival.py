"""Time or distance to the first event where some episodes ended without it (Kaplan and Meier)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.evaluation.statistics.intervals import CONFIDENCE, Estimate, normal_quantile, wilson_bounds


@dataclass(frozen=True)
class Survival:
    """The share of episodes still free of the event, as a step function of time (or distance).

    Attributes:
        time: [k] the moments at which the event happened, rising.
        share: [k] the share free of it from then on.
        at_risk: [k] episodes watched until just before.
        events: [k] how many events happened then.
        spread: [k] Greenwood's sum, the squared relative standard error of `share`; inf where `share` is 0.
        ends: [n] where each episode ended, rising.
        confidence: of the intervals below.
    """

    time: np.ndarray
    share: np.ndarray
    at_risk: np.ndarray
    events: np.ndarray
    spread: np.ndarray
    ends: np.ndarray
    confidence: float = CONFIDENCE

    def at(self, time: float) -> Estimate:
        """Returns the share free of the event at `time`, with Rothman's interval.

        That is Wilson's interval with the number of uncensored episodes that would give the same standard error, so
        without censoring it is Wilson's, and it never collapses. Nothing is said beyond the longest episode unless all
        had the event. Source: K. J. Rothman (1978), "Estimation of confidence limits for the cumulative probability of
        survival in life table analysis".
        """
        n = len(self.ends)
        step = int(np.searchsorted(self.time, time, side="right")) - 1
        share = float(self.share[step]) if step >= 0 else 1.0
        at_risk = n - int(np.searchsorted(self.ends, time, side="left"))
        if n == 0 or (at_risk == 0 and share > 0):
            return Estimate(None, None, None, n, "no episode was watched that long")
        if share == 1:
            weight = at_risk
        elif share == 0:
            weight = self.at_risk[step] / (self.share[step - 1] if step else 1.0)
        else:
            weight = (1 - share) / (share * self.spread[step])
        return Estimate(share, *wilson_bounds(share, float(weight), self.confidence), n)

    def quantile(self, share: float = 0.5) -> Estimate:
        """Returns the time by which `share` of the episodes have had the event; None where the data do not reach.

        Its interval holds the times whose band contains that share. Source: R. Brookmeyer and J. Crowley (1982).
        """
        if not 0 < share < 1:
            raise ValueError(f"a share lies between 0 and 1, got {share}")
        bands = [self.at(time) for time in self.time]
        level = 1 - share + 1e-12  # sums of shares that should equal the level must not miss it by a rounding
        columns = [[band.value for band in bands], [band.low for band in bands], [band.high for band in bands]]
        value, low, high = (
            next((float(t) for t, s in zip(self.time, column, strict=True) if s <= level), None) for column in columns
        )
        note = "" if high is not None else "open to the right: too few events"
        return Estimate(value, low, high, len(self.ends), note)

    def mean(self, horizon: float) -> Estimate:
        """Returns the mean time free of the event within `horizon`, with a normal interval.

        Source: P. Royston and M. Parmar (2013), "Restricted mean survival time". Without events there is no interval.
        Raises ValueError for a horizon beyond the longest episode.
        """
        n = len(self.ends)
        if n == 0:
            return Estimate(None, None, None, 0)
        if not 0 < horizon <= self.ends[-1]:
            raise ValueError(f"the horizon must lie within the longest episode, {self.ends[-1]:g}, got {horizon:g}")
        before = self.time < horizon
        edges = np.concatenate([[0.0], self.time[before], [horizon]])
        areas = np.diff(edges) * np.concatenate([[1.0], self.share[before]])
        left = areas[::-1].cumsum()[::-1][1:]  # the area from each event to the horizon
        if not before.any():
            return Estimate(horizon, None, None, n, "no event")
        alive = self.at_risk[before] > self.events[before]
        terms = (
            left**2 * self.events[before] / (self.at_risk[before] * np.maximum(self.at_risk - self.events, 1)[before])
        )
        half = normal_quantile(self.confidence) * math.sqrt(terms[alive].sum())
        value = float(areas.sum())
        return Estimate(value, max(0.0, value - half), min(horizon, value + half), n)


def kaplan_meier(times: Sequence[float], events: Sequence[bool], confidence: float = CONFIDENCE) -> Survival:
    """Returns the share of episodes free of an event over time; the others are censored where they ended.

    Counting collisions per hour of short episodes favours drivers that crash early; this does not.

    Args:
        times: [n] how long (s) or far (m) each episode ran.
        events: [n] whether the event ended it; False: it was watched no longer.
        confidence: of the intervals.

    Source: E. L. Kaplan and P. Meier (1958). An episode that ended at the moment of an event was at risk of it. Raises
    ValueError for negative or infinite times and for lists of different length.
    """
    times, events = np.asarray(times, dtype=np.float64), np.asarray(events, dtype=bool)
    if times.shape != events.shape:
        raise ValueError(f"one time and one event an episode: got {times.shape} and {events.shape}")
    if not (np.isfinite(times) & (times >= 0)).all():
        raise ValueError("times must be finite and not negative")
    ends = np.sort(times)
    time, happened = np.unique(times[events], return_counts=True)
    at_risk = len(ends) - np.searchsorted(ends, time, side="left")
    share = np.cumprod(1 - happened / at_risk)
    with np.errstate(divide="ignore"):
        spread = np.cumsum(happened / (at_risk * (at_risk - happened)))
    return Survival(time, share, at_risk, happened, spread, ends, confidence)
