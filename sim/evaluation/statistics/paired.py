"""Two drivers on the same cases: tests, intervals and what could have been seen at all."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import special

from sim.evaluation.statistics.bootstrap import BLOCK, RESAMPLES, SEED
from sim.evaluation.statistics.intervals import CONFIDENCE, Estimate, normal_quantile, student_quantile

POWER = 0.8  # the share of true differences found at which a difference counts as detectable


def mcnemar_test(b_only: int, a_only: int) -> float:
    """Returns the exact two-sided p that both rates are equal, from the cases where only one side had the event.

    Source: Q. McNemar (1947), "Note on the sampling error of the difference between correlated proportions".
    """
    _check_discordant(b_only, a_only, b_only + a_only)
    return float(min(1.0, 2 * special.bdtr(min(b_only, a_only), b_only + a_only, 0.5)))


def tango_interval(b_only: int, a_only: int, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """Returns the difference of two paired rates, B - A, with Tango's score interval.

    Args:
        b_only: cases where only B had the event.
        a_only: cases where only A had it.
        n: all cases, those where both or neither had it included.
        confidence: of the interval.

    Without any discordant case the interval still has width. Source: T. Tango (1998), "Equivalence test and confidence
    interval for the difference in proportions for the paired-sample design", Statistics in Medicine 17, 891-908.
    """
    _check_discordant(b_only, a_only, n)
    if n == 0:
        return Estimate(None, None, None, 0)
    high = _tango_upper(b_only, a_only, n, normal_quantile(confidence))
    low = -_tango_upper(a_only, b_only, n, normal_quantile(confidence))
    return Estimate((b_only - a_only) / n, low, high, n)


def _tango_upper(more: int, less: int, n: int, z: float) -> float:
    """The largest difference d whose score lies within z, found by halving: the score falls with d."""

    def within(d: float) -> bool:
        # The likeliest share of cases with the other outcome if the difference were d, Tango's equation (10).
        linear = -more - less + (2 * n - more + less) * d
        share = (math.sqrt(linear**2 + 8 * n * less * d * (1 - d)) - linear) / (4 * n)
        return n * d - (more - less) <= z * math.sqrt(max(n * (2 * share + d * (1 - d)), 0))

    inside, outside = (more - less) / n, 1.0
    if more == n:
        return 1.0
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if within(middle) else (inside, middle)
    return inside


def sign_flip_test(differences: np.ndarray, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """Returns the two-sided p, [m], that the differences [n, m] are symmetric about 0; NaN marks a missing pair.

    Under that hypothesis each sign is a coin; up to 13 pairs all combinations are tried, beyond that `resamples` of
    them, so p is at least 1 / (resamples + 1). NaN where a metric has no pair. Source: R. A. Fisher (1935), "The design
    of experiments", section 21.
    """
    differences = np.asarray(differences, dtype=np.float64)
    n = len(differences)
    missing = np.isnan(differences).all(0)
    columns = torch.from_numpy(np.nan_to_num(differences))
    # Sums of the same numbers in another order differ by rounding; they must count as equal.
    limit = (columns.sum(0).abs() - 1e-12 * columns.abs().sum(0)).numpy()
    exact = 2**n <= max(resamples, 1)
    tried = 2**n if exact else resamples
    generator = np.random.Generator(np.random.SFC64(seed))
    block = max(1, BLOCK // max(n, 1))
    beyond = np.zeros(differences.shape[1])
    for start in range(0, tried, block):
        rows = np.arange(start, min(start + block, tried))
        if exact:
            heads = rows[:, None] >> np.arange(n) & 1
        else:
            coins = np.frombuffer(generator.bytes(len(rows) * math.ceil(n / 8)), dtype=np.uint8)
            heads = np.unpackbits(coins.reshape(len(rows), -1), axis=1, count=n)
        signs = torch.from_numpy(1 - 2 * heads.astype(np.float64))
        beyond += ((signs @ columns).abs().numpy() >= limit).sum(0)
    p = beyond / tried if exact else (beyond + 1) / (tried + 1)
    return np.where(missing, np.nan, p)


def win_tie_loss(differences: np.ndarray, better: str) -> tuple[int, int, int]:
    """Returns in how many cases B beats, equals and loses to A, from B - A [n]; NaN pairs are left out.

    `better` is "lower" or "higher".
    """
    if better not in ("lower", "higher"):
        raise ValueError(f"better must be 'lower' or 'higher', got {better!r}")
    below, equal, above = (int(x.sum()) for x in (differences < 0, differences == 0, differences > 0))
    return (below, equal, above) if better == "lower" else (above, equal, below)


def mcnemar_power(n: int, discordant_share: float, difference: float, alpha: float = 1 - CONFIDENCE) -> float:
    """Returns the probability that the exact McNemar test of `n` pairs finds a true `difference` of two rates.

    `discordant_share` is the true share of cases in which the two differ, at least |difference|.
    """
    difference = abs(difference)
    if not difference <= discordant_share <= 1:
        raise ValueError(f"the share must lie between the difference {difference} and 1, got {discordant_share}")
    middle, reach = n * discordant_share, 9 * math.sqrt(n * discordant_share * (1 - discordant_share)) + 9
    counts = np.arange(max(0, math.floor(middle - reach)), min(n, math.ceil(middle + reach)) + 1)
    chances = (
        special.gammaln(n + 1) - special.gammaln(counts + 1) - special.gammaln(n - counts + 1)
        + special.xlogy(counts, discordant_share) + special.xlog1py(n - counts, -discordant_share)
    )  # fmt: skip
    # The largest smaller count that is still significant, -1 where none is; the inverse may be off by one.
    critical = np.minimum(np.floor(np.nan_to_num(special.bdtrik(alpha / 2, counts, 0.5))) + 1, counts)
    for _ in range(3):
        critical -= 2 * special.bdtr(np.maximum(critical, 0), counts, 0.5) > alpha
    up = (1 + difference / discordant_share) / 2 if discordant_share else 0.5
    found = sum(np.where(critical >= 0, special.bdtr(np.maximum(critical, 0), counts, q), 0) for q in (up, 1 - up))
    return float((np.exp(chances) * found).sum())


def detectable_rate_difference(
    n: int, discordant: int, power: float = POWER, alpha: float = 1 - CONFIDENCE
) -> float | None:
    """Returns the smallest true difference of two rates that the McNemar test of `n` pairs finds with `power`.

    The share of discordant cases is taken as observed (`discordant` of n), or as the difference itself where that is
    larger. None where no difference could be found (fewer than six cases).
    """
    _check_discordant(discordant, 0, n)

    def enough(difference: float) -> bool:
        return mcnemar_power(n, max(discordant / n, difference), difference, alpha) >= power

    if n == 0 or not enough(1.0):
        return None
    short, found = 0.0, 1.0
    while found - short > 1e-6:
        middle = (short + found) / 2
        short, found = (short, middle) if enough(middle) else (middle, found)
    return found


def detectable_mean_difference(deviation: float, n: int, power: float = POWER, alpha: float = 1 - CONFIDENCE) -> float:
    """Returns the smallest true mean of `n` paired differences of standard deviation `deviation` found with `power`.

    Infinite for fewer than two pairs. The sum of two t quantiles stands for the quantile of the noncentral t.
    """
    if n < 2:
        return math.inf
    return (student_quantile(1 - alpha, n - 1) + student_quantile(2 * power - 1, n - 1)) * deviation / math.sqrt(n)


def pairs_needed(
    difference: float, discordant_share: float, power: float = POWER, alpha: float = 1 - CONFIDENCE
) -> int | None:
    """Returns how many cases McNemar's test needs to find a true `difference` of two rates; None for none.

    A normal approximation; the exact test needs some more. The share is raised to |difference| where it is smaller.
    Source: R. J. Connor (1987), "Sample size for testing differences in proportions for the paired-sample design".
    """
    difference = abs(difference)
    if difference == 0:
        return None
    share = max(discordant_share, difference)
    reach = normal_quantile(1 - alpha) * math.sqrt(share)
    reach += normal_quantile(2 * power - 1) * math.sqrt(share - difference**2)
    return math.ceil((reach / difference) ** 2)


def _check_discordant(b_only: int, a_only: int, n: int) -> None:
    if b_only < 0 or a_only < 0 or b_only + a_only > n:
        raise ValueError(f"discordant cases must lie between 0 and n = {n}, got {b_only} and {a_only}")
