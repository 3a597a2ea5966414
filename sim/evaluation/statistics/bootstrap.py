"""Bootstrap intervals of means over cases, resampled within groups; many metrics at once."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence

import numpy as np
import torch

from sim.evaluation.statistics.intervals import (
    CONFIDENCE,
    Estimate,
    normal_quantile,
    student_quantile,
    wilson_interval,
)

RESAMPLES = 10_000
SEED = 0  # of a generator of our own: the global one would make a report depend on what ran before

# With fewer cases than this off the most common value a resample often holds none of them.
FEW_CASES = 5
BLOCK = 2**20  # draws made at once; part of what a seed means, so never chosen by the machine


def estimate_metrics(
    values: Mapping[str, np.ndarray],
    rates: Collection[str],
    strata: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
) -> dict[str, Estimate]:
    """Returns each metric with the interval that suits it: Wilson's for `rates`, else a stratified bootstrap.

    Args:
        values: metric -> one value a case [n], NaN where it is not defined.
        rates: the metrics whose values are 0 or 1.
        strata: the group of each case, [n].
        confidence: of the intervals.

    A rate's interval takes the cases as one sample, which is on the safe side when groups differ. Raises ValueError
    for infinite values and for a rate that is not 0 or 1.
    """
    columns = {name: np.asarray(column, dtype=np.float64) for name, column in values.items()}
    found = {}
    for name in rates:
        valid = columns[name][~np.isnan(columns[name])]
        if not np.isin(valid, (0, 1)).all():
            raise ValueError(f"{name} is a rate, so its values are 0 or 1")
        found[name] = wilson_interval(int(valid.sum()), len(valid), confidence)
    means = [name for name in columns if name not in found]
    if means:
        table = np.stack([columns[name] for name in means], axis=1)
        found.update(zip(means, bootstrap_means(table, strata, confidence), strict=True))
    return {name: found[name] for name in columns}


def bootstrap_mean(
    values: Sequence[float] | np.ndarray,
    strata: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Estimate:
    """`bootstrap_means` of a single metric, values [n]."""
    return bootstrap_means(np.asarray(values, dtype=np.float64)[:, None], strata, confidence, resamples, seed)[0]


def bootstrap_means(
    values: np.ndarray,
    strata: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> list[Estimate]:
    """Returns the mean of each metric with a bootstrap interval over cases, resampled within strata.

    Args:
        values: [n, m], NaN where a case has no value; such a case takes part in the resampling but not in the mean.
        strata: the group of each case, [n]; groups of one case are pooled. None: one group.
        confidence: of the intervals.
        resamples: how many; all metrics share them.
        seed: of the generator made for them.

    The interval is the percentile one, its reach stretched so that it becomes Student's t interval for normal values: a
    plain percentile interval of 10 cases covers 90 %. Source: T. Hesterberg (2015), "What teachers should know about
    the bootstrap", 3.5. A metric that does not vary gets no interval (a bootstrap would claim zero width) and a note.
    Raises ValueError for infinite values.
    """
    values = np.asarray(values, dtype=np.float64)
    if np.isinf(values).any():
        raise ValueError("a mean needs finite values; NaN marks a case without one")
    codes = stratum_codes(strata, len(values))
    valid = ~np.isnan(values)
    counts = valid.sum(0)
    means = np.where(valid, values, 0).sum(0) / np.maximum(counts, 1)
    centred = np.where(valid, values - means, 0)
    draws = means + _resampled_means(centred, valid, codes, resamples, seed)
    found = []
    for j, n in enumerate(counts):
        if n == 0:
            found.append(Estimate(None, None, None, 0, "no valid case"))
            continue
        sample, groups = values[valid[:, j], j], codes[valid[:, j]]
        stretch, note = _stretch_of(sample, groups, confidence)
        low, high = stretched_percentiles(draws[:, j], means[j], stretch, confidence) if stretch else (None, None)
        found.append(Estimate(float(means[j]), low, high, int(n), note))
    return found


def stratum_codes(strata: Sequence[Hashable] | None, n: int) -> np.ndarray:
    """Returns the number of each case's stratum, [n] int64, where no stratum holds a single case.

    Strata of one case say nothing about the spread inside them; they are pooled, a lone one with the smallest other.
    Raises ValueError when `strata` does not name one group a case.
    """
    if strata is None:
        return np.zeros(n, dtype=np.int64)
    if len(strata) != n:
        raise ValueError(f"strata names the group of each case: {n} cases, {len(strata)} groups")
    number = {name: i for i, name in enumerate(dict.fromkeys(strata))}
    return _pooled(np.array([number[name] for name in strata], dtype=np.int64))


def _pooled(codes: np.ndarray) -> np.ndarray:
    counts = np.bincount(codes)
    target = np.arange(len(counts))
    lone = np.flatnonzero(counts == 1)
    if len(lone):
        others = np.flatnonzero(counts > 1)
        single = len(lone) == 1 and len(others)
        target[lone] = others[counts[others].argmin()] if single else lone[0]
    return np.unique(target[codes], return_inverse=True)[1].astype(np.int64)


def case_weights(codes: np.ndarray, resamples: int, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (first resample, how often each case is drawn [block, n]): with replacement, within its stratum."""
    generator = np.random.Generator(np.random.SFC64(seed))
    n = len(codes)
    members = [np.flatnonzero(codes == code) for code in range(codes.max(initial=-1) + 1)]
    block = max(1, BLOCK // max(n, 1))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        weights = np.empty((rows, n))
        for cases in members:
            size = len(cases)
            drawn = generator.integers(0, size, size=(rows, size), dtype=np.int32)
            drawn += np.arange(0, rows * size, size, dtype=np.int32)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
            weights[:, cases] = counts
        yield start, weights


def _resampled_means(
    centred: np.ndarray, valid: np.ndarray, codes: np.ndarray, resamples: int, seed: int
) -> np.ndarray:
    """The mean of each column in each resample, [resamples, m]; NaN where a resample holds no valid case.

    Drawing indices once and multiplying by counts makes all metrics share one pass; torch's product keeps to
    `torch.set_num_threads`, NumPy's does not.
    """
    patterns, pattern = np.unique(valid, axis=1, return_inverse=True)
    columns = torch.from_numpy(np.concatenate([centred, patterns.astype(np.float64)], axis=1))
    m = centred.shape[1]
    means = np.empty((resamples, m))
    for start, weights in case_weights(codes, resamples, seed):
        sums = (torch.from_numpy(weights) @ columns).numpy()
        with np.errstate(invalid="ignore"):
            means[start : start + len(sums)] = sums[:, :m] / sums[:, m + pattern.reshape(-1)]
    return means


def stretched_percentiles(draws: np.ndarray, value: float, stretch: float, confidence: float) -> tuple[float, float]:
    """Returns the ends of the percentile interval of `draws` [resamples], their distance to `value` stretched."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws[~np.isnan(draws)], [tail, 1 - tail])
    return float(value + stretch * (low - value)), float(value + stretch * (high - value))


def _stretch_of(sample: np.ndarray, codes: np.ndarray, confidence: float) -> tuple[float | None, str]:
    """How far to stretch a percentile interval of a stratified mean, and a note; None where it has no interval.

    Within a stratum of k cases the bootstrap's variance is (k - 1) / k of the unbiased one; the degrees of freedom of
    the sum are Satterthwaite's (1946).
    """
    n = len(sample)
    if n == 1:
        return None, "one case"
    _, numbers = np.unique(sample, return_counts=True)
    if len(numbers) == 1:
        return None, f"the same in all {n} cases"
    codes = _pooled(codes)
    size = np.bincount(codes)
    deviations = sample - (np.bincount(codes, sample) / size)[codes]
    share = size * np.bincount(codes, deviations**2) / (size - 1)  # n^2 times the stratum's part of the variance
    total = share.sum()
    if not total > 0:
        return None, "no spread within any group"
    degrees = total**2 / (share**2 / (size - 1)).sum()
    inflation = total / (share * (size - 1) / size).sum()
    stretch = student_quantile(confidence, degrees) / normal_quantile(confidence) * math.sqrt(inflation)
    odd = n - int(numbers.max())
    note = f"only {odd} of {n} cases differ from the rest: the interval is too narrow" if odd < FEW_CASES <= n else ""
    return stretch, note
