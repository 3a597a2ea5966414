"""Where a search looks next: random (the baseline), cross-entropy, CMA-ES."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

METHODS = ("random", "cross-entropy", "cma")
ELITE = 0.1
"""Share of the best points that the cross-entropy method fits; Rubinstein and Kroese (2004) take 0.01 to 0.1."""
SMOOTHING = 0.7
"""Weight of the fit against the distribution so far."""
NARROWEST = 0.3
"""Least standard deviation of a fit, in nominal ones; keeps the search from closing in on a single scene."""
CMA_STEP = 0.6
"""First step size of CMA-ES, in nominal standard deviations."""
WORLDS_PER_POINT = 32
"""Seeds with which CMA-ES judges a point: its objective is their mean margin."""


@dataclass(frozen=True)
class Normals:
    """D independent normals of the latent numbers; the nominal distribution has means 0 and deviations 1.

    Attributes:
        mean, deviation: float64 [D].
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def nominal(cls, size: int) -> Normals:
        """Returns the nominal distribution of D latent numbers."""
        return cls(np.zeros(size), np.ones(size))

    def draw(self, n: int, random: np.random.Generator) -> np.ndarray:
        """Returns n points, [n, D]."""
        return self.mean + self.deviation * random.standard_normal((n, len(self.mean)))

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """Returns the logarithm of the density at points [n, D], [n]."""
        scaled = (points - self.mean) / self.deviation
        return -0.5 * (scaled**2).sum(1) - np.log(self.deviation).sum() - 0.5 * len(self.mean) * math.log(2 * math.pi)


def fitted(points: np.ndarray, weights: np.ndarray | None = None) -> Normals:
    """Returns the normals of greatest likelihood for weighted points [n, D], none narrower than `NARROWEST`."""
    weights = np.ones(len(points)) if weights is None else weights
    mean = np.average(points, axis=0, weights=weights)
    variance = np.average((points - mean) ** 2, axis=0, weights=weights)
    return Normals(mean, np.maximum(np.sqrt(variance), NARROWEST))


class Sampler(Protocol):
    """Proposes points of the latent space and learns from their margins."""

    def ask(self, n: int, random: np.random.Generator) -> np.ndarray:
        """Returns n points, [n, D]."""

    def tell(self, points: np.ndarray, margins: np.ndarray) -> None:
        """Learns the margins [n] of points [n, D]; the lower, the nearer to a failure."""

    def proposal(self) -> Normals | None:
        """Returns the distribution of the next points; None where there is none to name."""


class RandomSampler:
    """Draws from the nominal distribution."""

    def __init__(self, size: int) -> None:
        self._size = size

    def ask(self, n: int, random: np.random.Generator) -> np.ndarray:
        return self.proposal().draw(n, random)

    def tell(self, points: np.ndarray, margins: np.ndarray) -> None:
        """Nothing to learn."""

    def proposal(self) -> Normals:
        return Normals.nominal(self._size)


class CrossEntropySampler:
    """Draws from normals and moves them to the best share of what they drew.

    Source: R. Y. Rubinstein and D. P. Kroese, The Cross-Entropy Method, 2004, algorithm 4.2 with smoothing.
    """

    def __init__(self, size: int) -> None:
        self._normals = Normals.nominal(size)

    def ask(self, n: int, random: np.random.Generator) -> np.ndarray:
        return self._normals.draw(n, random)

    def tell(self, points: np.ndarray, margins: np.ndarray) -> None:
        best = np.argsort(margins, kind="stable")[: max(2, math.ceil(ELITE * len(points)))]
        if np.ptp(margins) == 0:  # nothing tells the points apart
            return
        fit, so_far = fitted(points[best]), self._normals
        mean = SMOOTHING * fit.mean + (1 - SMOOTHING) * so_far.mean
        deviation = SMOOTHING * fit.deviation + (1 - SMOOTHING) * so_far.deviation
        self._normals = Normals(mean, deviation)

    def proposal(self) -> Normals:
        return self._normals


class CmaSampler:
    """CMA-ES of the `cma` package; a point is judged by its mean margin over `WORLDS_PER_POINT` seeds.

    Raises ImportError, saying what to install, where the package is missing.
    """

    def __init__(self, size: int) -> None:
        try:
            import cma
        except ImportError as error:
            raise ImportError("--method cma needs the package cma: pip install slipstream[falsify]") from error
        # The generator is set before each draw; a seed of nan leaves NumPy's global one alone.
        options = {"seed": math.nan, "randn": self._normal, "verbose": -9, "bounds": [-3, 3]}
        self._random = np.random.default_rng(0)
        self._single = size == 1  # the package wants two dimensions at least
        self._strategy: Any = cma.CMAEvolutionStrategy([0.0] * max(size, 2), CMA_STEP, options)
        self._size = size

    def _normal(self, *shape: int) -> np.ndarray:
        return self._random.standard_normal(shape)

    def ask(self, n: int, random: np.random.Generator) -> np.ndarray:
        self._random = random
        count = max(1, n // WORLDS_PER_POINT)
        points = np.array(self._strategy.ask(number=count))[:, : self._size]
        return np.repeat(points, math.ceil(n / count), axis=0)[:n]

    def tell(self, points: np.ndarray, margins: np.ndarray) -> None:
        distinct, inverse = np.unique(points, axis=0, return_inverse=True)
        inverse = inverse.ravel()
        means = np.bincount(inverse, weights=margins) / np.bincount(inverse)
        if self._single:
            distinct = np.pad(distinct, ((0, 0), (0, 1)))
        if len(distinct) > 3:
            self._strategy.tell(list(distinct), list(means))

    def proposal(self) -> None:
        return None


def make_sampler(method: str, size: int) -> Sampler:
    """Returns the sampler of a name in `METHODS` over D latent numbers; ValueError for another name."""
    makers = {"random": RandomSampler, "cross-entropy": CrossEntropySampler, "cma": CmaSampler}
    if method not in makers:
        raise ValueError(f"unknown method {method!r}; there are {', '.join(METHODS)}")
    return makers[method](size)
