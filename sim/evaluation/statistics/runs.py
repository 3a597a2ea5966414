"""Results of several training runs on the same cases: both the runs and the cases are a sample."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import torch

from sim.evaluation.statistics.bootstrap import (
    FEW_CASES,
    RESAMPLES,
    SEED,
    case_weights,
    stratum_codes,
    stretched_percentiles,
)
from sim.evaluation.statistics.intervals import (
    CONFIDENCE,
    Estimate,
    normal_quantile,
    student_quantile,
    wilson_interval,
)
from sim.evaluation.statistics.paired import tango_interval

# Below it an interval over runs is little more than a guess. Colas et al. (2018), "How many random seeds?"
MIN_RUNS = 5


def mean_over_runs(
    values: np.ndarray,
    rate: bool = False,
    strata: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> list[Estimate]:
    """Returns the mean of each metric with a two-level bootstrap interval: runs, then cases, the same in all runs.

    Args:
        values: [m, R, n] metric by training run by case, NaN where there is no value.
        rate: whether the values are 0 or 1; then the interval stays in [0, 1], and where fewer than five cases differ
            from the rest it reaches as far as Wilson's over the cases alone.
        strata: the group of each case, [n].
        confidence: of the intervals.
        resamples: how many.
        seed: of the generator made for them.

    Resampling runs and cases counts what is particular to a run on a case too often, and few runs too rarely; the
    interval's reach is therefore scaled to the variance of a two-way layout, with Student's t for Satterthwaite's
    degrees of freedom. Source: A. Owen (2007), "The pigeonhole bootstrap". The note says so below five runs.
    """
    found = _crossed([values], strata, confidence, resamples, seed)
    if not rate:
        return [estimate for estimate, _ in found]

    with_event, without = ((values == x).any(1).sum(1) for x in (1, 0))
    few = np.minimum(with_event, without) < FEW_CASES
    over_cases = [wilson_interval(round((e.value or 0) * e.n), e.n, confidence) for e, _ in found]
    return [_as_rate(e, 0.0, other if f else None) for (e, _), other, f in zip(found, over_cases, few, strict=True)]


def difference_over_runs(
    a: np.ndarray,
    b: np.ndarray,
    rate: bool = False,
    strata: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> list[tuple[Estimate, float | None]]:
    """Returns b - a of each metric as (estimate, two-sided p): runs resampled on each side, cases for both at once.

    Args:
        a: [m, Ra, n] as in `mean_over_runs`.
        b: [m, Rb, n], the same cases in the same order.
        rate: whether the values are 0 or 1; where fewer than five cases differ between any two runs, the interval
            reaches as far as Tango's over the cases alone.
        strata: the group of each case, [n].
        confidence: of the intervals.
        resamples: how many.
        seed: of the generator made for them.

    p belongs to the bootstrap: below 1 - confidence just where its interval leaves out 0.
    """
    if a.shape[2] != b.shape[2]:
        raise ValueError(f"both sides need the same cases: got {a.shape[2]} and {b.shape[2]}")
    found = _crossed([a, b], strata, confidence, resamples, seed)
    if not rate:
        return found

    both = np.concatenate([a, b], axis=1)
    few = ((both == 1).any(1) & (both == 0).any(1)).sum(1) < FEW_CASES
    bounded = []
    for (estimate, p), rare in zip(found, few, strict=True):
        change = round((estimate.value or 0) * estimate.n)
        over_cases = tango_interval(max(change, 0), max(-change, 0), estimate.n, confidence)
        bounded.append((_as_rate(estimate, -1.0, over_cases if rare else None), p))
    return bounded


def _as_rate(estimate: Estimate, least: float, over_cases: Estimate | None) -> Estimate:
    """A rate's interval cut to what a rate can be, [least, 1], and widened to `over_cases` where events are too few."""
    if estimate.value is None:
        return estimate
    ends = [e for e in (estimate, over_cases) if e is not None and e.low is not None]
    if not ends:
        return estimate
    low, high = max(least, min(e.low for e in ends)), min(1.0, max(e.high for e in ends))
    return Estimate(estimate.value, low, high, estimate.n, estimate.note)


def _crossed(
    sides: list[np.ndarray],
    strata: Sequence[Hashable] | None,
    confidence: float,
    resamples: int,
    seed: int,
) -> list[tuple[Estimate, float | None]]:
    """The last side's mean, less the first's where there are two, with interval and p, a metric."""
    if any(np.isinf(side).any() for side in sides):
        raise ValueError("a mean needs finite values; NaN marks a case without one")
    codes = stratum_codes(strata, sides[0].shape[2])
    signs = (1.0,) if len(sides) == 1 else (-1.0, 1.0)
    valid = [~np.isnan(side) for side in sides]
    counts = [v.sum((1, 2)) for v in valid]
    means = [np.where(v, s, 0).sum((1, 2)) / np.maximum(c, 1) for v, s, c in zip(valid, sides, counts, strict=True)]
    centred = [np.where(v, s - mean[:, None, None], 0) for v, s, mean in zip(valid, sides, means, strict=True)]
    value = sum(sign * mean for sign, mean in zip(signs, means, strict=True))
    draws = value + _crossed_draws(centred, valid, signs, codes, resamples, seed)
    variance, degrees = _variance(centred, counts, signs, codes)
    runs = [side.shape[1] for side in sides]
    cases = np.logical_and.reduce([v.any(1) for v in valid]).sum(1)
    found = []
    for j in range(len(value)):
        note = _runs_note(runs)
        if any(c[j] == 0 for c in counts):
            found.append((Estimate(None, None, None, 0, "no valid case"), None))
            continue
        kept = draws[~np.isnan(draws[:, j]), j]
        spread = kept.std()
        # A sum of equal values may leave rounding; it is no spread.
        if variance[j] == 0 or not spread > 1e-12 * max(1.0, abs(value[j])):
            note = "; ".join(filter(None, ["no spread between runs or cases", note]))
            found.append((Estimate(float(value[j]), None, None, int(cases[j]), note), None))
            continue
        stretch = student_quantile(confidence, degrees[j]) / normal_quantile(confidence)
        stretch *= np.sqrt(variance[j]) / spread
        low, high = stretched_percentiles(kept, value[j], stretch, confidence)
        reached = value[j] + stretch * (kept - value[j])
        beyond = min((reached <= 0).sum(), (reached >= 0).sum())
        p = min(1.0, 2 * float(beyond + 1) / (len(kept) + 1))
        found.append((Estimate(float(value[j]), low, high, int(cases[j]), note), p))
    return found


def _crossed_draws(
    centred: list[np.ndarray],
    valid: list[np.ndarray],
    signs: Sequence[float],
    codes: np.ndarray,
    resamples: int,
    seed: int,
) -> np.ndarray:
    """The mean (or difference of means) in each resample, less the value itself, [resamples, m]."""
    n = len(codes)
    columns = [
        [torch.from_numpy(part.reshape(-1, n).T.astype(np.float64)) for part in side]
        for side in zip(centred, valid, strict=True)
    ]
    total = np.zeros((resamples, len(centred[0])))
    run_weights = [
        np.random.default_rng([seed, i]).multinomial(
            side.shape[1], np.full(side.shape[1], 1 / side.shape[1]), resamples
        )
        for i, side in enumerate(centred)
    ]
    for start, weights in case_weights(codes, resamples, seed):
        rows = slice(start, start + len(weights))
        for sign, side, (sums, numbers), drawn in zip(signs, centred, columns, run_weights, strict=True):
            shape = (len(weights), *side.shape[:2])
            parts = [(torch.from_numpy(weights) @ part).numpy().reshape(shape) for part in (sums, numbers)]
            above, below = (np.einsum("bmr,br->bm", part, drawn[rows]) for part in parts)
            with np.errstate(invalid="ignore", divide="ignore"):
                total[rows] += sign * above / below
    return total


def _variance(
    centred: list[np.ndarray],
    counts: list[np.ndarray],
    signs: Sequence[float],
    codes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The unbiased variance of the mean over runs and cases, and its degrees of freedom, each [m].

    The parts of runs and of cases both hold the part of single runs on single cases, so that is taken off once.
    """
    n = len(codes)
    of_cases = np.zeros((len(centred[0]), n))
    between, overlap = np.zeros(len(centred[0])), np.zeros(len(centred[0]))
    doubt = np.zeros(len(centred[0]))
    for side, count, sign in zip(centred, counts, signs, strict=True):
        runs = side.shape[1]
        influence = side * (runs * n / np.maximum(count, 1))[:, None, None]
        by_run, by_case = influence.mean(2), influence.mean(1)
        of_cases += sign * by_case
        if runs > 1:
            part = by_run.var(1, ddof=1) / runs
            between += part
            doubt += part**2 / (runs - 1)
            rest = influence - by_run[:, :, None] - by_case[:, None, :]
            overlap += (rest**2).sum((1, 2)) / ((runs - 1) * max(n - 1, 1)) / (runs * n)
    size = np.bincount(codes)
    of_stratum = np.stack([np.bincount(codes, row) / size for row in of_cases])
    squares = np.stack([np.bincount(codes, row) for row in (of_cases - of_stratum[:, codes]) ** 2])
    across = (squares * size / np.maximum(size - 1, 1)).sum(1) / n**2
    doubt += across**2 / max(n - len(size), 1)
    variance = np.maximum(between + across - overlap, np.maximum(between, across))
    return variance, np.where(doubt > 0, variance**2 / np.where(doubt > 0, doubt, 1), np.inf)


def _runs_note(runs: list[int]) -> str:
    fewest = min(runs)
    if fewest == 1:
        return "one run on a side: how much another training would differ is not in the interval"
    return f"only {fewest} runs on a side, {MIN_RUNS} are the least to trust" if fewest < MIN_RUNS else ""
