"""How likely a failure is under the nominal distribution, from points that another distribution proposed.

Points come from a mixture of the nominal distribution p (share a) and one that looks for failures:
q = a p + (1 - a) f. The likelihood ratio w = p / q is then at most 1 / a whatever f is, so the mean of w over the
failures is unbiased, has a finite variance, and nothing that f overlooks can hide: it is drawn from p as well.
Source: A. Owen and Y. Zhou (2000), "Safe and effective importance sampling".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.evaluation.falsification.samplers import Normals, fitted
from sim.evaluation.statistics.intervals import CONFIDENCE, Estimate, clopper_pearson_interval, student_quantile

NOMINAL_SHARE = 0.5
"""a: a plain Monte Carlo estimate of the same size has at most 1 / a times less variance."""
FEWEST_FAILURES = 10
"""Below which nothing is fitted to them."""
FLATTEST = 1.25
"""Largest standard deviation of the fitted part, in nominal ones."""


@dataclass(frozen=True)
class Mixture:
    """The nominal distribution and one fitted to failures.

    Attributes:
        fitted: the other part; None leaves the nominal one alone.
        nominal_share: a.
    """

    fitted: Normals | None
    nominal_share: float = NOMINAL_SHARE

    def draw(self, n: int, size: int, random: np.random.Generator) -> np.ndarray:
        """Returns n independent points, [n, D]."""
        points = Normals.nominal(size).draw(n, random)
        if self.fitted is None:
            return points
        nominal = random.random(n) < self.nominal_share
        return np.where(nominal[:, None], points, self.fitted.draw(n, random))

    def weights(self, points: np.ndarray) -> np.ndarray:
        """Returns p / q at points [n, D], [n]: at most 1 / a."""
        if self.fitted is None:
            return np.ones(len(points))
        log_ratio = self.fitted.log_density(points) - Normals.nominal(points.shape[1]).log_density(points)
        return 1 / (self.nominal_share + (1 - self.nominal_share) * np.exp(np.minimum(log_ratio, 700)))


@dataclass(frozen=True)
class FailureProbability:
    """An estimate of the nominal failure probability.

    Attributes:
        unbiased: mean of w over all points, those that did not fail being 0.
        self_normalised: the same divided by the mean of all w; a little biased, mostly narrower.
        effective: effective sample size of all weights; effective_failures: of the failures'.
        failures: how many points failed.
    """

    unbiased: Estimate
    self_normalised: Estimate
    effective: float
    effective_failures: float
    failures: int

    def as_dict(self) -> dict:
        """Returns the estimate for JSON."""
        return {
            "unbiased": self.unbiased.as_dict() | {"n": self.unbiased.n},
            "self_normalised": self.self_normalised.as_dict(),
            "effective_sample_size": self.effective,
            "effective_sample_size_of_failures": self.effective_failures,
            "failures": self.failures,
        }


def failure_probability(
    weights: np.ndarray, failed: np.ndarray, nominal_share: float = NOMINAL_SHARE
) -> FailureProbability:
    """Returns the nominal failure probability from n independent points.

    Where nothing failed the upper ends are the exact one for the proposal (Clopper-Pearson) times the greatest weight;
    where everything did, the lower ends follow the same way from what did not fail. Else the unbiased estimate has
    Student's interval, the self-normalised one that of the delta method.

    Args:
        weights: p / q of each, [n].
        failed: bool [n].
        nominal_share: a, which bounds the weights by 1 / a.
    """
    n = len(weights)
    if n < 2:
        raise ValueError(f"a failure probability needs at least two points, got {n}")
    counted = np.where(failed, weights, 0.0)
    total = float(weights.sum())
    effective = total**2 / float((weights**2).sum())
    square = float((counted**2).sum())
    effective_failures = float(counted.sum()) ** 2 / square if square else 0.0
    plain, normal = float(counted.mean()), float(counted.sum()) / total
    if not failed.any() or failed.all():
        bound = clopper_pearson_interval(int(failed.sum()), n)  # of the proposal
        low = max(0.0, 1 - (1 - bound.low) / nominal_share) if failed.any() else 0.0
        high = 1.0 if failed.any() else min(1.0, bound.high / nominal_share)
        unbiased, normalised = Estimate(plain, low, high, n), Estimate(normal, low, high, n)
    else:
        reach = student_quantile(CONFIDENCE, n - 1)
        half = reach * float(counted.std(ddof=1)) / n**0.5
        residual = weights * (failed - normal)
        half_normal = reach * float((residual**2).sum()) ** 0.5 / total
        unbiased = Estimate(plain, max(0.0, plain - half), min(1.0, plain + half), n)
        normalised = Estimate(normal, max(0.0, normal - half_normal), min(1.0, normal + half_normal), n)
    return FailureProbability(unbiased, normalised, effective, effective_failures, int(failed.sum()))


def failure_proposal(points: np.ndarray, log_proposal: np.ndarray) -> Mixture:
    """Returns a mixture fitted to failures that a search found; the nominal distribution alone where there are few.

    Each failure counts by how likely it is under the nominal distribution against the one that proposed it, evened out
    until the effective number is large enough for a fit.

    Args:
        points: the failures, [n, D].
        log_proposal: logarithm of the density that proposed each, [n].
    """
    if len(points) < FEWEST_FAILURES:
        return Mixture(None)
    log_weight = Normals.nominal(points.shape[1]).log_density(points) - log_proposal
    power = 1.0
    while True:
        weights = np.exp(power * (log_weight - log_weight.max()))
        if weights.sum() ** 2 / (weights**2).sum() >= min(len(points), 2 * points.shape[1]) or power < 1e-3:
            break
        power *= 0.7
    normals = fitted(points, weights)
    return Mixture(Normals(normals.mean, np.minimum(normals.deviation, FLATTEST)))
