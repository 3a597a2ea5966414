"""How bad the worst cases are: the mean of the worst share of them (conditional value at risk), which a mean hides."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from sim.evaluation.statistics.bootstrap import SEED, case_weights, stratum_codes
from sim.evaluation.statistics.intervals import CONFIDENCE, Estimate

SHARES = {"cvar5": 0.05, "worst_decile": 0.10}
"""The tails that a report shows: the worst 5 % and the worst tenth."""
FEWEST = 10
"""Cases in the tail below which a bootstrap knows too little of it: no interval."""
RESAMPLES = 2_000


def tail_mean(
    values: Sequence[float] | np.ndarray,
    share: float,
    better: str,
    strata: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Estimate:
    """Returns the mean of the worst `share` of the cases, with a percentile bootstrap interval within strata.

    Args:
        values: [n], NaN where a case has none; such a case is left out.
        share: of the cases, above 0 and at most 1; the case on the border counts in part.
        better: "higher" (the worst values are the lowest) or "lower".
        strata: the group of each case, [n].
        confidence: of the interval.
        resamples: how many.
        seed: of the generator made for them.

    No interval with fewer than `FEWEST` cases in the tail. Raises ValueError for a share or direction that is none.

    Source: R. T. Rockafellar, S. Uryasev (2002), "Conditional value-at-risk for general loss distributions".
    """
    if not 0 < share <= 1 or better not in ("higher", "lower"):
        raise ValueError(f"a tail needs a share in (0, 1] and a better direction, got {share} and {better!r}")
    values = np.asarray(values, dtype=np.float64)
    valid = ~np.isnan(values)
    codes = stratum_codes(strata, len(values))[valid]
    sample = values[valid] if better == "higher" else -values[valid]
    sign, n = (1.0 if better == "higher" else -1.0), len(sample)
    if n == 0:
        return Estimate(None, None, None, 0, "no valid case")
    order = np.argsort(sample, kind="stable")
    worst = sample[order]
    value = sign * float(_weighted(worst, np.ones((1, n)), share)[0])
    if n * share < FEWEST:
        return Estimate(value, None, None, n, f"only {n * share:.0f} cases in the tail: no interval")
    if worst[0] == worst[-1]:
        return Estimate(value, None, None, n, f"the same in all {n} cases")
    draws = np.concatenate([_weighted(worst, w[:, order], share) for _, w in case_weights(codes, resamples, seed)])
    side = (1 - confidence) / 2
    low, high = sorted(sign * float(end) for end in np.quantile(draws, [side, 1 - side]))
    return Estimate(value, low, high, n)


def _weighted(worst: np.ndarray, weights: np.ndarray, share: float) -> np.ndarray:
    """The tail's mean of ascending values [n] that are drawn `weights` [R, n] times, [R]."""
    wanted = share * weights.sum(1, keepdims=True)
    before = np.cumsum(weights, axis=1) - weights
    taken = np.clip(wanted - before, 0, weights)
    return taken @ worst / wanted[:, 0]


def tails(values: np.ndarray, better: str, strata: Sequence[Hashable] | None = None) -> dict[str, Estimate]:
    """Returns the tails of `SHARES` by name."""
    return {name: tail_mean(values, share, better, strata) for name, share in SHARES.items()}
